"""The query of an address as bytes: its pairs, its printable form, and templates that are filled from it."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote_from_bytes, unquote_to_bytes

Pair = tuple[bytes, bytes]

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PLACEHOLDER = re.compile(rb"\{([^{}]+)\}")


def raw_pairs(query: bytes) -> Iterator[Pair]:
    """Names and values as they stand between `&`; a name without `=` has an empty value."""
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        yield name, value


def pairs(query: bytes) -> Iterator[Pair]:
    """Names and values percent-decoded: `+` stays `+`, an escape that is none stays as it is."""
    for name, value in raw_pairs(query):
        yield unquote_to_bytes(name), unquote_to_bytes(value)


def printable(raw: bytes) -> str:
    """Bytes of an address as they stand there, with all that is not printable ASCII escaped."""
    return quote_from_bytes(raw, safe=_PRINTABLE)


def placeholders(template: bytes) -> list[bytes]:
    """The names in braces."""
    return _PLACEHOLDER.findall(template)


def filled(template: bytes, values: Mapping[bytes, bytes]) -> bytes | None:
    """The template with a value for each `{name}`; None where one is missing. Braces in values stay."""
    parts = _PLACEHOLDER.split(template)
    names = parts[1::2]
    if not all(values.get(name) for name in names):
        return None
    parts[1::2] = [values[name] for name in names]
    return b"".join(parts)
