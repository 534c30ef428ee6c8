"""The agent's pages: the inbox and a conversation, and what he does there. All work without JavaScript."""

import secrets
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..chat.hub import desk_topic, visitor_topic
from ..chat.model import Conversation, Entry
from ..orders.model import OrderError
from ..referral.credit import credit
from ..settings.model import Site
from ..stores.ledger.agents import ONLINE_SECONDS
from .auth import Door, agent_form, anyone, login, login_page, logout, see_other, signed_in
from .chat import plain_text, tell
from .guard import Refused
from .here import Here
from .live import stamp, stream
from .needs import needs
from .render import canned, file, page
from .sale import read_sale
from .trail import Sketch, partner_of, sketch

SHOWN_MESSAGES = 300
LANGUAGES = {"de": "German", "en": "English", "fi": "Finnish", "fr": "French", "nl": "Dutch", "ru": "Russian"}
HUES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A conversation in the inbox, with what is known of its visitor."""

    entry: Entry
    who: str
    hue: int
    partner: str | None
    page: str
    live: bool


def _who(visitor: str) -> str:
    """A short name for a visitor: the last letters of his random id."""
    return visitor[-4:].upper()


def _hue(visitor: str) -> int:
    return crc32(visitor.encode()) % HUES


def _hosts(request: Request, site: Site) -> frozenset[str]:
    return frozenset({request.scope["clew"].origin.host.lower(), *site.hosts})


async def _lines(request: Request, door: Door) -> list[Line]:
    at = door.at
    entries = await at.service.ledger.conversations.inbox(at.site.name)
    return [await _line(request, at, entry) for entry in entries]


async def _line(request: Request, at: Here, entry: Entry) -> Line:
    visitor_id = entry.conversation.visitor
    visitor = await at.service.visits.get(at.site.name, visitor_id)
    who, hue = _who(visitor_id), _hue(visitor_id)
    if visitor is None:
        return Line(entry, who, hue, None, "", live=False)
    seen = sketch(visitor, _hosts(request, at.site.settings), at.service.now())
    title = (seen.page.title or seen.page.path) if seen.page is not None else ""
    return Line(entry, who, hue, partner_of(visitor), title, seen.live)


async def _present(door: Door) -> None:
    """An agent who reads or answers is there, also without JavaScript; written at most every few seconds."""
    now = door.at.service.now()
    if door.session.seen_at is None or now - door.session.seen_at > ONLINE_SECONDS / 3:
        await door.at.service.ledger.agents.seen(door.session.agent, now)


async def _common(request: Request, door: Door) -> dict[str, Any]:
    await _present(door)
    lines = await _lines(request, door)
    return {
        "agent": door.session.agent,
        "csrf": door.session.csrf,
        "lines": lines,
        "waiting": sum(line.entry.waiting_since is not None for line in lines),
    }


@signed_in
async def inbox(request: Request, door: Door) -> Response:
    """What needs a person, and all open conversations, who waits longest first."""
    mark = await stamp(door.at, None)
    common = await _common(request, door)
    return page(request, "inbox.html", mark=mark, current=None, needs=await needs(door), **common)


async def _conversation(request: Request, door: Door) -> Conversation:
    at = door.at
    found = await at.service.ledger.conversations.get(at.site.name, request.path_params["id"])
    if found is None:
        raise Refused(404, "There is no such conversation at this site.")
    return found


@signed_in
async def conversation(request: Request, door: Door) -> Response:
    """One conversation with the visitor's trail beside it."""
    return await _talk(request, door, await _conversation(request, door))


async def _talk(
    request: Request,
    door: Door,
    found: Conversation,
    status: int = 200,
    problem: str = "",
    draft: str = "",
    sale: dict[str, str] | None = None,
    sale_problem: str = "",
) -> Response:
    at = door.at
    # Before everything else: what changes while the page is made makes the stream tell it at once.
    mark = await stamp(at, found.id)
    books = at.service.ledger.conversations
    visitor = await at.service.visits.get(at.site.name, found.visitor)
    seen = (
        sketch(visitor, _hosts(request, at.site.settings), at.service.now()) if visitor is not None else None
    )
    touches = visitor.touches if visitor is not None else ()
    others = await books.of_visitor(at.site.name, found.visitor)
    return page(
        request,
        "conversation.html",
        status,
        mark=mark,
        current=found.id,
        conversation=found,
        who=_who(found.visitor),
        hue=_hue(found.visitor),
        language=LANGUAGES.get(found.language, found.language),
        messages=await books.newest(found, SHOWN_MESSAGES),
        shown=SHOWN_MESSAGES,
        seen=seen,
        earned=credit(touches, at.service.now(), at.site.lookback_days),
        earlier=[e for e in others if e.conversation.id != found.id],
        orders=await at.service.ledger.orders.of_visitor(at.site.name, found.visitor),
        canned=canned(found.language),
        problem=problem,
        draft=draft,
        draft_id=secrets.token_urlsafe(16),
        most=at.site.settings.chat.message_length,
        sale={"order_id": "", "total": "", "currency": _currency(seen), **(sale or {})},
        sale_problem=sale_problem,
        done=request.query_params.get("order", ""),
        **await _common(request, door),
    )


def _currency(seen: Sketch | None) -> str:
    value = next((text for name, text in seen.cart if name == "Value"), "") if seen is not None else ""
    return value.rpartition(" ")[2] if " " in value else ""


@signed_in
async def answer(request: Request, door: Door) -> Response:
    """Send an answer; whoever answers has the conversation."""
    found, fields = await _conversation(request, door), await agent_form(request, door)
    most = door.at.site.settings.chat.message_length
    try:
        text = plain_text(fields.get("text", ""))
        if len(text) > most:
            raise ValueError(f"the message has {len(text)} characters, at most {most} can be sent")
    except ValueError as error:
        return await _talk(request, door, found, 422, f"Not sent: {error}.", fields.get("text", ""))
    added = await door.at.service.ledger.conversations.add_agent_message(
        found.site,
        found.id,
        text,
        agent=door.session.agent,
        client_id=fields.get("client_id", "")[:64] or None,
        now=door.at.service.now(),
    )
    if added.created:
        tell(door.at, added)
    return see_other(request, f"/conversations/{found.id}#end")


@signed_in
async def take(request: Request, door: Door) -> Response:
    """Give the conversation to the agent who asks."""
    found, _ = await _conversation(request, door), await agent_form(request, door)
    at = door.at
    await at.service.ledger.conversations.claim(found.site, found.id, door.session.agent, at.service.now())
    at.service.hub.notify(desk_topic(found.site))
    return see_other(request, f"/conversations/{found.id}")


@signed_in
async def close(request: Request, door: Door) -> Response:
    """Close the conversation; the visitor's next message opens it again."""
    found, _ = await _conversation(request, door), await agent_form(request, door)
    at = door.at
    await at.service.ledger.conversations.close(found.site, found.id, at.service.now())
    at.service.journal.emit(
        "conversation",
        site=found.site,
        conversation=found.id,
        visitor=found.visitor,
        state="closed",
        rule=found.rule,
    )
    at.service.hub.notify(visitor_topic(found.site, found.visitor))
    at.service.hub.notify(desk_topic(found.site))
    return see_other(request, "/")


@signed_in
async def record(request: Request, door: Door) -> Response:
    """Record an order that was closed in this conversation: it is credited as one of the chat's."""
    found, fields = await _conversation(request, door), await agent_form(request, door)
    try:
        order = read_sale(fields)
    except OrderError as error:
        return await _talk(request, door, found, 422, sale=fields, sale_problem=f"Not recorded: {error}.")
    recorded = await door.at.service.record_order(
        door.at.site, order, visitor=found.visitor, conversation=found.id, agent=door.session.agent
    )
    door.at.service.hub.notify(desk_topic(found.site))
    told = "recorded" if recorded.created else "known"
    return see_other(request, f"/conversations/{found.id}?order={told}#orders")


@anyone
async def style(request: Request, at: Here) -> Response:
    """The style sheet."""
    return file(request, "desk.css")


@anyone
async def script(request: Request, at: Here) -> Response:
    """The script."""
    return file(request, "desk.js")


@anyone
async def home(request: Request, at: Here) -> Response:
    """`desk` without its slash."""
    return see_other(request, "/")


_TALK = "/desk/conversations/{id}"

routes: list[BaseRoute] = [
    Route("/desk", home, methods=["GET"]),
    Route("/desk/", inbox, methods=["GET"]),
    Route("/desk/login", login_page, methods=["GET"]),
    Route("/desk/login", login, methods=["POST"]),
    Route("/desk/logout", logout, methods=["POST"]),
    Route("/desk/stream", stream, methods=["GET"]),
    Route("/desk/desk.css", style, methods=["GET"]),
    Route("/desk/desk.js", script, methods=["GET"]),
    Route(_TALK, conversation, methods=["GET"]),
    Route(f"{_TALK}/messages", answer, methods=["POST"]),
    Route(f"{_TALK}/take", take, methods=["POST"]),
    Route(f"{_TALK}/close", close, methods=["POST"]),
    Route(f"{_TALK}/order", record, methods=["POST"]),
]
