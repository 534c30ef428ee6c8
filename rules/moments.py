"""When the value of a line may change with time alone.

A line changes only when one of its comparisons changes. For the usual form, a fact of time compared with a
constant (`visit.seconds >= 60 * 2`), the moment is calculated; the clock's hour, weekday and date change at
the next full hour; any other form (`clock.hour * 60 + clock.minute >= 570`) is searched by bisection, which
finds a comparison that changes once within the horizon. Each moment is only a candidate: the caller evaluates
the line at that moment.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import cel

from .checker import fact_path
from .facts import CLOCK, SECONDS, Facts
from .syntax import Node

HORIZON = 30 * 60

_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in"})
_HOURLY = frozenset({"clock.hour", "clock.weekday", "clock.date"})


@dataclass(frozen=True, slots=True)
class Turn:
    """A comparison whose value may change with time.

    `seconds` and `minute`: `fact` is compared with the value of `program`. `hour`: it may change at each full
    hour. `search`: `program` is the comparison itself.
    """

    kind: Literal["seconds", "minute", "hour", "search"]
    fact: str = ""
    program: cel.Program | None = None


def turns(line: str, tree: Node) -> tuple[Turn, ...]:
    """All comparisons of a line that may change with time; empty for a line without facts of time."""
    return tuple(_turns(line, tree))


def _turns(line: str, node: Node) -> Iterator[Turn]:
    used = _times(line, node)
    if not used:
        return
    if node.kind == "ternary" or node.value in ("!", "&&", "||"):
        for part in node.parts:
            yield from _turns(line, part)
    elif node.kind == "binary" and node.value in _COMPARISONS:
        yield _comparison(line, node, used)
    else:
        yield _search(line, node)


def _comparison(line: str, node: Node, used: set[str]) -> Turn:
    left, right = node.parts
    for fact, other in ((left, right), (right, left)):
        name = ".".join(fact_path(line, fact) or ())
        if name in SECONDS or name == "clock.minute":
            if _times(line, other):
                break
            kind: Literal["seconds", "minute"] = "seconds" if name in SECONDS else "minute"
            return Turn(kind, name, cel.compile(line[other.start : other.end]))
    return Turn("hour") if used <= _HOURLY else _search(line, node)


def _search(line: str, node: Node) -> Turn:
    return Turn("search", program=cel.compile(line[node.start : node.end]))


def _times(line: str, node: Node) -> set[str]:
    names = {
        ".".join(fact_path(line, part) or ()) for part in node.walk() if part.kind in ("select", "index")
    }
    return names & (SECONDS | CLOCK)


def candidates(
    turn: Turn, facts: Facts, context: cel.Context, later: Callable[[int], cel.Context | None]
) -> set[int]:
    """Seconds from now, within the horizon, after which the comparison may have another value.

    `later(t)` returns the context t seconds from now, or None if the caller allows no more of them.
    """
    if turn.kind == "hour":
        found = _at_minute(facts, 60.0)
    elif turn.kind == "minute":
        found = {moment for value in _compared(turn, context) for moment in _at_minute(facts, value)}
    elif turn.kind == "seconds":
        group, name = turn.fact.split(".")
        now = facts.get(group, {}).get(name)
        if not isinstance(now, int | float) or not math.isfinite(now):
            return set()
        found = {math.floor(value - now) + after for value in _compared(turn, context) for after in (0, 1)}
    else:
        found = _searched(turn, context, later)
    return {moment for moment in found if 1 <= moment <= HORIZON}


def _compared(turn: Turn, context: cel.Context) -> list[float]:
    value = _execute(turn.program, context)
    values = value if isinstance(value, list) else [value]
    # The horizon is far smaller, and larger floats would lose precision in the arithmetic.
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 2**53]


def _at_minute(facts: Facts, minute: float) -> set[int]:
    """When that minute begins, when the next one begins, and when the next hour begins."""
    clock = facts.get("clock", {})
    shown, second = clock.get("minute"), clock.get("second", 0)
    if not (isinstance(shown, int) and isinstance(second, int)):
        return set()
    passed = shown * 60 + second
    wanted = (60 * (math.floor(minute) + after) - passed for after in (0, 1))
    return {moment % 3600 for moment in wanted} | {3600 - passed}


def _searched(turn: Turn, context: cel.Context, later: Callable[[int], cel.Context | None]) -> set[int]:
    now = _execute(turn.program, context)
    low, high = 0, HORIZON
    end = later(high)
    if end is None or _execute(turn.program, end) == now:
        return set() if end is not None else {1}
    while high - low > 1:
        middle = (low + high) // 2
        between = later(middle)
        if between is None:
            return {low + 1}
        if _execute(turn.program, between) == now:
            low = middle
        else:
            high = middle
    return {high}


def _execute(program: cel.Program | None, context: cel.Context) -> Any:
    try:
        return program.execute(context) if program is not None else None
    except Exception:
        return None  # for example a missing fact: the comparison has no value, now or later
