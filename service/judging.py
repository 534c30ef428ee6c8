"""Takes the looks at rules, texts and the hold-out when they are due, and judges: in the background, one
process at a time. No page does it, so that no verdict depends on when somebody looked."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, time
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from ..events.events import Events
from ..rules.experiments import HELD_OUT, INVITED, Experiment
from ..rules.policy import moment
from ..rules.verdicts.counts import Count, Word
from ..rules.verdicts.looks import RULE_LOOKS, TEXT_LOOKS, whole_weeks
from ..settings.model import Rule
from ..stores.ledger.books import Ledger
from ..stores.ledger.errors import LedgerConflictError
from ..stores.ledger.rule_looks import CHAT_SECONDS, Kind, Look, Unit
from ..stores.ledger.turns import take_turn
from .clock import Clock
from .site import SiteRuntime
from .sites import Sites

EVERY: Final = 300.0
"""Seconds between two rounds over all sites."""

TURN_SECONDS: Final = 600.0
DAY: Final = 86400.0
FIRST: Final = 1000
"""Visitors of the hold-out and its opposite whose orders say how many are needed for a verdict."""

LIFT: Final = 0.2
"""The lift that the hold-out is planned for."""

LOWEST, HIGHEST = 0.005, 0.5
"""Between which the share of visitors who order is taken for that plan."""

MOST_UNITS: Final = 50_000
OF_NETWORK: Final = 0.05
"""The part of a look's units that may come from one client network: a stranger with ever new cookies, who
wants a rule to look bad or a text to look good, is one of twenty. See docs/statistics.md."""

SEEN_OF_NETWORK: Final = int(OF_NETWORK * TEXT_LOOKS[0])
FINAL: Final = frozenset({"good", "bad"})
_ONE_ARM: Final = ""


class Judge:
    """Takes the looks of all sites."""

    def __init__(
        self,
        ledger: Ledger,
        sites: Sites,
        freeze: Callable[[SiteRuntime], Awaitable[None]],
        review: Callable[[SiteRuntime], Awaitable[None]],
        events: Events,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._freeze = freeze
        self._review = review
        self._books = ledger.rule_looks
        self._sites = sites
        self._events = events
        self._clock = clock
        self._holder = secrets.token_hex(8)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.step()

    async def step(self) -> None:
        """Take all looks that are due, if it is this process's turn."""
        if not await self._has_turn():
            return
        for name in list(self._sites.table.by_name):
            if not self._sites.has_rules(name):
                continue
            try:
                site = await self._sites.whole(name)
                if any(rule.invites for rule in site.settings.rules):
                    await self.judge(site)
                await self._review(site)
            except Exception as error:
                self._events.failed(error, site=name, where="verdicts")

    async def _has_turn(self) -> bool:
        now = self._clock.now()
        try:
            return await self._ledger.db.transact(
                lambda tx: take_turn(tx, "verdicts", self._holder, now, now + TURN_SECONDS, 2 * TURN_SECONDS)
            )
        except LedgerConflictError:
            return False

    async def judge(self, site: SiteRuntime) -> None:
        """Take the looks of a site that are due, and say what they say. Raises LedgerError."""
        if not await self._books.any_at(site.name):
            return
        looks = await self._books.of(site.name)
        taken = [await self._rule(site, rule, looks) for rule in site.settings.rules if rule.invites]
        if any(taken):
            await self._judge_rules(site)
        for rule in site.settings.rules:
            if len(texts_of(rule)) > 1 and not shares_out(rule):
                await self._texts(site, rule, looks)
        if site.settings.invites.holdout:
            await self._lift(site, looks)
        if any(is_over(site, rule, self._clock.now()) for rule in family(site)):
            await self._freeze(site)

    async def _boundary(self, site: SiteRuntime, rule: str, edition: str) -> float | None:
        """The end of the last whole week since an edition began; a look counts what was ripe by then."""
        began = await self._books.began(site.name, rule, edition)
        return None if began is None else week_end(began, self._clock.now(), site.zone)

    async def _rule(self, site: SiteRuntime, rule: Rule, looks: Sequence[Look]) -> bool:
        """Take the looks at a rule that are due; whether there was one."""
        experiment = site.invites.experiment(rule.name)
        assert experiment is not None
        mine = looks_of(looks, "rule", rule.name, experiment.version)
        if len(mine) >= len(RULE_LOOKS):
            return False
        ends = await self._boundary(site, rule.name, experiment.version)
        if ends is None:
            return False
        count, after = total(mine, _ONE_ARM), mine[-1].until if mine else 0.0
        window = site.settings.invites.window_days * DAY
        units = await self._books.talks(
            *(site.name, rule.name, experiment.version),
            goal=rule.goal,
            after=after,
            ripe=ends - window,
            window=window,
            limit=RULE_LOOKS[-1] - count.n,
            of_network=talks_of_network(len(mine)),
        )
        for place, (until, counted) in enumerate(rule_looks(count, units), len(mine) + 1):
            given = {_ONE_ARM: [counted.successes, counted.n]}
            new = self._look("rule", experiment, place, until, given)
            await self._books.add(site.name, new)
        return len(rule_looks(count, units)) > 0

    def _look(
        self,
        kind: Kind,
        experiment: Experiment,
        place: int,
        until: float,
        counts: Mapping[str, Sequence[int]],
        words: Mapping[str, str] | None = None,
    ) -> Look:
        now = self._clock.now()
        return Look(kind, experiment.rule, experiment.version, place, now, until, counts, words or {})

    async def _judge_rules(self, site: SiteRuntime) -> None:
        """Judge all rules of a site together by their looks, and keep what is said of each."""
        from ..rules.verdicts.rule_verdicts import RuleCounts, judge_rules

        looks = await self._books.of(site.name)
        judged, last = [], []
        for rule in family(site):
            experiment = site.invites.experiment(rule.name)
            assert experiment is not None
            mine = looks_of(looks, "rule", rule.name, experiment.version)
            counts = tuple(Count(*look.counts[_ONE_ARM]) for look in mine)
            now = counts[-1] if counts else Count(0, 0)
            judged.append(
                RuleCounts(
                    rule.name, rule.stage or "", rule.target, now, counts, word_of(mine, _ONE_ARM), rule.goal
                )
            )
            last.append(mine[-1] if mine else None)
        verdicts = await asyncio.to_thread(judge_rules, judged)
        for verdict, look in zip(verdicts, last, strict=True):
            if look is not None and look.words.get(_ONE_ARM) != verdict.word:
                await self._books.say(site.name, look, {_ONE_ARM: verdict.word})
                self._told(site, verdict.rule, verdict.word, verdict.sentence)

    async def _texts(self, site: SiteRuntime, rule: Rule, looks: Sequence[Look]) -> None:
        """Take the looks at the texts of a rule that are due, and judge."""
        experiment = site.invites.experiment(rule.name)
        assert experiment is not None
        mine = list(looks_of(looks, "text", rule.name, experiment.version))
        texts = texts_of(rule)
        ends = await self._boundary(site, rule.name, experiment.version)
        if len(mine) >= len(TEXT_LOOKS) or ends is None or any(word in FINAL for word in words_of(mine)):
            return
        key, ripe = (site.name, rule.name, experiment.version), ends - CHAT_SECONDS
        there = await self._books.seen_counts(*key, ripe)
        from ..rules.verdicts.text_verdicts import judge_texts, size

        if size([Count(0, there.get(text, 0)) for text in texts]) < TEXT_LOOKS[len(mine)]:
            return
        after = mine[-1].until if mine else 0.0
        units = await self._books.seen(
            *key, after=after, ripe=ripe, limit=MOST_UNITS, of_network=SEEN_OF_NETWORK
        )
        before = [total(mine, text) for text in texts]
        for until, counted in text_looks(before, units, texts, TEXT_LOOKS[len(mine) :]):
            given = {text: [one.successes, one.n] for text, one in zip(texts, counted, strict=True)}
            at = [[total([look], text) for text in texts] for look in mine]
            verdicts = await asyncio.to_thread(judge_texts, counted, [*at, counted])
            words = {text: verdict.word for text, verdict in zip(texts, verdicts, strict=True)}
            look = self._look("text", experiment, len(mine) + 1, until, given, words)
            await self._books.add(site.name, look)
            mine.append(look)
            for text, verdict in zip(texts, verdicts, strict=True):
                if verdict.word in FINAL:
                    self._told(site, f"{rule.name}/{text}", verdict.word, verdict.sentence)
            if any(word in FINAL for word in words.values()):
                return

    async def _lift(self, site: SiteRuntime, looks: Sequence[Look]) -> None:
        """Take the looks at the hold-out that are due, and judge."""
        experiment = site.invites.holdout
        every = looks_of(looks, "lift", "", experiment.version, planned=True)
        mine = [look for look in every if look.look]
        share = site.settings.invites.holdout / 100
        window = site.settings.invites.window_days * DAY
        ends = await self._boundary(site, "", experiment.version)
        if ends is None or any(word in FINAL for word in words_of(mine)):
            return
        planned = planned_of(every) or await self._plan(site, experiment, ends - window, share, window)
        if planned is None:
            return
        from ..rules.verdicts.lift import judge_lift, look_plan

        for place in range(len(mine), len(look_plan(planned))):
            invited, held = total(mine, INVITED), total(mine, HELD_OUT)
            wanted = look_plan(planned)[place] - invited.n - held.n
            after = mine[-1].until if mine else 0.0
            key = (site.name, experiment.version)
            until = await self._books.assigned_at(*key, after=after, ripe=ends - window, number=wanted)
            if until is None:
                return
            more = await self._books.outcomes(*key, after=after, until=until, window=window)
            counted = (plus(invited, more.get(INVITED)), plus(held, more.get(HELD_OUT)))
            pairs = [*((total([look], INVITED), total([look], HELD_OUT)) for look in mine), counted]
            verdict = await asyncio.to_thread(judge_lift, *counted, pairs, planned=planned, share=share)
            given = {
                INVITED: [counted[0].successes, counted[0].n],
                HELD_OUT: [counted[1].successes, counted[1].n],
            }
            look = self._look("lift", experiment, place + 1, until, given, {_ONE_ARM: verdict.word})
            await self._books.add(site.name, look)
            mine.append(look)
            if verdict.word in FINAL:
                self._told(site, "holdout", verdict.word, verdict.sentence)
                return

    async def _plan(
        self, site: SiteRuntime, experiment: Experiment, ripe: float, share: float, window: float
    ) -> int | None:
        """How many visitors the hold-out needs, once the first ones say how many of them order; it stays."""
        key = (site.name, experiment.version)
        until = await self._books.assigned_at(*key, after=0.0, ripe=ripe, number=FIRST)
        if until is None:
            return None
        from ..rules.verdicts.lift import needed

        found = await self._books.outcomes(*key, after=0.0, until=until, window=window)
        orders, visitors = (sum(one[place] for one in found.values()) for place in (0, 1))
        base = min(max(orders / visitors, LOWEST), HIGHEST) if visitors else LOWEST
        number = await asyncio.to_thread(needed, base, LIFT, share)
        await self._books.add(site.name, self._look("lift", experiment, 0, until, {"planned": [0, number]}))
        return number

    def _told(self, site: SiteRuntime, key: str, word: str, why: str) -> None:
        if word in FINAL:
            self._events.notice("rule_judged", site=site.name, key=f"{key} {word}", why=why)


def talks_of_network(looks: int) -> int:
    """How many conversations of one client network count for the next look, after so many."""
    sizes = [after - before for before, after in pairwise((0, *RULE_LOOKS))]
    return int(OF_NETWORK * sizes[min(looks, len(sizes) - 1)])


def is_over(site: SiteRuntime, rule: Rule, now: float) -> bool:
    """Whether a rule has ended by itself, and all of its conversations are ripe."""
    if rule.ends is None:
        return False
    return now >= moment(rule.ends, site.zone, end=True) + site.settings.invites.window_days * DAY


def family(site: SiteRuntime) -> list[Rule]:
    """The rules of a site that are judged together."""
    return [rule for rule in site.settings.rules if rule.invites]


def texts_of(rule: Rule) -> list[str]:
    """The texts of a rule that are compared."""
    return [variant.name for variant in rule.variants]


def shares_out(rule: Rule) -> bool:
    """Whether visitors go to the texts by success: what is known of these is biased then, and they get no
    verdict."""
    return rule.adaptive and len(rule.variants) > 1


def looks_of(
    looks: Sequence[Look], kind: Kind, rule: str, edition: str, *, planned: bool = False
) -> list[Look]:
    """The looks at an edition, in their order; with `planned` also what was planned."""
    key = (kind, rule, edition)
    return [one for one in looks if (one.kind, one.rule, one.edition) == key and (one.look or planned)]


def planned_of(looks: Sequence[Look]) -> int | None:
    """How many visitors the looks at the hold-out were planned for."""
    return next((int(one.counts["planned"][1]) for one in looks if not one.look), None)


def total(looks: Sequence[Look], arm: str) -> Count:
    """What the last look has counted of an arm."""
    return Count(*looks[-1].counts.get(arm, (0, 0))) if looks else Count(0, 0)


def plus(count: Count, more: tuple[int, int] | None) -> Count:
    """A count with further units."""
    return count if more is None else Count(count.successes + more[0], count.n + more[1])


def words_of(looks: Sequence[Look]) -> list[str]:
    """What the last look said of its arms."""
    return [*looks[-1].words.values()] if looks else []


def word_of(looks: Sequence[Look], arm: str) -> Word | None:
    """What the last look that said something said of an arm: good and bad stay."""
    known: Mapping[str, Word] = {
        word: word for word in ("too early", "good", "bad", "no clear difference", "undecided at 200")
    }
    said = [known[look.words[arm]] for look in looks if look.words.get(arm) in known]
    return next((word for word in said if word in FINAL), said[-1] if said else None)


def week_end(began: float, now: float, zone: ZoneInfo) -> float | None:
    """The end of the last whole week since a moment, in unix seconds; None before the first."""
    first, today = (datetime.fromtimestamp(at, zone).date() for at in (began, now))
    day = whole_weeks(first, today)
    return None if day is None else datetime.combine(day, time(), zone).timestamp()


def rule_looks(before: Count, units: Sequence[Unit]) -> list[tuple[float, Count]]:
    """The looks that conversations are enough for, after those that counted `before`: when the last one that
    counts began, and the counts."""
    found, successes = [], before.successes
    for n, unit in enumerate(units, before.n + 1):
        successes += unit.success
        if n in RULE_LOOKS:
            found.append((unit.at, Count(successes, n)))
    return found


def text_looks(
    before: Sequence[Count], units: Sequence[Unit], texts: Sequence[str], plan: Sequence[int]
) -> list[tuple[float, list[Count]]]:
    """The same for texts: a look is due once they tell as much as so many visitors of each."""
    counts = {text: [count.successes, count.n] for text, count in zip(texts, before, strict=True)}
    found: list[tuple[float, list[Count]]] = []
    for unit in units:
        if len(found) == len(plan):
            break
        if unit.arm not in counts:
            continue
        own = counts[unit.arm]
        own[0], own[1] = own[0] + unit.success, own[1] + 1
        sizes = [n for _, n in counts.values()]
        # The harmonic mean, as in `text_verdicts.size`.
        if min(sizes) and len(sizes) / sum(1 / n for n in sizes) >= plan[len(found)]:
            found.append((unit.at, [Count(*counts[text]) for text in texts]))
    return found
