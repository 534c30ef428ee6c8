"""What rules, texts and the hold-out come to in words and numbers: verdicts by their looks, how invites are
borne, and who takes them. No I/O; it loads numpy and scipy where it judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from ..rules.experiments import HELD_OUT, INVITED, NO_INVITE, Experiment
from ..rules.sums import BUCKETS, Experimented, Sums, Talked, WeekSums, by
from ..rules.verdicts.counts import Count, Interval
from ..settings.model import Rule
from ..stores.ledger.rule_figures import BestTalk
from ..stores.ledger.rule_looks import Crowd, Look, Unit
from .judging import (
    OF_NETWORK,
    SEEN_OF_NETWORK,
    family,
    looks_of,
    planned_of,
    shares_out,
    talks_of_network,
    texts_of,
    total,
    word_of,
)
from .site import SiteRuntime


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule and its verdict. `verdict` is a `RuleVerdict` with the word of its looks; `post` are the
    conversations that began after the visitor had bought. `ended`: when its figures were frozen.
    `crowd` says that much of it came from one client network."""

    rule: str
    stage: str
    goal: str
    target: float
    edition: str
    began: float | None
    verdict: Any
    looks: Sequence[Look]
    post: int
    ended: float | None = None
    crowd: str = ""


@dataclass(frozen=True, slots=True)
class TextRow:
    """A text and its visitors; `verdict` is a `TextVerdict`, None where only the order of texts is told."""

    text: str
    seen: Count
    sums: Sums
    verdict: Any


@dataclass(frozen=True, slots=True)
class TextTest:
    """The texts of a rule, the best first if visitors are shared out by success. `broken`: the lot did not
    give each text its share, so they cannot be compared."""

    rule: str
    rows: Sequence[TextRow]
    broken: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class LiftRow:
    """What inviting brings; `verdict` is a `Lift`, None as long as nobody was held out. `figures` are its
    numbers as a sentence."""

    verdict: Any
    word: str
    planned: int | None
    broken: bool
    figures: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """How a rule's invites are borne: visits that ended on the page of the invite, with it and without it (in
    the arm without an invite), and how many of those who saw it put it away."""

    rule: str
    exits: Count
    without: Count | None
    difference: Interval | None
    dismissed: Count


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Of the visitors who got an invite after so many seconds on the site, in their first visit or a later
    one, those who took it."""

    seconds: int | None
    new: bool | None
    count: Count
    interval: Interval


@dataclass(frozen=True, slots=True)
class Read:
    """What a report is made of."""

    weeks: Sequence[WeekSums]
    looks: Sequence[Look]
    units: Mapping[str, Sequence[Unit]]
    began: Mapping[str, float | None]
    ended: Mapping[tuple[str, str], tuple[float, Mapping[str, Any]]]
    staff: Mapping[str, Mapping[str, tuple[float, float]]]
    order: Mapping[str, Decimal]
    best: Sequence[BestTalk]
    crowds: Mapping[str, tuple[Crowd, Crowd]] = field(default_factory=dict)


def experiment_of(site: SiteRuntime, rule: Rule) -> Experiment:
    """The experiment of a rule that invites."""
    found = site.invites.experiment(rule.name)
    assert found is not None
    return found


def rule_rows(site: SiteRuntime, read: Read, talked: Mapping[Talked, Sums]) -> list[RuleRow]:
    """The rules with what their looks said; numbers and intervals are of now."""
    from ..rules.verdicts.rule_verdicts import RuleCounts, judge_rules

    counts, mine = [], {}
    for rule in family(site):
        looks = looks_of(read.looks, "rule", rule.name, experiment_of(site, rule).version)
        last, units = total(looks, ""), read.units.get(rule.name, ())
        now = Count(last.successes + sum(unit.success for unit in units), last.n + len(units))
        taken = tuple(Count(*look.counts[""]) for look in looks)
        said = word_of(looks, "")
        counts.append(RuleCounts(rule.name, rule.stage or "", rule.target, now, taken, said, rule.goal))
        mine[rule.name] = looks
    post = by(talked, lambda one: one.rule)
    found = []
    for rule, verdict in zip(family(site), judge_rules(counts), strict=True):
        looks, version = mine[rule.name], experiment_of(site, rule).version
        said = word_of(looks, "") or "too early"
        ended = read.ended.get((rule.name, version))
        if verdict.word != said:
            # Another rule was added or taken away since: what was said stands until the next look.
            verdict = replace(verdict, word=said)
        found.append(
            RuleRow(
                rule=rule.name,
                stage=rule.stage or "",
                goal=rule.goal,
                target=rule.target,
                edition=version,
                began=read.began.get(rule.name),
                verdict=verdict if ended is None else frozen(verdict, ended[1]),
                looks=looks,
                post=int(post.get(rule.name, {}).get("post", 0)),
                ended=None if ended is None else ended[0],
                crowd=crowd_said(*read.crowds.get(rule.name, ())),
            )
        )
    return found


def crowd_said(talked: Crowd | None = None, saw: Crowd | None = None) -> str:
    """A sentence where so many conversations, or visitors who saw an invite, came from one client network
    that the verdicts leave some out; empty else."""
    said = []
    for crowd, what, most in (
        (talked, "conversations", talks_of_network(0)),
        (saw, "visitors who saw it", SEEN_OF_NETWORK),
    ):
        if crowd is not None and crowd.most > most and crowd.most > OF_NETWORK * crowd.of:
            said.append(f"{crowd.most} of {crowd.of} {what}")
    if not said:
        return ""
    return (
        f"{' and '.join(said)} came from one client network, of which a verdict counts one in twenty: an "
        "office, a proxy that is missing in trusted_proxies, or somebody who wants other figures."
    )


def freezable(row: RuleRow) -> dict[str, Any]:
    """What is kept of a rule's verdict when it ends."""
    verdict = row.verdict
    return {
        "word": verdict.word,
        "successes": verdict.now.successes,
        "n": verdict.now.n,
        "low": verdict.interval.low,
        "high": verdict.interval.high,
        "estimate": verdict.estimate,
        "sentence": verdict.sentence,
    }


def frozen(verdict: Any, kept: Mapping[str, Any]) -> Any:
    """The verdict as it was when the rule ended."""
    return replace(
        verdict,
        word=kept["word"],
        now=Count(kept["successes"], kept["n"]),
        interval=Interval(kept["low"], kept["high"]),
        estimate=kept["estimate"],
        sentence=kept["sentence"],
        next_look=None,
        alarm=False,
    )


def text_test(site: SiteRuntime, rule: Rule, read: Read, exposed: Mapping[Experimented, Sums]) -> TextTest:
    """The texts of a rule, with what their looks said."""
    from ..rules.verdicts.text_verdicts import judge_texts

    experiment = experiment_of(site, rule)
    texts, shared = texts_of(rule), shares_out(rule)
    sums = {text: exposed.get(Experimented(rule.name, experiment.version, text), {}) for text in texts}
    counts = [_count(sums[text], "conversations", "seen") for text in texts]
    if shared:
        order = sorted(range(len(texts)), key=lambda place: -counts[place].rate)
        rows = [TextRow(texts[place], counts[place], sums[texts[place]], None) for place in order]
        return TextTest(rule.name, rows, broken=False, shared=True)
    looks = looks_of(read.looks, "text", rule.name, experiment.version)
    verdicts = judge_texts(counts, [[total([look], text) for text in texts] for look in looks])
    return TextTest(
        rule.name,
        [
            TextRow(text, count, sums[text], verdict)
            for text, count, verdict in zip(texts, counts, verdicts, strict=True)
        ],
        broken=_broken(experiment, exposed),
        shared=False,
    )


def _broken(experiment: Experiment, exposed: Mapping[Experimented, Sums]) -> bool:
    """Whether the lot did not give each arm its share of the visitors who were assigned."""
    from ..rules.verdicts.ratio import sample_ratio

    assigned = [
        int(exposed.get(Experimented(experiment.rule, experiment.version, arm.name), {}).get("assigned", 0))
        for arm in experiment.arms
    ]
    if len(assigned) < 2 or not sum(assigned):
        return False
    return sample_ratio(assigned, [arm.part for arm in experiment.arms]).alarm


def lift_row(site: SiteRuntime, read: Read, exposed: Mapping[Experimented, Sums]) -> LiftRow:
    """What inviting brings, with what its looks said."""
    from ..rules.verdicts.intervals import wilson
    from ..rules.verdicts.lift import judge_lift
    from ..rules.verdicts.words import figures

    experiment = site.invites.holdout
    every = looks_of(read.looks, "lift", "", experiment.version, planned=True)
    looks, planned = [look for look in every if look.look], planned_of(every)
    share = site.settings.invites.holdout / 100
    arms = {
        arm: _count(exposed.get(Experimented("", experiment.version, arm), {}), "matured_orders", "matured")
        for arm in (INVITED, HELD_OUT)
    }
    if not share or not (arms[INVITED].n and arms[HELD_OUT].n):
        return LiftRow(None, "too early", planned, broken=False)
    pairs = [(total([look], INVITED), total([look], HELD_OUT)) for look in looks]
    # As long as too few are known to plan it, the first look is far away.
    verdict = judge_lift(arms[INVITED], arms[HELD_OUT], pairs, planned=planned or 10**9, share=share)
    rates = (
        f"{figures(arms[INVITED], wilson(arms[INVITED]))} ordered with invites, "
        f"{figures(arms[HELD_OUT], wilson(arms[HELD_OUT]))} without."
    )
    return LiftRow(verdict, verdict.word, planned, _broken(experiment, exposed), rates)


def guards(site: SiteRuntime, exposed: Mapping[Experimented, Sums]) -> list[Guard]:
    """How invites are borne, by rule, and of all of them (with an empty name) against the hold-out: D16."""
    from ..rules.verdicts.intervals import newcombe

    found = []
    for experiment in (site.invites.holdout, *(experiment_of(site, rule) for rule in family(site))):
        base = HELD_OUT if experiment is site.invites.holdout else NO_INVITE
        arms = {
            arm.name: Experimented(experiment.rule, experiment.version, arm.name) for arm in experiment.arms
        }
        with_it: Sums = {}
        for name, key in arms.items():
            if name != base:
                with_it = {
                    measure: with_it.get(measure, Decimal()) + exposed.get(key, {}).get(measure, Decimal())
                    for measure in ("over", "exits", "seen", "dismissed")
                }
        exits = _count(with_it, "exits", "over")
        if not exits.n:
            continue
        without = _count(exposed.get(arms[base], {}), "exits", "over") if base in arms else None
        without = without if without is not None and without.n else None
        dismissed = _count(with_it, "dismissed", "seen")
        difference = newcombe(exits, without) if without is not None else None
        found.append(Guard(experiment.rule, exits, without, difference, dismissed))
    return found


def acceptance(exposed: Mapping[Experimented, Sums]) -> list[Acceptance]:
    """By time on the site, and of new and returning visitors: D2, D3."""
    from ..rules.verdicts.intervals import wilson

    cells: dict[tuple[int, bool], tuple[int, int]] = {}
    for one, sums in exposed.items():
        if not one.rule:
            continue
        for bucket in BUCKETS:
            for kind in ("new", "back"):
                rendered = int(sums.get(f"rendered:{bucket}:{kind}", 0))
                accepted = int(sums.get(f"accepted:{bucket}:{kind}", 0))
                before = cells.get((bucket, kind == "new"), (0, 0))
                cells[bucket, kind == "new"] = (before[0] + accepted, before[1] + rendered)

    def row(seconds: int | None, new: bool | None) -> Acceptance:
        some = [
            value
            for (bucket, is_new), value in cells.items()
            if seconds in (None, bucket) and new in (None, is_new)
        ]
        n = sum(value[1] for value in some)
        count = Count(min(n, sum(value[0] for value in some)), n)
        return Acceptance(seconds, new, count, wilson(count))

    found = [row(bucket, None) for bucket in BUCKETS] + [row(None, True), row(None, False)]
    return [one for one in found if one.count.n]


def _count(sums: Sums, successes: str, of: str) -> Count:
    n = int(sums.get(of, 0))
    return Count(min(n, int(sums.get(successes, 0))), n)
