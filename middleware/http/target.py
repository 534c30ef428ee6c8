"""The target of a request, brought to origin form."""

import re

from ...injector.heads import Headers

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)((?:[/?].*)?)", re.DOTALL)


def origin_form(method: bytes, target: bytes, headers: Headers, version: str) -> tuple[bytes, Headers]:
    """The origin form of a target that does not start with `/`, and the headers for it.

    The host of an absolute form replaces the Host field (RFC 9112 §3.2.2); its scheme is not trusted. Raises
    ValueError for a target that is neither a path nor an absolute URL.
    """
    if method == b"CONNECT" or target == b"*":
        return target, headers
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise ValueError("the target is neither a path nor an absolute URL")
    host, rest = found.groups()
    if not rest and method == b"OPTIONS":
        rest = b"*"  # RFC 9112 §3.2.4
    named = [value for name, value in headers if name == b"host"]
    # A request without the field, or with two of them, is refused later (RFC 9112 §3.2).
    if len(named) == 1:
        headers = [(name, host if name == b"host" else value) for name, value in headers]
    elif not named and version == "1.0":
        headers = [(b"host", host), *headers]
    return (rest if rest[:1] in (b"/", b"*") else b"/" + rest), headers
