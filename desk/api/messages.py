"""The visitor's side of the conversation: what the widget sends and reads."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...chat.hub import desk_topic, visitor_topic
from ...chat.model import Added, Message, Sender
from ...referral.cookie import Known
from ...referral.visitor import Talked
from ...service.limits import LimitedError, Own, Rate
from ...service.remember import remember
from ...settings.model import Language
from ..guard import NO_STORE, Refused, api, json_body, whole_number
from ..here import Here
from ..pages.trail import page_of, partner_of
from ..sse import EventStream, event

# Seconds after which it is noted anew that a visitor talks.
TALK_NOTED = 3600.0
STREAMS_PER_VISITOR = 8

# Control characters have no meaning in a message, and NUL has none in a database's text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def plain_text(text: str) -> str:
    """A message's text without control characters and blank ends. Raises ValueError if nothing is left."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if not text:
        raise ValueError("the message is empty")
    return text


class VisitorMessage(BaseModel):
    """The body of `POST messages`."""

    text: Annotated[str, AfterValidator(plain_text)]
    client_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    language: Language | None = None
    rule: str | None = Field(None, max_length=64)


def _visitor(request: Request, at: Here) -> str:
    return _known(request, at).visitor


def _known(request: Request, at: Here) -> Known:
    known = at.site.cookie.read([value for name, value in request.scope["headers"] if name == b"cookie"])
    if known is None:
        raise Refused(403, "no visitor is known by this request's cookies: allow cookies and reload the page")
    return known


@api
async def _send(request: Request, at: Here) -> Response:
    known = _known(request, at)
    visitor = known.visitor
    body = await json_body(request, VisitorMessage)
    settings = at.site.settings
    if len(body.text) > settings.chat.message_length:
        raise Refused(422, f"text: {len(body.text)} characters, at most {settings.chat.message_length}")
    rate = Rate(settings.chat.messages_per_minute, 60)
    at.take("messages", own=Own("visitor", f"{at.site.name}/{visitor}", rate))
    at.take("text", cost=len(body.text))
    added = await at.service.ledger.conversations.add_visitor_message(
        at.site.name,
        visitor,
        body.text,
        client_id=body.client_id,
        language=body.language or settings.language,
        # A page that was loaded before the rules changed may name one that is gone.
        rule=body.rule if any(body.rule == r.name for r in settings.rules) else None,
        now=at.service.clock.now(),
        sender=await _sender(at, known),
        opening=lambda: at.take("conversations"),
    )
    if added.created:
        tell(at, added)
    data = {"id": added.message.id, "at": added.message.at}
    return JSONResponse(data, 201 if added.created else 200, NO_STORE)


async def _sender(at: Here, known: Known) -> Sender:
    """Who writes, as the inbox shows it. Who talks is kept for longer, and from the first message on."""
    client, now = at.service.client_mark(at.origin.client), at.service.clock.now()
    visitor = None
    try:
        visitor = await at.service.visits.get(at.site.name, known.visitor)
        if visitor is None or now - visitor.talked_at > TALK_NOTED:
            visitor = await remember(at.service, at.site, known, [Talked(now)], at.origin.client, visitor)
    except LimitedError:
        pass
    except Exception as error:
        at.service.journal.emit("fault", site=at.site.name, where="messages", error=repr(error))
    return Sender(client=client) if visitor is None else Sender(partner_of(visitor), page_of(visitor), client)


def tell(at: Here, added: Added) -> None:
    """Wake the streams that wait for a new message, and note it in the journal."""
    conversation, message = added.conversation, added.message
    at.service.hub.notify(visitor_topic(conversation.site, conversation.visitor))
    at.service.hub.notify(desk_topic(conversation.site))
    names = {"conversation": conversation.id, "visitor": conversation.visitor}
    emit = at.service.journal.emit
    if added.opened:
        emit("conversation", site=conversation.site, **names, state="open", rule=conversation.rule)
    emit("message", site=conversation.site, **names, author=message.author, agent=message.agent)


@api
async def _read(request: Request, at: Here) -> Response:
    visitor = _visitor(request, at)
    at.take("reads")
    conversation, messages = await at.service.ledger.conversations.visitor_messages(
        at.site.name, visitor, whole_number(request, "after")
    )
    state = "none" if conversation is None else conversation.state
    shown = await _shown(at, messages)
    return JSONResponse({"messages": [m.to_json(shown) for m in messages], "state": state}, headers=NO_STORE)


async def _shown(at: Here, messages: Sequence[Message]) -> Mapping[str, str]:
    names = {message.agent for message in messages if message.agent}
    return await at.service.ledger.agents.shown(names) if names else {}


@api
async def _stream(request: Request, at: Here) -> Response:
    visitor = _visitor(request, at)
    at.take("reads")
    books, site = at.service.ledger.conversations, at.site.name
    after = whole_number(request, "after")
    # What the browser itself says on coming back is newer than the address it was given.
    came_back = request.headers.get("last-event-id", "")
    if came_back.isascii() and came_back.isdigit() and len(came_back) <= 18:
        after = int(came_back)
    conversation, _ = await books.visitor_messages(site, visitor, after)
    if conversation is None:
        # The one answer after which a browser does not ask again.
        return Response(status_code=204, headers=NO_STORE)

    async def read() -> Sequence[bytes]:
        nonlocal after
        _, messages = await books.visitor_messages(site, visitor, after)
        if messages:
            after = messages[-1].id
        shown = await _shown(at, messages)
        return [event("message", json.dumps(m.to_json(shown)), str(m.id)) for m in messages]

    return EventStream(
        at.service.hub, visitor_topic(site, visitor), STREAMS_PER_VISITOR, lambda: at.hold("streams"), read
    )


routes: list[BaseRoute] = [
    Route("/messages", _send, methods=["POST"]),
    Route("/messages", _read, methods=["GET"]),
    Route("/stream", _stream, methods=["GET"]),
]
