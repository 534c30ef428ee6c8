"""What was written in any process, found out for all of this one at once."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from ..chat.hub import Hub, desk_topic, visit_topic, visitor_topic
from ..postbacks.model import STUCK
from ..referral.visitor import Visitor
from .ledger.books import Ledger
from .talks import Talks
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
    """Looks once a second at the ledger, and reads it only if something was committed: for the visitors'
    records, for whoever counts (`refresh`), and for all streams; every two seconds at the visits that a desk
    shows."""

    def __init__(
        self,
        hub: Hub,
        ledger: Ledger,
        visits: Visits,
        talks: Talks,
        sites: Collection[str],
        now: Callable[[], float],
        refresh: Callable[[], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._hub = hub
        self._ledger = ledger
        self._visits = visits
        self._talks = talks
        self._sites = sites
        self._now = now
        self._refresh = refresh
        self._failed = failed
        self._last: int | None = None  # the message up to which was looked
        self._missed = True  # something may have been written that no stream was told of
        self._versions: dict[str, tuple[object, ...]] = {}
        self._marks: dict[tuple[str, str], list[object]] = {}
        self._visits_at = 0.0

    async def begin(self) -> None:
        """Look for the first time. Never raises."""
        try:
            await self._ledger.db.changed()
            await self._look_at_ledger()
        except Exception as error:
            self._fail(error)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._ledger.db.idle(LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:
                self._fail(error)

    async def look(self) -> None:
        """Look once."""
        missed = self._missed and len(self._hub) > 0
        if await self._ledger.db.changed() or self._last is None:
            await self._look_at_ledger(notify=not missed)
        if not len(self._hub):
            return
        if missed:
            self._missed = False
            self._hub.notify_all()
        now = asyncio.get_running_loop().time()
        if now - self._visits_at >= VISIT_SECONDS:
            self._visits_at = now
            await self._look_at_visits()

    def _fail(self, error: Exception) -> None:
        self._missed, self._last = True, None
        self._failed(error)

    async def _look_at_ledger(self, *, notify: bool = True) -> None:
        books, hub = self._ledger.conversations, self._hub
        await self._refresh()
        noted = self._last
        if self._last is None:
            newest, noted = await books.last_message(), await self._visits.noted_up_to()
            # A new store has no records yet, and a ledger that holds less than was noted is another one.
            self._last = noted if noted is not None and noted <= newest else newest
        more = True
        while more:
            last, written = await books.written_after(self._last)
            for site, visitor in written:
                await self._talks.bring_up(site, visitor)
                if notify:
                    hub.notify(visitor_topic(site, visitor))
                    hub.notify(desk_topic(site))
            self._last, more = last, bool(written)
        if self._last != noted:
            await self._visits.set_noted_up_to(self._last)
        # Whoever takes a conversation writes no message, nor does an order that is held.
        for gone in [site for site in self._versions if site not in self._sites]:
            del self._versions[gone]
        for site in self._sites:
            if hub.heard(desk_topic(site)):
                waiting = await self._ledger.outbox.counts(site, STUCK)
                version = await self._ledger.inbox.version(site), *waiting.values()
                if notify and self._versions.get(site) != version:
                    hub.notify(desk_topic(site))
                self._versions[site] = version

    async def _look_at_visits(self) -> None:
        marks, self._marks = self._marks, {}
        for site, visitor in self._hub.shown_visits():
            mark = visit_mark(await self._visits.get(site, visitor), self._now())
            self._marks[site, visitor] = mark
            if marks.get((site, visitor), mark) != mark:
                self._hub.notify(visit_topic(site, visitor))
            await asyncio.sleep(0)
