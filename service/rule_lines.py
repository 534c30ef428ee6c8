"""The figures of conversations of a time by rule, text, partner, agent and week. No I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from msgspec import to_builtins

from ..rules.kpis import DAYS_A_MONTH, Kpi, Staff, Whole, kpi_of
from ..rules.sums import Sums, Talked, add, by
from ..stores.ledger.totals import Weeks
from .rule_results import Read
from .site import SiteRuntime


@dataclass(frozen=True, slots=True)
class Line:
    """Figures by a name: of a rule, a text (`detail`), a partner, an agent, a week."""

    name: str
    kpi: Kpi
    detail: str = ""


def day_of(site: SiteRuntime, at: float) -> str:
    """The day of a time in the site's zone: 2026-11-27."""
    return datetime.fromtimestamp(at, site.zone).date().isoformat()


class Figures:
    """The figures of conversations of a time, by whatever is asked. `all` are all of them, `monthly` is what
    they cost a month."""

    def __init__(
        self, site: SiteRuntime, span: Weeks, now: float, read: Read, talked: Mapping[Talked, Sums]
    ) -> None:
        self._site = site
        self._costs = site.settings.costs
        self._talked = talked
        self._read = read
        self._span = span
        self._now = now
        # A week that goes on has cost as much as of it is over.
        self._staff = _staff(read.staff)
        (everything,) = by(talked, lambda one: "").values() or ({},)
        self._begun = self._first()
        self._whole = self._whole_of(everything, span.starts[0], span.end)
        self.all = Line("", kpi_of(everything, self._costs, self._whole, self._staff, everything=True))
        days = self._whole.days
        self.monthly = (self.all.kpi.cost or Decimal()) * DAYS_A_MONTH / days if days else Decimal()

    def _whole_of(self, sums: Sums, start: float, end: float) -> Whole:
        paid = min(end, self._now) - max(start, self._begun)
        days = Decimal(str(round(paid / 86400, 4)))
        capacity = self._site.settings.chat.per_agent
        return Whole(
            sums.get("talks", Decimal()), sums.get("work", Decimal()), max(Decimal(), days), capacity
        )

    def _first(self) -> float:
        """The start of the first week in which anything happened: a shop pays for no month before that."""
        for (start, end), week in zip(self._span.pairs(), self._read.weeks, strict=True):
            first, last = day_of(self._site, start), day_of(self._site, end)
            if week.talked or week.exposed or any(first <= day < last for day in self._read.staff):
                return start
        return self._span.end

    def lines(self, key: Callable[[Talked], str]) -> list[Line]:
        """By one of the names; the largest first."""
        found = [
            Line(name, kpi_of(sums, self._costs, self._whole, self._staff))
            for name, sums in by(self._talked, key).items()
        ]
        return sorted(found, key=lambda line: (-line.kpi.talks, line.name))

    def texts(self) -> list[Line]:
        """By rule and text."""
        found = _pairs(self._talked, lambda one: (one.rule, one.arm))
        return [
            Line(rule, kpi_of(sums, self._costs, self._whole, self._staff), arm)
            for (rule, arm), sums in sorted(found.items(), key=lambda one: one[0])
            if rule
        ]

    def agents(self) -> list[Line]:
        """By agent, also those who were there and had no conversation."""
        by_agent = by(self._talked, lambda one: one.agent)
        there: dict[str, Staff] = {}
        for agents in self._read.staff.values():
            for name, (seconds, places) in agents.items():
                there[name] = there.get(name, Staff()).plus(Staff(seconds, places))
        found = []
        for name in {*by_agent, *there}:
            staff = there.get(name, Staff())
            found.append(
                Line(name, kpi_of(by_agent.get(name, {}), self._costs, self._whole, staff, own_staff=True))
            )
        return sorted(found, key=lambda line: (-line.kpi.talks, line.name))

    def by_week(self) -> list[Line]:
        """By week, in the order of time; each named for its Monday."""
        found = []
        for (start, end), week in zip(self._span.pairs(), self._read.weeks, strict=True):
            (sums,) = by(week.talked, lambda one: "").values() or ({},)
            first, last = day_of(self._site, start), day_of(self._site, end)
            staff = _staff({day: one for day, one in self._read.staff.items() if first <= day < last})
            whole = self._whole_of(sums, start, end)
            found.append(Line(first, kpi_of(sums, self._costs, whole, staff, everything=True)))
        return found

    def pairs(self) -> Mapping[tuple[str, str], Sums]:
        """By agent and rule: seed E14."""
        return _pairs(self._talked, lambda one: (one.agent, one.rule))


def _pairs(
    talked: Mapping[Talked, Sums], key: Callable[[Talked], tuple[str, str]]
) -> dict[tuple[str, str], Sums]:
    found: dict[tuple[str, str], Sums] = {}
    for one, sums in talked.items():
        add(found.setdefault(key(one), {}), sums)
    return found


def _staff(days: Mapping[str, Mapping[str, tuple[float, float]]]) -> Staff:
    found = Staff()
    for agents in days.values():
        for seconds, places in agents.values():
            found = found.plus(Staff(seconds, places))
    return found


def figures_of(kpi: Kpi | None) -> Mapping[str, object]:
    """The figures of a line as plain data, amounts as text; empty without any."""
    return {} if kpi is None else to_builtins(kpi)
