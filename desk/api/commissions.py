"""`commissions`: what partners earn by orders, read and decided by programs."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...orders.ids import normalised
from ...orders.model import OrderError
from ...orders.wording import field_problem
from ...payouts.account import STATES
from ...service.ordering.earnings import text
from ...service.workflow import WHY_LENGTH
from ...stores.ledger.commissions import Commission, Cursor, WantedCommissions, place
from ...stores.ledger.export_rows import timestamp
from ..context import RequestContext
from ..guard import NO_STORE, Refused, read_body
from . import schemas
from .operation import Operation, Parameter
from .orders import NUMBER
from .parameters import LIMIT, SINCE, UNTIL, limit_of, one_of, time_of

BODY_LIMIT = 4096
_APPROVED = ("approved", "locked", "paid")


class Decision(BaseModel):
    """Approve or decline the commission of a partner for an order; without `partner`, of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["approve", "decline"]
    why: Annotated[str, Field(min_length=1, max_length=WHY_LENGTH)]
    by: Annotated[str, Field(min_length=1, max_length=64)] = "api"
    partner: Annotated[str, Field(max_length=64)] | None = None


async def listed(request: Request, at: RequestContext) -> Response:
    """A page of the site's commissions, by the newest orders."""
    at.take("exports")
    limit, state = limit_of(request), one_of(request, "state", STATES)
    wanted = WantedCommissions(
        at.site.name,
        _partner(request),
        None if state is None else [one for one in STATES if one == state],
        time_of(request, "since"),
        time_of(request, "until"),
    )
    books = at.service.ledger.commissions
    found = await books.page(wanted, limit=limit + 1, after=_cursor(request))
    more = len(found) > limit
    body = schemas.Commissions(
        commissions=[_shown(one) for one in found[:limit]],
        next=_written(place(found[limit - 1])) if more else None,
    )
    return Response(body.model_dump_json(), media_type="application/json", headers=NO_STORE)


async def decided(request: Request, at: RequestContext) -> Response:
    """Raises Refused: 404 for an unknown order, 422 if there is nothing to decide."""
    try:
        number = normalised(request.path_params["number"], "number").id
        body = Decision.model_validate_json(await read_body(request, BODY_LIMIT))
    except OrderError as error:
        raise Refused(404, str(error)) from None
    except ValidationError as error:
        raise Refused(422, field_problem(error.errors()[0])) from None
    story = await at.service.ledger.stories.of(at.site.name, number)
    if story is None:
        raise Refused(404, f"this site has no order {number[:60]!r}")
    row, partners = story.order.row, [] if body.partner is None else [body.partner]
    try:
        found = await at.service.workflow.decide(
            at.site.name, row, partners, body.verdict, by=body.by, why=body.why
        )
    except OrderError as error:
        raise Refused(422, str(error)) from None
    now = await at.service.ledger.commissions.by_numbers(at.site.name, None, [story.order.order_id])
    answer = schemas.Decided(
        changed=sorted(found),
        commissions=[_shown(one) for one in now.get(story.order.order_id, ())],
    )
    return JSONResponse(answer.model_dump(), headers=NO_STORE)


def _shown(one: Commission) -> schemas.Commission:
    amounts = {name: text(getattr(one, name), one.currency) for name in ("amount", "value", "locked", "paid")}
    times = ("waits_until", "decided_at", "placed_at", "changed_at")
    return schemas.Commission(
        order=one.number,
        partner=one.partner,
        state=one.state,
        approved=one.state in _APPROVED or (one.state == "amended" and one.waits_until is None),
        currency=one.currency,
        channel=one.channel,
        ref=one.ref,
        **amounts,
        **{name: timestamp(getattr(one, name)) for name in times},
    )


def _partner(request: Request) -> str | None:
    given = request.query_params.get("partner")
    if given is not None and len(given) > 64:
        raise Refused(400, "partner: at most 64 characters")
    return given


def _written(cursor: Cursor) -> str:
    return "~".join(map(str, (float(cursor[0]).hex(), *cursor[1:])))


def _cursor(request: Request) -> Cursor | None:
    given = request.query_params.get("cursor")
    if given is None:
        return None
    try:
        placed, order, partner, currency = given.split("~") if len(given) <= 200 else []
        if not (order.isascii() and order.isdigit() and len(order) <= 18):
            raise ValueError
        return float.fromhex(placed), int(order), partner, currency
    except (ValueError, OverflowError):
        raise Refused(400, "cursor: send `next` of the page before") from None


operations = [
    Operation(
        "GET",
        "/commissions",
        "list_commissions",
        "What partners earn by orders, with the states, by the newest orders, page by page.",
        listed,
        {200: schemas.Commissions},
        scope="orders:read",
        parameters=(
            Parameter("partner", "Only of this partner.", {"type": "string", "maxLength": 64}),
            Parameter("state", "Only in this state.", {"type": "string", "enum": list(STATES)}),
            SINCE,
            UNTIL,
            Parameter("cursor", "`next` of the page before.", {"type": "string", "maxLength": 200}),
            LIMIT,
        ),
    ),
    Operation(
        "POST",
        "/orders/{number}/commission",
        "decide_commission",
        "Approve or decline the commission of an order. The same decision again changes nothing.",
        decided,
        {200: schemas.Decided},
        scope="commissions:write",
        parameters=(NUMBER,),
        body=Decision,
        errors=(404, 408, 413, 422),
    ),
]
