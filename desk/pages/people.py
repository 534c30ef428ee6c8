"""The people of the desk, for owners: roles, invitations, and what helps somebody who cannot log in.

An owner decides on the sites that are its own. What concerns a person as a whole (password, second factor,
sessions, removal) needs an owner of all the person's sites: else an owner of one shop could take over the
account of somebody who also works for another.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...settings.model import LANGUAGES
from ...stores.ledger.agents import Agent, AgentError, Decider
from ...stores.ledger.desk_agents import WorkError
from ...stores.ledger.desk_links import NOTE_LENGTH, SECONDS, DeskLink
from ...stores.ledger.roles import ALL_SITES, ROLES, Role, Roles, role_at, suffices
from ..context import RequestContext
from ..guard import Refused
from .auth import AgentContext, agent_form, agent_pairs, noted, nothing_done, see_other, signed_in
from .live import page_mark
from .render import desk_path, page

_SAID = {
    "revoked": "The link is revoked.",
    "role": "The role is changed. It holds at once, also for open sessions.",
    "work": "It is changed, and holds at once.",
    "removed": "The person can no longer log in, and is logged out everywhere.",
    "factor": "The second factor is taken away, and all sessions have ended.",
    "sessions": "The sessions have ended.",
}
_LINK_TEXT = {
    "invitation": "Send it to the person by hand. Whoever has it can make one account, within 7 days. "
    "It is not shown again.",
    "password": "Send it to the person by hand. Whoever has it can set the password once, within 24 hours. "
    "It is not shown again.",
}
MOST_SITES = 500


@dataclass(frozen=True, slots=True)
class Person:
    """A line of the list."""

    agent: Agent
    role: Role
    factor: bool


def owns(context: AgentContext, sites: list[str]) -> bool:
    """Whether the agent is owner of all these sites; ALL_SITES stands for all that there are or will be."""
    return _owned(context.session.roles, sites)


def _owned(roles: Roles, sites: list[str]) -> bool:
    return all(
        roles.get(ALL_SITES) == "owner" if site == ALL_SITES else suffices(role_at(roles, site), "owner")
        for site in sites
    )


def own_sites(context: AgentContext) -> list[str]:
    """The sites for which the agent may invite from this page."""
    at = context.at
    if at.way is None:
        return [at.site.name]
    names = [name for name in at.service.sites if suffices(context.session.role_at(name), "owner")]
    return [*([ALL_SITES] if owns(context, [ALL_SITES]) else []), *names[:MOST_SITES]]


def _concerns(link: DeskLink, site: str, names: set[str]) -> bool:
    if link.kind == "password":
        return link.agent in names
    return site in link.sites or ALL_SITES in link.sites


async def _page(
    request: Request, context: AgentContext, template: str, status: int = 200, **values: object
) -> Response:
    return page(
        request,
        template,
        status,
        mark=await page_mark(context.at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        done=_SAID.get(request.query_params.get("done", ""), ""),
        all_sites=ALL_SITES,
        roles=ROLES,
        **values,
    )


async def _listed(
    request: Request,
    context: AgentContext,
    status: int = 200,
    problem: str = "",
    link: str = "",
    kind: str = "",
) -> Response:
    at, ledger = context.at, context.at.service.ledger
    found = await ledger.agents.people(at.site.name)
    having = await ledger.second_factors.having([one.name for one in found])
    names = {one.name for one in found}
    links = await ledger.desk_links.open(at.service.clock.now())
    return await _page(
        request,
        context,
        "people.html",
        status,
        people=[
            Person(one, role, one.name in having)
            for one in found
            if (role := role_at(one.roles, at.site.name)) is not None
        ],
        links=[one for one in links if _concerns(one, at.site.name, names)],
        sites_=own_sites(context),
        note_length=NOTE_LENGTH,
        problem=problem,
        link=link,
        link_text=_LINK_TEXT.get(kind, ""),
        days=int(SECONDS["invitation"] // 86400),
    )


@signed_in
async def people(request: Request, context: AgentContext) -> Response:
    """The people of the site, and the links that are open."""
    return await _listed(request, context)


def _address(request: Request, at: RequestContext, path: str, token: str) -> str:
    """On the host that the owner is at: it is one that reaches the desk."""
    return f"{at.origin.scheme}://{at.origin.host}{desk_path(request)}{path}?key={token}"


@signed_in
async def invite(request: Request, context: AgentContext) -> Response:
    """Make an invitation, and show its link once."""
    pairs = await agent_pairs(request, context, fields=MOST_SITES + 10)
    fields, chosen = dict(pairs), [value for name, value in pairs if name == "sites"]
    role = next((one for one in ROLES if one == fields.get("role")), None)
    may, at = own_sites(context), context.at
    if ALL_SITES in may and "*" in chosen:
        chosen = [ALL_SITES]
    if role is None or not chosen or not set(chosen) <= set(may):
        return await _listed(
            request, context, 422, "No invitation was made: choose a role and at least a site."
        )
    noted(request, sites=", ".join(one or "all" for one in chosen))
    token = await at.service.ledger.desk_links.invite(
        role, chosen, at.service.clock.now(), by=context.session.agent, note=fields.get("note", "")
    )
    return await _listed(request, context, link=_address(request, at, "/join", token), kind="invitation")


@signed_in
async def revoke(request: Request, context: AgentContext) -> Response:
    """End a link that is open."""
    await agent_form(request, context)
    at, links = context.at, context.at.service.ledger.desk_links
    now = at.service.clock.now()
    names = {one.name for one in await at.service.ledger.agents.people(at.site.name)}
    found = next((one for one in await links.open(now) if one.id == request.path_params["id"]), None)
    if found is None or not _concerns(found, at.site.name, names):
        raise Refused(404, "There is no such link, or it has ended.")
    if found.kind == "invitation" and not owns(context, list(found.sites)):
        raise Refused(403, "This invitation is also for sites of which you are not an owner.")
    if found.agent is not None:
        _require_whole(context, await _person(context, found.agent))
    await links.revoke(found.id, now)
    return see_other(request, "/people?done=revoked")


async def _person(context: AgentContext, name: str) -> Agent:
    """A person of this site. Raises Refused (404) for any other."""
    found = await context.at.service.ledger.agents.find(name)
    if found is None or role_at(found.roles, context.at.site.name) is None:
        raise Refused(404, "There is no such person at this site.")
    return found


def _require_whole(context: AgentContext, found: Agent) -> None:
    if not owns(context, list(found.roles)):
        raise Refused(
            403, "This person also works for sites of which you are not an owner. Use `clew desk` for this."
        )


async def _whole(request: Request, context: AgentContext) -> Agent:
    """The person of a form that concerns it as a whole, but not the owner itself. Raises Refused."""
    found = await _person(context, request.path_params["name"])
    _require_whole(context, found)
    if found.name == context.session.agent:
        raise Refused(403, "That is your own account: see its page, or ask another owner.")
    return found


async def _shown(
    request: Request, context: AgentContext, status: int = 200, problem: str = "", link: str = ""
) -> Response:
    found = await _person(context, request.path_params["name"])
    ledger, now = context.at.service.ledger, context.at.service.clock.now()
    whole = owns(context, list(found.roles))
    factor = await ledger.second_factors.having([found.name])
    return await _page(
        request,
        context,
        "person.html",
        status,
        person=found,
        work=await ledger.desk_agents.of(found.name),
        departments=context.at.site.settings.chat.departments,
        languages=LANGUAGES,
        usual=context.at.site.settings.chat.per_agent,
        role=role_at(found.roles, context.at.site.name),
        own=found.name == context.session.agent,
        whole=whole,
        everywhere=owns(context, [ALL_SITES]),
        factor=bool(factor),
        sessions=await ledger.agents.sessions(found.name, now) if whole else (),
        problem=problem,
        link=link,
        link_text=_LINK_TEXT["password"],
    )


@signed_in
async def person(request: Request, context: AgentContext) -> Response:
    """A person's roles and sessions, and what an owner may do about them."""
    return await _shown(request, context)


@signed_in
async def set_role(request: Request, context: AgentContext) -> Response:
    """Change a person's role at this site, or the one for all sites."""
    fields, found = await agent_form(request, context), await _person(context, request.path_params["name"])
    where = ALL_SITES if fields.get("where") == "all" else context.at.site.name
    role = next((one for one in ROLES if one == fields.get("role")), None)
    if role is None and fields.get("role") != "none":
        raise Refused(422, "Choose a role.")
    if found.name == context.session.agent:
        raise Refused(403, "You cannot change your own role: another owner can.")
    if not owns(context, [where]):
        raise Refused(403, "You are not an owner of all sites.")

    def change(before: Roles) -> Roles:
        kept = {site: one for site, one in before.items() if site != where}
        return kept if role is None else {**kept, where: role}

    try:
        by = Decider(context.session.agent, lambda roles: _owned(roles, [where]))
        _, after = await context.at.service.ledger.agents.set_roles(found.name, change, by=by)
    except AgentError as error:
        return await _shown(request, context, 422, f"Nothing changed: {error}.")
    still = role_at(after, context.at.site.name) is not None
    return see_other(request, f"/people/{found.name}?done=role" if still else "/people?done=role")


@signed_in
async def set_work(request: Request, context: AgentContext) -> Response:
    """Set how many conversations a person takes at once, and which."""
    pairs = await agent_pairs(request, context, fields=100)
    found, at = await _person(context, request.path_params["name"]), context.at
    text = dict(pairs).get("capacity", "").strip()
    if text and not (text.isascii() and text.isdigit() and len(text) <= 3):
        return await _shown(request, context, 422, "Nothing changed: write a number of conversations.")
    own = at.site.settings.chat.departments
    before = await at.service.ledger.desk_agents.of(found.name)
    # Departments of other sites stay as they are.
    departments = [one for one in before.departments if one not in own]
    departments += [one for name, one in pairs if name == "department" and one in own]
    languages = [one for name, one in pairs if name == "language" and one in LANGUAGES]
    try:
        await at.service.ledger.desk_agents.set_work(
            found.name,
            at.service.clock.now(),
            capacity=int(text) if text else None,
            languages=languages,
            departments=departments,
        )
    except WorkError as error:
        return await _shown(request, context, 422, f"Nothing changed: {error}.")
    noted(request, languages=", ".join(languages), departments=", ".join(departments))
    at.service.desk_work.soon(at.site.name)
    return see_other(request, f"/people/{found.name}?done=work")


@signed_in
async def remove(request: Request, context: AgentContext) -> Response:
    """Take a person's access away."""
    await agent_form(request, context)
    found = await _whole(request, context)
    by = Decider(context.session.agent, lambda roles: _owned(roles, list(found.roles)))
    try:
        await context.at.service.ledger.agents.deactivate(found.name, by=by)
    except AgentError as error:
        return await _listed(request, context, 422, f"Nothing changed: {error}.")
    return see_other(request, "/people?done=removed")


@signed_in
async def new_password(request: Request, context: AgentContext) -> Response:
    """Make a link by which a person sets a new password, and show it once."""
    await agent_form(request, context)
    found, at = await _whole(request, context), context.at
    now, by = at.service.clock.now(), context.session.agent
    token = await at.service.ledger.desk_links.reset(found.name, now, by=by)
    return await _shown(request, context, link=_address(request, at, "/reset", token))


@signed_in
async def reset_factor(request: Request, context: AgentContext) -> Response:
    """Take a person's second factor away, when its telephone is lost."""
    await agent_form(request, context)
    found = await _whole(request, context)
    if not await context.at.service.ledger.second_factors.reset(found.name):
        nothing_done(request)
    return see_other(request, f"/people/{found.name}?done=factor")


@signed_in
async def end_sessions(request: Request, context: AgentContext) -> Response:
    """End one of a person's sessions, or all."""
    fields, found = await agent_form(request, context), await _whole(request, context)
    chosen = fields.get("session") or None
    if not await context.at.service.ledger.agents.end_sessions(found.name, chosen):
        nothing_done(request)
    return see_other(request, f"/people/{found.name}?done=sessions")


_ONE = "/desk/people/{name}"

routes: list[BaseRoute] = [
    Route("/desk/people", people, methods=["GET"]),
    Route("/desk/people/invite", invite, methods=["POST"]),
    Route("/desk/people/invitations/{id}/revoke", revoke, methods=["POST"]),
    Route(_ONE, person, methods=["GET"]),
    Route(f"{_ONE}/role", set_role, methods=["POST"]),
    Route(f"{_ONE}/work", set_work, methods=["POST"]),
    Route(f"{_ONE}/remove", remove, methods=["POST"]),
    Route(f"{_ONE}/password", new_password, methods=["POST"]),
    Route(f"{_ONE}/factor", reset_factor, methods=["POST"]),
    Route(f"{_ONE}/sessions", end_sessions, methods=["POST"]),
]
