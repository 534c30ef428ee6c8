"""The facts of a decision by group, gathered when they are asked for, and how they change with time."""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from .fact_table import FACTS, WEEKDAYS, Cost, Fact, FactType, Vocabulary

__all__ = [
    "ALL",
    "CLOCK",
    "FACTS",
    "GROUPS",
    "RULE_FACTS",
    "SECONDS",
    "WEEKDAYS",
    "Cost",
    "Each",
    "Fact",
    "FactType",
    "Facts",
    "LazyFacts",
    "Sources",
    "Vocabulary",
    "advance",
]

RULE_FACTS = Vocabulary(FACTS)
"""What the conditions of rules can use."""

GROUPS: tuple[str, ...] = RULE_FACTS.groups

ALL: Mapping[str, frozenset[str]] = {
    group: frozenset(fact.name.partition(".")[2] for fact in FACTS if fact.name.startswith(f"{group}."))
    for group in GROUPS
}
"""The names of all facts by group."""

# The facts that change with time and that rules can wait for. `touch.age_days` changes too, but no page stays
# open that long.
SECONDS = frozenset(fact.name for fact in FACTS if fact.unit == "seconds")
_AGES: Mapping[str, tuple[str, ...]] = {
    group: names
    for group in GROUPS
    if (names := tuple(name.partition(".")[2] for name in sorted(SECONDS) if name.startswith(f"{group}.")))
}
CLOCK = frozenset({f"clock.{name}" for name in ("hour", "minute", "weekday", "date", "day", "month", "year")})

Facts = Mapping[str, Mapping[str, Any]]


Sources = Mapping[str, Callable[[Any], Mapping[str, Any]]]
"""What makes each group of facts, without what is not known."""


class Each(dict[str, Any]):
    """The facts of a group of which each is found when somebody first asks for it by `get`: some cost much.
    `finders` find them in `about`; None is a fact that is not known."""

    def __init__(self, finders: Mapping[str, Callable[[Any], Any]], about: Any) -> None:
        super().__init__()
        self._finders = finders
        self._about = about

    def __bool__(self) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """The fact, or `default`."""
        if name in self:
            found = self[name]
        else:
            finder = self._finders.get(name)
            found = self[name] = None if finder is None else finder(self._about)
        return default if found is None else found


class LazyFacts(dict[str, Mapping[str, Any]]):
    """Facts of which a group is gathered when somebody first asks for it by `[]`: most rules end at their
    first line. `sources` make these `groups` out of `about`; any other group is empty."""

    def __init__(self, sources: Sources, about: Any, groups: Collection[str]) -> None:
        super().__init__()
        self._sources = sources
        self._about = about
        self._groups = groups

    @classmethod
    def of(cls, facts: Facts) -> "LazyFacts":
        """These facts."""
        lazy = cls({}, None, ())
        lazy.update((group, known) for group, known in facts.items() if known)
        return lazy

    def __missing__(self, group: str) -> Mapping[str, Any]:
        found = self[group] = self._sources[group](self._about) if group in self._groups else {}
        return found

    def complete(self) -> Facts:
        """The facts of all groups."""
        for group in self._groups:
            self[group]
        return self


def advance(facts: Facts, seconds: int) -> dict[str, Mapping[str, Any]]:
    """The facts `seconds` later if nothing changes but time.

    No rule can use `clock.at` (unix seconds) and `clock.zone`, but with them the clock is right also in a
    night in which daylight saving time begins or ends. Without them it is advanced as a wall clock, and
    without `clock.second` the minute is assumed to have just begun, so that a rule acts late rather than too
    early.
    """
    later: dict[str, Mapping[str, Any]] = dict(facts)
    for group, names in _AGES.items():
        known = facts.get(group, {})
        moved = {name: known[name] + seconds for name in names if isinstance(known.get(name), int | float)}
        if moved:
            later[group] = {**known, **moved}
    later["clock"] = _advance_clock(facts.get("clock", {}), seconds)
    return later


def _advance_clock(clock: Mapping[str, Any], seconds: int) -> Mapping[str, Any]:
    if (moment := moment_of(clock, seconds)) is None:
        return clock
    later = {
        "hour": moment.hour,
        "minute": moment.minute,
        "second": moment.second,
        "weekday": WEEKDAYS[moment.weekday()],
        "date": moment.date().isoformat(),
        "day": moment.day,
        "month": moment.month,
        "year": moment.year,
    }
    if "at" in clock:
        later["at"] = clock["at"] + seconds
    # Whether a later day is a holiday is not known here.
    return {**clock, **{name: later[name] for name in clock if name in later}}


def moment_of(clock: Mapping[str, Any], seconds: float) -> datetime | None:
    """The local time so many seconds later, by the facts of the clock; None if they do not tell."""
    try:
        if "at" in clock:
            return datetime.fromtimestamp(clock["at"] + seconds, clock["zone"])
        today = date.fromisoformat(clock["date"])
        moment = datetime.combine(today, time(clock["hour"], clock["minute"], clock.get("second", 0)))
        return moment + timedelta(seconds=seconds)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
