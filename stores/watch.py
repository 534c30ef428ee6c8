"""What other processes write, found out for all live streams of this one at once."""

import asyncio
from collections.abc import Callable, Iterable

from ..chat.hub import Hub, desk_topic, visit_topic, visitor_topic
from ..referral.visitor import Visitor
from .ledger.books import Ledger
from .visits import Visits

LOOK_SECONDS = 1.0
VISIT_SECONDS = 2.0
# A browser asks `decide` again while a page is shown; after this long without a sign the visitor has gone.
LIVE_SECONDS = 60


def visit_mark(visitor: Visitor | None, now: float) -> list[object]:
    """Plain data that differs whenever what the desk shows of a visit does."""
    if visitor is None:
        return []
    page = visitor.trail[-1].view if visitor.trail else ""
    return [
        *(now - visitor.seen_at < LIVE_SECONDS, visitor.pages, page, visitor.ordered_at, dict(visitor.cart)),
        *(len(visitor.touches), visitor.seen, visitor.dismissed, visitor.accepted),
    ]


class Watch:
    """Looks for all streams: once a second at the ledger, and reads it only if something was committed; every
    two seconds at the visits that a desk shows. While nobody listens it does nothing."""

    def __init__(
        self,
        hub: Hub,
        ledger: Ledger,
        visits: Visits,
        sites: Iterable[str],
        now: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self._hub = hub
        self._ledger = ledger
        self._visits = visits
        self._sites = sites
        self._now = now
        self._failed = failed
        self._asleep = True
        self._last = 0
        self._versions: dict[str, str] = {}
        self._marks: dict[tuple[str, str], list[object]] = {}
        self._visits_at = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:
                self._asleep = True  # something may have been missed
                self._failed(error)

    async def look(self) -> None:
        """Look once."""
        if not len(self._hub):
            self._asleep = True
            return
        changed = self._ledger.db.changed()
        if self._asleep:
            self._last = await self._ledger.conversations.last_message()
            self._asleep = False
            self._hub.notify_all()
        elif changed:
            await self._look_at_ledger()
        now = asyncio.get_running_loop().time()
        if now - self._visits_at >= VISIT_SECONDS:
            self._visits_at = now
            await self._look_at_visits()

    async def _look_at_ledger(self) -> None:
        books, hub = self._ledger.conversations, self._hub
        more = True
        while more:
            self._last, written = await books.written_after(self._last)
            for site, visitor in written:
                hub.notify(visitor_topic(site, visitor))
                hub.notify(desk_topic(site))
            more = bool(written)
        # Whoever takes a conversation writes no message.
        for site in self._sites:
            if hub.heard(desk_topic(site)):
                version = await books.version(site)
                if self._versions.get(site) != version:
                    self._versions[site] = version
                    hub.notify(desk_topic(site))

    async def _look_at_visits(self) -> None:
        marks, self._marks = self._marks, {}
        for site, visitor in self._hub.shown_visits():
            mark = visit_mark(await self._visits.get(site, visitor), self._now())
            self._marks[site, visitor] = mark
            if marks.get((site, visitor), mark) != mark:
                self._hub.notify(visit_topic(site, visitor))
            await asyncio.sleep(0)
