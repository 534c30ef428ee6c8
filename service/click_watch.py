"""Reports clicks of a partner that look made up: most of them seen by nobody, loaded in secret by other
pages, or too many from one client network. It holds nothing; the clicks' own signs do (`credit/fraud.py`)."""

from collections.abc import Iterable
from math import sqrt
from typing import Final

from ..events.events import Events
from ..referral.touches import Touch
from .clock import Clock
from .site import SiteRuntime

HOUR: Final = 3600
HOURS: Final = 24  # that count, before the current one
LEAST: Final = 50  # clicks; with fewer nothing is said
UNSEEN_BELOW: Final = 0.2  # of the clicks are shown
_Z: Final = 2.5758  # of a normal distribution 1 % lies beyond, on both sides together


class ClickWatch:
    """Counts clicks and page views after them by partner and hour, in this process. Partners are those of the
    settings, so their number is bounded."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        # By site and partner: the hour, and the clicks and page views after clicks in it.
        self._hours: dict[tuple[str, str], dict[int, list[int]]] = {}

    def clicked(self, site: str, partner: str, *, shown: bool, crowd: int = 0) -> None:
        """A new click. `crowd`: it is over this number of an hour from its client network."""
        self._count(site, partner, 1, int(shown))
        if crowd:
            why = f"more than {crowd} clicks came within an hour from one client network"
            self._notice(site, partner, "crowd", why)

    def seen(self, site: SiteRuntime, before: Iterable[Touch], now: Iterable[Touch]) -> None:
        """Count the touches of a visitor that are shown now and were not before."""
        hidden = {(t.at, t.clicks) for t in before if not t.shown}
        for touch in now:
            if touch.shown and (touch.at, touch.clicks) in hidden:
                for partner in site.clicks.partners(touch):
                    self._count(site.name, partner, 0, 1)

    def embedded(self, site: str, partner: str) -> None:
        """A page of another site loaded a partner's link, and showed it to nobody."""
        why = "a page of another site loads its links as pictures or in frames; such loads earn nothing"
        self._notice(site, partner, "embedded", why)

    def _count(self, site: str, partner: str, clicks: int, shown: int) -> None:
        hour = int(self._clock.now() // HOUR)
        hours = self._hours.setdefault((site, partner), {})
        if hour not in hours:
            for old in [one for one in hours if not hour - HOURS <= one <= hour]:
                del hours[old]
            self._judge(site, partner, hours)
        counts = hours.setdefault(hour, [0, 0])
        counts[0] += clicks
        counts[1] += shown

    def _judge(self, site: str, partner: str, hours: dict[int, list[int]]) -> None:
        """Of the full hours: whether it is sure that too few of the clicks were shown."""
        clicks, shown = (sum(counts[place] for counts in hours.values()) for place in (0, 1))
        if clicks >= LEAST and most_likely(min(shown, clicks), clicks) < UNSEEN_BELOW:
            why = (
                f"of {clicks} clicks within a day only {shown} were followed by a page view: they were "
                "loaded in secret or by programs, or the pages that they lead to have no tag"
            )
            self._notice(site, partner, "unseen", why)

    def _notice(self, site: str, partner: str, what: str, why: str) -> None:
        self._events.notice("clicks_unusual", site=site, key=f"{partner} {what}", partner=partner, why=why)


def most_likely(found: int, of: int) -> float:
    """The upper end of Wilson's interval of a part, with a confidence of 99 %."""
    part, z = found / of, _Z
    middle, spread = part + z * z / (2 * of), z * sqrt(part * (1 - part) / of + z * z / (4 * of * of))
    return (middle + spread) / (1 + z * z / of)
