"""The callbacks at the desk: whom to call, what became of it, and the order of a call."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...orders.model import OrderError
from ...orders.sale import read_sale
from ...service.phone_numbers import shown_number
from ...stores.ledger.callbacks import STATES, Callback, CallTakenError, State
from ..context import RequestContext
from ..guard import Refused
from .auth import AgentContext, agent_form, see_other, signed_in
from .inbox import common, short_name
from .live import page_mark
from .render import language_name, page

_TAKEN: Final = "Nothing changed: {} is calling this visitor. Take the call over first."
SETTLED: Final[frozenset[State]] = frozenset({"missed", "reached", "dropped", "open"})


@signed_in
async def callbacks(request: Request, context: AgentContext) -> Response:
    """All of them."""
    return await _page(request, context)


async def _page(
    request: Request,
    context: AgentContext,
    status: int = 200,
    problem: str = "",
    number: int = 0,
    sale: dict[str, str] | None = None,
) -> Response:
    at = context.at
    mark = await page_mark(at)
    books, site = at.service.ledger.callbacks, at.site.name
    return page(
        request,
        "callbacks.html",
        status,
        mark=mark,
        current=None,
        waiting_calls=await books.waiting(site),
        now=at.service.clock.now(),
        done_calls=await books.done(site),
        shown_number=shown_number,
        short_name=short_name,
        language_name=language_name,
        problem=problem,
        tried=number,
        sale={"order_id": "", "total": "", "currency": "", **(sale or {})},
        said=request.query_params.get("done", ""),
        **await common(context),
    )


async def _callback(request: Request, at: RequestContext) -> Callback:
    number = request.path_params["id"]
    known = number.isascii() and number.isdecimal() and len(number) <= 18
    found = await at.service.ledger.callbacks.get(at.site.name, int(number)) if known else None
    if found is None:
        raise Refused(404, "There is no such callback at this site.")
    return found


@signed_in
async def settle(request: Request, context: AgentContext) -> Response:
    """Note what became of a call."""
    found, fields = await _callback(request, context.at), await agent_form(request, context)
    state = next((one for one in STATES if one == fields.get("state")), None)
    if state not in SETTLED:
        raise Refused(400, "Say whether the visitor was reached.")
    assert state is not None
    try:
        await context.at.service.callbacks.settle(
            context.at.site.name, found.id, state, context.session.agent
        )
    except CallTakenError as taken:
        return await _page(request, context, 409, _TAKEN.format(taken))
    return see_other(request, "/callbacks")


@signed_in
async def take(request: Request, context: AgentContext) -> Response:
    """Say that one calls, so that no other does (`over`: in place of this one); or that one does not
    (`do`)."""
    found, fields = await _callback(request, context.at), await agent_form(request, context)
    desk, site, agent = context.at.service.callbacks, context.at.site.name, context.session.agent
    if fields.get("do") == "release":
        await desk.release(site, found.id, agent)
        return see_other(request, "/callbacks")
    try:
        taken = await desk.take(site, found.id, agent, fields.get("over") or None)
    except CallTakenError as other:
        return await _page(request, context, 409, _TAKEN.format(other))
    if taken is None:
        return await _page(request, context, 409, "This visitor was called already.")
    return see_other(request, f"/callbacks#callback-{found.id}")


@signed_in
async def order(request: Request, context: AgentContext) -> Response:
    """Record an order that was closed in the call: its channel is `phone`."""
    found, fields = await _callback(request, context.at), await agent_form(request, context)
    try:
        sale = read_sale(fields)
    except OrderError as error:
        return await _page(request, context, 422, f"Not recorded: {error}.", found.id, fields)
    desk = context.at.service.callbacks
    recorded = await desk.order(context.at.site, found, sale, context.session.agent)
    outcome = "known" if not recorded.counts else "recorded" if recorded.held is None else "held"
    return see_other(request, f"/callbacks?done={outcome}")


routes: list[BaseRoute] = [
    Route("/desk/callbacks", callbacks, methods=["GET"]),
    Route("/desk/callbacks/{id}", settle, methods=["POST"]),
    Route("/desk/callbacks/{id}/take", take, methods=["POST"]),
    Route("/desk/callbacks/{id}/order", order, methods=["POST"]),
]
