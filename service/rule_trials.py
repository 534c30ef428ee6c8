"""Tries a draft of rules on the page views that were recorded, and says what these suggest. It takes seconds,
so it is for the command line."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from ..referral.visitor import VISIT_GAP
from ..rules.dry_run import DryRun, PageView, dry_run
from ..rules.ruleset import RuleSet
from ..rules.site_facts import vocabulary_of
from ..rules.suggestions import Suggested, suggest
from ..settings.model import Rule, Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.traffic import Recorded
from .recorded_facts import of_record

DAY: Final = 86400.0
MOST_VIEWS: Final = 50_000
"""Page views that are tried: the newest."""

SECONDS: Final = 60.0
"""A trial ends after this time."""

USUAL_ACCEPTANCE: Final = 0.05
"""The part of invites that lead to a conversation, where fewer than `LEAST_INVITES` were shown."""

LEAST_INVITES: Final = 100


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial, and what it rests on: `recorded` page views from `since` on (unix seconds), None without any.
    `acceptance` is that of rules which have shown too few invites: `measured` at the site, or usual."""

    since: float | None
    recorded: int
    acceptance: float
    measured: bool
    run: DryRun
    lines: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Advised:
    """What recorded page views suggest."""

    since: float | None
    recorded: int
    found: Suggested


class RuleTrials:
    """Reads the sample of a site, and tries rules on it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def attempt(
        self, site: Site, rules: Sequence[Rule], now: float, days: float, seconds: float = SECONDS
    ) -> Tried:
        """Try rules of a site that were checked on the last `days`. Raises the ledger's errors."""
        rows = await self._ledger.traffic.read(site.name, now - days * DAY, MOST_VIEWS)
        by_rule, usual = await self._acceptance(site, now)
        holdout = site.invites.holdout
        compiled = RuleSet(rules, vocabulary=vocabulary_of(site))

        def work() -> DryRun:
            views = page_views(rows, site.time_zone)
            return dry_run(
                compiled,
                views,
                _days(rows, now),
                by_rule,
                usual=USUAL_ACCEPTANCE if usual is None else usual,
                holdout=holdout,
                seconds=seconds,
            )

        run = await asyncio.to_thread(work)
        acceptance = USUAL_ACCEPTANCE if usual is None else usual
        return Tried(_since(rows), len(rows), acceptance, usual is not None, run, compiled.lines)

    async def advise(self, site: Site, now: float, days: float) -> Advised:
        """What the last `days` suggest. Raises the ledger's errors."""
        rows = await self._ledger.traffic.read(site.name, now - days * DAY, MOST_VIEWS)

        def work() -> Suggested:
            return suggest(page_views(rows, site.time_zone), _days(rows, now), now - VISIT_GAP)

        return Advised(_since(rows), len(rows), await asyncio.to_thread(work))

    async def _acceptance(self, site: Site, now: float) -> tuple[Mapping[str, float], float | None]:
        """The part of shown invites that were accepted, by rule and at the site; without too few."""
        window = site.invites.window_days * DAY
        counts = await self._ledger.exposures.count(site.name, now=now, window=window)
        shown: dict[str, list[int]] = {}
        for one in counts:
            if one.rule:
                own = shown.setdefault(one.rule, [0, 0])
                own[0] += one.rendered
                own[1] += one.accepted
        parts = {rule: _part(taken, seen) for rule, (seen, taken) in shown.items()}
        every = _part(sum(own[1] for own in shown.values()), sum(own[0] for own in shown.values()))
        return {rule: part for rule, part in parts.items() if part is not None}, every


def _part(taken: int, shown: int) -> float | None:
    return taken / shown if shown >= LEAST_INVITES else None


def _since(rows: Sequence[Recorded]) -> float | None:
    return min((row.at for row in rows), default=None)


def _days(rows: Sequence[Recorded], now: float) -> float:
    """The days that were recorded. An hour says little of the other hours: it is at least one."""
    first = _since(rows)
    return 1.0 if first is None else max(1.0, (now - first) / DAY)


def page_views(rows: Sequence[Recorded], time_zone: str) -> list[PageView]:
    """The page views of rows that are in the order of visitors and time. A page was shown until the next one
    in the visit, or as long as it has told."""
    zone, found = ZoneInfo(time_zone), []
    for place, row in enumerate(rows):
        after = rows[place + 1] if place + 1 < len(rows) else None
        goes_on = after is not None and (after.visitor, after.visit) == (row.visitor, row.visit)
        facts = of_record(row.facts or "{}", zone)
        shown = float(row.shown)
        if goes_on and after is not None:
            # Of the page after it the first decision comes when it is ready.
            before = float(facts.get("page", {}).get("seconds", 0))
            shown = max(shown, min(before + after.at - row.at, VISIT_GAP))
        found.append(PageView(row.visitor, row.visit, row.at, shown, not goes_on, row.weight, facts))
    return found
