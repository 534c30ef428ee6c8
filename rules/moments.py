"""When the value of a line may change with time alone.

A line changes only when one of its comparisons changes. For the usual form, a fact of time compared with a
constant (`visit.seconds >= 60 * 2`), the moment is calculated; the clock's hour, weekday and date change at
the next full hour; any other form (`clock.hour * 60 + clock.minute >= 570`) is searched by bisection, which
finds a comparison that changes once within the horizon. Each moment is only a candidate: the caller evaluates
the line at that moment.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import cel

from .facts import CLOCK, SECONDS, Facts, moment_of
from .reading import constant, fact_path
from .syntax import Node

HORIZON = 30 * 60

_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in"})
_HOURLY = CLOCK - {"clock.minute"}


@dataclass(frozen=True, slots=True)
class Turn:
    """A comparison whose value may change with time.

    `seconds` and `minute`: `fact` is compared with the value of `program`, or with `values` if that is a
    constant. `hour`: it may change at each full hour. `search`: `program` is the comparison itself.
    """

    kind: Literal["seconds", "minute", "hour", "search"]
    fact: str = ""
    program: cel.Program | None = None
    values: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """A comparison that time alone makes true: `group.name` is at least `seconds`."""

    group: str
    name: str
    seconds: int


def wait_of(line: str, tree: Node) -> Wait | None:
    """What a line waits for, if it is one comparison such as `visit.seconds >= 90`."""
    if tree.kind != "binary" or tree.value not in ("<", "<=", ">", ">="):
        return None
    fact, other = tree.parts if tree.value.startswith(">") else reversed(tree.parts)
    name = ".".join(fact_path(line, fact) or ())
    if name not in SECONDS or any(part.kind == "name" for part in other.walk()):
        return None
    value = constant(line, other)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        return None
    group, _, held = name.partition(".")
    # More than 90 is at least 91, and more than 90.5 too.
    return Wait(group, held, math.ceil(value) if tree.value in ("<=", ">=") else math.floor(value) + 1)


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
            if any(part.kind == "name" for part in other.walk()):
                return Turn(kind, name, cel.compile(line[other.start : other.end]))
            return Turn(kind, name, values=tuple(_numbers(constant(line, other))))
    return Turn("hour") if used <= _HOURLY else _search(line, node)


def _search(line: str, node: Node) -> Turn:
    return Turn("search", program=cel.compile(line[node.start : node.end]))


def _times(line: str, node: Node) -> set[str]:
    names = {
        ".".join(fact_path(line, part) or ()) for part in node.walk() if part.kind in ("select", "index")
    }
    return names & (SECONDS | CLOCK)


def candidates(turn: Turn, facts: Facts, later: Callable[[int], cel.Context | None]) -> set[int]:
    """Seconds from now, within the horizon, after which the comparison may have another value.

    `later(t)` returns the context t seconds from now, or None if the caller allows no more of them; that of
    now, `later(0)`, it always returns.
    """
    if turn.kind == "hour":
        found = _at_minute(facts, 60.0)
    elif turn.kind == "minute":
        found = {moment for value in _compared(turn, later) for moment in _at_minute(facts, value)}
    elif turn.kind == "seconds":
        group, name = turn.fact.split(".")
        now = facts.get(group, {}).get(name)
        if not isinstance(now, int | float) or not math.isfinite(now):
            return set()
        found = {math.floor(value - now) + after for value in _compared(turn, later) for after in (0, 1)}
    else:
        found = _searched(turn, later)
    if turn.kind != "seconds" and (shift := _shift(facts.get("clock", {}))) is not None:
        # The minutes after it are others than were counted on.
        found |= {shift, *(range(*_minutes(facts["clock"], shift)))}
    return {moment for moment in found if 1 <= moment <= HORIZON}


def _shift(clock: Mapping[str, Any]) -> int | None:
    """In how many seconds daylight saving time begins or ends, if it is within the horizon."""

    def offset(seconds: int) -> timedelta | None:
        moment = moment_of(clock, seconds)
        return None if moment is None else moment.utcoffset()

    low, high = 0, HORIZON
    now = offset(low)
    if now is None or offset(high) == now:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == now else (low, middle)
    return high


def _minutes(clock: Mapping[str, Any], since: int) -> tuple[int, int, int]:
    """The range of the seconds at which minutes begin after that."""
    moment = moment_of(clock, since)
    assert moment is not None
    return since + (60 - moment.second) % 60, HORIZON + 1, 60


def _compared(turn: Turn, later: Callable[[int], cel.Context | None]) -> Sequence[float]:
    return _numbers(_execute(turn.program, later(0))) if turn.values is None else turn.values


def _numbers(value: Any) -> list[float]:
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


def _searched(turn: Turn, later: Callable[[int], cel.Context | None]) -> set[int]:
    now = _execute(turn.program, later(0))
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


def _execute(program: cel.Program | None, context: Any) -> Any:
    try:
        return program.execute(context) if program is not None else None
    except Exception:
        return None  # for example a missing fact: the comparison has no value, now or later
