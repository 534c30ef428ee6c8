"""The agent's pages: a conversation and its actions. All work without JavaScript."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.model import Conversation, Entry, Message
from ...credit.decision import decide
from ...credit.inputs import Inputs
from ...orders.model import OrderError
from ...orders.sale import read_sale
from ...service.canned_answers import unfilled
from ...service.conversations import MessageError
from ...stores.ledger.conversations import HeldError
from ..context import RequestContext
from ..guard import NO_STORE, Refused
from .auth import (
    AgentContext,
    agent_form,
    anyone,
    audited,
    login,
    login_page,
    logout,
    see_other,
    signed_in,
)
from .handing_on import routes as handing_on
from .handing_on import talk_of, work_of
from .inbox import close_many, common, inbox, lines
from .live import page_mark, stream
from .offers import offer_values
from .render import file, page
from .sale import sale_values
from .search import tag_values
from .talk import talk_values
from .trail import summary

EARLIER_TEXTS, EARLIER_MESSAGES = 5, 30
"""Earlier conversations whose text a page has, and how much of each."""


@signed_in
async def conversation(request: Request, context: AgentContext) -> Response:
    """One conversation with the visitor's trail."""
    return await _talk(request, context, await talk_of(request, context))


async def _talk(
    request: Request,
    context: AgentContext,
    found: Conversation,
    status: int = 200,
    problem: str = "",
    draft: str = "",
    sale: dict[str, str] | None = None,
    sale_problem: str = "",
    over: str = "",
) -> Response:
    at = context.at
    # Taken first, so that a change while the page is built makes the stream announce it at once.
    mark = await page_mark(at, [found.id])
    visitor = await at.service.visitors.find(at.site.name, found.visitor, "desk")
    now = at.service.clock.now()
    seen = None if visitor is None else summary(visitor, at.is_shop, now)
    touches = visitor.touches if visitor is not None else ()
    work = await work_of(context, found)
    others = await at.service.ledger.inbox.of_visitor(at.site.name, found.visitor)
    return page(
        request,
        "conversation.html",
        status,
        mark=mark,
        current=found.id,
        **await talk_values(
            context,
            found,
            visitor,
            problem=problem,
            draft=draft,
            over=over,
            inserted=request.query_params.get("canned", ""),
        ),
        **work,
        seen=seen,
        cobrowsing=await _cobrowsing(at, found),
        earned=decide(Inputs(now, now, touches, channel="chat"), at.site.policy),
        earlier=await _earlier(context, [e for e in others if e.conversation.id != found.id]),
        **await tag_values(context, found.id, request.query_params.get("tag", "")),
        orders=await at.service.ledger.orders.of_visitor(at.site.name, found.visitor),
        **await sale_values(context, found, visitor, sale or {}),
        **await offer_values(context, found),
        sale_problem=sale_problem,
        done=request.query_params.get("order", ""),
        **await common(context),
    )


async def _earlier(context: AgentContext, entries: Sequence[Entry]) -> list[tuple[Entry, Sequence[Message]]]:
    """Earlier conversations of the visitor, the newest few with the end of what was said."""
    books = context.at.service.ledger.conversations
    return [
        (entry, await books.newest(entry.conversation, EARLIER_MESSAGES) if number < EARLIER_TEXTS else ())
        for number, entry in enumerate(entries)
    ]


async def _cobrowsing(at: RequestContext, found: Conversation) -> str:
    if not at.site.settings.cobrowsing.enabled or found.state != "open":
        return "none"
    return await at.service.cobrowsing.state(at.site, found)


@signed_in
async def answer(request: Request, context: AgentContext) -> Response:
    """Send an answer; the conversation is then assigned to the agent."""
    found, fields = await talk_of(request, context), await agent_form(request, context)
    text, over = fields.get("text", ""), fields.get("over", "")[:64] or None
    if gaps := unfilled(text):
        return await _talk(request, context, found, 422, f"Not sent: replace {', '.join(gaps)} first.", text)
    try:
        await context.at.service.conversations.agent_says(
            context.at.site,
            found.id,
            text,
            agent=context.session.agent,
            client_id=fields.get("client_id", "")[:64] or None,
            over=over,
        )
    except HeldError as held:
        return await _talk(request, context, found, 409, draft=text, over=held.agent)
    except MessageError as error:
        return await _talk(request, context, found, 422, f"Not sent: {error}.", text)
    if over is not None and over == found.agent:
        await audited(context, "conversation.taken_over", found.id, {"from": over})
    return see_other(request, f"/conversations/{found.id}#end")


@signed_in
async def typing(request: Request, context: AgentContext) -> Response:
    """Tell the visitor that the agent is writing, or with `typing=0` no longer."""
    found, fields = await talk_of(request, context), await agent_form(request, context)
    await context.at.service.attention.agent_types(
        found, context.session.agent, fields.get("typing", "1") != "0"
    )
    return Response(status_code=204, headers=NO_STORE)


@signed_in
async def seen(request: Request, context: AgentContext) -> Response:
    """Note that the agent has read up to a message."""
    found, fields = await talk_of(request, context), await agent_form(request, context)
    number = fields.get("message", "")
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise Refused(422, "message: the number of a message")
    await context.at.service.attention.agent_saw(found, context.session.agent, int(number))
    return Response(status_code=204, headers=NO_STORE)


@signed_in
async def take(request: Request, context: AgentContext) -> Response:
    """Assign the conversation to the agent."""
    found, _ = await talk_of(request, context), await agent_form(request, context)
    await context.at.service.conversations.take(found.site, found.id, context.session.agent)
    if found.agent not in (None, context.session.agent):
        await audited(context, "conversation.taken_over", found.id, {"from": str(found.agent)})
    return see_other(request, f"/conversations/{found.id}")


@signed_in
async def close(request: Request, context: AgentContext) -> Response:
    """Close the conversation; the visitor's next message opens it again."""
    found, fields = await talk_of(request, context), await agent_form(request, context)
    await context.at.service.conversations.close(found.site, found.id, context.session.agent)
    return see_other(request, "/talks" if fields.get("to") == "/talks" else "/")


@signed_in
async def record(request: Request, context: AgentContext) -> Response:
    """Record an order that was closed in this conversation: its channel is `chat`."""
    found, fields = await talk_of(request, context), await agent_form(request, context)
    try:
        order = read_sale(fields)
    except OrderError as error:
        return await _talk(request, context, found, 422, sale=fields, sale_problem=f"Not recorded: {error}.")
    recorded = await context.at.service.ordering.record(
        context.at.site,
        order,
        visitor=found.visitor,
        conversation=found.id,
        agent=context.session.agent,
        undo=context.at.site.settings.chat.undo_seconds,
    )
    context.at.service.conversations.changed(found.site)
    new = "recorded" if recorded.held is None else "held"
    outcome = new if recorded.counts else "known"
    return see_other(request, f"/conversations/{found.id}?order={outcome}#orders")


@anyone
async def style(request: Request, at: RequestContext) -> Response:
    """The style sheet."""
    return file(request, "desk.css")


@anyone
async def script(request: Request, at: RequestContext) -> Response:
    """The script."""
    return file(request, "desk.js")


_TALK = "/desk/conversations/{id}"


async def _problem(
    request: Request, context: AgentContext, found: Conversation, status: int, problem: str
) -> Response:
    return await _talk(request, context, found, status, problem)


routes: list[BaseRoute] = [
    Route("/desk", inbox, methods=["GET"]),
    Route("/desk/", inbox, methods=["GET"]),
    Route("/desk/lines", lines, methods=["GET"]),
    Route("/desk/close", close_many, methods=["POST"]),
    Route("/desk/login", login_page, methods=["GET"]),
    Route("/desk/login", login, methods=["POST"]),
    Route("/desk/logout", logout, methods=["POST"]),
    Route("/desk/stream", stream, methods=["GET"]),
    Route("/desk/desk.css", style, methods=["GET"]),
    Route("/desk/desk.js", script, methods=["GET"]),
    Route(_TALK, conversation, methods=["GET"]),
    Route(f"{_TALK}/messages", answer, methods=["POST"]),
    Route(f"{_TALK}/typing", typing, methods=["POST"]),
    Route(f"{_TALK}/seen", seen, methods=["POST"]),
    Route(f"{_TALK}/take", take, methods=["POST"]),
    Route(f"{_TALK}/close", close, methods=["POST"]),
    Route(f"{_TALK}/order", record, methods=["POST"]),
    *handing_on(_problem),
]
