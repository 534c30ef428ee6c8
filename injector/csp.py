"""Whether the response's own policies let the browser run our tag. They are read, never changed.

The tag is an external, parser-inserted, same-origin script without a hash. For that the algorithms of CSP3
come down to: in each enforced policy the effective directive (script-src-elem, else script-src, else
default-src) either has our nonce, or has no 'strict-dynamic' and a source that matches our address (§6.7.1.1,
§6.8). A policy without any of the three allows everything. All policies must agree, those of several fields
as well as those joined by commas (§4.1, §8.1).

Where only a nonce will do, the response's own is copied: it is public to the page it came with, and a script
element has room for one, so it must satisfy every policy that asks for it. A nonce is never added to a
policy: besides being the shop's to say, it would switch 'unsafe-inline' off and stop the shop's own scripts.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from .heads import Headers, values
from .tag import NONCE_LIMIT


@dataclass(frozen=True, slots=True)
class Csp:
    """The judgement on the tag: may it stand in the page, and with which nonce (None: without).

    `reason` names the policy's directive that refuses it. With `allowed` it is empty, or says that a
    report-only policy will report the tag: that blocks nothing.
    """

    allowed: bool
    nonce: bytes | None = None
    reason: str = ""


_ENFORCED: Final = b"content-security-policy"
_REPORTED: Final = b"content-security-policy-report-only"
_INTEGRITY: Final = b"integrity-policy"
FIELDS: Final = frozenset((_ENFORCED, _REPORTED, _INTEGRITY))
"""The fields that a judgement depends on: without any of them all is allowed."""
_DIRECTIVES: Final = (b"script-src-elem", b"script-src", b"default-src")
_PORTS: Final = {"http": 80, "https": 443}
_FREE: Final = Csp(allowed=True)

LONGEST = 16 * 1024
"""Most bytes of policies that are judged, in the loop: the longest of real pages have half as many."""

_NONCE = re.compile(rb"'nonce-([a-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_SCHEME_SOURCE = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_HOST_SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}|\*))?(?P<path>/[^?#]*)?",
    re.IGNORECASE,
)
_INTEGRITY_SCRIPT = re.compile(rb"blocked-destinations\s*=\s*\([^)]*\bscript\b", re.IGNORECASE)

_Policy = dict[bytes, list[bytes]]


def judge(headers: Headers, script: str | None = None) -> Csp:
    """The judgement on the tag by a response's headers.

    `script` is the absolute address of the tag's script ("https://shop.example/-/clew/l.js"), for policies
    that name the shop's own host. Without it such a source counts as foreign, and the page is taken to be on
    https.
    """
    if FIELDS.isdisjoint([name for name, _ in headers]):
        return _FREE
    if any(_INTEGRITY_SCRIPT.search(value) for value in values(headers, _INTEGRITY)):
        return Csp(allowed=False, reason="integrity-policy")
    if sum(len(value) for name, value in headers if name in FIELDS) > LONGEST:
        return Csp(allowed=False, reason="csp too long")
    own = _address(script) if script else None
    nonces: list[bytes] | None = None  # those that satisfy every policy so far; None: none is needed
    for policy in _policies(headers, _ENFORCED):
        if refused := _refusal(policy):
            return Csp(allowed=False, reason=refused)
        demand = _demand(policy, own)
        if demand is None:
            continue
        nonces = demand if nonces is None else [nonce for nonce in nonces if nonce in demand]
        if not nonces:
            return Csp(allowed=False, reason=f"csp {_effective(policy).decode('latin-1')}")
    noted = ""
    for policy in _policies(headers, _REPORTED):
        demand = _demand(policy, own)
        if demand is None:
            continue
        common = demand if nonces is None else [nonce for nonce in nonces if nonce in demand]
        if common:
            nonces = common  # spares the shop a report for each page view
        else:
            noted = f"csp report-only {_effective(policy).decode('latin-1')}"
    return Csp(allowed=True, nonce=nonces[0] if nonces else None, reason=noted)


def _address(script: str) -> SplitResult | None:
    try:
        own = urlsplit(script)
        return own if own.port != 0 else None  # reading the port checks it
    except ValueError:
        return None  # a host name that a client made up


def _policies(headers: Headers, name: bytes) -> list[_Policy]:
    """The field's policies, each a mapping of directive to values; the first of a name counts (CSP3
    §2.2.1)."""
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


def _refusal(policy: _Policy) -> str:
    """What keeps any script of ours from running, whatever its source; empty if nothing does."""
    sandbox = policy.get(b"sandbox")
    if sandbox is not None and b"allow-scripts" not in [flag.lower() for flag in sandbox]:
        return "csp sandbox"
    if b"script" in [kind.lower() for kind in policy.get(b"require-sri-for", ())]:
        return "csp require-sri-for"
    return ""


def _effective(policy: _Policy) -> bytes:
    """The directive that governs script elements (CSP3 §6.8.3), empty if none does."""
    return next((name for name in _DIRECTIVES if name in policy), b"")


def _demand(policy: _Policy, own: SplitResult | None) -> list[bytes] | None:
    """The nonces with which this policy allows the tag; None if it does without, empty if nothing helps."""
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
    """Whether one source expression covers our script (CSP3 §6.7.2.7)."""
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
    """CSP3 §6.7.2.8 for a host source. Escaped paths are not decoded: such a source does not
    match."""
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
