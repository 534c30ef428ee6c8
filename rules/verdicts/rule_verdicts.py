"""Is a rule good or bad, against the target of its shop? From 100 to 200 conversations, over all rules at
once.

A rule is judged at its looks (`looks.RULE_LOOKS`). Two things must hold, in the same direction:

- Its p-value is among those that Benjamini and Hochberg's procedure rejects at 5 %, over all rules. A rule's
  p-value is exact at each look, and made to hold over all its looks (`boundaries.repeated_p`), so it only
  falls from look to look. Rules without a look have 1. So it does not matter which rule is looked at when,
  whatever was rejected stays so while the rules are the same, and all looks together err like one.
- The posterior, with a prior from the other rules of its stage, is 95 % sure. So a rule does not get a
  verdict that all that is known of its like speaks against.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec import Struct
from scipy.special import ndtri

from . import words
from .beta import Beta, evidence
from .boundaries import ALPHA, repeated_p
from .counts import Count, Interval, Word
from .intervals import SURE, wilson
from .looks import RULE_LOOKS, next_look
from .pooling import FEWEST_OTHERS, hochberg, prior_of_others, two_sided

FINAL = frozenset({"good", "bad"})
REACHED: Final[Mapping[str, tuple[str, str]]] = {
    "sale": ("ordered", "conversations"),
    "support": ("were rated 4 or 5", "rated conversations"),
    "retention": ("ordered", "conversations"),
}
"""By the goal of a rule: what it reached, and of what."""


class RuleCounts(Struct, frozen=True):
    """A rule's ripe conversations and their orders: `now`, and at each look up to now, the earlier first.

    `target`: orders per conversation that the shop asks for, between 0 and 1. `stage`: of the sale; rules of
    one stage are alike. `given`: the verdict that it got at an earlier look; good and bad stay. `goal`: with
    "support" they are rated conversations, and those with a good rating. Raises ValueError.
    """

    rule: str
    stage: str
    target: float
    now: Count
    looks: tuple[Count, ...] = ()
    given: Word | None = None
    goal: str = "sale"

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"rule {self.rule!r}: the target must be between 0 and 1, not {self.target:g}")
        for earlier, later in pairwise((*self.looks, self.now)):
            grown, more = later.n - earlier.n, later.successes - earlier.successes
            if not 0 <= more <= grown:
                raise ValueError(f"rule {self.rule!r}: its looks must be in order, each with all before it")


class RuleVerdict(Struct, frozen=True):
    """The verdict on a rule.

    `interval`: Wilson's, 95 %, of the rate `now`. `estimate`: the rate, drawn towards that of its like, which
    does not flatter the best of many rules. `above`: the probability that the rate is above its target. `p`:
    the p-value that holds over all looks; 1 where no look shows anything. `next_look`: at how many
    conversations. `alarm`: so clearly below its target that no look need be waited for; it is not a verdict.
    `sees`: the difference from the target, as a share, that the last look shows four times in five.
    """

    rule: str
    word: Word
    now: Count
    interval: Interval
    estimate: float
    above: float
    p: float
    next_look: int | None
    alarm: bool
    sees: float
    sentence: str


def judge_rules(rules: Sequence[RuleCounts]) -> tuple[RuleVerdict, ...]:
    """The verdicts on all rules that are live, in their order."""
    trend = [look_p(rule) for rule in rules]
    clear = hochberg([p for p, _ in trend], ALPHA)
    priors, at_looks = _priors(rules, looked=False), _priors(rules, looked=True)
    return tuple(
        _verdict(rule, len(rules), p, upwards if found else None, prior, at_look)
        for rule, (p, upwards), found, prior, at_look in zip(
            rules, trend, clear, priors, at_looks, strict=True
        )
    )


def look_p(rule: RuleCounts) -> tuple[float, bool]:
    """The p-value of a rule that holds over its looks, and whether it is that of a rate above the target. A
    look that shows nothing by itself has 1: it cannot decide, and so costs nothing with ten thousand
    rules."""
    information = tuple(float(look.n) for look in rule.looks)
    fractions = fractions_of(information)
    least, upwards = 1.0, False
    for number, look in enumerate(rule.looks, 1):
        once = float(two_sided(look.successes, look.n, rule.target))
        if once > ALPHA:
            continue
        p = repeated_p(information[:number], fractions[:number], float(-ndtri(once / 2)))
        if p < least:
            least, upwards = p, look.rate > rule.target
    return least, upwards


def fractions_of(information: Sequence[float]) -> tuple[float, ...]:
    """The planned fraction of each look of a rule; the one at or beyond the last count has 1."""
    return tuple(min(1.0, n / RULE_LOOKS[-1]) for n in information)


def _priors(rules: Sequence[RuleCounts], *, looked: bool) -> list[Beta]:
    """For each rule the prior from the others of its stage, or from all others where these are too few.
    `looked`: from what their last looks counted, so that verdicts do not depend on the moment."""
    counts = [(rule.looks[-1] if rule.looks else Count(0, 0)) if looked else rule.now for rule in rules]
    stages = Counter(rule.stage for rule, count in zip(rules, counts, strict=True) if count.n)
    wholly = _prior_of(counts)
    found = list(wholly)
    for stage in {rule.stage for rule in rules if stages[rule.stage] > FEWEST_OTHERS}:
        places = [place for place, rule in enumerate(rules) if rule.stage == stage]
        for place, prior in zip(places, _prior_of([counts[place] for place in places]), strict=True):
            found[place] = prior
    return found


def _prior_of(counts: Sequence[Count]) -> list[Beta]:
    a, b = prior_of_others(
        np.array([count.successes for count in counts]), np.array([count.n for count in counts])
    )
    return [Beta(float(x), float(y)) for x, y in zip(a, b, strict=True)]


def _verdict(
    rule: RuleCounts, rules: int, p: float, upwards: bool | None, prior: Beta, at_look: Beta
) -> RuleVerdict:
    """`upwards`: the direction in which its p-value is clear, or None."""
    known = prior.after(rule.now)
    interval = wilson(rule.now)
    coming = next_look(RULE_LOOKS, [look.n for look in rule.looks])
    word = _word(rule, coming, upwards, at_look)
    last = rule.looks[-1].n if coming is None else RULE_LOOKS[-1]
    sees = words.seen(last, rule.target, -float(ndtri(ALPHA / (2 * rules))))
    alarm = rule.now.rate < rule.target and evidence(rule.now, rule.target) >= rules / ALPHA
    return RuleVerdict(
        rule=rule.rule,
        word=word,
        now=rule.now,
        interval=interval,
        estimate=known.mean,
        above=1 - known.below(rule.target),
        p=p,
        next_look=coming,
        alarm=alarm and word != "bad",
        sees=sees,
        sentence=_sentence(rule, word, interval, coming, words.can_see(last, REACHED[rule.goal][1], sees)),
    )


def _word(rule: RuleCounts, coming: int | None, upwards: bool | None, at_look: Beta) -> Word:
    if rule.given in FINAL:
        return rule.given
    if not rule.looks:
        return "too early"
    last = rule.looks[-1]
    if upwards is not None:
        below = at_look.after(last).below(rule.target)
        if (below if not upwards else 1 - below) >= SURE:
            return "good" if upwards else "bad"
    if coming is not None:
        return "too early"
    interval = wilson(last)
    near = words.seen(RULE_LOOKS[-1], rule.target, -float(ndtri(ALPHA / 2)))
    if rule.target - near <= interval.low and interval.high <= rule.target + near:
        return "no clear difference"
    return "undecided at 200"


def _sentence(rule: RuleCounts, word: Word, interval: Interval, coming: int | None, sees: str) -> str:
    reached, unit = REACHED[rule.goal]
    counted = (
        f"{words.figures(rule.now, interval)} {reached}"
        if rule.now.n
        else f"0 {unit} yet, so the rate may be anything from 0 % to 100 %"
    )
    target = f"the target of {100 * rule.target:.3g} %"
    match word:
        case "good":
            return f"Above {target}: {counted}."
        case "bad":
            return f"Below {target}: {counted}."
        case "no clear difference":
            return f"Close to {target}: {counted}. {sees}"
        case "undecided at 200":
            return f"Not to be told from {target}: {counted}. {sees}"
    return f"{counted.capitalize()}. The next look is at {coming} {unit}, after a whole week. {sees}"
