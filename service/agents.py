"""Which agents are there and how busy they are: in memory, so that no decision waits for the ledger."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..chat.load import Bounds, Gate, is_busy
from ..settings.model import Site
from ..stores.ledger.agents import ONLINE_SECONDS, Present
from ..stores.ledger.books import Ledger
from ..stores.ledger.load import NOTHING, Active, Crowded
from .clock import Clock
from .facts import AgentLoad

KEPT_SECONDS = 1.0
"""How long the load of a site is taken as it is, if nothing is read meanwhile."""

MOST_SAMPLED = 50
"""Sites at which an agent of all of them is taken to be, whether anybody writes there or not."""

_FIRST = Gate()
_Sites = Mapping[str, Site]


@dataclass(frozen=True, slots=True)
class Flip:
    """The gate of a site has changed, at this load."""

    site: str
    gate: Gate
    load: AgentLoad


class AgentLoads:
    """The load of the agents by site. The watch calls `refresh` after each commit to the ledger; `sites` has
    their settings.

    Somebody is there for a visitor if `is_here` says so, and nothing else decides that.
    """

    def __init__(self, ledger: Ledger, clock: Clock, sites: Callable[[], _Sites]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._sites = sites
        self._seen: Mapping[str | None, Sequence[Present]] | None = None
        self._told: Mapping[str, tuple[object, ...]] = {}
        # Called with the sites at which agents have come or gone, and whether visitors can tell.
        self.on_change: list[Callable[[str, bool], None]] = []
        self._active: Mapping[str, Active] = {}
        self._of_agent: Mapping[str, int] = {}
        self._crowds: Mapping[str, Sequence[Crowded]] = {}
        self._elsewhere: Mapping[str, int] = {}
        self._running: Mapping[str, int] = {}
        self._finished: frozenset[tuple[str, str]] = frozenset()
        self._gates: Mapping[str, Gate] = {}
        self._loads: dict[str, tuple[float, AgentLoad]] = {}
        self._idles: tuple[_Sites | None, frozenset[int]] = (None, frozenset())

    async def refresh(self) -> None:
        """Read the ledger. Raises its errors; the previous values are then kept."""
        now, books = self._clock.now(), self._ledger
        # First: what closes or opens a gate is then newer than the gate.
        gates = await books.load.gates()
        present = await books.agents.present(now)
        elsewhere, running = await books.provider_talks.present(now), await books.provider_talks.running(now)
        active = await self._read_active(now)
        # Most of the time nobody waits, and there is nothing to ask for.
        crowds = await books.load.crowds() if any(one.queue > 1 for one in active.values()) else {}
        leaving = [one.name for one in present if one.presence == "leaving"]
        finished = await books.load.held_by(leaving)
        seen: dict[str | None, list[Present]] = {}
        for one in present:
            seen.setdefault(one.site, []).append(one)
        of_agent: dict[str, int] = {}
        for site in active.values():
            for name, count in site.by_agent.items():
                if name is not None:
                    of_agent[name] = of_agent.get(name, 0) + count
        self._gates, self._elsewhere, self._running = gates, elsewhere, running
        self._active, self._of_agent, self._finished, self._seen = active, of_agent, finished, seen
        self._crowds = crowds
        self._loads.clear()

    async def _read_active(self, now: float) -> Mapping[str, Active]:
        """The active conversations of each site: what that is, each site's `idle_minutes` say."""
        sites = self._sites()
        if self._idles[0] is not sites:
            self._idles = sites, frozenset(site.chat.idle_minutes for site in sites.values())
        found: dict[str, Active] = {}
        for idle in self._idles[1]:
            active = await self._ledger.load.active(now - idle * 60)
            own = (name for name in active if name in sites and sites[name].chat.idle_minutes == idle)
            found |= {name: active[name] for name in own}
        return found

    def of(self, site: str, now: float) -> AgentLoad | None:
        """The load of a site; None if the ledger has not responded yet."""
        if self._seen is None:
            return None
        kept = self._loads.get(site)
        if kept is not None and abs(now - kept[0]) < KEPT_SECONDS:
            return kept[1]
        load = self._load(site, now)
        self._loads[site] = now, load
        return load

    def _load(self, site: str, now: float) -> AgentLoad:
        settings = self._sites().get(site)
        per_agent = 0 if settings is None else settings.chat.per_agent
        provided = settings is not None and settings.chat.provider is not None
        here, active = self._here(site, now), self._active.get(site, NOTHING)
        takes = [one for one in here if one.presence == "available"]
        elsewhere, names = self._elsewhere.get(site), {one.name for one in here}
        # An agent's places are counted over all sites, and those who take nothing keep what they have to
        # themselves. What nobody has, or somebody who is not there, is for those who take conversations.
        talks = sum(self._of_agent.get(one.name, 0) for one in takes)
        talks += sum(count for name, count in active.by_agent.items() if name not in names)
        if settings is not None:
            talks -= self._too_many(site, settings.chat.per_network)
        places = sum(one.capacity or per_agent for one in takes) + (elsewhere or 0) * per_agent
        gate = self._gates.get(site, _FIRST)
        return AgentLoad(
            desk=len(takes),
            elsewhere=elsewhere,
            known=not provided or elsewhere is not None or bool(takes),
            talks=talks + self._running.get(site, 0),
            places=places,
            queue=active.queue,
            waiting_since=active.waiting_since,
            gate=gate,
            departments=tuple(sorted({name for one in takes for name in one.departments})),
        )

    def _too_many(self, site: str, most: int) -> int:
        """How many of those that nobody has do not count, because their client network has others: else one
        stranger keeps the gate closed with twenty conversations, until somebody has answered all of them."""
        return sum(min(one.queue, max(0, one.waiting - most)) for one in self._crowds.get(site, ()))

    def is_here(self, site: str, now: float, *, agent: str | None = None, visitor: str | None = None) -> bool:
        """Whether a visitor of a site is answered now: by those who take conversations, or by the agent that
        has its open conversation, who may be at the end of a shift. The `agent` is that one, if it is known;
        else the `visitor` is enough."""
        load = self.of(site, now)
        if load is not None and load.online > 0:
            return True
        if agent is not None:
            return any(one.name == agent and one.presence != "away" for one in self._here(site, now))
        if visitor is None or (site, visitor) not in self._finished:
            return False
        return any(one.presence == "leaving" for one in self._here(site, now))

    def _here(self, site: str, now: float) -> list[Present]:
        # An agent of all sites counts for each of them.
        seen, since = self._seen or {}, now - ONLINE_SECONDS
        return [one for one in (*seen.get(None, ()), *seen.get(site, ())) if one.seen_at > since]

    def there(self, site: str, now: float) -> list[tuple[str, int]]:
        """Who takes conversations of a site now, and how many at once."""
        settings = self._sites().get(site)
        per_agent = 0 if settings is None else settings.chat.per_agent
        here = self._here(site, now)
        return [(one.name, one.capacity or per_agent) for one in here if one.presence == "available"]

    def sites_to_sample(self) -> list[str]:
        """The sites whose agents are noted each minute: all; of very many those that have a conversation or
        an agent of their own."""
        sites = self._sites()
        if len(sites) <= MOST_SAMPLED:
            return list(sites)
        return [name for name in sites if name in self._active or name in (self._seen or {})]

    def tell(self, sites: Iterable[str], now: float) -> None:
        """Call `on_change` for those of the sites at which who is there has changed since the last time.
        Visitors cannot tell where somebody takes conversations as before: see `is_here`."""
        told = {site: self._stamp(site, now) for site in sites}
        before, self._told = self._told, told
        for site, stamp in told.items():
            if (earlier := before.get(site, stamp)) != stamp:
                for call in self.on_change:
                    call(site, not (stamp[0] and earlier[0]))

    def stamp(self, site: str, now: float) -> Sequence[object]:
        """Plain data that differs whenever who is there does, or the gate."""
        return *self._stamp(site, now), self._gates.get(site, _FIRST).flips

    def _stamp(self, site: str, now: float) -> tuple[object, ...]:
        load = self.of(site, now)
        here = sorted((one.name, one.presence) for one in self._here(site, now))
        return load is not None and load.online > 0, self._elsewhere.get(site), *here

    async def judge(self, now: float) -> Sequence[Flip]:
        """Close and open the gates where the load says so; those that this process has changed. The ledger
        keeps them, so that all processes have the same, also after a restart. Raises its errors."""
        found, sites = [], self._sites()
        for name in {*self._gates, *self._active, *self._running}:
            load, settings = self.of(name, now), sites.get(name)
            if load is None or settings is None or not load.known:
                continue
            bounds = Bounds(settings.chat.busy_above, settings.chat.free_below)
            if is_busy(load.gate.busy, load.talks, load.places, bounds) == load.gate.busy:
                continue
            told = f"{load.talks}/{load.places}"
            if (gate := await self._ledger.load.flip(name, load.gate, now, told)) is None:
                continue
            self._gates = {**self._gates, name: gate}
            self._loads.pop(name, None)
            found.append(Flip(name, gate, load))
        return found
