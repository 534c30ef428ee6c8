"""The report on the rules of a site: verdicts, texts, the lift of the hold-out, and the figures of
conversations. Made in the background, however long it takes, and kept for minutes."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ..events.events import Events
from ..rules.sums import Experimented, Sums, added
from ..stores.ledger.books import Ledger
from ..stores.ledger.rule_figures import BestTalk
from ..stores.ledger.rule_looks import Crowd, Look, Unit
from ..stores.ledger.totals import MOST_WEEKS, Weeks
from .clock import Clock
from .judging import DAY, family, is_over, looks_of, talks_of_network
from .rule_lines import Figures, Line, day_of, figures_of
from .rule_results import (
    Acceptance,
    Guard,
    LiftRow,
    Read,
    RuleRow,
    TextTest,
    acceptance,
    experiment_of,
    freezable,
    guards,
    lift_row,
    rule_rows,
    text_test,
)
from .site import SiteRuntime

FRESH: Final = 120.0
"""How long a report is taken as it is, in seconds."""

LIVE: Final = 10.0
"""The same of the report on the week that goes on."""

WAIT: Final = 0.7
"""How long a page waits for a report; one that takes longer is there the next time."""

KEPT: Final = 200
MOST_TALKS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Report:
    """All of it, of some weeks of a site. `order` is the average of all orders of the site, by currency.
    `costs`: they are in the settings, in this `currency`; `monthly` is what the site's conversations cost a
    month. `best` are conversations to learn from."""

    site: str
    weeks: int
    made_at: float
    all: Line
    by_rule: Sequence[Line]
    by_text: Sequence[Line]
    by_partner: Sequence[Line]
    by_agent: Sequence[Line]
    by_week: Sequence[Line]
    pairs: Mapping[tuple[str, str], Sums]
    rules: Sequence[RuleRow]
    texts: Sequence[TextTest]
    lift: LiftRow
    guards: Sequence[Guard]
    acceptance: Sequence[Acceptance]
    exposed: Mapping[Experimented, Sums]
    order: Mapping[str, Decimal]
    costs: bool
    currency: str
    monthly: Decimal
    best: Sequence[BestTalk]
    window_days: int


class RuleReports:
    """The reports of all sites. `later` runs work in the background."""

    def __init__(
        self,
        ledger: Ledger,
        events: Events,
        clock: Clock,
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._later = later
        self._kept: dict[tuple[str, int], Report] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[Report | None]] = {}

    async def of(self, site: SiteRuntime, weeks: int, wait: float = WAIT) -> Report | None:
        """The report of the last weeks: at most FRESH seconds old if it can be made within `wait` seconds,
        else the one before, else None; then it is being made. Raises the ledger's errors."""
        key, now = (site.name, weeks), self._clock.now()
        kept = self._kept.get(key)
        if kept is not None and abs(now - kept.made_at) < (LIVE if weeks == 1 else FRESH):
            return kept
        made = self._under_way.get(key)
        if made is None:
            made = self._under_way[key] = asyncio.get_running_loop().create_future()
            self._later(self._make(site, weeks, made))
        done, _ = await asyncio.wait({made}, timeout=wait)
        return made.result() if done else kept

    async def _make(self, site: SiteRuntime, weeks: int, made: "asyncio.Future[Report | None]") -> None:
        key = (site.name, weeks)
        try:
            found = await self.build(site, weeks)
        except Exception as error:
            self._events.failed(error, site=site.name, where="rule report")
            made.set_exception(error)
            # Nobody may be waiting any more.
            made.exception()
        else:
            self._kept.pop(key, None)
            self._kept[key] = found
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
            made.set_result(found)
        finally:
            self._under_way.pop(key, None)

    async def build(self, site: SiteRuntime, weeks: int) -> Report:
        """Read and make it now, which may take many seconds. Raises the ledger's errors."""
        now = self._clock.now()
        span = Weeks.until(now, weeks, site.zone)
        read = await self._read(site, span, now)
        return await asyncio.to_thread(made_of, site, span, now, read)

    async def freeze(self, site: SiteRuntime) -> None:
        """Keep the figures of rules that have ended, as they are once all of their conversations are ripe.
        What is kept stays. Raises the ledger's errors."""
        now = self._clock.now()
        there = await self._ledger.rule_looks.ended(site.name)
        over = {
            rule.name: experiment_of(site, rule).version for rule in family(site) if is_over(site, rule, now)
        }
        new = {name for name, version in over.items() if (name, version) not in there}
        if not new:
            return
        found = await self.build(site, MOST_WEEKS)
        lines = {line.name: line.kpi for line in found.by_rule}
        for row in found.rules:
            if row.rule in new:
                kept = {**freezable(row), "figures": figures_of(lines.get(row.rule))}
                await self._ledger.rule_looks.end(site.name, row.rule, row.edition, now, kept)

    async def _read(self, site: SiteRuntime, span: Weeks, now: float) -> Read:
        books, window = self._ledger, site.settings.invites.window_days * DAY
        pairs = list(span.pairs())
        weeks = [await books.rule_figures.of(site.name, [one], now, window) for one in pairs]
        looks = await books.rule_looks.of(site.name)
        units, began, crowds = await self._units(site, looks, now)
        staff = await books.desk_days.of(site.name, day_of(site, span.starts[0]), day_of(site, span.end))
        totals = await books.totals.of([site.name], span, now)
        spent: dict[str, Decimal] = {}
        orders: dict[str, int] = {}
        for one in totals:
            spent[one.currency] = spent.get(one.currency, Decimal()) + one.revenue
            orders[one.currency] = orders.get(one.currency, 0) + one.main
        order = {name: value / orders[name] for name, value in spent.items() if name and orders[name]}
        ended = await books.rule_looks.ended(site.name)
        best = await books.rule_figures.best(site.name, span.starts[0], span.end, window)
        return Read(weeks, looks, units, began, ended, staff, order, best, crowds)

    async def _units(
        self, site: SiteRuntime, looks: Sequence[Look], now: float
    ) -> tuple[Mapping[str, Sequence[Unit]], Mapping[str, float | None], Mapping[str, tuple[Crowd, Crowd]]]:
        """Of each rule the conversations that came to an end since its last look, when its edition began, and
        from how many networks its conversations and visitors came."""
        books, window = self._ledger.rule_looks, site.settings.invites.window_days * DAY
        units, began, crowds = {}, {}, {}
        for rule in family(site):
            key = (site.name, rule.name, experiment_of(site, rule).version)
            mine = looks_of(looks, "rule", rule.name, key[2])
            began[rule.name] = await books.began(*key)
            if began[rule.name] is not None:
                units[rule.name] = await books.talks(
                    *key,
                    goal=rule.goal,
                    after=mine[-1].until if mine else 0.0,
                    ripe=now - window,
                    window=window,
                    limit=MOST_TALKS,
                    of_network=talks_of_network(len(mine)),
                )
                crowds[rule.name] = await books.crowds(*key)
        return units, began, crowds


def made_of(site: SiteRuntime, span: Weeks, now: float, read: Read) -> Report:
    """The report. Takes up to some tenths of a second, and loads numpy and scipy."""
    whole = added(read.weeks)
    figures = Figures(site, span, now, read, whole.talked)
    return Report(
        site=site.name,
        weeks=len(span.starts),
        made_at=now,
        all=figures.all,
        by_rule=figures.lines(lambda one: one.rule),
        by_text=figures.texts(),
        by_partner=figures.lines(lambda one: one.partner),
        by_agent=figures.agents(),
        by_week=figures.by_week(),
        pairs=figures.pairs(),
        rules=rule_rows(site, read, whole.talked),
        texts=[text_test(site, rule, read, whole.exposed) for rule in family(site) if len(rule.variants) > 1],
        lift=lift_row(site, read, whole.exposed),
        guards=guards(site, whole.exposed),
        acceptance=acceptance(whole.exposed),
        exposed=whole.exposed,
        order=read.order,
        costs=figures.all.kpi.cost is not None,
        currency=site.settings.costs.currency,
        monthly=figures.monthly,
        best=read.best,
        window_days=site.settings.invites.window_days,
    )
