"""Credits an order to a partner: the decision, its reason, and the result for every touch.

One pure function of touches and terms. Another model, or a split between partners, would be another function
with the same signature.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from ..referral.touches import DOUBTS, Click, Touch, doubted

DAY = 86400
# Shops truncate an order's time to the minute, and their clocks differ: a click up to a minute after the
# order counts as before it.
SKEW = 60


@dataclass(frozen=True, slots=True)
class Considered:
    """One touch that was considered: the landing time, its partner and network if any, and the result.
    `consent` as in `Touch`."""

    at: int
    partner: str | None
    network: str | None
    verdict: str
    consent: str = ""


@dataclass(frozen=True, slots=True)
class Credit:
    """The credit for an order. `partner`, `click` and `touched_at` are None if no partner earns it; `reason`
    is a text for people. `considered` has every touch, oldest first."""

    partner: str | None
    click: Click | None
    touched_at: float | None
    reason: str
    considered: tuple[Considered, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms for a decision. `lookback_days` is by partner id, for the site's current partners; `inside`
    are those whose terms accept clicks made inside the shop. `partners` is the partner that a click earns
    for now, by network and parameter; it may be newer than the click. `set_back` lists when the clock was
    set back: the time before, and the seconds."""

    lookback_days: Mapping[str, int]
    inside: frozenset[str] = frozenset()
    set_back: tuple[tuple[float, float], ...] = ()
    partners: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def partner(self, click: Click) -> str | None:
        """The partner that a click earns for."""
        return self.partners.get((click.network, click.param), click.partner)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the same for the same terms."""
        return {
            "lookback_days": dict(sorted(self.lookback_days.items())),
            "inside": sorted(self.inside),
            "set_back": [list(jump) for jump in self.set_back],
            "partners": [[*click, partner] for click, partner in sorted(self.partners.items())],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Terms":
        """The reverse of `to_json`."""
        return cls(
            dict(data["lookback_days"]),
            frozenset(data["inside"]),
            tuple((before, step) for before, step in data["set_back"]),
            {(network, param): partner for network, param, partner in data["partners"]},
        )


def credit(touches: Iterable[Touch], order_time: float, terms: Terms, now: float = inf) -> Credit:
    """Credit an order to the last touch with a partner's click within that partner's lookback window.

    `order_time` in unix seconds. A touch that is exactly as old as the window is inside it. `now` is the time
    of the decision: a touch with a later time was recorded before the clock was set back.
    """
    won: tuple[Touch, Click] | None = None
    considered: list[Considered] = []
    # Of two touches in the same second, the later one in the list counts as later.
    for touch in sorted((_earning(t, terms) for t in touches), key=_at)[::-1]:
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
            Considered(
                touch.at, click.partner if click is not None else None, network, verdict, touch.consent
            )
        )
    considered.reverse()
    if won is None:
        return Credit(None, None, None, _nobody(considered), tuple(considered))
    touch, click = won
    reason = _reason(touch, click, order_time, terms.lookback_days)
    return Credit(click.partner, click, float(touch.at), reason, tuple(considered))


def earning_now(touches: Iterable[Touch], now: float, terms: Terms) -> Click | None:
    """The click by which `credit` would credit an order made now, without its reasons."""
    for touch in sorted(touches, key=_at)[::-1]:
        for click in touch.clicks[::-1]:
            partner = terms.partner(click)
            if partner is not None and not _lost(touch, partner, now, terms, now):
                return click if click.partner == partner else replace(click, partner=partner)
    return None


_at = attrgetter("at")


def _earning(touch: Touch, terms: Terms) -> Touch:
    """The touch with the partners that its clicks earn for now."""
    if all(terms.partner(click) == click.partner for click in touch.clicks):
        return touch
    clicks = tuple(replace(click, partner=terms.partner(click)) for click in touch.clicks)
    return replace(touch, clicks=clicks)


def _weigh(touch: Touch, order_time: float, terms: Terms, now: float) -> tuple[Click | None, str]:
    """The click of a touch that can earn, with an empty text; else one of its clicks and why it cannot."""
    clicks = [c for c in touch.clicks if c.partner is not None]
    if not clicks:
        why = "the click's network is not one of this shop's" if touch.clicks else "no click id"
        return None, f"no partner: {why}"
    # A later click outside its window does not exclude an earlier one of the same arrival.
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
    """A length of time in its two largest units, truncated."""
    minutes = max(0, int(seconds)) // 60
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [_count(n, unit) for n, unit in ((days, "day"), (hours, "hour"), (rest, "minute")) if n]
    return " ".join(parts[: 2 if days or hours else 1]) or "less than a minute"
