"""The desk's stream: notifies the page of changes, and the ledger of the agent's presence."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from starlette.requests import Request
from starlette.responses import Response

from ...chat.hub import desk_topic, visit_topic
from ...stores.watch import visit_mark
from ..context import RequestContext
from ..guard import NO_STORE
from ..sse import EventStream, StreamEnd, event
from .auth import agent_context, anyone, must_set_up, require_own_stream, require_role
from .needs import needs_version

LOOK_SECONDS = 10.0
# Each event makes the page reload itself, so changes within a second are one event.
GAP_SECONDS = 1.0


async def stamp(at: RequestContext, conversation: str | None) -> str:
    """A short text that differs whenever the inbox does, and what the page of this conversation shows, or
    without one what needs a person."""
    books, site = at.service.ledger.conversations, at.site.name
    parts: list[object] = [await at.service.ledger.inbox.version(site)]
    if conversation is None:
        parts += await needs_version(at)
    found = await books.get(site, conversation) if conversation else None
    if found is not None:
        parts += [found.state, found.agent, found.updated_at]
        visitor = await at.service.visitors.find(site, found.visitor, "desk")
        parts.append(visit_mark(visitor, at.service.clock.now()))
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=9).hexdigest()


@anyone
async def stream(request: Request, at: RequestContext) -> Response:
    """Events `changed` for an open page: `?mark=` is the stamp it was made with, `?conversation=` its own,
    `?key=` proves that it is the desk's.

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
    conversation = request.query_params.get("conversation", "")[:64] or None
    found = await service.ledger.conversations.get(at.site.name, conversation) if conversation else None
    shown = request.headers.get("last-event-id") or request.query_params.get("mark", "")
    looked = 0.0

    async def read() -> Sequence[bytes]:
        nonlocal shown, looked
        now = service.clock.now()
        if now - looked >= LOOK_SECONDS:
            if await service.ledger.agents.session(context.token, at.place, now, at.chosen) is None:
                raise StreamEnd
            await service.presence.seen(context.session.agent)
            looked = now
        mark = await stamp(at, conversation)
        if mark == shown:
            return []
        shown = mark
        return [event("changed", "{}", mark)]

    def hold() -> AbstractContextManager[object]:
        held = ExitStack()
        held.enter_context(at.hold("desk_streams"))
        held.enter_context(service.presence.open(context.session.agent))
        return held

    return EventStream(
        service.hub,
        desk_topic(at.site.name),
        None,
        hold,
        read,
        others=() if found is None else [visit_topic(found.site, found.visitor)],
        look=LOOK_SECONDS,
        gap=GAP_SECONDS,
    )
