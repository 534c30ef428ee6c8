"""Who of the partners may see its own pages: the owner makes links and revokes them."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.partner_links import DAYS, MOST_DAYS, PartnerLink, PartnerLinks
from ...settings.model import Partner
from ..guard import Refused
from .auth import AgentContext, agent_form, see_other, signed_in
from .live import page_mark
from .render import desk_path, page


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """The site's partners, their accounts, and a button for a link to the pages of each."""
    return await _listed(request, context)


async def _listed(
    request: Request,
    context: AgentContext,
    status: int = 200,
    *,
    link: str = "",
    made_for: str = "",
    until: float = 0,
    problem: str = "",
) -> Response:
    at = context.at
    found = await at.service.ledger.agents.accounts(at.site.name)
    accounts = {name: [one.name for one in found if one.partner == name] for name in at.site.partners}
    return page(
        request,
        "access.html",
        status,
        mark=await page_mark(at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        partners=list(at.site.partners),
        accounts=accounts,
        days=DAYS,
        most=MOST_DAYS,
        link=link,
        made_for=made_for,
        until=until,
        problem=problem,
        done=request.query_params.get("done", ""),
    )


def _partner(context: AgentContext, name: str) -> Partner:
    found = context.at.site.partners.get(name)
    if found is None:
        raise Refused(404, "There is no such partner at this site.")
    return found


@signed_in
async def link(request: Request, context: AgentContext) -> Response:
    """Make a link to a partner's pages, and show it."""
    fields = await agent_form(request, context)
    partner, typed = _partner(context, fields.get("partner", "")), fields.get("days", "").strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) < 5 and 1 <= int(typed) <= MOST_DAYS):
        problem = f"No link was made: write from 1 to {MOST_DAYS} days."
        return await _listed(request, context, 422, problem=problem)
    at, days = context.at, int(typed)
    until = int(at.service.clock.now()) + days * 86400
    generation = await at.service.ledger.partner_access.generation(at.site.name, partner.id)
    token = PartnerLinks(at.service.settings, at.site.name).token(PartnerLink(partner.id, generation, until))
    at.service.events.emit(
        "partner_link", site=at.site.name, partner=partner.id, by=context.session.agent, days=days, made=True
    )
    # On the host that the owner is at: it is one that reaches the desk.
    address = f"{at.origin.scheme}://{at.origin.host}{desk_path(request)}/partner/enter?key={token}"
    return await _listed(request, context, link=address, made_for=partner.id, until=until)


@signed_in
async def revoke(request: Request, context: AgentContext) -> Response:
    """End all links to a partner's pages, and the sessions that began with one."""
    fields, at = await agent_form(request, context), context.at
    partner = _partner(context, fields.get("partner", ""))
    now, by = at.service.clock.now(), context.session.agent
    await at.service.ledger.partner_access.revoke(at.site.name, partner.id, now, by=by)
    at.service.events.emit("partner_link", site=at.site.name, partner=partner.id, by=by, made=False)
    return see_other(request, "/access?done=revoked")


routes: list[BaseRoute] = [
    Route("/desk/access", listed, methods=["GET"]),
    Route("/desk/access/link", link, methods=["POST"]),
    Route("/desk/access/revoke", revoke, methods=["POST"]),
]
