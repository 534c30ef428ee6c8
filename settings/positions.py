"""Finds the line of each key in a TOML text.

tomllib returns values without positions, and so does tomlkit (python-poetry/tomlkit#55); CPython declined to
add them (python/cpython#115516). tomllib has parsed the text before, so this scan sees valid TOML 1.0 only,
and skips values without parsing them.
"""

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]*(?:#[^\n]*\n?[ \t\r\n]*)*")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|'{3}(?:[^']|'{1,2}(?!'))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''',
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")


def positions(text: str) -> dict[KeyPath, int]:
    """The line of every table, key and array element, counted from 1: ("sites", 0, "hosts", 1) → 5.

    A table in several parts has the line of the first; elements of `[[sites]]` have that of their header.
    """
    return _Scan(text).lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        # How many elements each `[[array]]` has so far: `[array.x]` belongs to the last one.
        self._counts: dict[KeyPath, int] = {}
        self._document()

    def _note(self, path: KeyPath, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, at))

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _take(self, text: str) -> bool:
        self._skip(_BLANK)
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _document(self) -> None:
        table: KeyPath = ()
        while self._skip(_BLANK) or self._at < len(self._text):
            at = self._at
            if at >= len(self._text):
                break
            if self._take("[["):
                *above, name = self._key()
                path = (*self._resolved((), above, at), name)
                self._note(path, at)
                count = self._counts[path] = self._counts.get(path, 0) + 1
                table = (*path, count - 1)
                self._note(table, at)
                self._take("]]")
            elif self._take("["):
                table = self._resolved((), self._key(), at)
                self._take("]")
            else:
                self._pair(table)

    def _resolved(self, start: KeyPath, keys: list[str], at: int) -> KeyPath:
        path = start
        for key in keys:
            path = (*path, key)
            self._note(path, at)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_BLANK)
            quoted = self._skip(_STRING)
            keys.append(tomllib.loads(f"k = {quoted}")["k"] if quoted else self._skip(_BARE_KEY))
            if not self._take("."):
                return keys

    def _pair(self, table: KeyPath) -> None:
        self._skip(_BLANK)
        at = self._at
        path = self._resolved(table, self._key(), at)
        self._take("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        self._note(path, self._at)
        if self._take("["):
            number = 0
            while not self._take("]"):
                self._value((*path, number))
                self._take(",")
                number += 1
        elif self._take("{"):
            while not self._take("}"):
                self._pair(path)
                self._take(",")
        elif not self._skip(_STRING):
            self._skip(_SCALAR)
