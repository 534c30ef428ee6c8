"""What waits for a person, all of it on one page: calls to partners, reports that disagree, reports that fit
no order, orders that nobody earns. Each line has the button that settles most of its kind; the other ways
are a link away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...orders.model import OrderError
from ...postbacks.model import STUCK, Postback, State
from ...service.ordering.notify import notify
from ...service.ordering.story import reported
from ...stores.ledger.errors import LedgerBusyError
from ...stores.ledger.notices import Notice
from .advice import advice
from .auth import AgentContext, agent_form, see_other, signed_in
from .owner import owner_page

EACH: Final = 10
"""Lines of each kind."""
DONE: Final = {
    "settled": "Done.",
    "moved": "The report now belongs to its order.",
    "assigned": "The order is credited to the partner.",
}
CONFLICT: Final = "order_conflict"


@dataclass(frozen=True, slots=True)
class Calls:
    """The newest calls in a state, and how many there are."""

    state: State
    count: int
    rows: Sequence[Postback]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Reports of an order disagree: the notice, and its text."""

    notice: Notice
    text: str
    todo: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A report that belongs to no order yet; `candidates` are the numbers of those that may be its."""

    number: int
    at: float
    text: str
    candidates: Sequence[str]


@signed_in
async def waiting(request: Request, context: AgentContext) -> Response:
    """The page."""
    return await _page(request, context)


@signed_in
async def assigned(request: Request, context: AgentContext) -> Response:
    """Credit an order that nobody earns to the partner that the evidence points to."""
    fields, at = await agent_form(request, context), context.at
    try:
        entry = await at.service.lost.assign(
            at.site,
            fields.get("order", ""),
            fields.get("partner", ""),
            at.service.clock.now(),
            by=context.session.agent,
            why=fields.get("why", ""),
            hold=at.site.settings.hold,
        )
    except OrderError as error:
        return await _page(request, context, 422, f"Nothing changed: {error}.")
    at.service.worker.wake()
    notify(at.service.events, entry)
    return see_other(request, "/waiting?done=assigned")


async def _page(request: Request, context: AgentContext, status: int = 200, problem: str = "") -> Response:
    at, own = context.at, context.at.site.name
    ledger = at.service.ledger
    await at.service.write_notices()
    counts = await ledger.outbox.counts(own, STUCK)
    calls = [
        Calls(state, counts[state], await ledger.outbox.list(state, site=own, limit=EACH))
        for state in STUCK
        if counts[state]
    ]
    notices = [one for one in await ledger.notices.list((own,)) if one.event == CONFLICT]
    reports = await at.service.ordering.waiting(own, EACH)
    try:
        lost, lost_unknown = await at.service.lost.newest(at.site, at.service.clock.now()), False
    except LedgerBusyError:
        lost, lost_unknown = (), True
    return await owner_page(
        request,
        context,
        "waiting.html",
        status,
        calls=calls,
        conflicts=[Conflict(one, *advice(one)) for one in notices[:EACH]],
        conflict_count=len(notices),
        reports=[Unplaced(s.row, s.sighting.at, reported(s.sighting), names) for s, names in reports],
        report_count=await at.service.ordering.waiting_count(own),
        lost=lost[:EACH],
        lost_count=len(lost),
        lost_unknown=lost_unknown,
        problem=problem,
        done=DONE.get(request.query_params.get("done", ""), ""),
    )


routes: list[BaseRoute] = [
    Route("/desk/waiting", waiting, methods=["GET"]),
    Route("/desk/waiting/lost", assigned, methods=["POST"]),
]
