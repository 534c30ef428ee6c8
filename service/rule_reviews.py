"""What there is to do about the rules of a site: verdicts that nobody has read, rules that get nowhere or
find no agent free, and rules at which nobody has looked for long. Features E16, E17."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..events.events import Events
from ..stores.ledger.books import Ledger
from ..stores.ledger.rule_reviews import Review
from .clock import Clock
from .judging import DAY
from .rule_reports import Report, RuleReports
from .rule_results import RuleRow
from .site import SiteRuntime

WEEKS: Final = 13
"""How far back the figures and the conversations of a review go."""

LONG: Final = 60.0
"""Days until its next look from which a rule takes places of agents and gets no verdict."""

FREE: Final = 0.8
"""The part of eligible visitors for whom there was a place; with fewer, agents are what a rule lacks."""

MOST_NAMES: Final = 10
"""Rules that an event names."""

Kind = Literal["verdict", "starving", "saturated", "stale"]


@dataclass(frozen=True, slots=True)
class Todo:
    """Something to do about a rule, as a sentence."""

    kind: Kind
    why: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A rule, who looked at it last, what there is to do, and how many of its conversations made sense, of
    how many that was said."""

    rule: str
    review: Review
    todos: Sequence[Todo]
    sensible: tuple[int, int]


class RuleReviewing:
    """The reviews of all sites' rules."""

    def __init__(self, ledger: Ledger, reports: RuleReports, events: Events, clock: Clock) -> None:
        self._ledger = ledger
        self._reports = reports
        self._events = events
        self._clock = clock
        self._told: dict[str, float] = {}

    async def of(self, site: SiteRuntime, report: Report | None) -> Sequence[Reviewed]:
        """The rules in the order in which they are asked. Raises LedgerError."""
        now = self._clock.now()
        names = [rule.name for rule in site.rules.order if rule.enabled]
        reviews = await self._ledger.rule_reviews.begin(site.name, names, now)
        marks = await self._ledger.rule_reviews.marks(site.name, now - WEEKS * 7 * DAY)
        days = site.settings.invites.review_days
        return await asyncio.to_thread(reviewed, names, reviews, marks, report, days, now)

    async def tell(self, site: SiteRuntime) -> None:
        """Once a day, report rules at which nobody has looked for long. Raises LedgerError."""
        now, days = self._clock.now(), site.settings.invites.review_days
        if not days or abs(now - self._told.get(site.name, 0.0)) < DAY:
            return
        names = [rule.name for rule in site.rules.order if rule.enabled]
        reviews = await self._ledger.rule_reviews.begin(site.name, names, now)
        self._told[site.name] = now
        if old := [name for name in names if name in reviews and is_stale(reviews[name], days, now)]:
            more = f" and {len(old) - MOST_NAMES} more" if len(old) > MOST_NAMES else ""
            said = ", ".join(old[:MOST_NAMES]) + more
            self._events.notice("rules_stale", site=site.name, key="review", rules=said, days=days)


def is_stale(review: Review, days: int, now: float) -> bool:
    """Whether nobody has looked at a rule for so many days; 0: it may be for ever."""
    return days > 0 and now - review.at >= days * DAY


def reviewed(
    names: Sequence[str],
    reviews: Mapping[str, Review],
    marks: Mapping[str, tuple[int, int]],
    report: Report | None,
    days: int,
    now: float,
) -> Sequence[Reviewed]:
    """What there is to do about rules; without a report only what needs no figures."""
    rows = {} if report is None else {row.rule: row for row in report.rules}
    found = []
    for name in names:
        review = reviews.get(name) or Review(now, "")
        todos = [] if report is None or name not in rows else list(_of_figures(rows[name], review, report))
        if is_stale(review, days, now):
            gone = int((now - review.at) // DAY)
            todos.append(Todo("stale", f"Nobody has looked at it for {gone} days."))
        found.append(Reviewed(name, review, todos, marks.get(name, (0, 0))))
    return found


def _of_figures(row: RuleRow, review: Review, report: Report) -> Sequence[Todo]:
    """What the figures of a rule ask for."""
    if row.ended is not None:
        return []
    found, verdict = [], row.verdict
    if row.looks and row.looks[-1].at > review.at and verdict.word != "too early":
        found.append(Todo("verdict", f"There is a verdict since the last review: {verdict.word}."))
    began = report.made_at if row.began is None else row.began
    lived = (report.made_at - began) / DAY
    if verdict.next_look is not None and lived >= 7:
        if not verdict.now.n:
            found.append(Todo("starving", f"In {lived:.0f} days no conversation of it could be counted."))
        elif (left := (verdict.next_look - verdict.now.n) / verdict.now.n * lived) > LONG:
            found.append(
                Todo("starving", f"At this rate its next look is {left:.0f} days away: it gets no verdict.")
            )
    eligible = assigned = 0
    for key, sums in report.exposed.items():
        if key.rule == row.rule and key.edition == row.edition:
            eligible += int(sums.get("eligible", 0))
            assigned += int(sums.get("assigned", 0))
    if eligible >= 50 and assigned < FREE * eligible:
        found.append(
            Todo("saturated", f"For {eligible - assigned} of {eligible} visitors no agent had a place.")
        )
    return found
