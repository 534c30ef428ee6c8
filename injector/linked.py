"""Parses the JSON-LD of pages: valid JSON, or almost valid JSON with only one possible reading.

Templates often build JSON by hand, so there are extra commas, `\'`, `&quot;`, typographic quotes, comments,
an extra brace, several objects in one script, and grouped numbers (`"price": 1,299.00`). Such a script is
parsed a second time by a tolerant grammar, which accepts nothing ambiguous.
"""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

SCRIPTS: Final = 50
"""Maximum number of JSON-LD scripts read on a page."""

JSON: Final = 262_144
"""Maximum number of characters of JSON-LD read on a page."""

REPAIRED: Final = 65_536
"""Maximum number of characters of broken JSON-LD parsed on a page. The tolerant grammar takes 1 ms per KB."""

DEPTH: Final = 100
"""Maximum nesting of broken JSON."""

OBJECTS: Final = 1_000
"""Maximum number of JSON-LD objects returned."""

# Comment and CDATA marks that older CMSs put around a script, to hide it from very old browsers.
_OPENING: Final = re.compile(r"<!--|(?://|/\*)?\s*+<!\[CDATA\[(?:\s*+\*/)?")
_CLOSING: Final = (";", "-->", "*/", "]]>", "//", "/*")


@dataclass(frozen=True, slots=True)
class Conflicting:
    """The values of a key that occurs more than once in an object, with different values."""

    values: tuple[Any, ...]


@dataclass(slots=True)
class LinkedData:
    """The JSON-LD objects of a page, and one problem for each script that could not be parsed."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def linked_data(sources: list[str]) -> LinkedData:
    """The objects in order, lists and `@graph` flattened. Fractions are Decimals, never floats.

    Strings may contain raw control characters. Comment and CDATA marks around a script are removed.
    """
    found, room, repairing = LinkedData(), JSON, REPAIRED
    for number, source in enumerate(sources):
        room -= len(source)
        if number >= SCRIPTS or room < 0:
            found.problems.append(f"JSON-LD: more than {SCRIPTS} scripts or {JSON} characters are not read")
            break
        text = _unwrapped(source)
        try:
            values = [_strict(text)]
        except (ValueError, ArithmeticError, RecursionError) as error:
            repairing -= len(text)
            if not text:
                continue
            try:
                values = _repaired(text, error, room=repairing)
            except (ValueError, ArithmeticError, RecursionError) as problem:
                found.problems.append(f"JSON-LD: {str(problem)[:200]}")
                continue
        for item in _flat(values):
            found.objects.append(item)
            if len(found.objects) == OBJECTS:
                return found
    return found


def _strict(text: str) -> Any:
    return json.loads(text, strict=False, parse_float=Decimal, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        for key in made:
            values = [value for name, value in pairs if name == key] if len(pairs) < 1000 else []
            if any(value != values[0] for value in values):
                made[key] = Conflicting(tuple(values))
    return made


def _unwrapped(source: str) -> str:
    text = source.strip().lstrip("\ufeff").strip()
    opening = _OPENING.match(text)
    text = text[opening.end() :] if opening else text
    for mark in _CLOSING:
        text = text.removesuffix(mark).rstrip()
    return text


def _flat(data: Any) -> Iterator[dict[str, Any]]:
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            graph = item.get("@graph")
            if isinstance(graph, list | dict):
                waiting.append(graph)
            else:
                yield item


def _repaired(text: str, error: BaseException, *, room: int) -> list[Any]:
    """The values in a text that is not valid JSON. Raises ValueError."""
    if room < 0:
        raise ValueError(f"{error}; broken JSON is parsed up to {REPAIRED} characters per page")
    if '"' not in text and ("&quot;" in text or "&#34;" in text or "&#x22;" in text):
        text = html.unescape(text)
        try:
            return [_strict(text)]
        except (ValueError, ArithmeticError, RecursionError):
            pass
    return _Grammar(text).values()


# Patterns for one token. All quantifiers are possessive, so parsing is linear.
_SKIP: Final = re.compile(r"(?:[\s\ufeff]++|//[^\n]*+|/\*(?s:.*?)\*/|<!--|-->)*+")
_STRINGS: Final = {
    '"': re.compile(r'"((?:[^"\\]++|\\(?s:.))*+)"'),
    "'": re.compile(r"'((?:[^'\\]++|\\(?s:.))*+)'"),
    **dict.fromkeys("“”„‟", re.compile(r'[“”„‟]((?:[^“”„‟"\\]++|\\(?s:.))*+)[“”„‟"]')),
    "&": re.compile(r"&(?:quot|\#34|\#x22);((?s:.*?))&(?:quot|\#34|\#x22);"),
}
_KEY: Final = re.compile(r"[A-Za-z_@$][\w$@-]*+", re.ASCII)
_WORDS: Final = {"true": True, "false": False, "null": None}
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,40}+)(?:\.\d{1,40}+)?+(?:[eE][+-]?\d{1,2}+)?+", re.ASCII)
# A number as people write it, grouped, up to the following comma, brace or line end.
_NUMBER: Final = re.compile(r"[+-]?\d[\d.,'’\u00a0\u202f]*+(?:[eE][+-]?\d{1,2}+)?+", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|[\"\\/bfnrt'])")


class _Grammar:
    """A recursive descent parser of bounded depth for one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def values(self) -> list[Any]:
        """All values in sequence. Extra closing brackets after a value are skipped."""
        found: list[Any] = []
        while (mark := self._next()) != "":
            if mark in "},];" and found:
                self._at += 1
            else:
                found.append(self._value(0))
                if not isinstance(found[-1], dict | list):
                    raise self._failure("an object was expected")
        return found

    def _next(self) -> str:
        if (skipped := _SKIP.match(self._text, self._at)) is not None:
            self._at = skipped.end()
        return self._text[self._at : self._at + 1]

    def _failure(self, what: str) -> ValueError:
        near = " ".join(self._text[max(0, self._at - 20) : self._at + 20].split())
        return ValueError(f"{what} at character {self._at + 1}, near {near!r}")

    def _value(self, depth: int, *, grouped: bool = True) -> Any:
        if depth > DEPTH:
            raise self._failure(f"nesting deeper than {DEPTH}")
        mark = self._next()
        if mark == "{":
            return self._object(depth)
        if mark == "[":
            return self._array(depth)
        if mark in _STRINGS and mark:
            return self._string(mark)
        if mark.isdigit() or mark in "+-":
            return self._number(grouped=grouped)
        word = _KEY.match(self._text, self._at)
        if word is None or word[0] not in _WORDS:
            raise self._failure("a value was expected")
        self._at = word.end()
        return _WORDS[word[0]]

    def _object(self, depth: int) -> dict[str, Any]:
        pairs: list[tuple[str, Any]] = []
        self._at += 1
        while self._more("}"):
            mark = self._next()
            if mark in _STRINGS:
                key = self._string(mark)
            elif (name := _KEY.match(self._text, self._at)) is not None:
                key, self._at = name[0], name.end()
            else:
                raise self._failure("a key was expected")
            if self._next() != ":":
                raise self._failure("a colon was expected")
            self._at += 1
            pairs.append((key, self._value(depth + 1)))
            self._between("}")
        return _object(pairs)

    def _array(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self._at += 1
        while self._more("]"):
            found.append(self._value(depth + 1, grouped=False))
            self._between("]")
        return found

    def _more(self, closing: str) -> bool:
        """Whether another item follows. Extra commas are skipped, the closing bracket is consumed."""
        while (mark := self._next()) == ",":
            self._at += 1
        if mark == closing:
            self._at += 1
            return False
        if mark == "":
            raise self._failure(f"the text ends where {closing!r} was expected")
        return True

    def _between(self, closing: str) -> None:
        if self._next() not in (",", closing):
            raise self._failure(f"',' or {closing!r} was expected")

    def _string(self, mark: str) -> str:
        found = _STRINGS[mark].match(self._text, self._at)
        if found is None:
            raise self._failure("a string is not closed")
        self._at = found.end()
        inner = html.unescape(found[1]) if mark == "&" else found[1]
        plain = _ESCAPE.sub(lambda e: "'" if e[1] == "'" else e[0], inner)
        return str(json.loads('"' + _requoted(plain) + '"', strict=False))

    def _number(self, *, grouped: bool) -> Any:
        # In a list a comma separates two numbers.
        pattern = _NUMBER if grouped else _JSON_NUMBER
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._failure("a number was expected")
        text = found[0].rstrip(",")
        self._at += len(text)
        if _JSON_NUMBER.fullmatch(text):
            return Decimal(text) if set(text) & set(".eE") else int(text)
        return text  # parsed later, by the conventions for amounts in text


def _requoted(text: str) -> str:
    """The text with every unescaped double quote escaped, for a string in other quotation marks."""
    return re.sub(r'\\(?s:.)|"', lambda found: found[0] if len(found[0]) > 1 else '\\"', text)
