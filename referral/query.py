"""Parses the query of a URL as bytes: pairs, a printable form, and templates filled from it."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from urllib.parse import quote_from_bytes, unquote_to_bytes

Pair = tuple[bytes, bytes]
Known = Callable[[bytes], bool]

PAIRS = 200  # parameters of a query that are read
NESTED = 20  # parameters inside one value
ENCODED = 4096  # bytes of a query that is percent-encoded as a whole

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PLACEHOLDER = re.compile(rb"\{([^{}]+)\}")
# An ampersand that was HTML-escaped twice: `&amp;ref=`, `&#038;ref=` (its # begins a fragment).
_ESCAPED_AND = re.compile(rb"(?:(?:amp|#?0*38|#?x26)(?:;|%3b))++", re.IGNORECASE)
# The start of another parameter inside a value, in a link whose parameters were appended with a second `?`.
_BEGINS = re.compile(rb"([?;])([A-Za-z0-9_.~%\[\]-]{1,64})=")
_SLASH = re.compile(rb"/|%2f", re.IGNORECASE)


def _nothing(name: bytes) -> bool:
    return False


def raw_pairs(query: bytes, known: Known = _nothing) -> Iterator[Pair]:
    """Raw names and values between `&`; a name without `=` has an empty value.

    Common errors of link builders are repaired if the result is unambiguous: `?ref=A?ref=A`, `?x=1?ref=A`,
    `?a=1&amp;ref=X`, a trailing `?`. A `?` inside another URL (with a slash before it) stays. `known` says
    whether a parameter's name is in use: only before such a name does a `;` separate, and a query that is
    percent-encoded as a whole (`?ref%3DA`) is read only if it begins with such a name. Of more than `PAIRS`
    parameters the first and the last are read.
    """
    found = query.partition(b"#")[0].split(b"&")
    if len(found) > PAIRS:
        # Networks append their parameters at the end.
        found = found[: PAIRS // 4] + found[-(PAIRS - PAIRS // 4) :]
    for pair in found:
        if pair:
            yield from _repaired(pair, known)


def _repaired(pair: bytes, known: Known) -> Iterator[Pair]:
    if (escaped := _ESCAPED_AND.match(pair)) is not None:
        pair = pair[escaped.end() :]
    name, equals, value = pair.lstrip(b"?").partition(b"=")
    if not equals:
        inner = unquote_to_bytes(name).lstrip(b"?") if b"%" in name and len(name) <= ENCODED else b""
        if b"=" in inner and known(unquote_to_bytes(inner.partition(b"=")[0])):
            yield from raw_pairs(inner)
            return
    begin = looked = 0
    for found in islice(_BEGINS.finditer(value), NESTED):
        if _SLASH.search(value, looked, found.start()) is not None:
            break
        looked = found.start()
        if found[1] == b"?" or known(unquote_to_bytes(found[2])):
            yield name, value[begin : found.start()]
            name, begin = found[2], found.end()
    yield name, value[begin:].removesuffix(b"?")


def pairs(query: bytes, known: Known = _nothing) -> Iterator[Pair]:
    """Names and values, percent-decoded: `+` stays `+`, and invalid escapes stay unchanged."""
    for name, value in raw_pairs(query, known):
        yield unquote_to_bytes(name), unquote_to_bytes(value)


def printable(raw: bytes) -> str:
    """Bytes of a URL as text, with everything but printable ASCII percent-encoded."""
    return quote_from_bytes(raw, safe=_PRINTABLE)


def placeholders(template: bytes) -> list[bytes]:
    """The names in braces."""
    return _PLACEHOLDER.findall(template)


def filled(template: bytes, values: Mapping[bytes, bytes]) -> bytes | None:
    """The template with a value for each `{name}`; None if one is missing. Braces in values stay."""
    parts = _PLACEHOLDER.split(template)
    names = parts[1::2]
    if not all(values.get(name) for name in names):
        return None
    parts[1::2] = [values[name] for name in names]
    return b"".join(parts)
