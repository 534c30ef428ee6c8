"""Evaluates whether the response's policies allow the tag. The policies are read, never changed.

The tag is an external, parser-inserted, same-origin script without a hash. For such a script CSP3 comes down
to this: in each enforced policy the effective directive (script-src-elem, else script-src, else default-src)
must either have the tag's nonce, or have no 'strict-dynamic' and a source that matches the tag's address
(§6.7.1.1, §6.8). A policy without any of the three allows everything. All policies must allow the tag, those
of several header fields as well as those joined by commas (§4.1, §8.1).

Where a nonce is required, the response's own is copied: it is public to its page. A script element can carry
only one nonce, so it must satisfy every policy that requires one. A nonce is never added to a policy: that is
the shop's decision, and it would disable 'unsafe-inline' and stop the shop's own scripts.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from .heads import Headers, values
from .reasons import Reason
from .tag import NONCE_LIMIT


@dataclass(frozen=True, slots=True)
class Csp:
    """Whether the policies allow the tag, and with which nonce (None: without).

    `reason` names the directive that refuses the tag. If the tag is allowed, it is empty, or names a
    report-only policy that will report the tag without blocking it.
    """

    allowed: bool
    nonce: bytes | None = None
    reason: Reason = Reason.NONE


_ENFORCED: Final = b"content-security-policy"
_REPORTED: Final = b"content-security-policy-report-only"
_INTEGRITY: Final = b"integrity-policy"
FIELDS: Final = frozenset((_ENFORCED, _REPORTED, _INTEGRITY))
"""The headers that restrict scripts: a response without any of them allows everything."""
# The directives for script elements, in order of precedence.
_REFUSED: Final = {
    b"script-src-elem": Reason.CSP_SCRIPT_SRC_ELEM,
    b"script-src": Reason.CSP_SCRIPT_SRC,
    b"default-src": Reason.CSP_DEFAULT_SRC,
}
_REPORTED_BY: Final = {
    b"script-src-elem": Reason.REPORTED_SCRIPT_SRC_ELEM,
    b"script-src": Reason.REPORTED_SCRIPT_SRC,
    b"default-src": Reason.REPORTED_DEFAULT_SRC,
}
_PORTS: Final = {"http": 80, "https": 443}
_FREE: Final = Csp(allowed=True)

LONGEST = 16 * 1024
"""Maximum size of the policies that are evaluated, in bytes. The longest on real pages have half of it."""

_NONCE = re.compile(rb"'nonce-([a-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_SCHEME_SOURCE = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_HOST_SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}|\*))?(?P<path>/[^?#]*)?",
    re.IGNORECASE,
)
_INTEGRITY_SCRIPT = re.compile(rb"blocked-destinations\s*=\s*\([^)]*\bscript\b", re.IGNORECASE)

_Policy = dict[bytes, list[bytes]]


def evaluate(headers: Headers, script: str | None = None) -> Csp:
    """Evaluate the policies in a response's headers for the tag.

    `script` is the absolute URL of the tag's script ("https://shop.example/-/clew/l.js"), for policies that
    name the shop's own host. Without it such a source does not match, and the page is assumed to be on https.
    """
    if FIELDS.isdisjoint([name for name, _ in headers]):
        return _FREE
    if any(_INTEGRITY_SCRIPT.search(value) for value in values(headers, _INTEGRITY)):
        return Csp(allowed=False, reason=Reason.INTEGRITY_POLICY)
    if sum(len(value) for name, value in headers if name in FIELDS) > LONGEST:
        return Csp(allowed=False, reason=Reason.CSP_TOO_LONG)
    own = _address(script) if script else None
    nonces: list[bytes] | None = None  # those that satisfy every policy so far; None: none is required
    for policy in _policies(headers, _ENFORCED):
        if refused := _refusal(policy):
            return Csp(allowed=False, reason=refused)
        demand = _demand(policy, own)
        if demand is None:
            continue
        nonces = demand if nonces is None else [nonce for nonce in nonces if nonce in demand]
        if not nonces:
            return Csp(allowed=False, reason=_REFUSED[_effective(policy)])
    noted = Reason.NONE
    for policy in _policies(headers, _REPORTED):
        demand = _demand(policy, own)
        if demand is None:
            continue
        common = demand if nonces is None else [nonce for nonce in nonces if nonce in demand]
        if common:
            nonces = common  # so that the shop does not get a report for each page view
        else:
            noted = _REPORTED_BY[_effective(policy)]
    return Csp(allowed=True, nonce=nonces[0] if nonces else None, reason=noted)


def _address(script: str) -> SplitResult | None:
    try:
        own = urlsplit(script)
        return own if own.port != 0 else None  # reading the port checks it
    except ValueError:
        return None  # an invalid Host header


def _policies(headers: Headers, name: bytes) -> list[_Policy]:
    """The policies in a header, as directive names to values. Of directives with the same name the first
    counts (CSP3 §2.2.1)."""
    found = []
    for serialized in b",".join(values(headers, name)).split(b","):
        policy: _Policy = {}
        for directive in serialized.split(b";"):
            words = directive.split()
            if words:
                policy.setdefault(words[0].lower(), words[1:])
        if policy:
            found.append(policy)
    return found


def _refusal(policy: _Policy) -> Reason:
    """Why no script of clew can run, whatever its source; empty if one can."""
    sandbox = policy.get(b"sandbox")
    if sandbox is not None and b"allow-scripts" not in [flag.lower() for flag in sandbox]:
        return Reason.CSP_SANDBOX
    if b"script" in [kind.lower() for kind in policy.get(b"require-sri-for", ())]:
        return Reason.CSP_REQUIRE_SRI
    return Reason.NONE


def _effective(policy: _Policy) -> bytes:
    """The directive for script elements (CSP3 §6.8.3); empty if there is none."""
    return next((name for name in _REFUSED if name in policy), b"")


def _demand(policy: _Policy, own: SplitResult | None) -> list[bytes] | None:
    """The nonces with which this policy allows the tag. None: no nonce is required. Empty: never allowed."""
    directive = _effective(policy)
    if not directive:
        return None
    sources = policy[directive]
    keywords = [source.lower() for source in sources]
    if b"'strict-dynamic'" not in keywords and any(_matches(source, own) for source in sources):
        return None
    found = (_NONCE.fullmatch(source) for source in sources)
    return [nonce[1] for nonce in found if nonce and len(nonce[1]) <= NONCE_LIMIT]


def _matches(source: bytes, own: SplitResult | None) -> bool:
    """Whether a source expression matches the tag's script (CSP3 §6.7.2.7)."""
    if source.lower() in (b"'self'", b"*"):
        return True
    text = source.decode("latin-1")
    scheme = _SCHEME_SOURCE.fullmatch(text)
    if scheme:
        return _covers(scheme[1], own.scheme if own else "https")
    return own is not None and _host_matches(text, own)


def _covers(scheme: str, own: str) -> bool:
    return scheme.lower() == own or (scheme.lower() == "http" and own == "https")


def _host_matches(source: str, own: SplitResult) -> bool:
    """CSP3 §6.7.2.8 for a host source. Escaped paths are not decoded: such a source never matches."""
    found = _HOST_SOURCE.fullmatch(source)
    host = own.hostname
    if found is None or not host:
        return False
    if found["scheme"] and not _covers(found["scheme"], own.scheme):
        return False
    named = found["host"].lower()
    if not (host.endswith(named[1:]) if named.startswith("*.") else named in ("*", host)):
        return False
    path = found["path"] or "/"
    if not (own.path.startswith(path) if path.endswith("/") else own.path == path):
        return False
    usual = _PORTS.get(own.scheme)
    port = own.port or usual
    # No port means the usual one, and 80 covers 443 as http covers https (§6.7.2.12).
    allowed = {"*": port, "": usual}.get(found["port"] or "") or int(found["port"])
    return port == allowed or (allowed == 80 and port == 443)
