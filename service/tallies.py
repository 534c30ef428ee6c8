"""Facts from the events that are kept of a visitor: how many there were in a time, and its score."""

from collections.abc import Callable
from typing import Final

from ..referral.visitor import Visitor
from ..rules.fact_table import window_of
from ..settings.model import Score
from .site import SiteRuntime

Tally = Callable[[Visitor, float], int]


def tally(name: str) -> Tally:
    """Counts an event: `login_failed` in this visit, `login_failed_10m` in the last ten minutes."""
    base, seconds = window_of(name)

    def count(visitor: Visitor, now: float) -> int:
        if visitor.memory is None:
            return 0
        # Times are kept in full seconds.
        since = int(visitor.visit_at if seconds is None else now - seconds)
        return sum(at >= since for at in visitor.memory.events.get(base, ()))

    return count


def points(site: SiteRuntime, score: Score, visitor: Visitor, now: float) -> float:
    """The visitor's score: the points of its pages and events, of which older ones may count less."""
    since = visitor.visit_at if score.scope == "visit" else 0.0
    total = 0.0
    if visitor.memory is not None:
        for name, times in visitor.memory.events.items():
            if worth := score.points.get(name):
                total += worth * sum(_weight(score, now - at) for at in times if at >= int(since))
    if any(name.startswith(PAGE) for name in score.points):
        for page in visitor.trail:
            if page.at >= since and (worth := score.points.get(f"{PAGE}{site.kind_of(page.url)}")):
                total += worth * _weight(score, now - page.at)
    if visitor.visits > 1:
        total += score.points.get("returning", 0.0)
    if visitor.cart:
        total += score.points.get("cart", 0.0)
    return min(max(total, score.least), score.most)


PAGE: Final = "page."


def _weight(score: Score, age: float) -> float:
    if score.half_life_hours is None:
        return 1.0
    return float(0.5 ** (max(0.0, age) / (score.half_life_hours * 3600)))
