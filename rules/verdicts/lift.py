"""Do invites bring orders? Visitors whom a rule would have invited, with and without invites.

By intention to treat: all eligible visitors of both groups count, with all their orders, whether or not they
saw the invite or chatted. Who chats is not who does not. Over all rules together: a single one seldom has the
traffic.
"""

import math
from collections.abc import Sequence

from msgspec import Struct
from scipy.special import ndtri

from . import words
from .boundaries import ALPHA
from .comparing import Pair, information, winner
from .counts import Count, Interval, Word
from .intervals import newcombe, ratio

LOOKS = 4
POWER = 0.8


class Lift(Struct, frozen=True):
    """What invites bring.

    `difference`: orders per eligible visitor more than in the hold-out, with Newcombe's interval, 95 %;
    `relative`: the same to the hold-out's rate, 0.2 are 20 % more, infinite if nothing is known. `word`:
    `good` if invites bring orders, `bad` if they cost some.
    """

    word: Word
    invited: Count
    held_out: Count
    difference: float
    interval: Interval
    relative: Interval
    next_look: int | None
    sentence: str


def judge_lift(
    invited: Count, held_out: Count, looks: Sequence[Pair] = (), *, planned: int, share: float
) -> Lift:
    """The lift of eligible visitors with invites over the hold-out, and its verdict at four looks.

    `looks`: (invited, held out) at each look up to now, of which the last planned one is at `planned`
    eligible visitors (`needed`), the others at a quarter, half and three quarters. `share`: that of the
    hold-out, between 0 and 1. Raises ValueError.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the hold-out must be between 0 and 1, not {share:g}")
    plan = look_plan(planned)
    if len(looks) > len(plan):
        raise ValueError("more looks than planned")
    told = [n * share * (1 - share) for n in plan]
    found = winner(looks, told)
    taken = looks[-1][0].n + looks[-1][1].n if looks else 0
    left = plan[len(looks) :] and [n for n in plan if n > taken]
    coming = left[0] if left else None
    word: Word
    if found:
        word = "good" if found == "one" else "bad"
    else:
        word = "no clear difference" if coming is None else "too early"
    interval, over = newcombe(invited, held_out), ratio(invited, held_out)
    return Lift(
        word=word,
        invited=invited,
        held_out=held_out,
        difference=invited.rate - held_out.rate,
        interval=interval,
        relative=Interval(over.low - 1, over.high - 1),
        next_look=coming,
        sentence=_sentence(word, invited, held_out, interval, coming),
    )


def look_plan(planned: int) -> tuple[int, ...]:
    """The eligible visitors at each look."""
    return tuple(math.ceil(planned * look / LOOKS) for look in range(1, LOOKS + 1))


def needed(base: float, lift: float, share: float, power: float = POWER) -> int:
    """How many eligible visitors show, with this power and an error of 5 %, that invites raise orders per
    visitor from `base` by `lift` (0.2 are 20 %), if `share` of them are held out. Normal approximation; four
    looks ask for 2 % more. Raises ValueError."""
    raised = base * (1 + lift)
    if not (0 < base < 1 and 0 < raised < 1 and lift and 0 < share < 1 and 0 < power < 1):
        raise ValueError("rates, the share and the power must be between 0 and 1, and the lift not 0")
    pooled = share * base + (1 - share) * raised
    under_null = math.sqrt(pooled * (1 - pooled) / (share * (1 - share)))
    under_lift = math.sqrt(base * (1 - base) / share + raised * (1 - raised) / (1 - share))
    z = float(ndtri(1 - ALPHA / 2)) * under_null + float(ndtri(power)) * under_lift
    return math.ceil((z / (raised - base)) ** 2)


def least_seen(invited: Count, held_out: Count) -> float:
    """The difference of orders per visitor that groups of this size show four times in five, as a share."""
    n = information(invited, held_out)
    rate = held_out.rate or invited.rate
    return words.seen(round(n), rate, float(ndtri(1 - ALPHA / 2)))


def _sentence(word: Word, invited: Count, held_out: Count, interval: Interval, coming: int | None) -> str:
    rates = (
        f"{words.percent(invited.rate)} of {invited.n:,} ordered with invites, "
        f"{words.percent(held_out.rate)} of {held_out.n:,} without: "
        f"{100 * (invited.rate - held_out.rate):+.2f} points "
        f"({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
    )
    match word:
        case "good":
            return f"Invites bring orders: {rates}."
        case "bad":
            return f"Invites cost orders: {rates}."
        case "too early":
            return f"{rates}. The next look is at {coming:,} eligible visitors, after a whole week."
    sees = words.can_see(invited.n + held_out.n, "eligible visitors", least_seen(invited, held_out))
    return f"No clear difference: {rates}. {sees}"
