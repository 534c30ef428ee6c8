"""Which agents have a desk open in this process, stored in the ledger for all processes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from ..chat.hub import Hub
from .ledger.books import Ledger

# Interval at which an agent's presence is written, for all its desks together.
WRITE_SECONDS = 9.0
# When the agent opens another page, the stream is closed and a new one opened.
LEAVE_SECONDS = 3.0


class Presence:
    """The agents with an open desk in this process. `later` runs work in the background."""

    def __init__(
        self,
        hub: Hub,
        ledger: Ledger,
        now: Callable[[], float],
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._hub = hub
        self._ledger = ledger
        self._now = now
        self._later = later
        self._streams: Counter[str] = Counter()
        self._written: dict[str, float] = {}
        self._stopping = False

    def stop(self) -> None:
        """Keep agents online whose desks are closed from now on, so that a restart does not change it."""
        self._stopping = True

    @contextmanager
    def open(self, agent: str) -> Iterator[None]:
        """Count a stream of the agent's desk while the block runs."""
        self._streams[agent] += 1
        try:
            yield
        finally:
            self._streams[agent] -= 1
            if not self._streams[agent]:
                del self._streams[agent]
                asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._leave, agent)

    async def seen(self, agent: str) -> None:
        """Write that the agent is online, unless another of its desks has just done so. Whose turn comes soon
        is written with it: after each commit all processes look at the ledger."""
        now = self._now()
        if now - self._written.get(agent, 0.0) < WRITE_SECONDS:
            return
        soon = now - WRITE_SECONDS / 2
        due = [one for one in {agent, *self._streams} if self._written.get(one, 0.0) <= soon]
        self._written.update(dict.fromkeys(due, now))
        await self._ledger.agents.seen_all(due, now)

    def _leave(self, agent: str) -> None:
        if agent not in self._streams and not (self._stopping or self._hub.closed):
            self._later(self._left(agent))

    async def _left(self, agent: str) -> None:
        if (written := self._written.pop(agent, None)) is not None:
            await self._ledger.agents.left(agent, written)
