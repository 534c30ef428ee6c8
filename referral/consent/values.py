"""Makes keys with texts of the ways in which consent tools write their cookies: see `cookies.toml`."""

import json
import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Mapping

from .bits import UnreadableError

KEYS = 512  # keys of one value that are read
DEPTH = 5

# Each takes a bounded text and matches without looking back: linear.
_MEMBER = re.compile(r"(?:^|[{,])\s*([A-Za-z_]\w{0,40})\s*:\s*(?:'([^']*)'|([^',{}]*))")


def flat(kind: str, text: str) -> Mapping[str, str]:
    """The keys of a value in one of the formats of the table. Raises UnreadableError."""
    found: dict[str, str] = {}
    for key, value in _READERS[kind](text):
        if len(found) >= KEYS:
            raise UnreadableError(f"more than {KEYS} keys")
        found[key] = value
    return found


def _json(text: str) -> Iterator[tuple[str, str]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("not JSON") from error
    if not isinstance(data, dict):
        raise UnreadableError("not a JSON object")
    yield from _walked("", data, DEPTH)


def _base64_json(text: str) -> Iterator[tuple[str, str]]:
    text = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        plain = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8")
    except (Base64Error, ValueError) as error:
        raise UnreadableError("not base64") from error
    yield from _json(plain)


def _walked(path: str, data: object, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(data, str) and data[:1] in ("[", "{") and depth > 0 and path:
        # CookieScript writes a list as JSON within JSON.
        try:
            data = json.loads(data)
        except (ValueError, RecursionError):
            yield path, str(data)
            return
    if isinstance(data, bool):
        yield path, "true" if data else "false"
    elif isinstance(data, str | int | float):
        # A number of thousands of digits takes quadratic time to write (and raises ValueError).
        yield path, str(data) if not isinstance(data, int) or abs(data) < 10**20 else "a large number"
    elif isinstance(data, dict | list) and depth > 0:
        if path:
            yield path, "object" if isinstance(data, dict) else "list" if data else "empty"
        if isinstance(data, dict):
            for key, value in data.items():
                yield from _walked(f"{path}.{key}" if path else key, value, depth - 1)
        else:
            yield from ((f"{path}.{item}", "listed") for item in data if isinstance(item, str))


def _object(text: str) -> Iterator[tuple[str, str]]:
    if not (text.startswith("{") and text.endswith("}")):
        raise UnreadableError("not an object")
    for match in _MEMBER.finditer(text):
        yield match[1], match[2] if match[2] is not None else match[3].strip()


def _form(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split("&"):
        key, _, value = pair.partition("=")
        yield key, value
        if ":" in value:
            yield from ((f"{key}.{name}", chosen) for name, chosen in _pairs(value))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split(","):
        key, colon, value = pair.partition(":")
        if colon:
            yield key.strip(), value.strip()


def _bang(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split("!"):
        key, equals, value = pair.partition("=")
        if equals:
            yield key, value


def _members(text: str) -> Iterator[tuple[str, str]]:
    if not (text.startswith("__") and text.endswith("__")):
        raise UnreadableError("not a list between underscores")
    yield from ((member, "listed") for member in text.split("_") if member)


def _words(text: str) -> Iterator[tuple[str, str]]:
    words = text.split()
    if len(words) < 2:
        raise UnreadableError("not a word and a list")
    yield from ((f"{words[0]}.{member}", "listed") for member in words[1].split(",") if member)


def _plain(text: str) -> Iterator[tuple[str, str]]:
    yield "value", text


_READERS: Mapping[str, Callable[[str], Iterator[tuple[str, str]]]] = {
    "json": _json,
    "base64-json": _base64_json,
    "object": _object,
    "form": _form,
    "pairs": _pairs,
    "bang": _bang,
    "members": _members,
    "words": _words,
    "text": _plain,
}
