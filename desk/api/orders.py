"""`POST orders`: orders reported by the shop's server."""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...orders.intake import parse_order
from ...orders.model import OrderError, OrderSeen
from ...orders.money import amount_text
from ...referral.cookie import NAME
from ...referral.touches import Touch
from ...service.ordering.recording import Recorded
from ...stores.visits import VisitsError
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, read_body, require_api_token

BODY_LIMIT = 64 * 1024
_VISITOR_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


@api
async def orders_endpoint(request: Request, at: RequestContext) -> Response:
    """201 with the recorded order, 200 if it was known before, 202 if it has no number and no order fits for
    sure. `held` is present if its postback waits, and
    says why."""
    require_api_token(request, at)
    try:
        order, named = parse_order(await read_body(request, BODY_LIMIT))
    except OrderError as error:
        raise Refused(422, str(error)) from error
    visitor, touches = await _visitor(at, named)
    if not order.numbers:
        return await _unnumbered(at, order, visitor, touches)
    recorded = await at.service.ordering.record(at.site, order, visitor=visitor, touches=touches)
    return JSONResponse(
        _answer(recorded),
        status_code=201 if recorded.created else 200,
        headers=NO_STORE,
    )


async def _unnumbered(
    at: RequestContext, order: OrderSeen, visitor: str | None, touches: tuple[Touch, ...]
) -> Response:
    """200 with the order to which the report belongs for sure; else 202, and a person places it."""
    placed = await at.service.ordering.record_unnumbered(at.site, order, visitor=visitor, touches=touches)
    ledger = at.service.ledger
    found = None if placed.order is None else await ledger.orders.at(placed.order)
    if found is None:
        answer: dict[str, object] = {
            "id": None,
            "report": placed.stored.row,
            "waiting": "no order fits for sure yet: it is joined when one does, or a person places it",
            "candidates": placed.candidates,
        }
        return JSONResponse(answer, 202, headers=NO_STORE)
    answer = _answer(Recorded(found, False, await ledger.outbox.held(found.row)))
    return JSONResponse({**answer, "report": placed.stored.row}, headers=NO_STORE)


def _answer(recorded: Recorded) -> dict[str, object]:
    order = recorded.order
    total = None
    if order.total is not None and order.currency is not None:
        total = amount_text(order.total, order.currency)
    return {
        "id": order.order_id,
        "total": total,
        "currency": order.currency,
        "state": order.state,
        "channel": order.channel,
        "created": recorded.created,
        **({} if recorded.held is None else {"held": recorded.held}),
    }


async def _visitor(at: RequestContext, named: str | None) -> tuple[str | None, tuple[Touch, ...]]:
    """The visitor and its touches, by the value of its cookie; or the visitor by its id.

    Raises Refused (422) for any other value, since an order without a visitor would not be credited later.
    """
    if named is None:
        return None, ()
    known = at.site.cookie.open(named)
    if known is not None:
        return known.visitor, known.touches
    if _VISITOR_ID.fullmatch(named) and await _is_known(at, named):
        return named, ()
    raise Refused(
        422,
        f"visitor: neither a value of this site's cookie {NAME.decode()} nor the id of a known visitor. It "
        f"has {len(named)} characters: it may be cut off, decoded, or from another site. Send the cookie's "
        "whole value as the shop got it, or omit `visitor`. Nothing was recorded.",
    )


async def _is_known(at: RequestContext, visitor: str) -> bool:
    try:
        return await at.service.visits.get(at.site.name, visitor) is not None
    except VisitsError as error:
        at.service.visitors.failed(at.site.name, "orders", error)
        raise Refused(
            503,
            "the visit store cannot be reached, and only it knows this visitor's clicks: try again in a "
            f"moment, or send the whole value of the cookie {NAME.decode()} as `visitor`. "
            "Nothing was recorded.",
            wait=2,
        ) from error


routes = [Route("/orders", orders_endpoint, methods=["POST"])]
