"""The whole story of an order, and what people correct. All works without JavaScript. Their list is in
`order_list.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...orders.ids import normalised
from ...orders.model import STATES, OrderError
from ...orders.sale import read_amount
from ...payouts.account import accounts, worded
from ...service.ordering.correcting import WHY_LENGTH, correct
from ...service.ordering.earnings import priced
from ...service.ordering.notify import notify
from ...service.ordering.placing import ANY
from ...service.ordering.story import lines, reported, said, values
from ...stores.ledger.stories import Story
from ..guard import Refused
from .auth import AgentContext, agent_form, see_other, signed_in
from .live import page_mark
from .needs import BACK
from .render import page, times

SHOWN = 50
NOBODY = "-"
"""The value of the choice "nobody" for an order's partner; an empty one leaves it as it is."""


def _row(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


async def _page(
    request: Request, context: AgentContext, template: str, status: int, **values: Any
) -> Response:
    own = {"agent": context.session.agent, "csrf": context.session.csrf}
    return page(request, template, status, mark=await page_mark(context.at), current=None, **own, **values)


async def _story(request: Request, context: AgentContext) -> Story:
    row = _row(request.path_params["id"])
    stories = context.at.service.ledger.stories
    found = None if row is None else await stories.at(context.at.site.name, row)
    if found is None:
        raise Refused(404, "There is no such order at this site.")
    return found


@signed_in
async def order(request: Request, context: AgentContext) -> Response:
    """All that is known of an order, as a time line."""
    return await _order(request, context, await _story(request, context))


async def _order(
    request: Request,
    context: AgentContext,
    story: Story,
    status: int = 200,
    problem: str = "",
    typed: dict[str, str] | None = None,
) -> Response:
    moment = times(context.at).moment
    return await _page(
        request,
        context,
        "order.html",
        status,
        order=story.order,
        values=values(story, moment),
        lines=lines(story, moment),
        states=STATES,
        earned=_earned(story),
        seen=sum(stored.sighting.correction is not None for stored in story.known.sightings),
        partners=list(context.at.site.partners),
        nobody=NOBODY,
        why_length=WHY_LENGTH,
        problem=problem,
        typed={"state": "", "amount": "", "partner": "", "why": "", **(typed or {})},
        done=request.query_params.get("done", ""),
    )


@signed_in
async def corrected(request: Request, context: AgentContext) -> Response:
    """Correct an order: a new entry of its history, with who and why."""
    story, fields = await _story(request, context), await agent_form(request, context)
    service, site = context.at.service, context.at.site
    amount, partner = fields.get("amount", "").strip(), fields.get("partner", "")
    try:
        entry = await correct(
            service.ledger,
            list(site.partners.values()),
            story.order,
            service.clock.now(),
            by=context.session.agent,
            why=fields.get("why", ""),
            state=fields.get("state") or None,
            amount=read_amount(amount) if amount else None,
            partner={"": None, NOBODY: ""}.get(partner, partner),
            hold=site.settings.hold,
            seen=_row(fields.get("seen", "")),
        )
    except OrderError as error:
        return await _order(request, context, story, 422, f"Nothing changed: {error}.", fields)
    service.worker.wake()
    notify(service.events, entry)
    return see_other(request, f"/orders/{entry.after.row}?done=corrected#story")


@signed_in
async def decided(request: Request, context: AgentContext) -> Response:
    """Approve or decline a partner's commission: a new entry of the order's history, with who and why."""
    story, fields = await _story(request, context), await agent_form(request, context)
    service, site = context.at.service, context.at.site
    verdict, partner = fields.get("verdict", ""), fields.get("partner", "")
    try:
        if verdict not in ("approve", "decline"):
            raise OrderError("verdict: approve or decline")
        await service.workflow.decide(
            site.name,
            story.order.row,
            [partner],
            "approve" if verdict == "approve" else "decline",
            by=context.session.agent,
            why=fields.get("why", ""),
            seen=fields.get("seen") or None,
        )
    except OrderError as error:
        return await _order(request, context, story, 422, f"Nothing changed: {error}.")
    return see_other(request, f"/orders/{story.order.row}?done=decided#commissions")


@dataclass(frozen=True, slots=True)
class Earned:
    """A partner's commission of an order, as text. `shown` is its state for people."""

    partner: str
    state: str
    shown: str
    text: str


def _earned(story: Story) -> list[Earned]:
    return [
        Earned(
            partner,
            account.state,
            worded(account.state, approved=account.ready),
            "" if account.amount is None else priced(account.amount, currency),
        )
        for partner, entries in story.commissions.items()
        for currency, account in accounts(entries).items()
    ]


@dataclass(frozen=True, slots=True)
class Report:
    """A report that belongs to no order yet: its number, what it says, and the orders that may be its."""

    number: int
    at: float
    text: str
    details: Sequence[str]
    candidates: Sequence[str]


@signed_in
async def reports(request: Request, context: AgentContext) -> Response:
    """The reports without an order number that wait for a person."""
    return await _reports(request, context)


async def _reports(request: Request, context: AgentContext, status: int = 200, problem: str = "") -> Response:
    moment = times(context.at).moment
    waiting = await context.at.service.ordering.waiting(context.at.site.name, SHOWN)
    rows = [
        Report(s.row, s.sighting.at, reported(s.sighting), tuple(said(s.sighting, moment)), names)
        for s, names in waiting
    ]
    return await _page(
        request, context, "reports.html", status, rows=rows, problem=problem, why_length=WHY_LENGTH
    )


@signed_in
async def moved(request: Request, context: AgentContext) -> Response:
    """Say to which order a report belongs."""
    fields, row = await agent_form(request, context), _row(request.path_params["id"])
    try:
        number = normalised(fields.get("number", ""), "number").id
        placed = await context.at.service.ordering.move(
            context.at.site,
            row or 0,
            number,
            by=context.session.agent,
            why=fields.get("why", ""),
            seen=_row(fields["order"]) if "order" in fields else ANY,
        )
    except OrderError as error:
        return await _reports(request, context, 422, f"Nothing changed: {error}.")
    if fields.get("back") == BACK:
        return see_other(request, f"/{BACK}?done=moved")
    return see_other(request, f"/orders/{placed.order}?done=moved")


routes: list[BaseRoute] = [
    Route("/desk/reports", reports, methods=["GET"]),
    Route("/desk/reports/{id}", moved, methods=["POST"]),
    Route("/desk/orders/{id}", order, methods=["GET"]),
    Route("/desk/orders/{id}/correct", corrected, methods=["POST"]),
    Route("/desk/orders/{id}/commission", decided, methods=["POST"]),
]
