"""Tries a draft of rules on the page views that were recorded, and says what these suggest. It takes seconds
of a processor: for the command line, and for a program of its own beside a server (`rule_desk.py`)."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from ..chat.hours import OfficeHours
from ..referral.visitor import VISIT_GAP
from ..rules.dry_run import DryRun, PageView, Sampled, dry_run
from ..rules.policy import Policy
from ..rules.ruleset import RuleSet
from ..rules.simulated import Answers, Simulated
from ..rules.site_facts import vocabulary_of
from ..rules.suggestions import Suggested, suggest
from ..settings.model import Hours, Rule, Site, Week
from ..stores.ledger.books import Ledger
from ..stores.ledger.traffic import Recorded
from .inviting import unanswered
from .recorded_facts import of_record

DAY: Final = 86400.0
MOST_VIEWS: Final = 50_000
"""Page views that are tried: the newest."""

SECONDS: Final = 60.0
"""A trial ends after this time."""

USUAL_ACCEPTANCE: Final = 0.05
"""The part of invites that lead to a conversation, where fewer than `LEAST_INVITES` were shown."""

LEAST_INVITES: Final = 100

_PLACES: Final = ("page", "checkout")
"""The groups of facts that suggestions are made from."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial, and what it rests on: `recorded` page views from `since` on (unix seconds), None without any.
    `acceptance` is that of rules which have shown too few invites: `measured` at the site, or usual.
    `dismissed` is the part of invites that are dismissed, 0 where too few were shown."""

    since: float | None
    recorded: int
    acceptance: float
    measured: bool
    dismissed: float
    run: DryRun
    lines: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Advised:
    """What recorded page views suggest."""

    since: float | None
    recorded: int
    found: Suggested


@dataclass(frozen=True, slots=True)
class Shown:
    """How many invites were shown, and how many of them were accepted and dismissed."""

    shown: int = 0
    accepted: int = 0
    dismissed: int = 0

    def plus(self, other: "Shown") -> "Shown":
        """Both together."""
        return Shown(
            self.shown + other.shown, self.accepted + other.accepted, self.dismissed + other.dismissed
        )

    def part(self, count: int) -> float | None:
        """A count as a part of those shown; None of too few."""
        return count / self.shown if self.shown >= LEAST_INVITES else None


class RuleTrials:
    """Reads the sample of a site, and tries rules on it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def attempt(
        self, site: Site, rules: Sequence[Rule], now: float, days: float, seconds: float = SECONDS
    ) -> Tried:
        """Try rules of a site that were checked on the last `days`. Raises the ledger's errors."""
        rows = await self._ledger.traffic.read(site.name, now - days * DAY, MOST_VIEWS)
        shown = await shown_invites(self._ledger, site, now)
        return await asyncio.to_thread(trial_of, site, rules, rows, shown, now, seconds)

    async def advise(self, site: Site, now: float, days: float) -> Advised:
        """What the last `days` suggest. Raises the ledger's errors."""
        rows = await self._ledger.traffic.read(site.name, now - days * DAY, MOST_VIEWS)
        return await asyncio.to_thread(advice_of, site, rows, now)


def advice_of(site: Site, rows: Sequence[Recorded], now: float) -> Advised:
    """What rows suggest; it takes seconds."""
    found = suggest([*page_views(rows, site.time_zone, _PLACES)], _days(rows, now), now - VISIT_GAP)
    return Advised(_since(rows), len(rows), found)


async def shown_invites(ledger: Ledger, site: Site, now: float) -> Mapping[str, Shown]:
    """By rule how many invites were shown, and what became of them. Raises the ledger's errors."""
    window = site.invites.window_days * DAY
    found: dict[str, Shown] = {}
    for one in await ledger.exposures.count(site.name, now=now, window=window):
        if one.rule:
            before = found.get(one.rule, Shown())
            found[one.rule] = before.plus(Shown(one.rendered, one.accepted, one.dismissed))
    return found


def trial_of(
    site: Site,
    rules: Sequence[Rule],
    rows: Sequence[Recorded],
    shown: Mapping[str, Shown],
    now: float,
    seconds: float,
) -> Tried:
    """What rules come to on rows; it takes seconds."""
    zone, every = ZoneInfo(site.time_zone), Shown()
    for one in shown.values():
        every = every.plus(one)
    by_rule = {rule: one.part(one.accepted) for rule, one in shown.items()}
    acceptance = {rule: part for rule, part in by_rule.items() if part is not None}
    usual, dismissed = every.part(every.accepted), every.part(every.dismissed) or 0.0
    expected = USUAL_ACCEPTANCE if usual is None else usual

    def hours(week: Week) -> OfficeHours:
        return OfficeHours(Hours.model_validate(week), site.time_zone)

    policy = Policy(site.model_copy(update={"rules": [*rules]}), zone, hours)
    runs = {name: left for name, own in policy.own.items() if (left := own.days_left(now)) is not None}
    policy.at_any_time()
    office = OfficeHours(site.hours, site.time_zone)
    simulated = Simulated(
        policy,
        Answers(acceptance, expected, dismissed),
        lambda rule, at: unanswered(site, rule, office, at),
    )
    compiled = RuleSet(rules, vocabulary=vocabulary_of(site))
    run = dry_run(
        compiled,
        Sampled(len(rows), sum(row.weight for row in rows), page_views(rows, site.time_zone)),
        _days(rows, now),
        acceptance,
        simulated,
        usual=expected,
        runs=runs,
        holdout=site.invites.holdout,
        seconds=seconds,
    )
    return Tried(_since(rows), len(rows), expected, usual is not None, dismissed, run, compiled.lines)


def _since(rows: Sequence[Recorded]) -> float | None:
    return min((row.at for row in rows), default=None)


def _days(rows: Sequence[Recorded], now: float) -> float:
    """The days that were recorded. An hour says little of the other hours: it is at least one."""
    first = _since(rows)
    return 1.0 if first is None else max(1.0, (now - first) / DAY)


def page_views(
    rows: Sequence[Recorded], time_zone: str, groups: Collection[str] | None = None
) -> Iterator[PageView]:
    """The page views of rows that are in the order of visitors and time, with the facts of these groups, else
    all. A page was shown until the next one in the visit, or as long as it has told."""
    zone = ZoneInfo(time_zone)
    for place, row in enumerate(rows):
        after = rows[place + 1] if place + 1 < len(rows) else None
        goes_on = after is not None and (after.visitor, after.visit) == (row.visitor, row.visit)
        facts = of_record(row.facts or "{}", zone)
        shown = float(row.shown)
        if goes_on and after is not None:
            # Of the page after it the first decision comes when it is ready.
            before = float(facts.get("page", {}).get("seconds", 0))
            shown = max(shown, min(before + after.at - row.at, VISIT_GAP))
        if groups is not None:
            facts = {group: facts[group] for group in groups if group in facts}
        yield PageView(row.visitor, row.visit, row.at, shown, not goes_on, row.weight, facts)
