"""The rules of a site as a text of their own, in TOML: `[[rules]]`, with the keys of `[[sites.rules]]`.

People write it at the desk and for `clew rules set`. It is kept as they wrote it, with its comments. Values
`env:NAME` are not replaced: who edits rules must not read the environment of clew.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from .load import Problem, SettingsErrors, Source, syntax_problem
from .model import Rule
from .positions import KeyPath
from .wording import Wording

LONGEST: Final = 512 << 10
"""Bytes of a text: some 2,000 rules."""

NAME: Final = "rules"
"""What problems call the text."""

SITE: Final[KeyPath] = ("sites", 0)
"""Where the checks of settings see the rules' site."""

_FIRST: Final = ("name", "when", "wait", "wait_page", "on", "cancel_on")
"""The keys that come first in a text, as people write rules."""

_WIDTH: Final = 100
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED: Final = r"""|"[^"\n]*+"|'[^'\n]*+'"""
_DEEP: Final = re.compile(rf"(?:(?<![\w-])[\w-]++{_QUOTED})(?:[ \t]*+\.[ \t]*+(?:[\w-]++{_QUOTED})){{30}}")
"""A key of so many parts."""

_HEADER: Final = re.compile(r"[ \t]*\[\[")


@dataclass(frozen=True)
class RuleText:
    """A text of valid TOML, and its tables. `blank`: it says nothing of rules, not even `rules = []`."""

    text: str
    tables: Sequence[Any]
    blank: bool = False

    @classmethod
    def read(cls, text: str) -> "RuleText":
        """Raises SettingsErrors if it is too long, no TOML, or holds anything but rules."""
        text = text.replace("\r\n", "\n").removeprefix("\ufeff")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise _wrong("is not UTF-8", "save it with the encoding UTF-8") from None
        if size > LONGEST:
            raise _wrong(f"has {size:,} bytes, at most {LONGEST:,} are kept", "leave old rules out")
        if (deep := _DEEP.search(text)) is not None:
            # tomllib takes quadratic time for these.
            line = text.count("\n", 0, deep.start()) + 1
            raise SettingsErrors([Problem(NAME, "", line, "is nested too deeply", "rules need no such keys")])
        try:
            data = tomllib.loads(text)
        except RecursionError:
            raise _wrong("is nested too deeply") from None
        except ValueError as error:
            raise SettingsErrors([syntax_problem(Path(NAME), text, str(error))]) from None
        tables = data.get("rules", [])
        source = Source(Path(NAME), text, data)
        problems = [source.problem((key,), *_misplaced(key)) for key in data if key != "rules"]
        if not isinstance(tables, list):
            problems.append(source.problem(("rules",), "must be a list", "write [[rules]] with two brackets"))
        if problems:
            raise SettingsErrors(problems)
        return cls(text, tables, "rules" not in data)

    @cached_property
    def _source(self) -> Source:
        return Source(Path(NAME), self.text, {})

    def problem(self, wording: Wording) -> Problem:
        """A problem of a site's settings, `("sites", 0, "rules", 3, "when")`, with its line in this text."""
        path = wording.path[len(SITE) :]
        return self._source.problem(path, wording.message, wording.hint, wording.severity)

    def unread(self) -> Iterable[Wording]:
        """An error for each value `env:NAME`."""
        for number, table in enumerate(self.tables):
            for path, value in _values(table, (*SITE, "rules", number)):
                if value.startswith("env:"):
                    message = "values from the environment are for the settings file"
                    yield Wording(path, message, "write the value itself")

    # -- changes of one rule; the rest stays as it was written

    def with_rule(self, place: int | None, table: Mapping[str, Any]) -> str:
        """The text with another table at a place, or with one more at its end."""
        block = table_text(table)
        blocks = self._blocks()
        if blocks is None:
            tables = [*self.tables]
            tables[len(tables) if place is None else place : len(tables) if place is None else place + 1] = [
                table
            ]
            return text_of(tables)
        if place is None:
            head = self.text if not self.text or self.text.endswith("\n") else f"{self.text}\n"
            return f"{head}\n{block}" if head.strip() else block
        start, end = blocks[place]
        return self.text[:start] + block + self.text[end:]

    def without_rule(self, place: int) -> str:
        """The text without a rule."""
        blocks = self._blocks()
        if blocks is None:
            return text_of([table for number, table in enumerate(self.tables) if number != place])
        start, end = blocks[place]
        return self.text[:start] + self.text[end:].lstrip("\n")

    def _blocks(self) -> Sequence[tuple[int, int]] | None:
        """Where the text of each rule begins and ends, without what follows its last value; None if the rules
        are not `[[rules]]` one after the other."""
        lines, starts = self._source.lines, _line_starts(self.text)
        numbers = [lines.get(("rules", n), 0) for n in range(len(self.tables))]
        begins = [starts[number - 1] for number in numbers if number]
        if len(begins) < len(self.tables) or any(_HEADER.match(self.text, at) is None for at in begins):
            return None
        found = []
        for begin, after in pairwise([*begins, len(self.text)]):
            if begin >= after:
                return None
            found.append((begin, begin + _written(self.text[begin:after])))
        return found


def _written(block: str) -> int:
    """The length of a block without the empty lines and comments at its end: they belong to what follows."""
    lines = block.splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    written = "".join(lines)
    try:
        # The last line of a text in several lines may look like a comment.
        return len(written) if tomllib.loads(written) == tomllib.loads(block) else len(block)
    except tomllib.TOMLDecodeError:
        return len(block)


def _line_starts(text: str) -> Sequence[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]


def _wrong(message: str, hint: str = "") -> SettingsErrors:
    return SettingsErrors([Problem(NAME, "", None, message, hint)])


def _misplaced(key: str) -> tuple[str, str]:
    if key == "sites":
        return "these are rules of one site, without their site", "write [[rules]] instead of [[sites.rules]]"
    return "only [[rules]] may stand here", "write it below [[rules]], or leave it out"


def _values(value: Any, path: KeyPath) -> Iterable[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, held in value.items():
            yield from _values(held, (*path, key))
    elif isinstance(value, list):
        for number, held in enumerate(value):
            yield from _values(held, (*path, number))


# -- writing TOML


def table_of(rule: Rule) -> dict[str, Any]:
    """A rule as the table that it was read from: the keys that were written. What only the settings say of a
    service for texts stays there."""
    found = rule.model_dump(exclude_unset=True, exclude={"text_from": {"secret", "allow_private"}})
    return {key: found[key] for key in (*_FIRST, *found) if key in found}


def text_of(tables: Iterable[Mapping[str, Any]]) -> str:
    """Rules as a text."""
    return "\n".join(map(table_text, tables))


def table_text(table: Mapping[str, Any]) -> str:
    """One rule as text: its own keys first, tables in it below."""
    lines = ["[[rules]]"]
    lines += [f"{_key(key)} = {value_text(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def value_text(value: Any) -> str:
    """A value in TOML; lists that are long have a line for each of their values."""
    if isinstance(value, list | tuple):
        parts = [inline_text(one) for one in value]
        short = f"[{', '.join(parts)}]"
        if len(short) <= _WIDTH:
            return short
        return "[\n" + "".join(f"  {part},\n" for part in parts) + "]"
    return inline_text(value)


def inline_text(value: Any) -> str:
    """A value in TOML, in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case datetime() | date() | time():
            return value.isoformat()
        case int() | float():
            return repr(value)
        case Mapping():
            inner = ", ".join(f"{_key(k)} = {inline_text(v)}" for k, v in value.items() if v is not None)
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(inline_text, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _quoted(text: str) -> str:
    return (
        '"'
        + "".join(_ESCAPES.get(c) or (c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}") for c in text)
        + '"'
    )
