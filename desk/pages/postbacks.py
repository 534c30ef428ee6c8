"""The calls to partners that wait for a person: in doubt, rejected by the partner, or without a response."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...orders.model import OrderError
from ...orders.sale import read_amount
from ...postbacks.model import STATES, Postback, State
from ...service.ordering.correcting import settle as settle_order
from ...service.ordering.correcting import settled
from ...service.ordering.notify import notify_retried, notify_settled
from ...stores.ledger.again import OutboxError
from ..guard import Refused
from .auth import AgentContext, agent_form, see_other, signed_in
from .live import page_mark
from .needs import BACK
from .render import page

SHOWN = 100
TITLES: Mapping[State, str] = {
    "held": "Held: not sent, in doubt",
    "dead": "Dead: not taken by the partner",
    "unknown": "Unknown: sent, but no answer came",
}


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """The newest postbacks of one state."""
    return await _listed(request, context, request.query_params.get("state", "held"))


async def _listed(
    request: Request, context: AgentContext, name: str, status: int = 200, problem: str = ""
) -> Response:
    state: State = next((s for s in STATES if s == name and s in TITLES), "held")
    outbox = context.at.service.ledger.outbox
    return page(
        request,
        "postbacks.html",
        status,
        mark=await page_mark(context.at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        state=state,
        titles=TITLES,
        counts=await outbox.counts(context.at.site.name, tuple(TITLES)),
        rows=await outbox.list(state, site=context.at.site.name, limit=SHOWN),
        problem=problem,
    )


@signed_in
async def settle(request: Request, context: AgentContext) -> Response:
    """Release, correct, refuse or retry, depending on the button."""
    fields = await agent_form(request, context)
    postback_id = request.path_params["id"]
    retry = fields.get("do") == "retry"
    try:
        found = await (_retried(context, postback_id) if retry else _settled(context, postback_id, fields))
    except (OutboxError, OrderError) as error:
        return await _listed(request, context, fields.get("state", "held"), 422, f"Nothing changed: {error}.")
    service = context.at.service
    service.worker.wake()
    (notify_retried if retry else notify_settled)(service.events, found, context.session.agent)
    if fields.get("back") == BACK:
        return see_other(request, f"/{BACK}?done=settled")
    return see_other(request, f"/postbacks?state={fields.get('state', 'held')}")


async def _retried(context: AgentContext, postback_id: str) -> Postback:
    service, now = context.at.service, context.at.service.clock.now()
    able = service.worker.partners.able(now)
    return await service.ledger.outbox.retry(postback_id, now, able=able, site=context.at.site.name)


async def _settled(context: AgentContext, postback_id: str, fields: Mapping[str, str]) -> Postback:
    what, amount, service = fields.get("do"), None, context.at.service
    if what == "reported":
        now, by = service.clock.now(), context.session.agent
        able = service.worker.partners.able(now)
        return await service.ledger.outbox.mark_reported(
            postback_id, now, by=by, able=able, site=context.at.site.name
        )
    if what not in ("release", "correct", "refuse"):
        raise Refused(422, "The action is missing or invalid. Go back and press the button again.")
    if what == "correct":
        amount = read_amount(fields.get("amount", ""))
    entry = await settle_order(
        service.ledger,
        lambda site: list(context.at.site.partners.values()),
        postback_id,
        service.clock.now(),
        by=context.session.agent,
        send=what != "refuse",
        amount=amount,
        site=context.at.site.name,
        hold=context.at.site.settings.hold,
    )
    return settled(entry, postback_id)


routes: list[BaseRoute] = [
    Route("/desk/postbacks", listed, methods=["GET"]),
    Route("/desk/postbacks/{id}", settle, methods=["POST"]),
]
