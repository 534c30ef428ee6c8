"""How many agents are online and how busy they are: in memory, so that no decision waits for the ledger."""

from typing import TYPE_CHECKING

from ..stores.ledger.agents import ONLINE_SECONDS
from ..stores.ledger.books import Ledger
from .clock import Clock
from .facts import AgentLoad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class AgentLoads:
    """The load of the agents by site. The watch calls `refresh` after each commit to the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._seen: Mapping[str | None, Sequence[float]] | None = None
        self._conversations: Mapping[str, int] = {}
        self._elsewhere: Mapping[str, int] = {}
        self._running: Mapping[str, int] = {}

    async def refresh(self) -> None:
        """Read the ledger. Raises its errors; the previous values are then kept."""
        now = self._clock.now()
        present = await self._ledger.agents.present(now)
        self._elsewhere = await self._ledger.provider_talks.present(now)
        self._running = await self._ledger.provider_talks.running(now)
        self._conversations = await self._ledger.inbox.open_by_site()
        seen: dict[str | None, list[float]] = {}
        for site, at in present:
            seen.setdefault(site, []).append(at)
        self._seen = seen

    def of(self, site: str, now: float) -> AgentLoad | None:
        """The load of a site; None if the ledger has not responded yet."""
        if self._seen is None:
            return None
        since = now - ONLINE_SECONDS
        # An agent of all sites counts for each of them.
        seen = (*self._seen.get(None, ()), *self._seen.get(site, ()))
        online = sum(at > since for at in seen) if seen else 0
        talks = self._conversations.get(site, 0) + self._running.get(site, 0)
        return AgentLoad(online, talks, self._elsewhere.get(site))
