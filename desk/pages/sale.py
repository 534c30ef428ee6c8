"""The order that an agent records in a conversation: what its form has already, and a minute to undo it."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.model import Conversation
from ...orders.model import OrderError
from ...referral.visitor import Visitor
from ...service.ordering.undoing import WHY
from .auth import AgentContext, agent_form, see_other, signed_in
from .handing_on import talk_of


async def sale_values(
    context: AgentContext, found: Conversation, visitor: Visitor | None, typed: Mapping[str, str]
) -> dict[str, Any]:
    """What the page needs to show the form and the orders that can be undone. The form has what was `typed`;
    else the visitor's cart, with the time at which a page showed it."""
    at = context.at
    cart = visitor.cart if visitor is not None else {}
    values = {"order_id": "", "total": cart.get("value", ""), "currency": cart.get("currency", "")}
    if not values["currency"]:
        values["currency"] = await at.service.chat_orders.currency(at.site, found.visitor) or ""
    now = at.service.clock.now()
    return {
        "sale": {**values, **typed},
        "cart_at": visitor.cart_at if visitor is not None and "value" in cart and not typed else 0.0,
        "undoable": await at.service.ledger.undoing.of_visitor(found.site, found.visitor, now),
        "undo_why": WHY,
        "undo_seconds": at.site.settings.chat.undo_seconds,
    }


@signed_in
async def undo(request: Request, context: AgentContext) -> Response:
    """Undo an order that was recorded in this conversation a moment ago."""
    at, fields = context.at, await agent_form(request, context)
    found = await talk_of(request, context)
    books = at.service.ledger.undoing
    here = await books.of_visitor(found.site, found.visitor, at.service.clock.now())
    one = next((u.sighting for u in here if u.sighting.key == fields.get("key")), None)
    outcome = "late"
    if one is not None and one.id is not None:
        try:
            by, why = context.session.agent, fields.get("why", "")
            await at.service.undoing.undo(at.site, one.id, one.key, by=by, why=why)
            outcome = "undone"
        except OrderError:
            pass
    at.service.conversations.changed(found.site)
    return see_other(request, f"/conversations/{found.id}?order={outcome}#orders")


routes: list[BaseRoute] = [Route("/desk/conversations/{id}/undo", undo, methods=["POST"])]
