"""`orders`: orders reported by the shop's server, and read by its programs."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...orders.claims import ClaimError
from ...orders.ids import normalised
from ...orders.intake import OrderBody, parse_order
from ...orders.model import STATES, Channel, OrderError
from ...orders.money import amount_text
from ...orders.sighting import plain
from ...referral.cookie import NAME
from ...referral.touches import Touch, merge
from ...service.claims import claims_of, touches_of_claims
from ...service.ordering.placing import Placed
from ...service.ordering.recording import Recorded
from ...service.ordering.story import lines
from ...stores.ledger.deliveries import Delivery, digest_of
from ...stores.ledger.errors import LedgerError
from ...stores.ledger.export_rows import timestamp
from ...stores.ledger.orders import StoredOrder, WantedOrders
from ...stores.ledger.stories import Story
from ...stores.visits import VisitsError
from ..context import RequestContext
from ..guard import NO_STORE, Refused, read_body, whole_number
from . import schemas
from .operation import Operation, Parameter
from .parameters import LIMIT, SINCE, UNTIL, limit_of, one_of, time_of

BODY_LIMIT = 64 * 1024
IN_LOOP = 8 * 1024  # bytes of a body that are read in the loop, in some 1 ms; longer ones are in a thread
# Orders that are read in one go: some 2 ms of the loop's time.
STEP = 50
KEYS = "api"  # the source under which keys of repeats are kept
KEY_LENGTH = 255
UNPLACED = "no order fits for sure yet: it is joined when one does, or a person places it"
JOURNALLED = (
    "the ledger cannot be reached: the report is on the disk of this machine, and is recorded as soon as the "
    "ledger takes it"
)
_VISITOR_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


async def report(request: Request, at: RequestContext) -> Response:
    """201 with the recorded order, 200 if it was known before, 202 if it has no number and no order fits for
    sure, or if it waits in the journal for the ledger. `held` is present if its postback waits, and says
    why."""
    body = await read_body(request, BODY_LIMIT)
    try:
        parsed = parse_order(body) if len(body) <= IN_LOOP else await asyncio.to_thread(parse_order, body)
    except ClaimError as error:
        raise _refused_claim(400, error.code, str(error), error.param) from error
    except OrderError as error:
        raise Refused(422, str(error)) from error
    await _once(request, at, body)
    order = parsed.order
    visitor, touches = await _visitor(at, parsed.visitor)
    touches = merge(touches, touches_of_claims(at.site, parsed, at.service.clock.now()))
    recorded = await at.service.ordering.record_reported(at.site, order, visitor, touches)
    if recorded is None:
        return _waiting(order.id, None, JOURNALLED, ())
    if isinstance(recorded, Placed):
        return await _placed(at, recorded)
    return JSONResponse(
        _answer(recorded),
        status_code=201 if recorded.created else 200,
        headers=NO_STORE,
    )


def _refused_claim(status: int, code: str, text: str, param: str) -> Refused:
    """A refusal in the flat form of the Agentic Commerce Protocol, beside our own."""
    flat = {"type": "invalid_request", "code": code, "message": text, "param": param}
    return Refused(status, text, more=flat)


async def _once(request: Request, at: RequestContext, body: bytes) -> None:
    """Raise Refused (409) if the Idempotency-Key came with another body before."""
    key = request.headers.get("idempotency-key", "")
    if not key:
        return
    if len(key) > KEY_LENGTH:
        raise Refused(400, f"Idempotency-Key: at most {KEY_LENGTH} characters")
    deliveries, now = at.service.ledger.deliveries, at.service.clock.now()
    digest, mine = digest_of(b"key", key.encode("utf-8")), {"body": digest_of(body)}
    one = Delivery(
        site=at.site.name, source=KEYS, digest=digest, topic="", outcome="order", at=now, said=mine
    )
    try:
        found = await deliveries.known(at.site.name, KEYS, digest, now)
        if found is None:
            await deliveries.add(one)
            # Of two at the same time the first one's body counts.
            found = await deliveries.known(at.site.name, KEYS, digest, now)
    except LedgerError as error:
        # The order waits in the journal then.
        at.service.events.failed(error, site=at.site.name, where="orders")
        return
    if found is not None and dict(found.said) != mine:
        text = "Idempotency-Key: it came before with another body"
        raise _refused_claim(409, "idempotency_conflict", text, "$")


async def claims(request: Request, at: RequestContext) -> Response:
    """What led a visitor to the shop, for an agent's checkout. Raises Refused (404) for an unknown one."""
    at.take("exports")
    named = request.path_params["visitor"]
    visitor, touches = await _visitor(at, named)
    stored = None if visitor is None else await at.service.visits.get(at.site.name, visitor)
    if stored is None and not touches:
        raise Refused(404, "nothing is known of this visitor")
    if at.site.asks_consent and not (stored is not None and stored.consent):
        touches = ()
    elif stored is not None:
        touches = () if stored.forgotten else merge(stored.touches, touches)
    return JSONResponse(claims_of(at.site, touches), headers=NO_STORE)


async def _placed(at: RequestContext, placed: Placed) -> Response:
    """200 with the order to which the report belongs for sure; else 202, and a person places it."""
    ledger = at.service.ledger
    found = None if placed.order is None else await ledger.orders.at(placed.order)
    if found is None:
        return _waiting(None, placed.stored.row, UNPLACED, placed.candidates)
    answer = _answer(Recorded(found, False, await ledger.outbox.held(found.row)))
    return JSONResponse({**answer, "report": placed.stored.row}, headers=NO_STORE)


def _waiting(number: str | None, report: int | None, why: str, candidates: Sequence[str]) -> Response:
    answer = {"id": number, "report": report, "waiting": why, "candidates": list(candidates)}
    return JSONResponse(answer, 202, headers=NO_STORE)


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
    """The visitor and its touches, by the value of its cookie; or the visitor by its token or id.

    Raises Refused (422) for any other value, since an order without a visitor would not be credited later.
    """
    if named is None:
        return None, ()
    known = at.site.cookie.open(named)
    if known is not None:
        return known.visitor, known.touches
    if (carried := at.site.carrier.open(named)) is not None:
        return carried, ()
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


async def listed(request: Request, at: RequestContext) -> Response:
    """A page of the site's orders, newest first."""
    at.take("exports")
    limit = limit_of(request)
    wanted = WantedOrders(
        state=one_of(request, "state", STATES),
        channel=one_of(request, "channel", get_args(Channel)),
        since=time_of(request, "since"),
        until=time_of(request, "until"),
        before=whole_number(request, "cursor") or None,
    )
    orders, more = list[str](), True
    while more and len(orders) < limit:
        step = min(STEP, limit - len(orders))
        found = await at.service.ledger.orders.wanted(at.site.name, wanted, step + 1)
        more = len(found) > step
        for order in found[:step]:
            orders.append(_order(order).model_dump_json())
            # An order may have two hundred items.
            await asyncio.sleep(0)
            wanted = replace(wanted, before=order.row)
    following = json.dumps(str(wanted.before) if more else None)
    return _sent(f'{{"orders":[{",".join(orders)}],"next":{following}}}')


async def one(request: Request, at: RequestContext) -> Response:
    """An order with its history. Raises Refused (404) if the site has none of this number."""
    at.take("exports")
    try:
        number = normalised(request.path_params["number"], "number").id
    except OrderError as error:
        raise Refused(404, f"{error}") from None
    story = await at.service.ledger.stories.of(at.site.name, number)
    if story is None:
        raise Refused(404, f"this site has no order {number[:60]!r}")
    return _sent(_story(story).model_dump_json())


def _sent(body: str) -> Response:
    return Response(body, media_type="application/json", headers=NO_STORE)


def _order(order: StoredOrder) -> schemas.Order:
    details, currency = order.details, order.currency
    return schemas.Order(
        id=order.order_id,
        spelling=order.spelling or order.order_id,
        state=order.state,
        total=amount_text(order.total, currency) if order.total is not None and currency else None,
        currency=currency,
        refunded=amount_text(order.refunded, currency) if currency else plain(order.refunded) or "0",
        **{name: details.get(name) for name in ("net", "shipping", "tax", "discount", "customer")},
        coupon=order.coupon,
        items=[schemas.Item.model_validate(item) for item in details.get("items") or ()],
        channel=order.channel,
        source=order.source,
        visitor=order.visitor,
        conversation=order.conversation,
        agent=order.agent,
        partner=order.partner,
        reason=order.reason,
        placed_at=_time(order.placed_at),
        recorded_at=_time(order.recorded_at),
        version=order.version,
    )


def _story(story: Story) -> schemas.OrderStory:
    decision = story.decisions[-1].decision if story.decisions else None
    return schemas.OrderStory(
        order=_order(story.order),
        numbers=list(story.numbers),
        shares=[
            schemas.Share(partner=share.partner, part=str(share.part), reason=share.reason)
            for share in (decision.shares if decision is not None else ())
        ],
        postbacks=[
            schemas.Postback(
                **{name: getattr(row, name) for name in ("id", "partner", "sequence", "event", "state")},
                amount=row.report.amount,
                currency=row.report.currency,
                attempts=row.attempts,
                created_at=_time(row.created_at),
                finished_at=timestamp(row.finished_at),
                why=row.why or "",
            )
            for row in story.postbacks
        ],
        history=[
            schemas.Step(at=_time(line.at), kind=line.kind, text=line.text, details=list(line.details))
            for line in lines(story, _time)
        ],
    )


def _time(seconds: float) -> str:
    return timestamp(seconds) or ""


VISITOR = Parameter(
    "visitor", "The value of the visitor's cookie, its token, or its id.", {"type": "string"}, "path"
)
NUMBER = Parameter("number", "The order's number, in any spelling of it.", {"type": "string"}, "path")
operations = [
    Operation(
        "POST",
        "/orders",
        "report_order",
        "Report an order that no page shows, or a change of one: another amount, a refund, a cancellation. "
        "The same report again adds nothing.",
        report,
        {200: schemas.Recorded, 201: schemas.Recorded, 202: schemas.Waiting},
        scope="orders:write",
        body=OrderBody,
        errors=(408, 409, 413, 422),
    ),
    Operation(
        "GET",
        "/visitors/{visitor}/attribution",
        "get_attribution",
        "What led a visitor to the shop, for an agent that orders for it: ACP's affiliate_attribution and "
        "UCP's attribution.",
        claims,
        {200: schemas.Claims},
        scope="attribution",
        parameters=(VISITOR,),
        errors=(404, 422),
    ),
    Operation(
        "GET",
        "/orders",
        "list_orders",
        "The site's orders, newest first, page by page.",
        listed,
        {200: schemas.Orders},
        scope="orders:read",
        parameters=(
            Parameter("state", "Only orders in this state.", {"type": "string", "enum": list(STATES)}),
            Parameter(
                "channel",
                "Only orders closed there.",
                {"type": "string", "enum": list(get_args(Channel))},
            ),
            SINCE,
            UNTIL,
            Parameter("cursor", "`next` of the page before.", {"type": "string", "pattern": "^[0-9]{1,18}$"}),
            LIMIT,
        ),
    ),
    Operation(
        "GET",
        "/orders/{number}",
        "get_order",
        "An order with its whole history: reports, corrections, credit with its reasons, calls to partners.",
        one,
        {200: schemas.OrderStory},
        scope="orders:read",
        parameters=(NUMBER,),
        errors=(404,),
    ),
]
