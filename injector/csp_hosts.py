"""Which hosts the policies of a page forbid, and the same policies with these hosts allowed.

For the chat of another company, which clew's script adds to the page. A policy that restricts what is needed
gets the missing hosts, and nothing else: the directive that counts (CSP3 §6.8.3) is made longer, or, where
only a more general one is there, it is written with the sources of that one and the hosts. No policy is made
for a page that has none. All policies of a page have to allow a host (CSP3 §4.1).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .heads import Headers

Needed = Mapping[str, Sequence[str]]
"""Hosts ("https://*.chat.example", "wss://chat.example") or keywords, by directive ("script-src")."""

ENFORCED: Final = b"content-security-policy"
REPORTED: Final = b"content-security-policy-report-only"
LONGEST: Final = 16 * 1024
"""Bytes of policies that are looked at."""

_FALLBACKS: Final[Mapping[str, tuple[str, ...]]] = {
    "script-src": ("script-src-elem", "script-src", "default-src"),
    "style-src": ("style-src-elem", "style-src", "default-src"),
    "frame-src": ("frame-src", "child-src", "default-src"),
}
_SECURE: Final = {"http": ("http", "https"), "ws": ("ws", "wss")}
_SOURCE: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}|\*))?/?",
    re.IGNORECASE,
)


def forbidden(headers: Headers, needed: Needed) -> dict[str, tuple[str, ...]]:
    """What an enforced policy in the headers forbids of what is needed, by the directive that counts. Of
    policies that are too long to look at nothing is said."""
    return forbidden_by(",".join(v.decode("latin-1") for name, v in headers if name == ENFORCED), needed)


def forbidden_by(text: str, needed: Needed) -> dict[str, tuple[str, ...]]:
    """The same of the policies in one header or `<meta>` element."""
    found: dict[str, list[str]] = {}
    if len(text) > LONGEST:
        return {}
    for policy in text.split(","):
        for directive, _, missing in _missing(_directives(policy), needed):
            kept = found.setdefault(directive, [])
            kept += [host for host in missing if host not in kept]
    return {directive: tuple(hosts) for directive, hosts in found.items()}


def extended(headers: Headers, needed: Needed) -> Headers:
    """The headers with policies that allow what is needed. What restricts nothing of it is left as it is."""
    if not any(name in (ENFORCED, REPORTED) for name, _ in headers):
        return headers
    if sum(len(value) for name, value in headers if name in (ENFORCED, REPORTED)) > LONGEST:
        return headers
    return [
        (name, extended_policies(value.decode("latin-1"), needed).encode("latin-1"))
        if name in (ENFORCED, REPORTED)
        else (name, value)
        for name, value in headers
    ]


def extended_policies(text: str, needed: Needed) -> str:
    """The policies in one header or `<meta>` element, separated by commas."""
    return ",".join(_extended(policy, needed) for policy in text.split(","))


def _extended(policy: str, needed: Needed) -> str:
    directives = _directives(policy)
    changes = list(_missing(directives, needed))
    if not changes:
        return policy
    parts = policy.split(";")
    for directive, source, missing in changes:
        hosts = " ".join(missing)
        sources = [one for one in directives[source] if one.lower() != "'none'"]
        if source == directive:
            # Of directives with the same name the first counts.
            place = next(n for n, part in enumerate(parts) if part.split()[:1] and _name(part) == directive)
            lead = parts[place][: len(parts[place]) - len(parts[place].lstrip())]
            parts[place] = f"{lead}{' '.join([parts[place].split()[0], *sources, hosts])}"
        else:
            while parts and not parts[-1].strip():
                parts.pop()
            parts.append(f" {' '.join([directive, *sources, hosts])}")
    return ";".join(parts)


def _missing(
    directives: Mapping[str, Sequence[str]], needed: Needed
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(directive to change, directive that counts, hosts that it lacks)."""
    for directive, hosts in needed.items():
        chain = _FALLBACKS.get(directive, (directive, "default-src"))
        counts = next((name for name in chain if name in directives), None)
        if counts is None:
            continue
        sources = [one.lower() for one in directives[counts]]
        if directive == "script-src" and "'strict-dynamic'" in sources:
            # A script that clew's own script adds is trusted with it (CSP3 §8.2).
            continue
        missing = tuple(host for host in hosts if not any(_covers(source, host) for source in sources))
        if missing:
            yield counts if counts != "default-src" and counts != "child-src" else directive, counts, missing


def _directives(policy: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in policy.split(";"):
        if words := part.split():
            found.setdefault(words[0].lower(), words[1:])
    return found


def _name(part: str) -> str:
    return part.split()[0].lower()


def _covers(source: str, host: str) -> bool:
    """Whether a source allows everything at a needed host. Where browsers differ it does not: a source
    without a scheme, or `https:`, is not taken to allow wss."""
    if host.startswith("'"):
        return source == host
    scheme, _, name = host.lower().partition("://")
    if source == "*":
        return True
    if source.endswith(":"):
        return scheme in _SECURE.get(source[:-1], (source[:-1],))
    found = _SOURCE.fullmatch(source)
    if found is None:
        return False
    schemes = _SECURE.get(found["scheme"], (found["scheme"],)) if found["scheme"] else ("https",)
    if scheme not in schemes:
        return False
    wanted, _, port = name.partition(":")
    if (found["port"] or "") not in ("*", port, *(("443",) if not port else ())):
        return False
    allowed = found["host"]
    if allowed == "*":
        return True
    if allowed.startswith("*."):
        # `*.chat.example` covers `*.chat.example`, `a.chat.example` and `*.a.chat.example`.
        return wanted.endswith(allowed[1:])
    return wanted == allowed
