"""The agent's conversations side by side."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.model import Conversation
from .auth import AgentContext, signed_in
from .inbox import common
from .live import SHOWN_TALKS, page_mark
from .render import page
from .talk import talk_values
from .trail import short_summary

SHOWN_MESSAGES = 100


@signed_in
async def side(request: Request, context: AgentContext) -> Response:
    """The open conversations of the agent, those that began first before the others."""
    at, books = context.at, context.at.service.ledger.conversations
    ids = await books.of_agent(at.site.name, context.session.agent, SHOWN_TALKS)
    found = [one for each in ids if (one := await books.get(at.site.name, each)) is not None]
    found.sort(key=lambda one: one.started_at)
    mark = await page_mark(at, [one.id for one in found])
    talks = [await _column(context, one) for one in found]
    return page(request, "talks.html", mark=mark, current=None, talks=talks, **await common(context))


async def _column(context: AgentContext, found: Conversation) -> dict[str, object]:
    at = context.at
    visitor = await at.service.visitors.find(at.site.name, found.visitor, "desk")
    values = await talk_values(context, found, visitor, shown=SHOWN_MESSAGES)
    seen = short_summary(visitor, at.service.clock.now()) if visitor is not None else None
    return {**values, "seen": seen}


routes: list[BaseRoute] = [Route("/desk/talks", side, methods=["GET"])]
