"""The other ends of links that owners send by hand: an invitation, and a new password.

The link's key leaves the address at once: it goes into a cookie, so that it stands in no history, no referrer
and no log of a later page.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ...service.limits import network_of
from ...stores.ledger.agents import PASSWORD_LENGTH, AgentError, BusyError
from ...stores.ledger.audit import PROGRAM, Act
from ...stores.ledger.desk_links import DeskLink, Kind
from ...stores.ledger.roles import ALL_SITES
from ..context import RequestContext
from ..cookies import JOIN, LOGIN, RESET
from ..guard import form_body
from .auth import DESK, LOGIN_SECONDS, anyone, same, see_other, set_cookie
from .render import desk_path, headers, page

GONE: Final = (
    "This link has been used, has expired, or was revoked. Ask an owner of the desk for a new one: nothing "
    "was changed."
)


@dataclass(frozen=True, slots=True)
class _End:
    kind: Kind
    path: str
    cookie: str
    template: str


_JOIN = _End("invitation", "/join", JOIN, "join.html")
_RESET = _End("password", "/reset", RESET, "reset.html")


async def _opened(end: _End, request: Request, at: RequestContext) -> Response:
    if request.method == "HEAD":
        # What looks at links in mails asks so; nothing is used up by it, nor by opening the page.
        return Response(headers=headers(request))
    if (key := request.query_params.get("key")) is not None:
        if request.headers.get("sec-fetch-dest", "document") != "document":
            return Response(status_code=403, headers=headers(request))
        bare = {**headers(request), "Referrer-Policy": "no-referrer"}
        answer: Response = RedirectResponse(f"{desk_path(request)}{end.path}", 303, bare)
        set_cookie(DESK, request, answer, end.cookie, re.sub(r"[^A-Za-z0-9_-]", "", key)[:64], LOGIN_SECONDS)
        return answer
    return await _form(end, request, at)


async def _link(end: _End, request: Request, at: RequestContext) -> DeskLink | None:
    """The link of this browser, if it is good here. Wrong ones count like wrong passwords."""
    at.take("logins")
    token, now = request.cookies.get(end.cookie, ""), at.service.clock.now()
    found = await at.service.ledger.desk_links.find(token, end.kind, now) if token else None
    if found is None:
        return None
    at.service.limits.give_back("logins", at.site.name, at.origin.client)
    if end.kind == "invitation" and at.chosen is not None and not _is_for(found, at.chosen):
        return None
    return found


def _is_for(link: DeskLink, site: str) -> bool:
    return ALL_SITES in link.sites or site in link.sites


async def _form(
    end: _End,
    request: Request,
    at: RequestContext,
    status: int = 200,
    problem: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response:
    link = await _link(end, request, at)
    if link is None:
        return page(request, "problem.html", 410, text=GONE, back="/")
    csrf = request.cookies.get(LOGIN, "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", csrf):
        csrf = secrets.token_urlsafe(32)
    answer = page(
        request,
        end.template,
        status,
        link=link,
        problem=problem,
        csrf=csrf,
        typed={"name": "", "shown": "", **(typed or {})},
        least=PASSWORD_LENGTH[0],
        most=PASSWORD_LENGTH[1],
    )
    set_cookie(DESK, request, answer, LOGIN, csrf, LOGIN_SECONDS)
    return answer


async def _sent(end: _End, request: Request, at: RequestContext) -> Response:
    fields = await form_body(request)
    if not same(fields.get("csrf", ""), request.cookies.get(LOGIN, "")):
        return await _form(end, request, at, 403, "The form was too old, or cookies are off. Try once more.")
    typed = {"name": fields.get("name", "").strip()[:64], "shown": fields.get("shown", "").strip()[:64]}
    if fields.get("password", "") != fields.get("again", ""):
        return await _form(end, request, at, 422, "The two passwords differ. Type the same one twice.", typed)
    link = await _link(end, request, at)
    if link is None:
        return page(request, "problem.html", 410, text=GONE, back="/")
    try:
        name = await _use(end, request, at, typed, fields.get("password", ""))
    except AgentError as error:
        return await _form(end, request, at, 422, f"{str(error).partition(', or ')[0].capitalize()}.", typed)
    except BusyError:
        return await _form(end, request, at, 503, "Too many logins at this moment. Try again.", typed)
    if name is None:
        return page(request, "problem.html", 410, text=GONE, back="/")
    action = "invitation.accepted" if end.kind == "invitation" else "password.set"
    details: dict[str, str | int | None] = {"by": link.by}
    if link.role is not None:
        details |= {"role": link.role, "sites": ", ".join(one or "all" for one in link.sites)}
    site = link.sites[0] if link.role and len(link.sites) == 1 else at.chosen or PROGRAM
    network = network_of(at.origin.client) or ""
    await at.service.auditing.note(Act(site, name, action, name, network, details))
    answer = see_other(request, f"/login?done={'joined' if end.kind == 'invitation' else 'password'}")
    set_cookie(DESK, request, answer, end.cookie, "", 0)
    return answer


async def _use(
    end: _End, request: Request, at: RequestContext, typed: Mapping[str, str], password: str
) -> str | None:
    links, now, people = at.service.ledger.desk_links, at.service.clock.now(), at.service.ledger.agents
    token = request.cookies.get(end.cookie, "")
    if end.kind == "password":
        return await links.set_password(token, password, now, people)
    name = typed["name"]
    used = await links.accept(token, name, password, now, people, shown=typed["shown"] or None)
    return None if used is None else name


@anyone
async def join_page(request: Request, at: RequestContext) -> Response:
    """The form of an invitation."""
    return await _opened(_JOIN, request, at)


@anyone
async def join(request: Request, at: RequestContext) -> Response:
    """Make the account of an invitation."""
    return await _sent(_JOIN, request, at)


@anyone
async def reset_page(request: Request, at: RequestContext) -> Response:
    """The form for a new password."""
    return await _opened(_RESET, request, at)


@anyone
async def reset(request: Request, at: RequestContext) -> Response:
    """Set the new password."""
    return await _sent(_RESET, request, at)


routes: list[BaseRoute] = [
    Route("/desk/join", join_page, methods=["GET"]),
    Route("/desk/join", join, methods=["POST"]),
    Route("/desk/reset", reset_page, methods=["GET"]),
    Route("/desk/reset", reset, methods=["POST"]),
]
