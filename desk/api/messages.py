"""The visitor's side of the conversation: what the widget sends and reads."""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...chat.hub import Listener, network_topic, presence_topic, visitor_topic
from ...chat.model import Conversation, Message
from ...service.answers import persona_of, shown_persona
from ...service.attention import PREVIEW_LENGTH
from ...service.conversations import MessageError, VisitorMessage
from ...settings.model import Language
from ..context import RequestContext
from ..files import offered
from ..guard import NO_STORE, Refused, api, json_body, whole_number
from ..sse import EventStream, event, passing
from ..visitor import known_writer, writer

STREAMS_PER_VISITOR = 8
SOONEST = 0.1  # seconds after which a stream looks again whether a block has ended
TYPING_BYTES = 16_384  # a text of 1000 characters in JSON


class TypingBody(BaseModel):
    """The body of `POST typing`."""

    typing: bool
    text: str = Field("", max_length=PREVIEW_LENGTH)


class MessageBody(BaseModel):
    """The body of `POST messages`."""

    text: str
    client_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    language: Language | None = None
    rule: str | None = Field(None, max_length=64)


@api
async def send(request: Request, at: RequestContext) -> Response:
    """Add a message of the visitor."""
    known, cookie, stored = await writer(request, at)
    body = await json_body(request, MessageBody)
    message = VisitorMessage(body.text, body.client_id, body.language, body.rule)
    try:
        added = await at.service.conversations.visitor_says(
            at.site, known, message, at.origin.client, stored=stored
        )
    except MessageError as error:
        raise Refused(422, f"text: {error}") from None
    data = {"id": added.message.id, "at": added.message.at}
    return JSONResponse(data, 201 if added.created else 200, {**NO_STORE, **cookie})


@api
async def _read(request: Request, at: RequestContext) -> Response:
    visitor = known_writer(request, at).visitor
    at.take("reads")
    found = await at.service.conversations.read(at.site.name, visitor, whole_number(request, "after"))
    state = "none" if found.conversation is None else found.conversation.state
    messages = [m.to_json(found.shown) for m in found.messages]
    seen = (found.conversation.agent_saw if found.conversation is not None else None) or 0
    data: dict[str, object] = {
        "messages": messages,
        "state": state,
        "seen": seen,
        "online": _online(at, found.conversation),
    }
    if found.conversation is not None:
        data |= {"invite": found.conversation.invite, "rating": found.conversation.rating}
        data["persona"] = _persona(at, found.conversation)
    files = offered(at.site.settings)
    blocked = await _blocked_until(at, visitor) is not None
    return JSONResponse({**data, "files": files, "blocked": blocked}, headers=NO_STORE)


def _persona(at: RequestContext, conversation: Conversation) -> dict[str, str | None] | None:
    """Who invited to this conversation."""
    rules = at.site.settings.rules
    rule = next((one for one in rules if one.name == conversation.rule and one.invites), None)
    persona = None if rule is None else persona_of(at.site.settings, rule)
    return None if persona is None else shown_persona(persona, conversation.language)


def _online(at: RequestContext, conversation: Conversation | None) -> bool:
    """Whether somebody is there who answers this visitor."""
    agent = conversation.agent if conversation is not None and conversation.state == "open" else None
    return at.service.agents.is_here(at.site.name, at.service.clock.now(), agent=agent)


async def _blocked_until(at: RequestContext, visitor: str) -> float | None:
    return await at.service.conversations.blocked_until(at.site.name, visitor, at.origin.client)


@api
async def _typing(request: Request, at: RequestContext) -> Response:
    known = known_writer(request, at)
    body = await json_body(request, TypingBody, TYPING_BYTES)
    await at.service.attention.visitor_types(at.site, known, body.typing, body.text, at.origin.client)
    return Response(status_code=204, headers=NO_STORE)


@api
async def stream(request: Request, at: RequestContext) -> Response:
    """The visitor's stream: its conversation's messages, signs, and whether somebody is there."""
    visitor = known_writer(request, at).visitor
    at.take("reads")
    conversations, site = at.service.conversations, at.site.name
    after = whole_number(request, "after")
    # After a reconnect, Last-Event-ID is newer than the `after` in the URL.
    last_event = request.headers.get("last-event-id", "")
    if last_event.isascii() and last_event.isdigit() and len(last_event) <= 18:
        after = int(last_event)
    talk = (await conversations.read(site, visitor, after)).conversation
    # What the widget knows of it: by what it asked before, or by the stream that was broken.
    told: tuple[bool, bool] | None = None
    until: float | None = None
    first = True
    mark = conversations.client_mark(at.origin.client)
    network = network_topic(site, mark or "")
    clock = asyncio.get_running_loop().time

    async def read(listener: Listener) -> Sequence[bytes]:
        nonlocal after, until, first, talk, told
        parts = [passing(sign.kind, json.dumps(sign.data)) for sign in listener.given()]
        if first and talk is not None and talk.agent_saw:
            parts.insert(0, passing("seen", json.dumps({"message": talk.agent_saw})))
        woken, said = listener.taken(), list[Message]()
        for news in listener.told():
            if talk is None or news.conversation != talk.id or news.previous is None or news.previous > after:
                woken.add(visitor_topic(site, visitor))
            elif news.message.id > after:
                said.append(news.message)
                after = news.message.id
                if news.message.author == "agent":
                    talk = replace(talk, agent=news.message.agent)
        names = await conversations.shown(said)
        if clock() >= listener.look_at:
            woken.add(network)
        if first or visitor_topic(site, visitor) in woken:
            found = await conversations.read(site, visitor, after)
            talk, names = found.conversation, {**names, **found.shown}
            said += found.messages
            if found.messages:
                after = found.messages[-1].id
            elif not first:
                woken.add(network)
        if first or network in woken:
            until = await _blocked_until(at, visitor)
        # The end of a block tells nobody: the stream looks by itself.
        wait = math.inf if until is None else max(SOONEST, until - at.service.clock.now())
        listener.look_at = clock() + wait
        # The message of an agent ends its typing, which was told before.
        parts += [event("message", json.dumps(m.to_json(names)), str(m.id)) for m in said]
        if first or woken or said:
            now = _online(at, talk), until is not None
            if now != told:
                parts.append(passing("state", json.dumps({"online": now[0], "blocked": now[1]})))
            told, first = now, False
        return parts

    return EventStream(
        at.service.hub,
        visitor_topic(site, visitor),
        STREAMS_PER_VISITOR,
        lambda: at.hold("streams"),
        read,
        others=[presence_topic(site), network],
    )


routes: list[BaseRoute] = [
    Route("/messages", send, methods=["POST"]),
    Route("/messages", _read, methods=["GET"]),
    Route("/typing", _typing, methods=["POST"]),
    Route("/stream", stream, methods=["GET"]),
]
