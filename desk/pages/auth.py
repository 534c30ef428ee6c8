"""Login, logout, and the agent of a request."""

import functools
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...service.limits import LimitedError, Own, Rate, network_of
from ...stores.errors import STORE_FAILURES
from ...stores.ledger.agents import SEEN_SECONDS, SESSION_SECONDS, BusyError, Session
from ...stores.ledger.audit import PROGRAM, Act
from ...stores.ledger.errors import NoConversationError
from ...stores.ledger.roles import suffices
from ...stores.ledger.second_factor import STEP_SECONDS
from ..context import RequestContext, request_context
from ..cookies import LOGIN as LOGIN_COOKIE
from ..cookies import SESSION as COOKIE
from ..cookies import STEP
from ..guard import BODY_LIMIT, FIELDS, NO_TALK, Endpoint, Refused, form_body, form_pairs, over
from ..roles import MAY, PREFS, PRESENCE, RULES, Rule, rule_of
from ..times import remaining
from ..ways import ROOT
from .devices import device_of
from .render import desk_path, headers, page, stream_key

LOGIN_SECONDS = 3600
_FORM = "clew.form"
_NOTHING = "clew.nothing_done"
CSRF_HEADER = "x-clew-csrf"
# Wrong passwords under one name. Nobody can lock an agent out by failing under that name: for a network from
# which an agent has logged in before, what others try does not count.
NAME_RATE = Rate(5, 300)
# The only places that a login leads to: the inbox, a conversation and an order.
_TARGET = re.compile(r"/conversations/[A-Za-z0-9_-]{1,40}|/orders/[0-9]{1,18}")
_SAID: Mapping[str, str] = {
    "wrong": "Name or password is wrong.",
    "old": "The form was too old, or cookies are off. Try once more.",
    "many": "Too many tries. Wait {} and try again.",
    "busy": "Too many logins at this moment. Try again.",
}


_DONE: Mapping[str, str] = {
    "joined": "Your account is there. Log in with the name and the password that you chose.",
    "password": "The password is set. Log in with it; all other sessions have ended.",
    "factor": "The second factor is off, and all sessions have ended. Log in again.",
}


@dataclass(frozen=True, slots=True)
class Begun:
    """What the right name and password begin: a session with this token, or with `waits` a login that waits
    for the code of a second factor."""

    token: str
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """Where one logs in. `path` is below the desk's, `cookie` holds the session's token, `form` the token of
    the login form, `targets` are the paths besides the first page that a login may lead to.

    `begin` takes name, password and time; None if they are wrong.
    `end` ends the session of a token. `said` has the texts of what may go wrong, `values` what else the
    template needs.
    """

    path: str
    cookie: str
    form: str
    template: str
    targets: re.Pattern[str]
    begin: Callable[[Request, str, str, float], Awaitable[Begun | None]]
    end: Callable[[RequestContext, str], Awaitable[None]]
    said: Callable[[Request], Mapping[str, str]] = lambda _: _SAID
    values: Callable[[Request], Mapping[str, object]] = lambda _: {}


@dataclass(frozen=True, slots=True)
class AgentContext:
    """An agent's request: its context, its session and the rule of the page. `token` is the session's
    token."""

    at: RequestContext
    session: Session
    token: str
    rule: Rule

    def may_at(self, site: str) -> bool:
        """Whether the agent's role at a site suffices for the page."""
        return suffices(self.session.role_at(site), self.rule.role)

    def may(self, name: str) -> bool:
        """Whether the agent's role at the site suffices for what a key of RULES names."""
        return suffices(self.session.role_at(self.at.site.name), RULES[name].role)


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
        except NoConversationError:
            return _problem(request, Refused(404, NO_TALK))
        except STORE_FAILURES as error:
            at.service.events.failed(error, site=at.site.name, where="desk")
            return _problem(request, Refused(503, "The ledger cannot be reached. Try again in a moment."))

    return endpoint


def of_partner(request: Request) -> bool:
    """Whether a request is for a partner's pages."""
    path: str = request.scope["path"]
    return path.startswith("/desk/partner/")


def _problem(request: Request, refused: Refused) -> Response:
    back = "/partner/" if of_partner(request) else "/"
    answer = page(request, "problem.html", refused.status, text=refused.text, back=back)
    answer.headers.update(refused.headers)
    return answer


def signed_in(handler: Callable[[Request, AgentContext], Awaitable[Response]]) -> Endpoint:
    """A page of the desk for agents, whose role at the site has to suffice for it (`desk/roles.py`); without
    a login it redirects to the login page."""

    @anyone
    @functools.wraps(handler)
    async def endpoint(request: Request, at: RequestContext) -> Response:
        context = await agent_context(request, at)
        if context is None:
            return _to_login(request)
        if request.method in ("GET", "HEAD"):
            require_navigation(request, context.session.csrf)
        require_role(context)
        if must_set_up(context) and not context.rule.unlocked:
            return see_other(request, "/account/factor?done=wanted")
        request.scope[MAY] = context.may
        if at.chosen is not None:
            request.scope[PRESENCE] = context.session.presence
        request.scope[PREFS] = context.session.prefs
        answer = await handler(request, context)
        done = answer.status_code < 400 and request.method != "HEAD" and not request.scope.get(_NOTHING)
        if context.rule.audit and done:
            await _note(request, context)
        return answer

    return endpoint


async def _note(request: Request, context: AgentContext) -> None:
    """Write into the audit trail what was done, as the page's rule says."""
    rule = context.rule
    form, query = request.scope.get(_FORM, {}), dict(request.query_params)
    kept = {name: str(form[name]) for name in rule.kept if form.get(name)}
    details = kept if request.method == "POST" else {name: query[name] for name in sorted(query)}
    subject = next(iter(request.path_params.values()), "") or next(iter(kept.values()), "")
    await audited(context, rule.audit, str(subject), details)


async def audited(
    context: AgentContext, action: str, subject: str, details: Mapping[str, str] | None = None
) -> None:
    """Write a line into the audit trail."""
    at = context.at
    network = network_of(at.origin.client) or ""
    act = Act(at.chosen or PROGRAM, context.session.agent, action, subject, network, dict(details or {}))
    await at.service.auditing.note(act)


def must_set_up(context: AgentContext) -> bool:
    """Whether the settings ask the agent for a second factor that is not there yet."""
    at, role = context.at, context.session.role_at(context.at.site.name)
    if context.session.factor or at.chosen is None or role is None:
        return False
    wanted = at.site.settings.desk.second_factor or at.service.settings.desk.second_factor
    return wanted == "all" or (wanted == "owners" and role == "owner")


def require_role(context: AgentContext) -> None:
    """Raise Refused (403) unless the agent's role at the site suffices for the page."""
    at, rule = context.at, context.rule
    if context.may_at(at.site.name) or (rule.personal and at.chosen is None):
        return
    role = context.session.role_at(at.site.name) or "none"
    raise Refused(
        403, f"This needs the role “{rule.role}”. Your role here is “{role}”: ask an owner of the desk."
    )


def require_navigation(request: Request, csrf: str) -> None:
    """Raise Refused (403) for a page that a script asks for, unless it is the desk's own, which knows the
    token that stands in each page: a script that got into the shop must not read the desk."""
    if request.headers.get("sec-fetch-dest", "document") == "document":
        return
    if not same(request.headers.get(CSRF_HEADER, ""), csrf):
        raise Refused(403, "This page is not for scripts of other pages.")


def require_own_stream(request: Request, csrf: str) -> None:
    """Raise Refused (403) for a stream that a script opens, unless it is the desk's own."""
    if request.headers.get("sec-fetch-dest", "document") == "document":
        return
    if not same(request.query_params.get("key", ""), stream_key(csrf)):
        raise Refused(403, "This stream is not for scripts of other pages.")


async def agent_context(request: Request, at: RequestContext) -> AgentContext | None:
    """The agent's session, or None without one that was opened at this site and host, and is valid now."""
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    agents, now = at.service.ledger.agents, at.service.clock.now()
    session = await agents.session(token, at.place, now, at.chosen)
    if session is None:
        return None
    if abs(now - session.used_at) > SEEN_SECONDS:
        await agents.used(token, now, network_of(at.origin.client) or "")
    return AgentContext(at, session, token, rule_of(request))


async def agent_form(request: Request, context: AgentContext) -> dict[str, str]:
    """The fields of an agent's form. Raises Refused, also (403) if it is not from this session's pages."""
    return dict(await agent_pairs(request, context))


async def agent_pairs(
    request: Request, context: AgentContext, fields: int = FIELDS, limit: int = BODY_LIMIT
) -> list[tuple[str, str]]:
    """The same in their order, with repeated ones; at most `fields` of them, and `limit` bytes."""
    return await own_pairs(request, context.session.csrf, fields, limit)


def noted(request: Request, **fields: str) -> None:
    """Let the audit trail have these texts for the fields of a form."""
    request.scope[_FORM] = {**request.scope.get(_FORM, {}), **fields}


def nothing_done(request: Request) -> None:
    """Write nothing into the audit trail: there was nothing to do."""
    request.scope[_NOTHING] = True


async def own_pairs(
    request: Request, csrf: str, fields: int = FIELDS, limit: int = BODY_LIMIT
) -> list[tuple[str, str]]:
    """The fields of a form of the session with this token. Raises Refused."""
    pairs = await form_pairs(request, limit, fields)
    request.scope[_FORM] = dict(pairs)
    if not same(dict(pairs).get("csrf", ""), csrf):
        raise Refused(403, "This form is from another session: reload the page and try again.")
    return pairs


def see_other(request: Request, path: str) -> Response:
    """Lead the browser on to a page of the desk by GET."""
    return RedirectResponse(desk_path(request) + path, 303, headers(request))


@anyone
async def login_page(request: Request, at: RequestContext) -> Response:
    """The login form, with a token that its POST has to bring in the form and in a cookie."""
    return form_of(DESK, request)


@anyone
async def login(request: Request, at: RequestContext) -> Response:
    """Check an agent's name and password."""
    return await enter(DESK, request, at)


def form_of(door: Door, request: Request) -> Response:
    """The login form of a door."""
    if request.headers.get("sec-fetch-dest", "document") != "document":
        # Nothing for a script to read; the desk's own sees by the address that its session has ended.
        return Response(status_code=204, headers=headers(request))
    return _login_form(door, request)


async def enter(door: Door, request: Request, at: RequestContext) -> Response:
    """Check name and password. An unknown name and a wrong password get the same answer at the same pace."""
    fields, said = await form_body(request), door.said(request)
    target = fields.get("to", "")
    if not same(fields.get("csrf", ""), request.cookies.get(door.form, "")):
        return _login_form(door, request, 403, said["old"], target)
    name, now, limits = fields.get("name", "").strip()[:64], at.service.clock.now(), at.service.limits
    own = own_limit(name)
    try:
        # Counted before the password is checked, or many at once would all be free.
        at.take("logins", own=own)
    except LimitedError as limited:
        refused = Refused(429, said["many"].format(remaining(limited.wait)), wait=limited.wait)
        answer = _login_form(door, request, refused.status, refused.text, target, name)
        answer.headers["Retry-After"] = refused.headers["Retry-After"]
        return answer
    agents = at.service.ledger.agents
    try:
        begun_ = await door.begin(request, name, fields.get("password", ""), now)
    except BusyError:
        return _login_form(door, request, 503, said["busy"], target, name)
    right = begun_ is not None
    # A name that nobody has may be a password that was typed into the wrong field.
    agent = name if right or await agents.knows(name) else None
    if begun_ is not None and begun_.waits:
        return _wait(door, request, begun_.token, target)
    await tell(request, agent, accepted=right)
    if begun_ is None:
        return _login_form(door, request, 403, said["wrong"], target, name)
    limits.give_back("logins", at.site.name, at.origin.client, own=own)
    limits.prove("logins", at.origin.client)
    answer = see_other(request, door.path + (target if door.targets.fullmatch(target) else "/"))
    await begun(door, request, at, answer, begun_.token, SESSION_SECONDS)
    return answer


def own_limit(name: str) -> Own:
    """The limit of wrong passwords under a name, whichever of the sites they are tried at."""
    return Own("name", name, NAME_RATE)


async def tell(request: Request, agent: str | None, *, accepted: bool, how: str = "password") -> None:
    """Log a login, or one that failed, and write it into the audit trail. `agent` is None for an unknown
    name."""
    at = request_context(request)
    client = at.origin.client
    at.service.events.emit("login", site=at.chosen or "", agent=agent, client=client, accepted=accepted)
    network, site = network_of(client) or "", at.chosen or PROGRAM
    act = Act(site, agent or "", "login" if accepted else "login.failed", "", network, {"by": how})
    await (at.service.auditing.note(act) if accepted else at.service.auditing.failed(act))


def _wait(door: Door, request: Request, token: str, target: str) -> Response:
    """Lead to the form for the code. What was counted is given back when that is right."""
    to = f"?to={quote(target)}" if door.targets.fullmatch(target) else ""
    answer = see_other(request, f"{door.path}/login/code{to}")
    set_cookie(door, request, answer, STEP, token, STEP_SECONDS)
    return answer


async def begun(
    door: Door, request: Request, at: RequestContext, answer: Response, token: str, seconds: float
) -> None:
    """Give the browser the token of a new session. It is always a new one: one that somebody planted in this
    browser before is worth nothing, and its session ends."""
    if before := request.cookies.get(door.cookie):
        await door.end(at, before)
    set_cookie(door, request, answer, door.cookie, token, seconds)
    set_cookie(door, request, answer, door.form, "", 0)


async def _desk_session(request: Request, name: str, password: str, now: float) -> Begun | None:
    at = request_context(request)
    agents, factors = at.service.ledger.agents, at.service.ledger.second_factors
    verified = await agents.verify(name, password, at.chosen)
    if verified is None:
        return None
    factor = await factors.find(name)
    if factor is not None and factor.confirmed_at is not None:
        step = await factors.start_step(name, at.place, now, verified)
        return None if step is None else Begun(step, waits=True)
    token = await agents.start_session(name, at.place, now, verified, **whence(request))
    return None if token is None else Begun(token)


def whence(request: Request) -> dict[str, str]:
    """What tells an agent later which of its sessions this is."""
    client = request_context(request).origin.client
    return {"device": device_of(request.headers.get("user-agent", "")), "network": network_of(client) or ""}


async def _end_desk_session(at: RequestContext, token: str) -> None:
    await at.service.ledger.agents.end_session(token)


def _good(request: Request) -> Mapping[str, object]:
    return {"good": _DONE.get(request.query_params.get("done", ""), "")}


DESK = Door(
    "",
    COOKIE,
    LOGIN_COOKIE,
    "login.html",
    _TARGET,
    _desk_session,
    _end_desk_session,
    values=_good,
)


@signed_in
async def logout(request: Request, context: AgentContext) -> Response:
    """End the session here and in the ledger."""
    await agent_form(request, context)
    await context.at.service.ledger.agents.end_session(context.token)
    return left(DESK, request)


def left(door: Door, request: Request) -> Response:
    """Lead to the login, without the session's cookie."""
    answer = see_other(request, f"{door.path}/login")
    set_cookie(door, request, answer, door.cookie, "", 0)
    return answer


def _to_login(request: Request) -> Response:
    path = request.scope["path"].removeprefix("/desk")
    place = _TARGET.match(path)
    return see_other(request, f"/login?to={quote(place[0])}" if place else "/login")


def _login_form(
    door: Door,
    request: Request,
    status: int = 200,
    problem: str = "",
    target: str | None = None,
    name: str = "",
) -> Response:
    if target is None:
        target = request.query_params.get("to", "")
    # A token that this browser has already is kept: two login tabs may stand open.
    token = request.cookies.get(door.form, "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", token):
        token = secrets.token_urlsafe(32)
    target = target if door.targets.fullmatch(target) else ""
    shown = {"csrf": token, "target": target, "problem": problem, "name": name, **door.values(request)}
    answer = page(request, door.template, status, **shown)
    set_cookie(door, request, answer, door.form, token, LOGIN_SECONDS)
    return answer


def set_cookie(door: Door, request: Request, answer: Response, name: str, value: str, seconds: float) -> None:
    """Set a cookie of a door, out of reach of scripts and of everything outside of it."""
    # On the desk's own host one session of an agent is for all sites.
    shared = request_context(request).way is not None and not door.path
    # Lax, not Strict: a link to a conversation in somebody's mail has to find the agent logged in.
    answer.set_cookie(
        name,
        value,
        max_age=int(seconds),
        path=ROOT if shared else desk_path(request) + door.path,
        httponly=True,
        samesite="lax",
        secure=request_context(request).origin.scheme == "https",
    )


def same(first: str, second: str) -> bool:
    """Compared in constant time; two missing tokens are not the same."""
    return bool(first) and hmac.compare_digest(first.encode(), second.encode())
