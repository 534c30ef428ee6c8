"""Which of two invite texts, or a few, gets more chats? Of visitors who saw the text, at four looks.

Each pair of texts is compared (`comparing`), all pairs together with an error of 5 %. A text is good if it is
clearly better than each other one, bad if it is clearly worse than any. To show no invite at all is not a
text: whether inviting helps is told by the hold-out (`lift`).
"""

from collections.abc import Sequence
from itertools import combinations

from msgspec import Struct
from scipy.special import ndtri

from . import words
from .beta import UNIFORM, expected_loss, larger
from .boundaries import ALPHA
from .comparing import winner
from .counts import Count, Interval, Word
from .intervals import newcombe, wilson
from .looks import TEXT_LOOKS, next_look


class TextVerdict(Struct, frozen=True):
    """The verdict on a text.

    `interval`: Wilson's, 95 %, of the share of chats. `over_best`: that share less that of the best other
    text, with `over_best_interval`: Newcombe's, 95 %. `better`: the probability that it is larger than the
    best other one's. `loss`: what choosing it instead of that one costs on average, as a share. `next_look`:
    at how many visitors of each text. These are for information; only the looks decide.
    """

    word: Word
    now: Count
    interval: Interval
    over_best: float
    over_best_interval: Interval
    better: float
    loss: float
    next_look: int | None
    sentence: str


def judge_texts(
    now: Sequence[Count], looks: Sequence[Sequence[Count]], plan: Sequence[int] = TEXT_LOOKS
) -> tuple[TextVerdict, ...]:
    """The verdicts on texts of one rule, in their order.

    `now`: the visitors who saw each text, and of these the ones who chatted. `looks`: the same at each look
    up to now, at most as many as in `plan`, the visitors of each text at which to look, at equal steps. A
    visitor counts once, with the text that it saw first. Raises ValueError for less than two texts.
    """
    texts = len(now)
    if texts < 2 or any(len(look) != texts for look in looks) or len(looks) > len(plan):
        raise ValueError(
            "two texts or more, with a count of each at each look, and no more looks than planned"
        )
    pairs = list(combinations(range(texts), 2))
    told = [n / 2 for n in plan]
    better: set[tuple[int, int]] = set()
    for one, other in pairs:
        found = winner([(look[one], look[other]) for look in looks], told, ALPHA / len(pairs))
        if found:
            better.add((one, other) if found == "one" else (other, one))
    coming = next_look(plan, [round(size(look)) for look in looks]) if len(looks) < len(plan) else None
    return tuple(_verdict(now, text, better, coming, plan) for text in range(texts))


def size(counts: Sequence[Count]) -> float:
    """The visitors of each text, of as many texts of one size as tell as much: their harmonic mean. A look is
    due when it reaches the count in the plan."""
    if not all(count.n for count in counts):
        return 0.0
    return len(counts) / sum(1 / count.n for count in counts)


def _verdict(
    now: Sequence[Count], text: int, better: set[tuple[int, int]], coming: int | None, plan: Sequence[int]
) -> TextVerdict:
    others = [other for other in range(len(now)) if other != text]
    rival = now[max(others, key=lambda other: (now[other].successes + 1) / (now[other].n + 2))]
    if any((other, text) in better for other in others):
        word: Word = "bad"
    elif all((text, other) in better for other in others):
        word = "good"
    else:
        word = "no clear difference" if coming is None else "too early"
    mine, best = UNIFORM.after(now[text]), UNIFORM.after(rival)
    interval = wilson(now[text])
    z = -float(ndtri(ALPHA / 2 / (len(now) * (len(now) - 1) / 2)))
    sees = words.can_see(plan[-1], "visitors of each text", words.seen(plan[-1], rival.rate, z) * 2**0.5)
    counted = f"{words.figures(now[text], interval)} chatted" if now[text].n else "Nobody has seen it yet"
    sentence = {
        "bad": f"Clearly worse than another text: {counted}.",
        "good": f"Clearly better than the others: {counted}.",
        "no clear difference": f"Not to be told from the others: {counted}. {sees}",
        "too early": f"{counted}. The next look is at {coming:,} visitors of each text, after a whole week."
        if coming
        else "",
    }[word]
    return TextVerdict(
        word=word,
        now=now[text],
        interval=interval,
        over_best=now[text].rate - rival.rate,
        over_best_interval=newcombe(now[text], rival),
        better=larger(mine, best),
        loss=expected_loss(mine, best),
        next_look=coming,
        sentence=sentence,
    )
