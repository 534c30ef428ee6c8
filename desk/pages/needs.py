"""What needs a person: on the desk's start page, until somebody marks it as done."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...postbacks.model import STUCK, State
from ...stores.ledger.notices import Notice
from ...stores.ledger.roles import ALL_SITES
from ..context import RequestContext
from ..guard import Refused
from .advice import advice
from .auth import AgentContext, agent_form, nothing_done, see_other, signed_in

BACK: Final = "waiting"
"""What a form of the page of what waits sends as `back`: the page to return to."""


@dataclass(frozen=True, slots=True)
class Need:
    """One line: the notice, what happened, what to do."""

    notice: Notice
    text: str
    todo: str


@dataclass(frozen=True, slots=True)
class Needs:
    """All lines, and how many postbacks of the site wait in each state for a person."""

    lines: Sequence[Need]
    postbacks: Sequence[tuple[State, int]]
    reports: int

    def __bool__(self) -> bool:
        return bool(self.lines or self.postbacks or self.reports)


async def needs(context: AgentContext) -> Needs:
    """What needs a person at this site now."""
    service = context.at.service
    await service.write_notices()
    found = await service.ledger.notices.list(_sites(context))
    counts = await service.ledger.outbox.counts(context.at.site.name, STUCK)
    held = await service.ledger.outbox.holds(context.at.site.name)
    return Needs(
        [Need(notice, *advice(notice)) for notice in found if not _settled(notice, counts, held)],
        [(state, counts[state]) for state in STUCK if counts[state]],
        await service.ordering.waiting_count(context.at.site.name),
    )


def _settled(notice: Notice, counts: Mapping[State, int], held: Collection[str]) -> bool:
    """Whether what the notice asks for is done: nothing is held for this reason any more, or no call waits
    that failed in this way."""
    if notice.event == "postback_failed":
        return not any(counts[state] for state in STUCK if state == notice.details.get("outcome"))
    return notice.event == "order_held" and notice.key not in held


async def needs_version(at: RequestContext) -> Sequence[object]:
    """Differs whenever what needs a person at this site does."""
    outbox, own = at.service.ledger.outbox, at.site.name
    await at.service.write_notices()
    counts, held = await outbox.counts(own, STUCK), await outbox.holds(own)
    reports = await at.service.ordering.waiting_count(own)
    return [counts, held, reports, await at.service.ledger.notices.version((own, ""))]


def _sites(context: AgentContext) -> tuple[str, ...]:
    """The site's own; what concerns the whole program is for those who work at all of its sites."""
    service, own = context.at.service, context.at.site.name
    return (own, "") if len(service.sites) == 1 or ALL_SITES in context.session.roles else (own,)


@signed_in
async def done(request: Request, context: AgentContext) -> Response:
    """Mark a notice as done."""
    fields = await agent_form(request, context)
    number = fields.get("notice", "")
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise Refused(422, "The notice is missing or invalid. Go back and press its button again.")
    gone = await context.at.service.ledger.notices.done(_sites(context), int(number))
    if gone is None:
        nothing_done(request)
    else:
        context.at.service.events.emit(
            "notice_done", site=gone.site, notice=gone.event, key=gone.key, agent=context.session.agent
        )
    return see_other(request, f"/{BACK}?done=settled" if fields.get("back") == BACK else "/")


routes: list[BaseRoute] = [Route("/desk/needs", done, methods=["POST"])]


async def elsewhere(context: AgentContext) -> Mapping[str, int]:
    """How many conversations wait for the agent's answer at other sites, on the desk's own host; by site."""
    at = context.at
    if at.way is None:
        return {}
    found = await at.service.ledger.assignment.waiting_for(context.session.agent)
    return {site: count for site, count in sorted(found.items()) if site != at.site.name}
