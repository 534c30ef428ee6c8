"""Which agents have a desk open in this process, and the ledger's note of it for all processes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from ..chat.hub import Hub
from .ledger.books import Ledger

# All desks of an agent together write this often that the agent is there.
WRITE_SECONDS = 9.0
# A page that is turned closes its stream and opens the next.
LEAVE_SECONDS = 3.0


class Presence:
    """The agents with an open desk in this process. `later` runs what is to be done in the background."""

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
        """Leave the agents there whose desks are closed from now on: a restart sends nobody home."""
        self._stopping = True

    @contextmanager
    def open(self, agent: str) -> Iterator[None]:
        """A stream of the agent's desk, for as long as the block runs."""
        self._streams[agent] += 1
        try:
            yield
        finally:
            self._streams[agent] -= 1
            if not self._streams[agent]:
                del self._streams[agent]
                asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._leave, agent)

    async def seen(self, agent: str) -> None:
        """Note that the agent is there, unless another desk of the same agent did so just now."""
        now = self._now()
        if now - self._written.get(agent, 0.0) >= WRITE_SECONDS:
            self._written[agent] = now
            await self._ledger.agents.seen(agent, now)

    def _leave(self, agent: str) -> None:
        if agent not in self._streams and not (self._stopping or self._hub.closed):
            self._later(self._left(agent))

    async def _left(self, agent: str) -> None:
        if (written := self._written.pop(agent, None)) is not None:
            await self._ledger.agents.left(agent, written)
