"""Records a sample of page views in the background, so that rules can be tried on real traffic.

Visitors are chosen by a hash of their ids, so that whole visits are recorded. Where there are too many, half
of the share is taken from then on; each page view has a weight, that of the share at which it was recorded,
so that sums over the sample stay estimates of all page views (the estimator of Horvitz and Thompson). A visit
keeps the share at which it began.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from msgspec import Struct

from ..events.events import Events
from ..referral.visitor import Visitor
from ..stores.ledger.traffic import Recorded, Traffic
from .agents import AgentLoads
from .facts import AgentLoad, Client, Found, PageNow
from .limits import Limits, Rate, parts_of
from .recorded_facts import to_record
from .site import SiteRuntime

WRITE_EVERY: Final = 1.0
HOUR: Final = 3600.0
HALF_DAY: Final = 43200.0
PENDING: Final = 2_000
"""Page views that wait at most, of all sites."""
KNOWN: Final = 10_000
"""Page views that are known to be written, of all sites: when they ask again, only that is noted. So many
visits are known, too."""
MOST_TIMES: Final = 10
"""So many times `per_hour` a process records at most, however fast a flood comes."""
ASKS: Final = 5
"""So many times until `per_hour` is reached, a process asks what the others have recorded."""
OF_CLIENT: Final = 0.5
"""One client network has at most this part of `per_hour` at once, and twice that in a day: a program with a
cookie looks at more pages than all customers of a small shop."""
SHOWN_MOST: Final = 1800

_Key = tuple[str, str, str]


class _Seen(Struct, frozen=True):
    """What a page view is recorded from; nothing in it changes any more."""

    site: SiteRuntime
    visitor: Visitor
    page: PageNow
    load: AgentLoad | None
    now: float
    client: Client
    found: Found
    weight: float


class _Rate(Struct):
    """The share of a site in this hour: `halved` so many times, after `count` page views in all processes, as
    far as this one knows. `asked_at` is the count at which it asks the ledger."""

    hour: int
    halved: int = 0
    count: int = 0
    next_half: int = 0
    asked_at: int = 0

    def counted(self, count: int, per_hour: int) -> None:
        """So many page views are recorded in this hour."""
        self.count = max(self.count, count)
        while self.count >= self.next_half:
            self.halved += 1
            self.next_half += max(1, per_hour // 2)


class TrafficWriter:
    """Keeps page views until they are written, once a second. What does not fit is dropped and reported."""

    def __init__(self, books: Traffic, agents: AgentLoads, limits: Limits, events: Events) -> None:
        self._books = books
        self._limits = limits
        self._agents = agents
        self._events = events
        self._rates: dict[str, _Rate] = {}
        self._seen: dict[_Key, _Seen] = {}
        self._shown: dict[_Key, Recorded] = {}
        self._known: dict[_Key, None] = {}
        self._visits: dict[tuple[str, str, int], float] = {}
        self._dropped: dict[str, int] = {}

    def saw(
        self, site: SiteRuntime, visitor: Visitor, page: PageNow, now: float, client: Client, found: Found
    ) -> None:
        """A recognised visitor's page asks for a decision, for the first time or again."""
        sampling = site.settings.traffic
        part = crc32(visitor.id.encode()) / 2**32
        if part >= sampling.share / 100:
            return
        name, key = site.name, (site.name, visitor.id, page.view)
        if key in self._seen or key in self._known:
            shown = min(page.seconds, SHOWN_MOST)
            before = self._shown.get(key)
            # Requests of one page view may overtake each other.
            if shown > (before.shown if before else 0) and (before or len(self._shown) < PENDING):
                self._shown[key] = Recorded(*key, visitor.visits, now, shown, 0.0, None)
            return
        rate = self._rate(name, now, sampling.per_hour)
        visit = (name, visitor.id, visitor.visits)
        # A visit keeps the share at which it began, so that it is recorded to its end.
        share = self._visits.get(visit, sampling.share / 100 / 2**rate.halved)
        if part >= share:
            return
        if not self._takes(name, rate, client, sampling.per_hour):
            self._dropped[name] = self._dropped.get(name, 0) + 1
            return
        load = self._agents.of(name, now)
        self._seen[key] = _Seen(site, visitor, page, load, now, client, found, 1 / share)
        self._visits[visit] = share
        _bound(self._visits)

    def forget(self, site: str, visitor: str) -> None:
        """Drop what waits of a visitor who is forgotten."""
        for waiting in (self._seen, self._shown, self._known):
            for key in [key for key in waiting if key[:2] == (site, visitor)]:
                del waiting[key]

    def _rate(self, site: str, now: float, per_hour: int) -> _Rate:
        hour = int(now // HOUR)
        rate = self._rates.get(site)
        if rate is None or rate.hour != hour:
            # A quiet hour gets the share back, step by step.
            halved = max(0, rate.halved - 1) if rate is not None else 0
            rate = self._rates[site] = _Rate(hour, halved, 0, per_hour, per_hour // ASKS)
        return rate

    def _takes(self, site: str, rate: _Rate, client: Client, per_hour: int) -> bool:
        """Count a page view, if there may be one more."""
        if len(self._seen) >= PENDING or rate.count >= per_hour * MOST_TIMES:
            return False
        own = Rate(max(1.0, per_hour * OF_CLIENT), HALF_DAY)
        parts = parts_of(client.address, f"traffic {site}", own)
        if sum(self._limits.crowded(*one) for one in parts):
            return False
        rate.counted(rate.count + 1, per_hour)
        return True

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY)
            await self.write()

    async def write(self) -> None:
        """Write what waits. What the ledger does not take is dropped: it is a sample."""
        seen, self._seen = self._seen, {}
        shown, self._shown = self._shown, {}
        try:
            if seen:
                rows = await asyncio.to_thread(_recorded, seen)
                await self._books.write(rows)
                self._known.update(dict.fromkeys(seen))
                _bound(self._known)
                for site, _, _ in seen.keys() - {(row.site, row.visitor, row.page_view) for row in rows}:
                    self._dropped[site] = self._dropped.get(site, 0) + 1
            if shown:
                await self._books.write(shown.values())
        except Exception as error:
            for site, _, _ in seen:
                self._dropped[site] = self._dropped.get(site, 0) + 1
            self._events.failed(error, site="", where="traffic")
        await self._learn({one.site.name: one.site for one in seen.values()})
        dropped, self._dropped = self._dropped, {}
        for name, count in dropped.items():
            self._events.notice("traffic_dropped", site=name, key="traffic", rows=count)

    async def _learn(self, sites: Mapping[str, SiteRuntime]) -> None:
        """Ask the ledger how much all processes have recorded, each time that a part of `per_hour` came."""
        for name, site in sites.items():
            rate, per_hour = self._rates.get(name), site.settings.traffic.per_hour
            if rate is None or rate.count < rate.asked_at:
                continue
            try:
                rate.counted(await self._books.count(name, rate.hour * HOUR), per_hour)
            except Exception as error:
                self._events.failed(error, site=name, where="traffic")
            rate.asked_at = rate.count + max(1, per_hour // ASKS)


def _bound(known: dict[Any, Any]) -> None:
    """Drop the oldest."""
    while len(known) > KNOWN:
        del known[next(iter(known))]


def _recorded(seen: dict[_Key, _Seen]) -> list[Recorded]:
    """The rows; it takes a fraction of a millisecond for each, so it is for threads."""
    found = []
    for key, one in seen.items():
        facts = to_record(one.site, one.visitor, one.page, one.load, one.now, one.client, one.found)
        if facts is not None:
            shown = min(one.page.seconds, SHOWN_MOST)
            found.append(Recorded(*key, one.visitor.visits, one.now, shown, one.weight, facts))
    return found
