"""Who earns an order: the decision, its reason, and what became of every touch that was weighed.

One pure function over touches and policy. Another model, or a split between partners, is another function
of the same form that returns the same `Credit`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from .touches import DOUBTS, Click, Touch, doubted

DAY = 86400
# Shops give an order's time to the minute, cut off, and their clocks go by themselves: a click that seems to
# come up to a minute after the order came before it.
SKEW = 60


@dataclass(frozen=True, slots=True)
class Considered:
    """One touch that was weighed: when it landed, its partner and network if any, what became of it."""

    at: int
    partner: str | None
    network: str | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Credit:
    """Who earns an order. `partner`, `click` and `touched_at` are None where nobody does; `reason` is told
    to people. `considered` holds every touch, oldest first."""

    partner: str | None
    click: Click | None
    touched_at: float | None
    reason: str
    considered: tuple[Considered, ...]


def earning_click(touch: Touch) -> Click | None:
    """The click of a touch that earns: of those with a partner, the last in the landing address.

    Each redirect on the way adds its own id behind what it was given, so the last one belongs to the last
    who sent the visitor on. None of a suspicious touch: whose terms allow it is not known here.
    """
    if touch.doubt:
        return None
    return next((c for c in reversed(touch.clicks) if c.partner is not None), None)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the weighing goes by. `lookback_days` by partner id, for the partners that the site has now;
    `inside` are those of them whose terms let clicks count that were made in the shop. `set_back` lists the
    times by which the clock was set back: what it showed before, and by how many seconds."""

    lookback_days: Mapping[str, int]
    inside: frozenset[str] = frozenset()
    set_back: tuple[tuple[float, float], ...] = ()


def credit(touches: Iterable[Touch], order_time: float, terms: Terms, now: float = inf) -> Credit:
    """Credit an order to the last touch with a partner's click within that partner's lookback window.

    `order_time` in unix seconds. A touch that is exactly as old as the window is inside it. `now` is the time
    of the decision: a touch that was written down later than that was written before the clock was set back.
    """
    won: tuple[Touch, Click] | None = None
    considered: list[Considered] = []
    # Of two in one second the one that stands later came later.
    for touch in sorted(touches, key=lambda t: t.at)[::-1]:
        click, verdict = _weigh(touch, order_time, terms, now)
        if click is not None and not verdict:
            if won is None:
                won = touch, click
                verdict = "won: the last partner click before the order"
            else:
                verdict = f"superseded by the later click of {won[1].partner}"
        shown = click or next(iter(touch.clicks), None)
        network = (shown.network or None) if shown is not None else None
        considered.append(
            Considered(touch.at, click.partner if click is not None else None, network, verdict)
        )
    considered.reverse()
    if won is None:
        return Credit(None, None, None, _nobody(considered), tuple(considered))
    touch, click = won
    reason = _reason(touch, click, order_time, terms.lookback_days)
    return Credit(click.partner, click, float(touch.at), reason, tuple(considered))


def _weigh(touch: Touch, order_time: float, terms: Terms, now: float) -> tuple[Click | None, str]:
    """The click of a touch that may earn, with an empty text; else a click of it and why that may not."""
    clicks = [c for c in touch.clicks if c.partner is not None]
    if not clicks:
        why = "the click's network is not one of this shop's" if touch.clicks else "no click id"
        return None, f"no partner: {why}"
    # A later click whose window has closed does not take the order from an earlier one of the same arrival.
    lost = {c: _lost(touch, c.partner or "", order_time, terms, now) for c in clicks}
    click = next((c for c in reversed(clicks) if not lost[c]), clicks[-1])
    return click, lost[click]


def _lost(touch: Touch, partner: str, order_time: float, terms: Terms, now: float) -> str:
    if partner not in terms.lookback_days:
        return f"{partner} is no longer a partner of this shop"
    if doubted(touch, partner, terms.inside):
        return f"suspicious: {DOUBTS.get(touch.doubt, touch.doubt)}"
    late = min(touch.at, now) - order_time
    if late > SKEW and not any(
        touch.at <= before + SKEW and late <= step + SKEW for before, step in terms.set_back
    ):
        return "after the order"
    if -late > terms.lookback_days[partner] * DAY:
        window = _count(terms.lookback_days[partner], "day")
        return f"outside the lookback of {window}: {_span(-late)} before the order"
    return ""


def _reason(touch: Touch, click: Click, order_time: float, lookback_days: Mapping[str, int]) -> str:
    partner = click.partner or ""
    via = f" ({click.network})" if click.network else ""
    window = _count(lookback_days[partner], "day")
    age = _span(order_time - touch.at)
    several = sum(c.partner is not None for c in touch.clicks)
    chosen = (
        f"; its landing address held {several} partners' click ids, the last that counts"
        if several > 1
        else ""
    )
    return (
        f"{partner}{via}: last partner click, {age} before the order, within its lookback of {window}{chosen}"
    )


def _nobody(considered: list[Considered]) -> str:
    if not considered:
        return "nobody: the visitor came without a campaign, a referrer or a click id"
    last = next((c for c in reversed(considered) if c.partner is not None), None)
    if last is None:
        return "nobody: no arrival of the visitor carried a partner's click id"
    return f"nobody: the last partner click, of {last.partner}, does not count: {last.verdict}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _span(seconds: float) -> str:
    """A length of time in its two largest units, cut off."""
    minutes = max(0, int(seconds)) // 60
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [_count(n, unit) for n, unit in ((days, "day"), (hours, "hour"), (rest, "minute")) if n]
    return " ".join(parts[: 2 if days or hours else 1]) or "less than a minute"
