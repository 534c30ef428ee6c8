"""Host rewriting, for a shop that gets another Host header than its visitors use. Headers that name one of
the two hosts are changed to name the other, in requests and responses. Pure functions on header lists; bodies
are never changed.

Only whole origins are replaced (scheme, host and port, RFC 6454 §4): a host name within a query or a path is
not changed, relative references stay relative, and the bytes after the origin are kept. Origins are written
as browsers write them: lower case, without the scheme's default port.
"""

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

from ...injector.heads import Headers
from ...service.origin import Origin

_PORTS = {b"http": 80, b"https": 443}
_AUTHORITY = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
# Anything else (a user, a backslash, a blank) does not count as a reference to the shop.
_REFERENCE = re.compile(
    rb"(?i)(?:(https?):)?//([A-Za-z0-9._-]+(?::[0-9]{0,5})?|\[[0-9a-f:.]+\](?::[0-9]{0,5})?)(?=[/?#]|\Z)"
)
_REFRESH = re.compile(rb"(?i)(\s*[0-9.]*\s*[;,]?\s*(?:url\s*=\s*)?['\"]?)([^'\"]*)")
_LINK = re.compile(
    rb'<([^<>]*)>|(?i:;[ \t]*anchor[ \t]*=[ \t]*")([^"\\]*)"|"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL
)
_WORD = re.compile(rb"[^\s,]+")

# Headers by which a browser stores or clears data of the whole host: intended for the shop's host, not the
# visitor's (RFC 6797, RFC 7469).
FOR_ITS_OWN_HOST = frozenset(
    {
        b"clear-site-data",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"strict-transport-security",
    }
)


def origin_text(scheme: bytes, authority: bytes) -> bytes | None:
    """`scheme://host[:port]` as a browser writes it in `Origin`; None if `authority` is not valid."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None or scheme not in _PORTS:
        return None
    host, port = found[1].lower(), int(found[2] or _PORTS[scheme])
    if port == _PORTS[scheme]:
        return b"%b://%b" % (scheme, host)
    return b"%b://%b:%d" % (scheme, host, port) if 0 < port < 65536 else None


def host_name(authority: bytes) -> bytes:
    """The host of `host[:port]`, in lower case."""
    if authority.startswith(b"["):
        return authority.partition(b"]")[0].lower() + b"]"
    return authority.partition(b":")[0].lower()


def authority(origin: bytes) -> bytes:
    """The host of an origin, with the port if it has one."""
    return origin.partition(b"://")[2]


def moved(reference: bytes, old: Set[bytes], new: bytes) -> bytes:
    """A URI reference with the origin `new` if its origin is one of `old`; any other reference unchanged.

    In `//host/path`, which has no scheme, only host and port are compared.
    """
    found = _REFERENCE.match(reference)
    if found is None:
        return reference
    schemes = _PORTS if found[1] is None else (found[1].lower(),)
    known = any(origin_text(scheme, found[2]) in old for scheme in schemes)
    return new + reference[found.end() :] if known else reference


def to_shop(headers: Headers, visitor: bytes, shop: bytes) -> Headers:
    """A request's headers, with the visitor's origin in Origin and Referer replaced by the shop's.

    A shop compares these with its Host to recognize its own pages (Django's CSRF check), so a same-origin
    request of the browser must be one for the shop too. Other origins are not changed.
    """
    old = frozenset({visitor})
    return [
        (name, moved(value, old, shop)) if name in (b"origin", b"referer") else (name, value)
        for name, value in headers
    ]


def to_visitor(headers: Headers, shops: Set[bytes], visitor: bytes) -> Headers:
    """A response's headers, with the shop's origins `shops` replaced by `visitor`.

    They are replaced in Location, Content-Location, Refresh, Link, URI, Access-Control-Allow-Origin and
    Timing-Allow-Origin. The Domain of cookies is removed if it covers the shop but not the visitor's host
    (see `cookie`). Headers in `FOR_ITS_OWN_HOST` are dropped if the hosts differ.
    """
    names, own = {host_name(authority(shop)) for shop in shops}, host_name(authority(visitor))
    result = []
    for name, value in headers:
        if name == b"set-cookie":
            value = cookie(value, names, own)
        elif (move := MOVES.get(name)) is not None:
            value = move(value, shops, visitor)
        elif name in FOR_ITS_OWN_HOST and own not in names:
            continue
        result.append((name, value))
    return result


def cookie(value: bytes, shops: Set[bytes], visitor: bytes) -> bytes:
    """A Set-Cookie value without a Domain that covers one of the hosts `shops` but not the host `visitor`:
    the browser would reject it. Without a Domain, the cookie belongs to the visitor's host only.

    Name, value and all other attributes keep their bytes. Any other Domain is kept, and so is one of a
    `__Host-` cookie: browsers reject that with or without clew (RFC 6265bis §4.1.3).
    """
    if b";" not in value or value.lstrip()[:7].lower() == b"__host-":
        return value
    pair, *attributes = value.split(b";")
    kept = [text for text in attributes if not _foreign(text, shops, visitor)]
    return value if len(kept) == len(attributes) else b";".join([pair, *kept])


def _foreign(attribute: bytes, shops: Set[bytes], visitor: bytes) -> bool:
    name, _, text = attribute.partition(b"=")
    if name.strip().lower() != b"domain":
        return False
    domain = text.strip().lower().removeprefix(b".")
    return bool(domain) and not _covers(domain, visitor) and any(_covers(domain, shop) for shop in shops)


def _covers(domain: bytes, host: bytes) -> bool:
    """Whether cookies of this Domain are sent to the host (RFC 6265 §5.1.3)."""
    return domain == host or (host.endswith(b"." + domain) and not _is_address(host))


def _is_address(host: bytes) -> bool:
    try:
        ip_address(host.strip(b"[]").decode("latin-1"))
    except ValueError:
        return False
    return True


def _refresh(value: bytes, old: Set[bytes], new: bytes) -> bytes:
    found = _REFRESH.match(value)
    assert found is not None, "every part of the pattern may be empty"
    return found[1] + moved(found[2], old, new) + value[found.end() :]


def _link(value: bytes, old: Set[bytes], new: bytes) -> bytes:
    def replaced(found: re.Match[bytes]) -> bytes:
        group = found.lastindex
        if group is None:
            return found[0]
        start, end = found.start(group) - found.start(), found.end(group) - found.start()
        return found[0][:start] + moved(found[group], old, new) + found[0][end:]

    return _LINK.sub(replaced, value)


def _uri(value: bytes, old: Set[bytes], new: bytes) -> bytes:
    return _link(value, old, new) if value.startswith(b"<") else moved(value, old, new)


def _origins(value: bytes, old: Set[bytes], new: bytes) -> bytes:
    return _WORD.sub(lambda found: moved(found[0], old, new), value)


# The headers that name an origin, each with the function that replaces it: (value, old, new) → value.
MOVES: Mapping[bytes, Callable[[bytes, Set[bytes], bytes], bytes]] = {
    b"access-control-allow-origin": _origins,
    b"content-location": moved,
    b"link": _link,
    b"location": moved,
    b"refresh": _refresh,
    b"timing-allow-origin": _origins,
    b"uri": _uri,
}


@dataclass(frozen=True, slots=True)
class HostRewrite:
    """The rewriting for one shop: `host` is the Host header that it gets, `scheme` the one it listens for.

    A shop writes its own addresses with that host, and with the scheme that it listens for or that
    X-Forwarded-Proto names. Some add the port they listen on. `shops` holds all these origins, by the
    visitor's scheme. If both visitor and shop use plain HTTP, an `https://` address is not rewritten: a
    redirect to it would become a loop.
    """

    host: bytes
    scheme: bytes
    shops: Mapping[str, frozenset[bytes]]

    @classmethod
    def of(cls, address: str, host: str) -> "HostRewrite":
        """The rewriting for an `upstream` address and the setting `upstream_host`."""
        parts, shop_host = urlsplit(address), host.encode("ascii")
        scheme = b"https" if parts.scheme == "https" else b"http"
        authorities = [shop_host]
        if parts.scheme != "unix":
            port = parts.port or _PORTS[scheme]
            authorities += [b"%b:%d" % (host_name(shop_host), port), parts.netloc.encode("latin-1")]
        listening = {origin_text(scheme, authority) for authority in authorities}
        shops = {
            proto: frozenset({*listening, origin_text(proto.encode(), shop_host)} - {None})
            for proto in ("http", "https")
        }
        return cls(shop_host, scheme, cast("Mapping[str, frozenset[bytes]]", shops))

    @property
    def name(self) -> str:
        """The host without a port, for which a TLS shop has its certificate."""
        return host_name(self.host).strip(b"[]").decode("ascii")

    def request(self, headers: Headers, origin: Origin) -> Headers:
        """The headers for the shop. If the visitor's host is not known, only Host is changed."""
        visitor = self._visitor(origin)
        if visitor is None:
            return _hosted(headers, self.host)
        # A shop reached over TLS assumes https; any other relies on X-Forwarded-Proto.
        scheme = b"https" if self.scheme == b"https" else origin.scheme.encode()
        shop = origin_text(scheme, self.host)
        assert shop is not None, "the settings' validation ensures a valid host"
        return _hosted(to_shop(headers, visitor, shop), self.host)

    def response(self, headers: Headers, origin: Origin) -> Headers:
        """The headers for the visitor. Unchanged if the visitor's host is the shop's, or is not known."""
        visitor = self._visitor(origin)
        return headers if visitor is None else to_visitor(headers, self.shops[origin.scheme], visitor)

    def _visitor(self, origin: Origin) -> bytes | None:
        host = origin.host.encode("latin-1")
        return None if host.lower() == self.host.lower() else origin_text(origin.scheme.encode(), host)


def _hosted(headers: Headers, host: bytes) -> Headers:
    return [(b"host", host), *(pair for pair in headers if pair[0] != b"host")]
