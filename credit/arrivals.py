"""Weighs the arrivals of a visitor: which of its clicks can earn an order, and why each other one cannot.

Pure. How the order is divided between those that can is in `models.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_arrival
from math import inf
from operator import attrgetter

from msgspec.structs import replace

from ..referral.touches import DOUBTS, Click, Touch, doubted
from .terms import Further, Terms
from .words import counted, span

DAY = 86400
# Shops truncate an order's time to the minute, and their clocks differ: a click up to a minute after the
# order counts as before it.
SKEW = 60


@dataclass(frozen=True, slots=True)
class Considered:
    """One touch that was considered: the landing time, its partner and network if any, and the result.
    `consent` as in `Touch`. With `code` it is not a touch, but a partner's coupon, at the time of the
    order."""

    at: int
    partner: str | None
    network: str | None
    verdict: str
    consent: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A touch under the terms: the click that can earn, or one that cannot with the reason in `lost`. None if
    no click of it belongs to a partner: then it is a `stranger`. `linked`: it was on another device."""

    touch: Touch
    click: Click | None
    lost: str = ""
    stranger: bool = False
    linked: bool = False

    @property
    def counts(self) -> bool:
        """Whether it can earn."""
        return self.click is not None and not self.lost

    @property
    def network(self) -> str:
        """The click's network; empty if it has none."""
        return self.click.network if self.click is not None else ""

    @property
    def partner(self) -> str:
        """The click's partner; empty if it has none."""
        return (self.click.partner or "") if self.click is not None else ""

    def considered(self, verdict: str = "") -> Considered:
        """The touch with its verdict."""
        shown = self.click or next(iter(self.touch.clicks), None)
        network = (shown.network or None) if shown is not None else None
        said = verdict or self.lost
        if self.linked:
            said += "; on another device of the same customer"
        return Considered(self.touch.at, self.partner or None, network, said, self.touch.consent)


def weigh(
    touches: Iterable[Touch], order_time: float, terms: Terms, now: float = inf, channel: str = "web"
) -> list[Arrival]:
    """Each touch, oldest first, with the click by which it can earn an order of this channel.

    `order_time` in unix seconds. A touch that is exactly as old as the window is inside it. `now` is the time
    of the decision: a touch with a later time was recorded before the clock was set back.
    """
    return [_weigh(touch, order_time, terms, now, channel) for touch in in_order(touches)]


def protect(arrivals: list[Arrival], terms: Further) -> list[Arrival]:
    """The arrivals under the protection against soft clicks: one of a toolbar or a reminder does not take an
    order from a click made shortly before (Tradedoubler, "soft click": 24 hours)."""
    if not terms.soft:
        return arrivals
    found, hard = [], None
    for one in arrivals:
        if one.counts and one.partner not in terms.soft:
            hard = one
        elif one.counts and hard is not None and one.touch.at - hard.touch.at <= terms.soft_seconds:
            age = span(one.touch.at - hard.touch.at)
            why = f"soft click: does not take the order from the click of {hard.partner} {age} before"
            one = replace_arrival(one, lost=why)
        found.append(one)
    return found


def earning_now(touches: Sequence[Touch], now: float, terms: Terms) -> Click | None:
    """The click that counts most for an order made now on the web, without its reasons."""
    ordered = in_order(touches)
    for touch in ordered if terms.model == "first" else ordered[::-1]:
        for click in touch.clicks[::-1]:
            partner = terms.partner(click)
            if partner is not None and not _lost(touch, click, partner, now, terms, now, "web"):
                return click if click.partner == partner else replace(click, partner=partner)
    return None


def in_order(touches: Iterable[Touch]) -> list[Touch]:
    """Touches, oldest first. Times are whole seconds: touches of the same second stay in the order in which
    the visitor's record has them, which is that of their arrival."""
    return sorted(touches, key=_at)


_at = attrgetter("at")


def _earning(touch: Touch, terms: Terms) -> Touch:
    """The touch with the partners that its clicks earn for."""
    if all(terms.partner(click) == click.partner for click in touch.clicks):
        return touch
    clicks = tuple(replace(click, partner=terms.partner(click)) for click in touch.clicks)
    return replace(touch, clicks=clicks)


def _weigh(touch: Touch, order_time: float, terms: Terms, now: float, channel: str) -> Arrival:
    touch = _earning(touch, terms)
    clicks = [c for c in touch.clicks if c.partner is not None]
    if not clicks:
        why = "the click's network is not one of this shop's" if touch.clicks else "no click id"
        return Arrival(touch, None, f"no partner: {why}", stranger=True)
    # A later click outside its window does not exclude an earlier one of the same arrival.
    lost = {c: _lost(touch, c, c.partner or "", order_time, terms, now, channel) for c in clicks}
    click = next((c for c in reversed(clicks) if not lost[c]), clicks[-1])
    return Arrival(touch, click, lost[click])


def _lost(
    touch: Touch, click: Click, partner: str, order_time: float, terms: Terms, now: float, channel: str
) -> str:
    if partner not in terms.lookback_days:
        return f"{partner} is no longer a partner of this shop"
    if doubted(touch, partner, terms.inside):
        return f"suspicious: {DOUBTS.get(touch.doubt, touch.doubt)}"
    late = min(touch.at, now) - order_time
    if late > SKEW and not any(
        touch.at <= before + SKEW and late <= step + SKEW for before, step in terms.set_back
    ):
        return "after the order"
    days = terms.lookback(click, partner, channel)
    if -late > days * DAY:
        return f"outside the lookback of {counted(days, 'day')}: {span(-late)} before the order"
    return ""
