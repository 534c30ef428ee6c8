"""The list of orders for the owner: filtered, page by page, and as CSV."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...credit.words import percent
from ...orders.ids import normalised
from ...orders.model import STATES, Channel, OrderError
from ...stores.ledger.lists import NOBODY, ListedOrder, ListPage, Place, WantedList
from ..guard import Refused
from .auth import AgentContext, signed_in
from .filters import Filter
from .owner import ROWS, day_of, desk_of, owner_page, wanted_sites, zone_of
from .render import times
from .sheets import Cell, sheet

CHANNELS: Final = get_args(Channel)
MOST: Final = 50_000
"""Most orders of a CSV."""
STEP: Final = 250
"""Orders that are read in one go."""
_PLACE = re.compile(r"(\d{1,12}\.\d{1,9})_(\d{1,18})", re.ASCII)
_COLUMNS: Final = (
    *("site", "order", "placed_at", "total", "currency", "refunded", "state", "channel", "partner", "part"),
    *("commission", "commission_currency", "commission_state", "reason", "held"),
)


@dataclass(frozen=True, slots=True)
class Form(Filter):
    """The filter as it was sent. Empty: all."""

    number: str = ""
    site: str = ""
    partner: str = ""
    state: str = ""
    channel: str = ""
    since: str = ""
    until: str = ""
    held: str = ""


def _wanted(request: Request, context: AgentContext, form: Form) -> WantedList:
    """Raises Refused (422) where a value is none of those that there are."""
    for value, known in ((form.state, STATES), (form.channel, CHANNELS)):
        if value and value not in known:
            raise Refused(422, f"{value[:40]!r} is none of {', '.join(known)}.")
    zone = zone_of(context)
    return WantedList(
        partner=form.partner[:64] or None,
        state=form.state or None,
        channel=form.channel or None,
        held=bool(form.held),
        since=day_of(request, "since", zone),
        until=day_of(request, "until", zone, after=True),
    )


def _after(request: Request) -> Place | None:
    found = _PLACE.fullmatch(request.query_params.get("after", ""))
    return None if found is None else (float(found[1]), int(found[2]))


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """The newest orders that match, and those behind a place."""
    form = Form.of(request)
    _, sites = wanted_sites(request, context)
    lists, problem = context.at.service.ledger.lists, ""
    page = ListPage((), None)
    try:
        if form.number:
            page = ListPage(await _numbered(context, sites, form.number), None)
        else:
            wanted, after = _wanted(request, context, form), _after(request)
            page = await lists.page(sites, wanted, after=after, limit=ROWS)
    except OrderError as error:
        problem = f"{error}."
    partners = {name for one in sites if (own := context.at.service.sites.get(one)) for name in own.partners}
    return await owner_page(
        request,
        context,
        "orders.html",
        orders=page.orders,
        form=form,
        filtered=bool(form.query()),
        problem=problem,
        several=len(sites) > 1,
        desks={name: desk_of(request, context, name) for name in sites},
        partners=sorted(partners | ({form.partner} - {"", NOBODY})),
        states=STATES,
        channels=CHANNELS,
        percent=lambda part: percent(Decimal(part)),
        searched=page.after[0] if page.searched and page.after else None,
        older=None if page.after is None else form.query(after=f"{page.after[0]:.9f}_{page.after[1]}"),
        csv=form.query(),
    )


async def _numbered(context: AgentContext, sites: Sequence[str], number: str) -> tuple[ListedOrder, ...]:
    """The orders of a number, in any of its spellings. Raises OrderError."""
    ledger, normal = context.at.service.ledger, normalised(number, "number").id
    known = [found for site in sites for found in await ledger.histories.known(site, [normal])]
    return await ledger.lists.rows([found.row for found in known[:ROWS]])


@signed_in
async def listed_csv(request: Request, context: AgentContext) -> Response:
    """All orders that match, MOST at most, a line for each partner of each. The last line says if there may
    be more."""
    context.at.take("exports")
    form = Form.of(request)
    _, sites = wanted_sites(request, context)
    wanted, lists = _wanted(request, context, form), context.at.service.ledger.lists
    first = await lists.page(sites, wanted, limit=STEP)
    clock = times(context.at)

    async def parts() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        page, written = first, 0
        while True:
            yield [line for order in page.orders for line in _lines(order, clock.iso(order.placed_at))]
            written += len(page.orders)
            if page.after is None:
                return
            if written >= MOST:
                yield [[f"Only the newest {MOST} orders: choose an earlier day for the others."]]
                return
            page = await lists.page(sites, wanted, after=page.after, limit=STEP)

    return sheet(request, "orders", _COLUMNS, parts())


def _lines(order: ListedOrder, placed: str) -> Sequence[Sequence[Cell]]:
    named = (order.site, order.spelling or order.order_id, placed)
    money = (order.total, order.currency, order.refunded, order.shown_state, order.channel)
    parts: list[tuple[Cell, ...]] = [
        (one.partner, one.part, one.commission, one.currency, ", ".join(one.states) or None)
        for one in order.parts
    ]
    return [[*named, *money, *part, order.reason, order.held] for part in parts or [(None,) * 5]]


routes: list[BaseRoute] = [
    Route("/desk/orders", listed, methods=["GET"]),
    Route("/desk/orders.csv", listed_csv, methods=["GET"]),
]
