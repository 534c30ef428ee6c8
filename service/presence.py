"""Which agents have a desk open in this process, and the ledger's note of it for all processes."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .service import Service

# All desks of an agent together write this often that the agent is there.
WRITE_SECONDS = 9.0
# A page that is turned closes its stream and opens the next.
LEAVE_SECONDS = 3.0


class Presence:
    """The agents with an open desk in this process."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._streams: Counter[str] = Counter()
        self._written: dict[str, float] = {}

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
        now = self._service.now()
        if now - self._written.get(agent, 0.0) >= WRITE_SECONDS:
            self._written[agent] = now
            await self._service.ledger.agents.seen(agent, now)

    def _leave(self, agent: str) -> None:
        # Whoever stops or restarts clew sends nobody home.
        if agent not in self._streams and self._service.ready and not self._service.hub.closed:
            self._service.later(self._left(agent))

    async def _left(self, agent: str) -> None:
        if (written := self._written.pop(agent, None)) is not None:
            await self._service.ledger.agents.left(agent, written)
