"""What other processes write, found out for all live streams of this one at once."""

import asyncio
from typing import TYPE_CHECKING

from ..chat.hub import desk_topic, visit_topic, visitor_topic
from ..referral.visitor import Visitor

if TYPE_CHECKING:
    from .service import Service

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

    def __init__(self, service: "Service") -> None:
        self._service = service
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
                self._service.journal.notice("fault", site="", key="watch", where="watch", error=repr(error))

    async def look(self) -> None:
        """Look once."""
        service = self._service
        if not len(service.hub):
            self._asleep = True
            return
        changed = service.ledger.db.changed()
        if self._asleep:
            self._last = await service.ledger.conversations.last_message()
            self._asleep = False
            service.hub.notify_all()
        elif changed:
            await self._ledger()
        now = asyncio.get_running_loop().time()
        if now - self._visits_at >= VISIT_SECONDS:
            self._visits_at = now
            await self._visits()

    async def _ledger(self) -> None:
        books, hub = self._service.ledger.conversations, self._service.hub
        more = True
        while more:
            self._last, written = await books.written_after(self._last)
            for site, visitor in written:
                hub.notify(visitor_topic(site, visitor))
                hub.notify(desk_topic(site))
            more = bool(written)
        # Whoever takes a conversation writes no message.
        for site in self._service.sites:
            if hub.heard(desk_topic(site)):
                version = await books.version(site)
                if self._versions.get(site) != version:
                    self._versions[site] = version
                    hub.notify(desk_topic(site))

    async def _visits(self) -> None:
        service, marks = self._service, self._marks
        self._marks = {}
        for site, visitor in service.hub.shown_visits():
            mark = visit_mark(await service.visits.get(site, visitor), service.now())
            self._marks[site, visitor] = mark
            if marks.get((site, visitor), mark) != mark:
                service.hub.notify(visit_topic(site, visitor))
            await asyncio.sleep(0)
