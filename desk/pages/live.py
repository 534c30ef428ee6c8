"""The desk's stream: brings the page new messages, notifies it of changes, and the ledger of the agent's
presence."""

import asyncio
import hashlib
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...chat.hub import Listener, agent_topic, desk_topic, talk_topic, visit_topic
from ...chat.model import Conversation, Message
from ...stores.watch import visit_mark
from ..context import RequestContext
from ..guard import NO_STORE
from ..sse import EventStream, StreamEnd, event, passing
from .auth import AgentContext, agent_context, anyone, must_set_up, require_own_stream, require_role
from .needs import elsewhere, needs_version

LOOK_SECONDS = 10.0
# Each `changed` makes the page reload itself, so changes within a second are one event; or within up to one
# and a half, at random, so that many desks do not all reload at the same moment.
GAP_SECONDS = (1.0, 1.5)
SOON_SECONDS = 0.1  # after a look that found nothing
SPREAD_SECONDS = 0.01
"""For each desk of the site: what happens after a while of silence wakes all of them, and they look at random
within so long, not all at the same moment."""
SHOWN_TALKS, OWN_TALKS = 8, 20
"""Most conversations of one page, and most of an agent's own, whose messages a stream brings."""

PARTS = ("inbox", "page")
_MARK = re.compile(r"([0-9]{1,18})((?:-[0-9a-f]{8}:[0-9]{1,18}){0,64})\.([0-9a-f]{0,40})\.([0-9a-f]{0,40})")


async def page_mark(at: RequestContext, shown: Sequence[str] = ()) -> str:
    """What a page gives to its stream, so that this tells what is newer: a message after which there may be
    others that the page does not show, and stamps of the inbox and of the rest. Taken before the page is
    built."""
    await at.service.watch.glance()
    inbox = _stamp([await at.service.ledger.inbox.version(at.site.name)])
    return f"{at.service.watch.settled}.{inbox}.{await _page_stamp(at, shown)}"


async def _page_stamp(at: RequestContext, shown: Sequence[str]) -> str:
    """A short text that differs whenever what the page of these conversations shows does, besides messages;
    or, without one, what needs a person."""
    site = at.site.name
    if not shown:
        calls = "" if at.site.settings.callback is None else await at.service.ledger.callbacks.stamp(site)
        here = at.service.agents.stamp(site, at.service.clock.now())
        return _stamp([*await needs_version(at), calls, here])
    parts: list[object] = []
    for conversation in shown:
        found = await at.service.ledger.conversations.get(site, conversation)
        if found is None:
            continue
        visitor = await at.service.visitors.find(site, found.visitor, "desk")
        beside = await at.service.ledger.beside.stamp(site, found.id)
        parts += [found.state, found.agent, *beside, *visit_mark(visitor, at.service.clock.now())]
    return _stamp(parts)


def _stamp(parts: Sequence[object], size: int = 6) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=size).hexdigest()


@lru_cache(4096)
def _short(conversation: str) -> str:
    """What stands for a conversation in a mark."""
    return _stamp([conversation], 4)


class Told:
    """Up to where the messages of conversations were told: of each to `after`, of some to a later one. The
    messages of one conversation are written in the order of their ids, those of several may not be."""

    def __init__(self, after: int, later: Mapping[str, int]) -> None:
        self.after = after
        self._later = dict(later)

    @classmethod
    def of(cls, mark: str) -> "tuple[Told, str, str] | None":
        """That of a mark, and its stamps."""
        if (found := _MARK.fullmatch(mark)) is None:
            return None
        pairs = (one.split(":") for one in found[2].split("-")[1:])
        return cls(int(found[1]), {key: int(last) for key, last in pairs}), found[3], found[4]

    def __str__(self) -> str:
        return "".join([str(self.after), *(f"-{key}:{last}" for key, last in self._later.items())])

    def has(self, conversation: str, message: int) -> bool:
        """Whether a message was told."""
        return message <= max(self.after, self._later.get(_short(conversation), 0))

    def tell(self, conversation: str, message: int) -> None:
        """A message is told, and all before it in its conversation."""
        self._later[_short(conversation)] = message

    def all_to(self, message: int) -> None:
        """All messages up to this one were told."""
        self.after = max(self.after, message)
        self._later = {key: last for key, last in self._later.items() if last > self.after}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look found: the agent's own conversations, the stamps of the inbox and of the page, and how many
    conversations wait at other sites."""

    own: frozenset[str]
    mark: tuple[str, str]
    elsewhere: Mapping[str, int]


class DeskReader:
    """What the stream of one desk page tells it.

    `message` is a message of a conversation that the page shows or whose agent it is: its data are those of
    `_message`. `changed` says that something else has changed, `inbox` or `page`: that is to be loaded again.
    The id of each event is the page's mark as it is now.

    What else has changed is looked for in a task of its own, until `close`: messages do not wait for that.
    """

    def __init__(
        self, context: AgentContext, shown: Sequence[Conversation], mark: tuple[str, str], told: Told
    ) -> None:
        self._context = context
        self._at = context.at
        self._shown = shown
        self._mark = mark
        self._told = told
        self._talks: frozenset[str] = frozenset(one.id for one in shown)
        self._topics = {talk_topic(one.site, one.id) for one in shown}
        self._is_first = True
        self._session_at = -math.inf
        self._elsewhere: Mapping[str, int] | None = None
        self._look_is_due = self._look_has_its_turn = True  # the first one is at once
        self._looking: asyncio.Task[_Seen] | None = None

    @property
    def topics(self) -> Sequence[str]:
        """What it has to hear of, besides the desk's topic."""
        site = self._at.site.name
        visits = [visit_topic(site, one.visitor) for one in self._shown]
        return [agent_topic(self._context.session.agent), *visits, *self._topics]

    async def __call__(self, listener: Listener) -> Sequence[bytes]:
        """The events since the last call. Raises StreamEnd."""
        woken, clock = listener.taken(), asyncio.get_running_loop().time
        if self._is_first:
            await self._require_session()
            woken |= self._topics  # what was written since the page was made
            self._is_first = False
        events = [passing(sign.kind, json.dumps(sign.data)) for sign in listener.given()]
        for news in listener.told():
            if self._told.has(news.conversation, news.message.id):
                continue
            if news.previous is not None and self._told.has(news.conversation, news.previous):
                events.append(self._tell(news.conversation, news.message))
            else:
                woken |= self._topics
        events += await self._messages() if woken & self._topics else []
        if self._looking is not None and self._looking.done():
            seen, self._looking = self._looking.result(), None
            changes = await self._changes(listener, seen)
            events += changes
            gap = random.uniform(*GAP_SECONDS)  # noqa: S311 (nobody gains by guessing it)
            listener.later_at = clock() + (gap if changes else SOON_SECONDS)
            listener.look_at = clock() + LOOK_SECONDS
        if woken - self._topics or clock() >= listener.look_at:
            self._look_is_due = True
        if self._look_is_due and self._looking is None:
            if clock() >= listener.later_at and not self._look_has_its_turn:
                desks = self._at.service.hub.heard(desk_topic(self._at.site.name))
                listener.later_at = clock() + random.uniform(0, SPREAD_SECONDS * desks)  # noqa: S311
            if clock() < listener.later_at:
                self._look_has_its_turn = True
                listener.look_at = listener.later_at
            else:
                self._begin_look(listener)
        return events

    def _begin_look(self, listener: Listener) -> None:
        """In a busy hour each message wakes all desks: they look once for many, and are not woken by these
        topics until they may look again."""
        self._look_is_due = self._look_has_its_turn = False
        listener.later, listener.later_at = frozenset(listener.topics - self._topics), math.inf
        listener.look_at = math.inf
        self._looking = asyncio.create_task(self._look(), name="clew-desk-look")

        def looked(looking: asyncio.Task[_Seen]) -> None:
            if not looking.cancelled():
                looking.exception()  # is raised by the next call; else asyncio complains if there is none
            listener.rouse()

        self._looking.add_done_callback(looked)

    def close(self) -> None:
        """The stream has ended."""
        if self._looking is not None:
            self._looking.cancel()

    async def _require_session(self) -> None:
        at, service = self._at, self._at.service
        now = service.clock.now()
        if await service.ledger.agents.session(self._context.token, at.place, now, at.chosen) is None:
            raise StreamEnd
        await service.presence.seen(self._context.session.agent)
        self._session_at = asyncio.get_running_loop().time()

    async def _messages(self) -> list[bytes]:
        # Before the reading: what is settled by now is seen by it.
        settled = self._at.service.watch.settled
        found = await self._at.service.ledger.conversations.following(sorted(self._talks), self._told.after)
        events = []
        for conversation, message in found:
            if not self._told.has(conversation, message.id):
                events.append(self._tell(conversation, message))
        self._told.all_to(settled)
        return events

    def _tell(self, conversation: str, message: Message) -> bytes:
        self._told.tell(conversation, message.id)
        return event("message", json.dumps(_message(conversation, message)), self._id)

    async def _look(self) -> _Seen:
        """Raises StreamEnd when the session has ended."""
        at, site = self._at, self._at.site.name
        if asyncio.get_running_loop().time() - self._session_at >= LOOK_SECONDS:
            await self._require_session()
        own = await at.service.ledger.conversations.of_agent(site, self._context.session.agent, OWN_TALKS)
        inbox = _stamp([await at.service.ledger.inbox.shared_version(site)])
        page = await _page_stamp(at, [one.id for one in self._shown])
        return _Seen(frozenset(own), (inbox, page), await elsewhere(self._context))

    async def _changes(self, listener: Listener, seen: _Seen) -> list[bytes]:
        """What is different from the look before."""
        events = await self._messages() if self._follow(listener, seen.own) else []
        before, self._mark = self._mark, seen.mark
        names = [name for name, old, new in zip(PARTS, before, self._mark, strict=True) if old != new]
        if self._elsewhere not in (None, seen.elsewhere) and "inbox" not in names:
            names.append("inbox")
        self._elsewhere = seen.elsewhere
        if names:
            events.append(event("changed", json.dumps(names), self._id))
        return events

    def _follow(self, listener: Listener, own: frozenset[str]) -> bool:
        """Hear of the messages of the conversations that the agent has now, too; returns whether these are
        others than before."""
        site = self._at.site.name
        talks = own | {one.id for one in self._shown}
        if talks == self._talks:
            return False
        self._talks, self._topics = talks, {talk_topic(site, one) for one in talks}
        self._at.service.hub.follow(listener, [desk_topic(site), *self.topics])
        return True

    @property
    def _id(self) -> str:
        return ".".join([str(self._told), *self._mark])


def _message(conversation: str, message: Message) -> dict[str, Any]:
    """A message for the desk's script."""
    fields = {"id": message.id, "author": message.author, "agent": message.agent}
    return {
        "conversation": conversation,
        **fields,
        "text": message.text,
        "at": message.at,
        **message.more,
    }


@anyone
async def stream(request: Request, at: RequestContext) -> Response:
    """The events of `DeskReader` for an open page: `?mark=` is its mark, `?conversation=` what it shows, once
    for each, `?key=` proves that it is the desk's.

    As long as it is open the agent counts as present; it ends with the agent's session. Without a session the
    answer is 204, after which browsers do not reconnect.
    """
    context, service = await agent_context(request, at), at.service
    if context is None:
        return Response(status_code=204, headers=NO_STORE)
    require_own_stream(request, context.session.csrf)
    require_role(context)
    if must_set_up(context):
        return Response(status_code=204, headers=NO_STORE)
    books, query = service.ledger.conversations, request.query_params
    asked = [one[:64] for one in query.getlist("conversation")[:SHOWN_TALKS] if one]
    shown = [found for one in asked if (found := await books.get(at.site.name, one)) is not None]
    # After a reconnect, Last-Event-ID is newer than the mark in the URL.
    mark = Told.of(request.headers.get("last-event-id") or query.get("mark", ""))
    told, *stamps = mark or (Told(service.watch.settled, {}), "", "")
    reader = DeskReader(context, shown, (stamps[0], stamps[1]), told)

    def hold() -> AbstractContextManager[object]:
        held = ExitStack()
        held.enter_context(at.hold("desk_streams"))
        held.enter_context(service.presence.open(context.session.agent))
        held.callback(reader.close)
        return held

    return EventStream(service.hub, desk_topic(at.site.name), None, hold, reader, others=reader.topics)
