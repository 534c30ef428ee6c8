"""Login, logout, and the agent of a request."""

import functools
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...service.limits import LimitedError, Own, Rate
from ...stores.errors import STORE_FAILURES
from ...stores.ledger.agents import SESSION_SECONDS, BusyError, Session
from ..context import RequestContext, request_context
from ..cookies import LOGIN as LOGIN_COOKIE
from ..cookies import SESSION as COOKIE
from ..guard import FIELDS, Endpoint, Refused, form_body, form_pairs, over
from ..times import span
from ..ways import ROOT
from .render import desk_path, headers, page, stream_key

LOGIN_SECONDS = 3600
CSRF_HEADER = "x-clew-csrf"
# Wrong passwords under one name. Nobody can lock an agent out by failing under that name: for a network from
# which an agent has logged in before, what others try does not count.
NAME_RATE = Rate(5, 300)
# The only places that a login leads to: the inbox, a conversation and an order.
_TARGET = re.compile(r"/conversations/[A-Za-z0-9_-]{1,40}|/orders/[0-9]{1,18}")
_WRONG = "Name or password is wrong."


@dataclass(frozen=True, slots=True)
class AgentContext:
    """An agent's request: its context and its session. `token` is the session's token."""

    at: RequestContext
    session: Session
    token: str


def anyone(handler: Callable[[Request, RequestContext], Awaitable[Response]]) -> Endpoint:
    """A page of the desk that needs no login. Errors are shown on a page."""

    @functools.wraps(handler)
    async def endpoint(request: Request) -> Response:
        at = request_context(request)
        try:
            return await handler(request, at)
        except Refused as refused:
            return _problem(request, refused)
        except LimitedError as limited:
            return _problem(request, over(limited))
        except STORE_FAILURES as error:
            at.service.events.failed(error, site=at.site.name, where="desk")
            return page(
                request, "problem.html", 503, text="The ledger cannot be reached. Try again in a moment."
            )

    return endpoint


def _problem(request: Request, refused: Refused) -> Response:
    answer = page(request, "problem.html", refused.status, text=refused.text)
    answer.headers.update(refused.headers)
    return answer


def signed_in(handler: Callable[[Request, AgentContext], Awaitable[Response]]) -> Endpoint:
    """A page of the desk for agents; without a login it redirects to the login page."""

    @anyone
    @functools.wraps(handler)
    async def endpoint(request: Request, at: RequestContext) -> Response:
        context = await agent_context(request, at)
        if context is not None and request.method in ("GET", "HEAD"):
            _require_navigation(request, context.session.csrf)
        return _to_login(request) if context is None else await handler(request, context)

    return endpoint


def _require_navigation(request: Request, csrf: str) -> None:
    """Raise Refused (403) for a page that a script asks for, unless it is the desk's own, which knows the
    token that stands in each page: a script that got into the shop must not read the desk."""
    if request.headers.get("sec-fetch-dest", "document") == "document":
        return
    if not _same(request.headers.get(CSRF_HEADER, ""), csrf):
        raise Refused(403, "This page is not for scripts of other pages.")


def require_own_stream(request: Request, csrf: str) -> None:
    """Raise Refused (403) for a stream that a script opens, unless it is the desk's own."""
    if request.headers.get("sec-fetch-dest", "document") == "document":
        return
    if not _same(request.query_params.get("key", ""), stream_key(csrf)):
        raise Refused(403, "This stream is not for scripts of other pages.")


async def agent_context(request: Request, at: RequestContext) -> AgentContext | None:
    """The agent's session, or None without one that was opened at this site and host, and is valid now."""
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    session = await at.service.ledger.agents.session(token, at.place, at.service.clock.now(), at.chosen)
    return None if session is None else AgentContext(at, session, token)


async def agent_form(request: Request, context: AgentContext) -> dict[str, str]:
    """The fields of an agent's form. Raises Refused, also (403) if it is not from this session's pages."""
    return dict(await agent_pairs(request, context))


async def agent_pairs(request: Request, context: AgentContext, fields: int = FIELDS) -> list[tuple[str, str]]:
    """The same in their order, with repeated ones; at most `fields` of them."""
    pairs = await form_pairs(request, fields=fields)
    if not _same(dict(pairs).get("csrf", ""), context.session.csrf):
        raise Refused(403, "This form is from another session: reload the page and try again.")
    return pairs


def see_other(request: Request, path: str) -> Response:
    """Lead the browser on to a page of the desk by GET."""
    return RedirectResponse(desk_path(request) + path, 303, headers(request))


@anyone
async def login_page(request: Request, at: RequestContext) -> Response:
    """The login form, with a token that its POST has to bring in the form and in a cookie."""
    if request.headers.get("sec-fetch-dest", "document") != "document":
        # Nothing for a script to read; the desk's own sees by the address that its session has ended.
        return Response(status_code=204, headers=headers(request))
    return _login_form(request)


@anyone
async def login(request: Request, at: RequestContext) -> Response:
    """Check name and password. An unknown name and a wrong password get the same answer at the same pace."""
    fields = await form_body(request)
    target = fields.get("to", "")
    if not _same(fields.get("csrf", ""), request.cookies.get(LOGIN_COOKIE, "")):
        return _login_form(request, 403, "The form was too old, or cookies are off. Try once more.", target)
    name, now, limits = fields.get("name", "").strip()[:64], at.service.clock.now(), at.service.limits
    own = Own("name", f"{at.site.name}/{name}", NAME_RATE)
    try:
        # Counted before the password is checked, or many at once would all be free.
        at.take("logins", own=own)
    except LimitedError as limited:
        refused = Refused(
            429, f"Too many tries. Wait {span(limited.wait + 1)} and try again.", wait=limited.wait
        )
        answer = _login_form(request, refused.status, refused.text, target, name)
        answer.headers["Retry-After"] = refused.headers["Retry-After"]
        return answer
    agents = at.service.ledger.agents
    try:
        verified = await agents.verify(name, fields.get("password", ""), at.chosen)
    except BusyError:
        return _login_form(request, 503, "Too many logins at this moment. Try again.", target, name)
    token = None if verified is None else await agents.start_session(name, at.place, now, verified)
    right = token is not None
    # A name that nobody has may be a password that was typed into the wrong field.
    agent = name if right or await agents.knows(name) else None
    at.service.events.emit(
        "login", site=at.chosen or "", agent=agent, client=at.origin.client, accepted=right
    )
    if token is None:
        return _login_form(request, 403, _WRONG, target, name)
    limits.give_back("logins", at.site.name, at.origin.client, own=own)
    limits.prove("logins", at.origin.client)
    # Always a new token: one that somebody planted in this browser before is worth nothing.
    if request.cookies.get(COOKIE):
        await agents.end_session(request.cookies[COOKIE])
    answer = see_other(request, target if _TARGET.fullmatch(target) else "/")
    _set_cookie(request, answer, COOKIE, token, SESSION_SECONDS)
    _set_cookie(request, answer, LOGIN_COOKIE, "", 0)
    return answer


@signed_in
async def logout(request: Request, context: AgentContext) -> Response:
    """End the session here and in the ledger."""
    await agent_form(request, context)
    await context.at.service.ledger.agents.end_session(context.token)
    answer = see_other(request, "/login")
    _set_cookie(request, answer, COOKIE, "", 0)
    return answer


def _to_login(request: Request) -> Response:
    path = request.scope["path"].removeprefix("/desk")
    place = _TARGET.match(path)
    return see_other(request, f"/login?to={quote(place[0])}" if place else "/login")


def _login_form(
    request: Request, status: int = 200, problem: str = "", target: str | None = None, name: str = ""
) -> Response:
    if target is None:
        target = request.query_params.get("to", "")
    # A token that this browser has already is kept: two login tabs may stand open.
    token = request.cookies.get(LOGIN_COOKIE, "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", token):
        token = secrets.token_urlsafe(32)
    target = target if _TARGET.fullmatch(target) else ""
    answer = page(request, "login.html", status, csrf=token, target=target, problem=problem, name=name)
    _set_cookie(request, answer, LOGIN_COOKIE, token, LOGIN_SECONDS)
    return answer


def _set_cookie(request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
    # Lax, not Strict: a link to a conversation in somebody's mail has to find the agent logged in.
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        # On the desk's own host one session is for all sites.
        path=desk_path(request) if request_context(request).way is None else ROOT,
        httponly=True,
        samesite="lax",
        secure=request_context(request).origin.scheme == "https",
    )


def _same(first: str, second: str) -> bool:
    """Compared in constant time; two missing tokens are not the same."""
    return bool(first) and hmac.compare_digest(first.encode(), second.encode())
