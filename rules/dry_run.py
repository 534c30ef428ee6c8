"""Tries rules on recorded page views: how often each would match, what is in its way, and how long it would
take to a verdict. No I/O."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from msgspec import Struct

from ..settings.model import Rule
from .facts import Facts
from .ruleset import Reach, RuleSet

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


@dataclass(slots=True)
class _Tally:
    rule: Rule
    views: float = 0.0
    visits: float = 0.0
    won: float = 0.0
    won_visits: float = 0.0
    behind: dict[str, float] = field(default_factory=dict)
    blocked: dict[int, float] = field(default_factory=dict)
    last: tuple[str, int] | None = None
    last_won: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule would come to; all counts are a day.

    `matches` are page views on which all its lines become true, `visits` those in which that happens. `wins`
    are the page views on which no other rule comes first, `behind` has the others by the rule that does.
    `blocking` is the line (its index) that is first in the way most often, on a part `blocking_share` of the
    page views without a match; None if there is none. `asked` are the facts of its lines, `unknown` those of
    them that were known on no page view. `signals` are those that it waits for in the browser, which are
    taken to come. `invited` are the visits in which it would invite, `conversations` those that would come of
    it, `days` until there are `CONVERSATIONS`: None for rules that invite nobody, or where none would come.
    """

    rule: str
    matches: float
    visits: float
    wins: float
    behind: Mapping[str, float]
    blocking: int | None
    blocking_share: float
    asked: tuple[str, ...]
    unknown: tuple[str, ...]
    signals: tuple[str, ...]
    acceptance: float | None
    invited: float | None
    conversations: float | None
    days: float | None

    @property
    def too_slow(self) -> bool:
        """Whether there is not enough traffic for a verdict."""
        return self.conversations is not None and (self.days is None or self.days > LONG_DAYS)


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
    views: Sequence[PageView],
    days: float,
    acceptance: Mapping[str, float],
    *,
    usual: float,
    holdout: float = 0.0,
    seconds: float = 30.0,
) -> DryRun:
    """Try rules on page views, of each visitor in their order, that were recorded in so many `days`.

    `acceptance` is the part of invites of a rule that lead to a conversation, `usual` that of others;
    `holdout` the percentage of visitors who get no invite. It takes time linear in page views × rules, and
    ends after so many `seconds` with whole visitors, whose figures then stand for all.
    """
    tallies = {rule.name: _Tally(rule) for rule in rules.order if rule.enabled}
    asked = {name: rules.asked[name] for name in tallies}
    unknown: Set[str] = frozenset().union(*asked.values())
    until, tried, weight = monotonic() + seconds, 0, 0.0
    before = ""
    for view in views:
        if view.visitor != before and monotonic() > until:
            break
        before = view.visitor
        tried += 1
        weight += view.weight
        unknown = {name for name in unknown if _is_unknown(view.facts, name)}
        _try(rules.reach(view.facts, view.within), view, tallies)
    total = sum(view.weight for view in views)
    # Of those that were not tried as much is expected.
    scale = total / weight / days if weight else 0.0
    invited = 1 - holdout / 100
    trials = tuple(
        _trial(one, weight, scale, asked[name], unknown, acceptance.get(name, usual), invited)
        for name, one in tallies.items()
    )
    return DryRun(days, len(views), tried, total / days if days else 0.0, trials)


def _is_unknown(facts: Facts, name: str) -> bool:
    group, _, fact = name.partition(".")
    return fact not in facts.get(group, {})


def _try(reached: Iterable[Reach], view: PageView, tallies: Mapping[str, _Tally]) -> None:
    """Count one page view for all rules."""
    visit = (view.visitor, view.visit)
    matched: list[tuple[float, _Tally]] = []
    for one in reached:
        tally = tallies[one.rule.name]
        if one.after is None:
            assert one.failed is not None
            tally.blocked[one.failed] = tally.blocked.get(one.failed, 0.0) + view.weight
            continue
        tally.views += view.weight
        if tally.last != visit:
            tally.visits += view.weight
            tally.last = visit
        matched.append((one.after, tally))
    soonest: tuple[float, _Tally] | None = None  # of those before in the order
    invites = min((after for after, tally in matched if tally.rule.invites), default=None)
    for after, tally in matched:
        first = soonest[1] if soonest is not None and soonest[0] <= after else None
        if first is None and tally.rule.invites and invites is not None and invites < after:
            # Another has invited on this page already.
            first = next(t for at, t in matched if at == invites and t.rule.invites)
        if first is None:
            tally.won += view.weight
            if tally.last_won != visit:
                tally.won_visits += view.weight
                tally.last_won = visit
        else:
            name = first.rule.name
            tally.behind[name] = tally.behind.get(name, 0.0) + view.weight
        if soonest is None or after < soonest[0]:
            soonest = after, tally


def _trial(
    tally: _Tally,
    weight: float,
    scale: float,
    asked: frozenset[str],
    unknown: Set[str],
    acceptance: float,
    invited: float,
) -> Trial:
    line, lost = max(tally.blocked.items(), key=lambda one: (one[1], -one[0]), default=(None, 0.0))
    rule, missed = tally.rule, weight - tally.views
    most = sorted(tally.behind.items(), key=lambda one: -one[1])
    given = talks = days = None
    if rule.invites:
        given = tally.won_visits * scale * invited * rule.share / 100 * (1 - rule.no_invite / 100)
        talks = given * acceptance
        days = CONVERSATIONS / talks if talks > 0 else None
    return Trial(
        rule=rule.name,
        matches=tally.views * scale,
        visits=tally.visits * scale,
        wins=tally.won * scale,
        behind={name: count * scale for name, count in most},
        blocking=line,
        blocking_share=lost / missed if line is not None and missed > 0 else 0.0,
        asked=tuple(sorted(asked)),
        unknown=tuple(sorted(asked & unknown)),
        signals=tuple(rule.on),
        acceptance=acceptance if rule.invites else None,
        invited=given,
        conversations=talks,
        days=days,
    )
