"""What differs between two sets of rules, for people: rule by rule, key by key."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Literal

from .rule_text import inline_text

What = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key of a rule: its values before and after in TOML, None where it had none. Of a list the values that
    went and that came."""

    key: str
    gone: Sequence[str]
    come: Sequence[str]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that was added, removed or changed; of an added or removed one `keys` are all it has."""

    name: str
    what: What
    keys: Sequence[KeyChange]

    def lines(self) -> Iterator[str]:
        """As text: `- ` before what went, `+ ` before what came."""
        yield f"{self.name}: {self.what}"
        for one in self.keys:
            yield from (f"  - {one.key} = {text}" for text in one.gone)
            yield from (f"  + {one.key} = {text}" for text in one.come)


def changes_between(before: Sequence[Any], after: Sequence[Any]) -> Sequence[RuleChange]:
    """The changes from some tables to others. Rules are told apart by their names; their order says nothing,
    since it is by priority that they are asked."""
    old, new = _named(before), _named(after)
    found = []
    for name in dict.fromkeys((*old, *new)):
        one, other = old.get(name, {}), new.get(name, {})
        keys = [_change(key, one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))]
        what: What = "added" if name not in old else "removed" if name not in new else "changed"
        told = [change for change in keys if change is not None and change.key != "name"]
        if told or what != "changed":
            found.append(RuleChange(name, what, told))
    return found


def _named(tables: Sequence[Any]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for number, table in enumerate(tables):
        if isinstance(table, Mapping):
            plain = {str(key): _plain(value) for key, value in table.items() if value is not None}
            name = str(plain.get("name", f"rule {number + 1}"))
            found[name if name not in found else f"{name} ({number + 1})"] = plain
    return found


def _plain(value: Any) -> Any:
    """The same whether it was read from TOML, from JSON or from a model."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: _plain(held) for key, held in value.items() if held is not None}
        case list() | tuple():
            return [_plain(held) for held in value]
    return value


def _change(key: str, before: Any, after: Any) -> KeyChange | None:
    if before == after:
        return None
    if isinstance(before, list) and isinstance(after, list):
        old, new = [inline_text(one) for one in before], [inline_text(one) for one in after]
        told = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
        return KeyChange(
            key,
            [line[2:] for line in told if line[0] == "-"],
            [line[2:] for line in told if line[0] == "+"],
        )
    return KeyChange(key, _texts(before), _texts(after))


def _texts(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    return [inline_text(one) for one in value] if isinstance(value, list) else [inline_text(value)]
