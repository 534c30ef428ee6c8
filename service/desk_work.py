"""The work of agents: who gets which conversation, who is there, notes, and who may not write."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from ..chat.hub import (
    Hub,
    agent_topic,
    desk_topic,
    network_topic,
    presence_topic,
    talk_topic,
    visitor_topic,
)
from ..chat.model import Conversation
from ..events.events import Events
from ..settings.model import Site
from ..stores.ledger.assignment import Terms
from ..stores.ledger.books import Ledger
from ..stores.ledger.desk_agents import Presence
from .agents import AgentLoads
from .clock import Clock

LOOK_SECONDS: Final = 1.0
GONE_SECONDS: Final = 60.0
"""How long the desk of an agent may be closed before others get its conversations: a reload, a tunnel, a
laptop that is carried to another room."""

TIRED_SECONDS: Final = 10.0
"""Between two looks at a site where something waits that nobody could take, if nothing changes there."""

LATE_SECONDS: Final = 120.0
"""After so long a conversation that nobody can take is a line of “Needs attention”."""

Later = Callable[[Coroutine[Any, Any, None]], None]


class DeskWork:
    """Of all sites. `site` gives a site's settings, None for one that was removed; `later` runs work in the
    background. Methods raise the ledger's errors; what runs by itself reports them."""

    def __init__(
        self,
        ledger: Ledger,
        agents: AgentLoads,
        hub: Hub,
        events: Events,
        clock: Clock,
        site: Callable[[str], Site | None],
        later: Later,
    ) -> None:
        self._ledger = ledger
        self._agents = agents
        self._agents.on_change.append(self._people_changed)
        self._hub = hub
        self._events = events
        self._clock = clock
        self._site = site
        self._later = later
        # The sites at which something is about to be assigned, each once however much happens there.
        self._due: set[str] = set()
        # Until when a site is not looked at, where nobody could take anything: in seconds that never go back.
        self._tired: dict[str, float] = {}

    # -- assignment

    def terms(self, site: Site) -> Terms:
        """How a site assigns."""
        chat = site.chat
        idle = chat.idle_minutes * 60.0
        return Terms(chat.assignment, chat.per_agent, float(chat.widen_seconds), idle, chat.per_network)

    def soon(self, site: str) -> None:
        """Assign what waits at a site: something there has changed."""
        self._tired.pop(site, None)
        if self._assigns(site) and site not in self._due:
            self._due.add(site)
            self._later(self._assign_due(site))

    async def _assign_due(self, site: str) -> None:
        self._due.discard(site)
        try:
            await self.assign(site)
        except Exception as error:
            self._events.failed(error, site=site, where="assignment")

    async def assign(self, site: str) -> None:
        """Assign what waits at a site and somebody can take."""
        found = self._site(site)
        if found is None:
            return
        now = self._clock.now()
        while True:
            done = await self._ledger.assignment.assign(site, self.terms(found), now)
            self._tell(done.given, "assigned")
            if not done.given or not done.left:
                break
        if done.left:
            self._tired[site] = self._clock.monotonic() + TIRED_SECONDS
        if done.since is not None and now - done.since > LATE_SECONDS:
            self._events.notice("talk_waits", site=site, key=found.chat.assignment, waiting=done.left)

    def _people_changed(self, site: str, is_seen: bool) -> None:
        if is_seen:
            self._later(self._hub.notify_slowly(presence_topic(site)))
        self.soon(site)

    async def run(self) -> None:
        """Look again and again what nobody has, also because its agent has gone; until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:
                self._events.failed(error, site="", where="assignment")

    async def look(self) -> None:
        """Look once."""
        books, now = self._ledger.assignment, self._clock.now()
        gone = await books.gone(now, GONE_SECONDS)
        for agent, why in gone.items():
            while released := await books.release([agent], now, why):
                self._tell(released, "released", agent)
                for site in {one.site for one in released}:
                    self._tired.pop(site, None)
        waits = [site for site in await books.waits() if self._assigns(site)]
        self._agents.tell({*waits, *self._hub.present_sites()}, now)
        await self._judge(now)
        late = self._clock.monotonic()
        self._tired = {site: until for site, until in self._tired.items() if until > late}
        for site in waits:
            if site not in self._tired:
                await self.assign(site)

    async def _judge(self, now: float) -> None:
        """Close or open the sites' gates by the load of their agents."""
        for flip in await self._agents.judge(now):
            load = flip.load
            numbers = {"talks": load.talks, "places": load.places, "queue": load.queue}
            self._events.emit(
                "load_gate",
                site=flip.site,
                busy=flip.gate.busy,
                load=round(load.talks / load.places, 2),
                online=load.online,
                **numbers,
            )
            self._hub.notify(desk_topic(flip.site))

    def _assigns(self, site: str) -> bool:
        found = self._site(site)
        return found is not None and found.chat.assignment != "free"

    async def transfer(
        self,
        site: Site,
        conversation: str,
        *,
        by: str,
        agent: str | None = None,
        department: str | None = None,
        note: str = "",
    ) -> None:
        """Give a conversation to an agent or a department of the site. Raises TransferError."""
        moved = await self._ledger.assignment.transfer(
            *(site.name, conversation, self.terms(site), self._clock.now()),
            by=by,
            agent=agent,
            department=department,
            note=note,
        )
        self._tell([moved], "transferred", by)
        self.soon(site.name)

    def _tell(self, moved: Iterable[Conversation], how: str, by: str | None = None) -> None:
        for one in moved:
            self._events.emit(
                "assigned",
                site=one.site,
                conversation=one.id,
                how=how,
                by=by,
                agent=one.agent,
                department=one.department,
            )
            self._hub.notify(talk_topic(one.site, one.id))
            self._hub.notify(desk_topic(one.site))
            self._hub.notify(visitor_topic(one.site, one.visitor))
            if one.agent is not None:
                self._hub.notify(agent_topic(one.agent))

    # -- presence and notes

    async def set_presence(self, agent: str, presence: Presence, sites: Iterable[str]) -> None:
        """Set what an agent takes; `sites` are those that it works for and that are to hear of it."""
        if await self._ledger.desk_agents.set_presence(agent, presence, self._clock.now()):
            self._events.emit("presence", site="", agent=agent, presence=presence)
        for site in sites:
            self._hub.notify(desk_topic(site))
            self.soon(site)

    async def note(self, conversation: Conversation, text: str, by: str) -> None:
        """Add a note that agents alone see."""
        now = self._clock.now()
        await self._ledger.desk_log.note(conversation.site, conversation.id, text, by=by, now=now)
        self._hub.notify(talk_topic(conversation.site, conversation.id))
        self._hub.notify(desk_topic(conversation.site))

    # -- blocking

    async def block(
        self, conversation: Conversation, hours: float, *, network: bool, by: str, why: str
    ) -> None:
        """Block the visitor of a conversation for some hours; with `network`, all of the client network from
        which it wrote last. Raises BlocksFullError."""
        now = self._clock.now()
        site, visitor = conversation.site, conversation.visitor
        client = await self._ledger.blocks.add(
            site,
            visitor,
            network=network,
            conversation=conversation.id,
            by=by,
            why=why,
            now=now,
            until=now + hours * 3600,
        )
        self._blocked(site, visitor, client, by, "blocked")

    async def unblock(self, site: str, number: int, by: str) -> bool:
        """End a block; whether there was one."""
        found = await self._ledger.blocks.lift(site, number, by=by, now=self._clock.now())
        if found is not None:
            self._blocked(site, found.visitor, found.client, by, "unblocked")
        return found is not None

    def _blocked(self, site: str, visitor: str, client: str | None, by: str, how: str) -> None:
        self._events.emit("blocked", site=site, visitor=visitor, by=by, how=how)
        self._hub.notify(visitor_topic(site, visitor))
        if client is not None:
            self._hub.notify(network_topic(site, client))
        self._hub.notify(desk_topic(site))
