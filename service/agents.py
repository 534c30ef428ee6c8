"""How many agents are online and how busy they are: in memory, so that no decision waits for the ledger."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..stores.ledger.agents import ONLINE_SECONDS, Present
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
        self._seen: Mapping[str | None, Sequence[Present]] | None = None
        self._told: Mapping[str, tuple[object, ...]] = {}
        # Called with the sites of which visitors are to hear that agents have come or gone.
        self.on_change: list[Callable[[str], None]] = []
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
        seen: dict[str | None, list[Present]] = {}
        for one in present:
            seen.setdefault(one.site, []).append(one)
        self._seen = seen

    def of(self, site: str, now: float) -> AgentLoad | None:
        """The load of a site; None if the ledger has not responded yet."""
        if self._seen is None:
            return None
        takes = [one for one in self._here(site, now) if one.presence == "available"]
        own = [one.capacity for one in takes if one.capacity is not None]
        talks = self._conversations.get(site, 0) + self._running.get(site, 0)
        return AgentLoad(len(takes), talks, self._elsewhere.get(site), len(own), sum(own))

    def is_here(self, site: str, now: float, agent: str | None = None) -> bool:
        """Whether a visitor of a site is answered now: by those who take conversations, or by the `agent`
        that has its conversation, who may be at the end of a shift."""
        load = self.of(site, now)
        if load is not None and load.online > 0:
            return True
        return any(one.name == agent and one.presence != "away" for one in self._here(site, now))

    def _here(self, site: str, now: float) -> list[Present]:
        # An agent of all sites counts for each of them.
        seen, since = self._seen or {}, now - ONLINE_SECONDS
        return [one for one in (*seen.get(None, ()), *seen.get(site, ())) if one.seen_at > since]

    def tell(self, sites: Iterable[str], now: float) -> None:
        """Call `on_change` for those of the sites at which who is there has changed since the last time."""
        told = {site: self._stamp(site, now) for site in sites}
        changed = [site for site, stamp in told.items() if self._told.get(site, stamp) != stamp]
        self._told = told
        for site in changed:
            for call in self.on_change:
                call(site)

    def _stamp(self, site: str, now: float) -> tuple[object, ...]:
        here = sorted((one.name, one.presence) for one in self._here(site, now))
        return self._elsewhere.get(site), *here
