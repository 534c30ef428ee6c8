"""What a visitor's own record says of its conversation, and how that gets there.

The ledger holds the conversations, and each page view asks whether there is one. So a change of one in
the ledger notes it in the visitor's record, and a decision reads that alone; that a visitor who talks has
written once more, the watch notes, once a second. The ledger is asked where a
record does not say: once for each visitor who is new to the store, or whom the store has lost. What was not
noted, because a process was killed in between or the store failed, is noted by the watch of any process.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from ..chat.model import News
from ..referral.visitor import Talk, TalkChanged, Visitor
from .ledger.books import Ledger
from .visits import Visits, VisitsError

# How long a decision waits for the ledger, which another process may hold, or which may be gone.
ANSWER_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Written:
    """The messages of a visitor's conversations since its record was looked at: the last one, and the one
    before the first if all are the visitor's own in one conversation, else None."""

    last: int
    before: int | None

    @classmethod
    def after(cls, earlier: "Written | None", news: News) -> "Written":
        """With one message more."""
        number, own = news.message.id, news.message.author == "visitor"
        if earlier is None:
            return cls(number, news.previous if own else None)
        goes_on = own and news.previous == earlier.last
        return cls(max(number, earlier.last), earlier.before if goes_on else None)


class Talks:
    """Keeps the visitors' records and the ledger's conversations together. `failed` hears of the site and of
    what went wrong there."""

    def __init__(
        self,
        ledger: Ledger,
        visits: Visits,
        now: Callable[[], float],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._ledger = ledger
        self._visits = visits
        self._now = now
        self._failed = failed
        self._late: set[asyncio.Future[Talk]] = set()

    async def note(
        self, site: str, visitor: str, talk: Talk | None = None, stored: Visitor | None = None
    ) -> None:
        """Bring the record of a visitor up to what the ledger holds; after each change of a conversation.
        `talk` is what the site's own one has become by the change, and `stored` the record as it was just
        before, if they are known."""
        try:
            await self.bring_up(site, visitor, talk, stored)
        except Exception as error:
            self._failed(site, error)

    async def bring_up(
        self, site: str, visitor: str, known: Talk | None = None, stored: Visitor | None = None
    ) -> Talk:
        """The same as `note`, but it raises what the stores raise; what the ledger holds."""
        while True:
            if stored is None:
                stored = await self._visits.get(site, visitor)
            noted = None if stored is None else stored.talk
            if known is None or noted is None or noted.last > known.last:
                talk = await self._ledger.conversations.talk(site, visitor)
            else:
                talk, known = replace(known, elsewhere=noted.elsewhere), None
            if stored is None or stored.forgotten or stored.talk == talk:
                return talk
            change = TalkChanged(stored.talk, talk)
            stored = await self._visits.change(site, visitor, [change], self._now())
            if stored.talk == talk:
                return talk
            # Somebody else has noted something meanwhile: which of the two is newer, the ledger knows.
            stored = None

    async def bring_up_to(self, written: Written, site: str, visitor: str) -> None:
        """The same, unless the record tells of what was written already."""
        stored = await self._visits.get(site, visitor)
        if stored is None or (stored.talk is not None and stored.talk.last >= written.last):
            return
        goes_on = stored.talk is not None and stored.talk.open and stored.talk.last == written.before
        await self.bring_up(site, visitor, Talk(written.last, True) if goes_on else None, stored)

    async def recall(self, site: str, visitor: str) -> Talk | None:
        """Ask the ledger for what a record does not say, and note it; None if it fails or is late.

        A question is not cancelled, it ends by itself; until then nobody asks another one, so that what
        cannot be answered does not pile up.
        """
        if self._late:
            return None
        task = asyncio.ensure_future(self._bring_up_or_ask(site, visitor))
        try:
            await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        finally:
            if not task.done():
                self._late.add(task)
                task.add_done_callback(self._ended)
        if not task.done():
            self._failed(site, TimeoutError("the ledger does not answer in time"))
            return None
        if (error := task.exception()) is None:
            return task.result()
        if not isinstance(error, Exception):
            raise error
        self._failed(site, error)
        return None

    async def _bring_up_or_ask(self, site: str, visitor: str) -> Talk:
        """What the ledger holds, also where the visit store fails."""
        try:
            return await self.bring_up(site, visitor)
        except VisitsError:
            return await self._ledger.conversations.talk(site, visitor)

    def stop(self) -> None:
        """Give up what has not been answered yet."""
        for task in self._late:
            task.cancel()

    def _ended(self, task: asyncio.Future[Talk]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # it was reported as late
