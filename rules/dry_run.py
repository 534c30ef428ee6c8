"""Tries rules on recorded page views: how often each would match, what is in its way, and how long it would
take to a verdict. No I/O."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from msgspec import Struct

from ..settings.model import Rule
from .facts import Facts
from .ruleset import RuleSet
from .simulated import Outcome, Simulated

CONVERSATIONS: Final = 100
"""The first look at a rule: so many conversations."""

LONG_DAYS: Final = 60.0
"""A rule that needs longer to its first look does not have enough traffic."""


class PageView(Struct, frozen=True):
    """A recorded page view. `shown` is for how many seconds the page was shown, as far as is known, `left`:
    none followed in the visit, and `weight` how many page views it stands for. `facts` are those of its first
    decision."""

    visitor: str
    visit: int
    at: float
    shown: float
    left: bool
    weight: float
    facts: Facts

    @property
    def within(self) -> float:
        """Seconds that the page was shown after the facts were taken."""
        seconds = self.facts.get("page", {}).get("seconds", 0)
        return max(0.0, self.shown - float(seconds))


class Sampled(Struct, frozen=True):
    """Recorded page views, of each visitor in their order: how many, how many they stand for, and each once,
    so that the facts of all of them need not be in memory."""

    count: int
    weight: float
    views: Iterable[PageView]

    @classmethod
    def of(cls, views: Sequence[PageView]) -> "Sampled":
        """Page views that are all there."""
        return cls(len(views), sum(view.weight for view in views), views)


@dataclass(slots=True)
class _Tally:
    rule: Rule
    views: float = 0.0
    visits: float = 0.0
    won: float = 0.0
    won_visits: float = 0.0
    behind: dict[str, float] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    blocked: dict[int, float] = field(default_factory=dict)
    last: tuple[str, int] | None = None
    last_won: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule would come to; all counts are a day.

    `matches` are page views on which all its lines become true, `visits` those in which that happens. `wins`
    are the page views on which it acts, `behind` has those on which another one does, by its name, and `held`
    those on which the policy keeps it back, by the setting that does (`Refusal.by`).
    `blocking` is the line (its index) that is first in the way most often, on a part `blocking_share` of the
    page views without a match; None if there is none. `asked` are the facts of its lines, `unknown` those of
    them that were known on no page view. `signals` are those that it waits for in the browser, which are
    taken to come. `invited` are the visits in which it would invite, `conversations` those that would come of
    it, `days` until there are `CONVERSATIONS`: None for rules that invite nobody, or where none would come.
    `runs` are the days for which the rule runs from now on, by its `starts` and `ends`: None without end.
    """

    rule: str
    matches: float
    visits: float
    wins: float
    behind: Mapping[str, float]
    held: Mapping[str, float]
    blocking: int | None
    blocking_share: float
    asked: tuple[str, ...]
    unknown: tuple[str, ...]
    signals: tuple[str, ...]
    acceptance: float | None
    invited: float | None
    conversations: float | None
    days: float | None
    runs: float | None

    @property
    def too_slow(self) -> bool:
        """Whether there is not enough traffic for a verdict."""
        return self.conversations is not None and (self.days is None or self.days > LONG_DAYS)

    @property
    def too_short(self) -> bool:
        """Whether the rule ends before there is a verdict."""
        return self.runs is not None and self.days is not None and self.days > self.runs


@dataclass(frozen=True, slots=True)
class DryRun:
    """The rules in the order in which they are asked, over `views` recorded page views of which `tried` were
    tried in the time, and `page_views` a day that they stand for, over `days`."""

    days: float
    views: int
    tried: int
    page_views: float
    trials: tuple[Trial, ...]


def dry_run(
    rules: RuleSet,
    sampled: Sampled,
    days: float,
    acceptance: Mapping[str, float],
    policy: Simulated,
    *,
    usual: float,
    runs: Mapping[str, float] = {},
    holdout: float = 0.0,
    seconds: float = 30.0,
) -> DryRun:
    """Try rules on page views that were recorded in so many `days`.

    `acceptance` is the part of invites of a rule that lead to a conversation, `usual` that of others;
    `policy` is how the site treats its visitors, `runs` for how many days more rules that end will run,
    `holdout` the percentage of visitors who get no invite. It takes time linear in page views × rules, and
    ends after so many `seconds` with whole visitors, whose figures then stand for all.
    """
    tallies = {rule.name: _Tally(rule) for rule in rules.order if rule.enabled}
    asked = {name: rules.asked[name] for name in tallies}
    unknown: Set[str] = frozenset().union(*asked.values())
    until, tried, weight = monotonic() + seconds, 0, 0.0
    before = ""
    for view in sampled.views:
        if view.visitor != before and monotonic() > until:
            break
        before = view.visitor
        tried += 1
        weight += view.weight
        unknown = {name for name in unknown if _is_unknown(view.facts, name)}
        _try(rules, policy, view, tallies)
    total = sampled.weight
    # Of those that were not tried as much is expected.
    scale = total / weight / days if weight else 0.0
    invited = 1 - holdout / 100
    trials = tuple(
        _trial(one, weight, scale, asked[name], unknown, acceptance.get(name, usual), invited, runs.get(name))
        for name, one in tallies.items()
    )
    return DryRun(days, sampled.count, tried, total / days if days else 0.0, trials)


def _is_unknown(facts: Facts, name: str) -> bool:
    group, _, fact = name.partition(".")
    return fact not in facts.get(group, {})


def _try(rules: RuleSet, policy: Simulated, view: PageView, tallies: Mapping[str, _Tally]) -> None:
    """Count one page view for all rules."""
    visit = (view.visitor, view.visit)
    matched: list[tuple[float, Rule]] = []
    for one in rules.reach(view.facts, view.within):
        tally = tallies[one.rule.name]
        if one.after is None:
            assert one.failed is not None
            tally.blocked[one.failed] = tally.blocked.get(one.failed, 0.0) + view.weight
            continue
        tally.views += view.weight
        if tally.last != visit:
            tally.visits += view.weight
            tally.last = visit
        matched.append((one.after, one.rule))
    for outcome in policy.view(view.visitor, view.visit, view.at, view.within, view.facts, matched):
        _count(tallies[outcome.rule.name], outcome, view.weight, visit)


def _count(tally: _Tally, outcome: Outcome, weight: float, visit: tuple[str, int]) -> None:
    if outcome.behind:
        tally.behind[outcome.behind] = tally.behind.get(outcome.behind, 0.0) + weight
    elif outcome.held:
        tally.held[outcome.held] = tally.held.get(outcome.held, 0.0) + weight
    else:
        tally.won += weight
        if tally.last_won != visit:
            tally.won_visits += weight
            tally.last_won = visit


def _trial(
    tally: _Tally,
    weight: float,
    scale: float,
    asked: frozenset[str],
    unknown: Set[str],
    acceptance: float,
    invited: float,
    runs: float | None,
) -> Trial:
    line, lost = max(tally.blocked.items(), key=lambda one: (one[1], -one[0]), default=(None, 0.0))
    rule, missed = tally.rule, weight - tally.views
    given = talks = days = None
    if rule.invites:
        given = tally.won_visits * scale * invited * (1 - rule.no_invite / 100)
        talks = given * acceptance
        days = CONVERSATIONS / talks if talks > 0 else None
    return Trial(
        rule=rule.name,
        matches=tally.views * scale,
        visits=tally.visits * scale,
        wins=tally.won * scale,
        behind=_most_first(tally.behind, scale),
        held=_most_first(tally.held, scale),
        blocking=line,
        blocking_share=lost / missed if line is not None and missed > 0 else 0.0,
        asked=tuple(sorted(asked)),
        unknown=tuple(sorted(asked & unknown)),
        signals=tuple(rule.on),
        acceptance=acceptance if rule.invites else None,
        invited=given,
        conversations=talks,
        days=days,
        runs=runs,
    )


def _most_first(counts: Mapping[str, float], scale: float) -> dict[str, float]:
    return {name: count * scale for name, count in sorted(counts.items(), key=lambda one: -one[1])}
