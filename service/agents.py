"""How many agents are there, and how busy: asked at each decision, and so not asked anew each time."""

from ..stores.ledger.books import Ledger
from .clock import Clock
from .facts import Desk

MAX_AGE = 2.0


class AgentLoads:
    """The load of the agents by site."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: dict[str, tuple[float, Desk]] = {}

    def known(self, site: str) -> Desk:
        """The same as `get`, as it was when somebody last asked."""
        known = self._known.get(site)
        return known[1] if known is not None else Desk()

    async def get(self, site: str) -> Desk:
        """At most two seconds old. Raises what the ledger raises."""
        asked = self._clock.monotonic()
        known = self._known.get(site)
        if known is not None and asked - known[0] < MAX_AGE:
            return known[1]
        online = await self._ledger.agents.online(site, self._clock.now())
        counts = await self._ledger.conversations.counts(site)
        desk = Desk(online, sum(counts.values()))
        self._known[site] = (asked, desk)
        return desk

    def forget(self, site: str) -> None:
        """A site is gone."""
        self._known.pop(site, None)
