"""What was written in any process, found out for all of this one at once."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from ..chat.hub import Hub, agent_topic, desk_topic, network_topic, talk_topic, visit_topic, visitor_topic
from ..postbacks.model import STUCK
from ..referral.visitor import Visitor
from .ledger.books import Ledger
from .ledger.tail import Tail
from .talks import Talks, Written
from .visits import Visits, VisitsError

LOOK_SECONDS = 1.0
VISIT_SECONDS = 2.0
TOGETHER = 16
"""Visitors' records that are brought up at once: a store on another machine is asked for all of them in one
go."""
# While a visitor talks, its browser gives a sign at least once a minute; after this long without one it is
# gone.
LIVE_SECONDS = 90


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
    records, for the counts (`refresh`), and for all streams; every two seconds at the visits that a desk
    shows. In between it glances at the ledger as soon as something was committed, for new messages alone."""

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
        answered: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._ledger = ledger
        self._visits = visits
        self._talks = talks
        self._sites = sites
        self._now = now
        self._refresh = refresh
        self._failed = failed
        self._answered = answered
        self._tail = Tail(ledger.db)
        self._turn = asyncio.Lock()  # to read it
        # The message after which the records do not tell of all; None where they do.
        self._unnoted: int | None = None
        self._kept = 0  # up to where we have told the store that its records tell of all
        self._asked = False
        self._done: int | None = None  # the line of the desk's log up to which was looked
        self._missed = True  # streams may have missed a change
        self._glanced = False  # since the last look
        # Whose records may not tell yet of these messages, and the message after which that is so.
        self._fresh: dict[tuple[str, str], Written] = {}
        self._fresh_after = 0
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
        """Until it is cancelled. A look may take long, as where hundreds have written: what is written
        meanwhile in other processes waits for none."""
        clock = asyncio.get_running_loop().time
        look_at = clock() + LOOK_SECONDS
        looking: asyncio.Task[None] | None = None
        try:
            while True:
                await self._ledger.db.idle(max(0.0, look_at - clock()))
                if clock() < look_at:
                    await self._tried(self.glance())
                    continue
                look_at = clock() + LOOK_SECONDS
                if looking is None or looking.done():
                    looking = asyncio.create_task(self._tried(self.look()), name="clew-watch-look")
        finally:
            if looking is not None:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking

    async def _tried(self, looking: Awaitable[None]) -> None:
        try:
            await looking
        except Exception as error:
            self._fail(error)

    async def glance(self) -> None:
        """Look for new messages alone. Raises LedgerError."""
        self._glanced = await self._ledger.db.changed() or self._glanced
        await self._tell_written()

    async def look(self) -> None:
        """Look once."""
        missed = self._missed and len(self._hub) > 0
        if await self._ledger.db.changed() or self._glanced or not self._tail.is_begun or self._behind:
            self._glanced = False
            await self._look_at_ledger(notify=not missed)
        self._answered()
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
        self._missed, self._tail.is_begun, self._asked = True, False, False
        self._failed(error)

    async def _look_at_ledger(self, *, notify: bool = True) -> None:
        hub = self._hub
        await self._refresh()
        async with self._turn:
            if not self._tail.is_begun:
                await self._tail.begin()
        await self._catch_up(self._tail.newest)
        await self._tell_written(notify=notify)
        settled = self._tail.settled  # more may be told while the records are brought up
        await self._bring_up()
        await self._keep_noted(settled)
        await self._tell_done(notify=notify)
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

    @property
    def settled(self) -> int:
        """The message up to which all were written that ever will be, as far as this process has read."""
        return self._tail.settled

    async def _tell_done(self, *, notify: bool) -> None:
        """Tell the streams what agents did since the last time."""
        log, hub = self._ledger.desk_log, self._hub
        if self._done is None:
            self._done = await log.newest()
        while lines := await log.after(self._done):
            self._done = lines[-1].id
            for one in lines if notify else ():
                if one.conversation is not None:
                    hub.notify(talk_topic(one.site, one.conversation))
                    hub.notify(visitor_topic(one.site, one.visitor or ""))
                    hub.notify(desk_topic(one.site))
                if one.client is not None and one.kind in ("blocked", "unblocked"):
                    hub.notify(network_topic(one.site, one.client))
                for agent in {one.agent, one.before} - {None}:
                    hub.notify(agent_topic(str(agent)))

    async def _tell_written(self, *, notify: bool = True) -> None:
        """Tell the streams of what was written since the last time."""
        async with self._turn:
            is_at_end = False
            while not is_at_end:
                if not self._fresh:
                    self._fresh_after = self._tail.settled
                written = await self._tail.read()
                is_at_end = self._tail.is_at_end
                for one in written:
                    if one.visitor:  # else it is in another company's chat, and nobody knows whose it is
                        whose = one.site, one.visitor
                        self._fresh[whose] = Written.after(self._fresh.get(whose), one)
                    if notify:
                        self._hub.tell(one)

    def visits_are_back(self) -> None:
        """The visit store has failed, and answers again. It may have lost what was written last, and then
        also how far the records told of all: what it says now counts."""
        self._asked = False

    # -- the visitors' records; a store that fails is no reason to tell the streams nothing

    @property
    def _behind(self) -> bool:
        return self._unnoted is not None or not self._asked

    async def _catch_up(self, newest: int) -> None:
        """Bring up the records of what was written while the store failed, or before this process began."""
        if not self._behind:
            return
        try:
            if not self._asked:
                noted = await self._visits.noted_up_to()
                # A new store has no records yet, and a ledger that holds less than was noted is another one.
                self._unnoted = noted if noted is not None and noted <= newest else None
                self._asked = True
            while self._unnoted is not None:
                written = await self._ledger.conversations.written_after(self._unnoted)
                for one in written:
                    await self._talks.bring_up(one.site, one.visitor)
                self._unnoted = written[-1].message if written else None
        except VisitsError as error:
            self._failed(error)

    async def _bring_up(self) -> None:
        """Bring up the records of those who wrote, or were answered, since the last look."""
        fresh, after, self._fresh = list(self._fresh.items()), self._fresh_after, {}
        if self._behind:
            # What was written late may have a lower number than what is looked at next.
            if fresh and self._unnoted is not None:
                self._unnoted = min(self._unnoted, after)
            return
        try:
            for start in range(0, len(fresh), TOGETHER):
                some = [
                    self._talks.bring_up_to(written, *whose) for whose, written in fresh[start:][:TOGETHER]
                ]
                for error in await asyncio.gather(*some, return_exceptions=True):
                    if error is not None:
                        raise error
                await asyncio.sleep(0)  # SQLite answers at once, and there may be hundreds
        except VisitsError as error:
            self._unnoted = after
            self._failed(error)

    async def _keep_noted(self, last: int) -> None:
        """Have the store keep up to where its records tell of all; also again, where it was emptied."""
        if self._behind:
            return
        try:
            noted = await self._visits.noted_up_to()
            if noted is not None and noted < self._kept:
                self._unnoted = noted
            elif noted != last:
                await self._visits.set_noted_up_to(last)
            self._kept = last
        except VisitsError as error:
            self._unnoted = last
            self._failed(error)

    async def _look_at_visits(self) -> None:
        try:
            await self._compare_visits()
        except VisitsError as error:
            self._failed(error)

    async def _compare_visits(self) -> None:
        marks, self._marks = self._marks, {}
        for site, visitor in self._hub.shown_visits():
            mark = visit_mark(await self._visits.get(site, visitor), self._now())
            self._marks[site, visitor] = mark
            if marks.get((site, visitor), mark) != mark:
                self._hub.notify(visit_topic(site, visitor))
            await asyncio.sleep(0)
