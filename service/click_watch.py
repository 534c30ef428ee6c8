"""Reports clicks of a partner that look made up: most of them seen by nobody or made by programs, loaded in
secret by other pages, too many from one client network, or many more than the partner ever had. It holds
nothing; the clicks' own signs do (`credit/fraud.py`)."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from math import sqrt
from typing import Final

from ..events.events import Events
from ..referral.touches import Touch
from ..settings.model import Fraud
from .clock import Clock
from .site import SiteRuntime

HOUR: Final = 3600
HOURS: Final = 24  # that count, before the current one
LEAST: Final = 50  # clicks; with fewer nothing is said
UNSEEN_BELOW: Final = 0.2  # of the clicks are shown
PROGRAMS_ABOVE: Final = 0.5  # of the clicks were made by programs
DAYS: Final = 28  # with which a day is compared
KNOWN_DAYS: Final = 7  # of clicks, before a partner is compared with itself
_Z: Final = 2.5758  # of a normal distribution 1 % lies beyond, on both sides together


class ClickWatch:
    """Counts clicks and page views after them by partner and hour, in this process. Partners are those of the
    settings, so their number is bounded."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        # By site and partner: the hour, and its clicks, page views after clicks, and clicks of programs.
        self._hours: dict[tuple[str, str], dict[int, list[int]]] = {}

    def clicked(
        self, site: str, partner: str, *, shown: bool, crowd: int = 0, automated: bool = False
    ) -> None:
        """A new click. `crowd`: it is over this number of an hour from its client network. `automated`: a
        program made it, and the settings only note that."""
        self._count(site, partner, 1, int(shown), int(automated))
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

    def rates(self, site: str, fraud: Fraud, days: Mapping[str, Mapping[str, int]], today: str) -> None:
        """Compare the clicks of partners today (`2026-11-27`) with those of the days before."""
        for partner in sorted(days.get(today, {})) if fraud.clicks else ():
            why = too_many(partner, days, today, fraud.clicks, float(fraud.factor))
            if why:
                self._notice(site, partner, "velocity", why)

    def _count(self, site: str, partner: str, clicks: int, shown: int, automated: int = 0) -> None:
        hour = int(self._clock.now() // HOUR)
        hours = self._hours.setdefault((site, partner), {})
        if hour not in hours:
            for old in [one for one in hours if not hour - HOURS <= one <= hour]:
                del hours[old]
            self._judge(site, partner, hours)
        counts = hours.setdefault(hour, [0, 0, 0])
        counts[0] += clicks
        counts[1] += shown
        counts[2] += automated

    def _judge(self, site: str, partner: str, hours: dict[int, list[int]]) -> None:
        """Of the full hours: whether it is sure that too few of the clicks were shown, or too many of them
        made by programs."""
        clicks, shown, made = (sum(counts[place] for counts in hours.values()) for place in range(3))
        if clicks >= LEAST and most_likely(clicks - made, clicks) < 1 - PROGRAMS_ABOVE:
            why = (
                f"of {clicks} clicks within a day {made} were made by programs, not by persons' browsers: "
                'hold their orders with automated = "hold" in [sites.fraud]'
            )
            self._notice(site, partner, "programs", why)
        if clicks >= LEAST and most_likely(min(shown, clicks), clicks) < UNSEEN_BELOW:
            why = (
                f"of {clicks} clicks within a day only {shown} were followed by a page view: they were "
                "loaded in secret or by programs, or the pages that they lead to have no tag"
            )
            self._notice(site, partner, "unseen", why)

    def _notice(self, site: str, partner: str, what: str, why: str) -> None:
        self._events.notice("clicks_unusual", site=site, key=f"{partner} {what}", partner=partner, why=why)


def too_many(
    partner: str, days: Mapping[str, Mapping[str, int]], today: str, least: int, factor: float
) -> str:
    """Why a partner has too many clicks today; empty if it has not: fewer than `least`, or not more than
    `factor` times its busiest day of those before. As with orders (`stores/ledger/paces.py`), a day on which
    the whole shop has more allows as many times more, and a new partner is compared with the whole shop.
    `days` are the clicks by day and partner."""
    week = (date.fromisoformat(today) - timedelta(days=KNOWN_DAYS)).isoformat()
    before = {day: counts for day, counts in days.items() if day < today}
    count = days.get(today, {}).get(partner, 0)
    if count < least or min(before, default=today) > week:
        return ""
    usual = max(sum(counts.values()) for counts in before.values())
    growth = max(1.0, (sum(days[today].values()) - count) / max(1, usual))
    own = {day: counts[partner] for day, counts in before.items() if partner in counts}
    if min(own, default=today) <= week:
        allowed, what = factor * max(own.values()) * growth, f"its busiest day before had {max(own.values())}"
    else:
        allowed, what = usual * growth, f"it is new, and the busiest day of the shop had {usual}"
    return "" if count <= allowed else f"{count} clicks today; {what}"


def most_likely(found: int, of: int) -> float:
    """The upper end of Wilson's interval of a part, with a confidence of 99 %."""
    part, z = found / of, _Z
    middle, spread = part + z * z / (2 * of), z * sqrt(part * (1 - part) / of + z * z / (4 * of * of))
    return (middle + spread) / (1 + z * z / of)
