"""Hop-by-hop header fields, and the fields that a client cannot remove from a message."""

from collections.abc import Iterable
from itertools import product

from ...injector.heads import Headers

# RFC 9110 §7.6.1, with those that are hop-by-hop in practice: Go's and nginx's proxies drop the same.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Identity of the client as a trusted proxy states it; from anybody else it is forged (CVE-2022-32148).
IDENTITY = frozenset(
    {
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"client-ip",
        b"fastly-client-ip",
        b"forwarded",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-host",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
        b"x-url-scheme",
    }
)

# `Connection: X-Forwarded-For` must not delete what a proxy has set (CVE-2021-33197), nor may
# `Connection: Cookie` log somebody out: options name hop-by-hop fields only, and these never are
# (RFC 9110 §7.6.1).
PROTECTED = IDENTITY | {
    b"authorization",
    b"cache-control",
    b"cdn-loop",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-security-policy",
    b"content-type",
    b"cookie",
    b"etag",
    b"expires",
    b"host",
    b"location",
    b"origin",
    b"set-cookie",
    b"vary",
    b"via",
    b"x-clew-referral",
}

# What frames, routes, authenticates or describes a message has to stand in its head: in a trailer it comes
# after the decision that it is about (RFC 9110 §6.5.1).
NOT_IN_TRAILERS = HOP_BY_HOP | PROTECTED

_ORDINARY_OPTIONS = frozenset({b"", b"close", b"keep-alive", b"te", b"upgrade"})


def _underscored(names: Iterable[bytes]) -> frozenset[bytes]:
    spellings = set()
    for name in names:
        parts = name.split(b"-")
        for joints in product((b"-", b"_"), repeat=len(parts) - 1):
            if b"_" in joints:
                spelled = parts[0] + b"".join(
                    joint + part for joint, part in zip(joints, parts[1:], strict=True)
                )
                spellings.add(spelled)
    return frozenset(spellings)


# CGI and WSGI read "X_Forwarded_For" and "X-Forwarded-For" as one variable (RFC 3875 §4.1.18).
UNDERSCORED = _underscored(PROTECTED | HOP_BY_HOP)


def connection_options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The fields that Connection headers name beside the usual options: lower case, none of `PROTECTED`."""
    found = frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b","))
    return found - _ORDINARY_OPTIONS - PROTECTED


def without_options(headers: Headers, values: Iterable[bytes]) -> Headers:
    """`headers` without the fields that the Connection headers' `values` name."""
    named = connection_options(values)
    return [pair for pair in headers if pair[0] not in named] if named else headers
