"""`within_last(fact, "7d")`: whether something was not longer ago.

It stands for a comparison of a fact that the visitor's record has: an age in seconds or days, or an event,
which is counted over some windows. The comparison takes its place when a line is compiled.
"""

import re
from typing import Final

from ..settings.addresses import PatternError
from .fact_table import WINDOWS, Vocabulary, window_of
from .reading import constant, fact_path
from .syntax import Node, parse

NAME: Final = "within_last"
_LENGTH: Final = re.compile(r"([1-9]\d{0,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXAMPLE: Final = 'write for example within_last(touch.age_days, "7d") or within_last(events.search, "1h")'


def comparison(line: str, node: Node, vocabulary: Vocabulary) -> str:
    """The comparison that a call stands for. Raises PatternError."""
    path = fact_path(line, node.parts[0]) if len(node.parts) == 2 else None
    if path is None:
        raise PatternError(f"`{NAME}` needs a fact and a length of time", _EXAMPLE)
    name = ".".join(path)
    fact = vocabulary.by_name.get(name)
    if fact is None:
        raise PatternError(f"unknown fact `{name}`", _EXAMPLE)
    seconds = _seconds(line, node.parts[1])
    if not seconds:
        raise PatternError("a length of time of 0 has nothing in it", _EXAMPLE)
    if path[0] == "events" and window_of(path[1])[1] is None:
        ending = next((ending for ending, window in WINDOWS.items() if window == seconds), None)
        if ending is None or f"{name}{ending}" not in vocabulary.by_name:
            raise PatternError("events are counted over 10m, 1h, 24h and 30d", "write one of these")
        return f"({name}{ending} > 0)"
    if fact.type != "int" or fact.unit not in ("seconds", "days"):
        raise PatternError(f"`{name}` is no age in seconds or days, and no event", _EXAMPLE)
    if fact.unit == "seconds":
        return f"({name} <= {seconds})"
    if seconds % 86400:
        raise PatternError(f"`{name}` is counted in full days", 'write full days, such as "1d" or "7d"')
    # What was 6.9 days ago was so within the last 7 days, what was 7.1 days ago was not.
    return f"({name} < {seconds // 86400})"


def expanded(line: str, tree: Node, vocabulary: Vocabulary) -> tuple[str, Node]:
    """The line with these comparisons, and its tree."""
    calls = [node for node in tree.walk() if node.kind == "call" and node.value == NAME]
    if not calls:
        return line, tree
    text = line
    for node in sorted(calls, key=lambda node: -node.start):
        text = f"{text[: node.start]}{comparison(line, node, vocabulary)}{text[node.end :]}"
    return text, parse(text)


def _seconds(line: str, node: Node) -> int:
    if node.kind == "int" and not node.value.startswith("-"):
        return int(constant(line, node))
    found = _LENGTH.fullmatch(constant(line, node)) if node.kind == "string" else None
    if found is None:
        raise PatternError('the length of time is seconds, or such as "90s", "1h" or "7d"', _EXAMPLE)
    return int(found[1]) * _UNITS[found[2]]
