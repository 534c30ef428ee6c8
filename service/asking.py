"""What a decision asks the ledger, and how long it waits for the answer: a page does not wait for a ledger
that another process holds, or that is gone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ..stores.ledger.books import Ledger
from .agents import AgentLoads
from .clock import Clock
from .facts import LedgerFacts

T = TypeVar("T")
ANSWER_SECONDS = 0.25


class Timely(Generic[T]):
    """Asks, and goes on without the answer where it takes too long.

    A question is not cancelled, it ends by itself; until then nobody asks another one, so that what cannot be
    answered does not pile up.
    """

    def __init__(self, failed: Callable[[str, Exception], None]) -> None:
        self._failed = failed
        self._late: set[asyncio.Future[T]] = set()

    async def ask(self, site: str, question: Callable[[], Awaitable[T]]) -> T | None:
        """The answer; None if it does not come in time, or fails."""
        if self._late:
            return None
        task = asyncio.ensure_future(question())
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

    def stop(self) -> None:
        """Give up what has not been answered yet."""
        for task in self._late:
            task.cancel()

    def _ended(self, task: asyncio.Future[T]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # told of as late


async def ledger_facts(
    ledger: Ledger, agents: AgentLoads, clock: Clock, site: str, visitor: str | None
) -> LedgerFacts:
    """Ask the ledger; None for a visitor who is new, and so has not talked. Raises what the ledger raises."""
    desk = await agents.get(site)
    if visitor is None:
        return LedgerFacts(desk)
    books = ledger.conversations
    talk = await books.open_for(site, visitor)
    if talk is not None:
        return LedgerFacts(desk, talk, True, await books.unread(site, visitor))
    talked = await books.visitor_talked(site, visitor, 0, clock.now())
    return LedgerFacts(desk, talked=talked is not None)
