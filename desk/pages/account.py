"""One's own account: name, password, second factor, sessions."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.limits import LimitedError
from ...service.second_factor import (
    FactorCipher,
    digest,
    new_recovery_codes,
    new_secret,
    picture,
    right_step,
)
from ...stores.ledger.agents import PASSWORD_LENGTH, AgentError, BusyError, Prefs
from ..context import RequestContext
from ..guard import Refused
from ..times import remaining
from .auth import DESK as DOOR
from .auth import (
    AgentContext,
    agent_form,
    left,
    must_set_up,
    nothing_done,
    own_limit,
    see_other,
    signed_in,
)
from .live import page_mark
from .render import page
from .second_step import CODE_LENGTH, checked

_SAID = {
    "name": "The name is changed.",
    "alerts": "It is set, for all your browsers.",
    "sessions": "The sessions have ended.",
    "wanted": "This desk asks for a second factor. Set it up to go on.",
}


async def _page(
    request: Request, context: AgentContext, template: str, status: int = 200, **values: object
) -> Response:
    at = context.at
    mark = await page_mark(at) if at.chosen is not None else ""
    return page(
        request,
        template,
        status,
        mark=mark,
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        done=_SAID.get(request.query_params.get("done", ""), ""),
        locked=must_set_up(context),
        least=PASSWORD_LENGTH[0],
        most=PASSWORD_LENGTH[1],
        **values,
    )


async def require_password(at: RequestContext, name: str, password: str) -> None:
    """Raise Refused unless it is the agent's password: whoever finds an open desk must not take the account
    over. Wrong ones count as at the login."""
    own = own_limit(name)
    try:
        at.take("logins", own=own)
        verified = await at.service.ledger.agents.verify(name, password, at.chosen)
    except LimitedError as limited:
        text = f"Too many tries. Wait {remaining(limited.wait)} and try again."
        raise Refused(429, text, wait=limited.wait) from None
    except BusyError:
        raise Refused(503, "Too many logins at this moment. Try again.") from None
    if verified is None:
        raise Refused(403, "The password is wrong.")
    at.service.limits.give_back("logins", at.site.name, at.origin.client, own=own)


async def _account(request: Request, context: AgentContext, status: int = 200, problem: str = "") -> Response:
    ledger, name, now = context.at.service.ledger, context.session.agent, context.at.service.clock.now()
    found = await ledger.agents.find(name)
    return await _page(
        request,
        context,
        "account.html",
        status,
        problem=problem,
        shown=(found.shown if found else None) or "",
        roles=context.session.roles,
        alerts=context.session.prefs,
        factor=context.session.factor,
        sessions=await ledger.agents.sessions(name, now),
        own=context.session.id,
    )


@signed_in
async def account(request: Request, context: AgentContext) -> Response:
    """The page of the account."""
    return await _account(request, context)


@signed_in
async def rename(request: Request, context: AgentContext) -> Response:
    """Set the name that visitors see."""
    fields = await agent_form(request, context)
    try:
        await context.at.service.ledger.agents.rename(context.session.agent, fields.get("shown", ""))
    except AgentError as error:
        return await _account(request, context, 422, f"Nothing changed: {error}.")
    return see_other(request, "/account?done=name")


@signed_in
async def set_alerts(request: Request, context: AgentContext) -> Response:
    """Set of which messages the agent's desk tells it, and how."""
    fields = await agent_form(request, context)
    chosen = {"notify": fields.get("notify"), "sound": "sound" in fields, "keys": "keys" in fields}
    await context.at.service.ledger.agents.set_prefs(context.session.agent, Prefs.of(chosen))
    return see_other(request, "/account?done=alerts")


@signed_in
async def set_password(request: Request, context: AgentContext) -> Response:
    """Set one's password; all sessions end, this one too."""
    fields, at, name = await agent_form(request, context), context.at, context.session.agent
    new = fields.get("new", "")
    if new != fields.get("again", ""):
        return await _account(request, context, 422, "The two new passwords differ. Nothing changed.")
    try:
        await require_password(at, name, fields.get("password", ""))
        await at.service.ledger.agents.change_password(name, new)
    except Refused as refused:
        return await _account(request, context, refused.status, f"{refused.text} Nothing changed.")
    except AgentError as error:
        return await _account(request, context, 422, f"Nothing changed: {error}.")
    answer = left(DOOR, request)
    answer.headers["location"] += "?done=password"
    return answer


@signed_in
async def end_sessions(request: Request, context: AgentContext) -> Response:
    """End one of one's sessions, or all others."""
    fields = await agent_form(request, context)
    chosen, own = fields.get("session", ""), context.session.id
    agents = context.at.service.ledger.agents
    if not await agents.end_sessions(context.session.agent, chosen or None, keep=None if chosen else own):
        nothing_done(request)
    return see_other(request, "/account?done=sessions") if chosen != own else left(DOOR, request)


async def _factor(
    request: Request, context: AgentContext, status: int = 200, problem: str = "", **values: object
) -> Response:
    found = await context.at.service.ledger.second_factors.find(context.session.agent)
    is_on = found is not None and found.confirmed_at is not None
    shown = {"secret": "", "picture": "", "codes": (), **values}
    left_codes = found.codes if found is not None else 0
    return await _page(
        request, context, "factor.html", status, problem=problem, on=is_on, left=left_codes, **shown
    )


@signed_in
async def factor(request: Request, context: AgentContext) -> Response:
    """The page of the second factor."""
    return await _factor(request, context)


@signed_in
async def begin(request: Request, context: AgentContext) -> Response:
    """Make a new secret for an authenticator, and show it once."""
    fields, at, name = await agent_form(request, context), context.at, context.session.agent
    try:
        await require_password(at, name, fields.get("password", ""))
    except Refused as refused:
        return await _factor(request, context, refused.status, refused.text)
    secret, cipher = new_secret(), FactorCipher(at.service.settings)
    await at.service.ledger.second_factors.begin(name, cipher.seal(secret, name), at.service.clock.now())
    return await _shown(request, context, secret)


async def _shown(
    request: Request, context: AgentContext, secret: str, status: int = 200, problem: str = ""
) -> Response:
    drawn = picture(secret, context.session.agent, context.at.origin.host)
    return await _factor(request, context, status, problem, secret=secret, picture=drawn)


@signed_in
async def confirm(request: Request, context: AgentContext) -> Response:
    """Turn the second factor on by a first code, and show the recovery codes once."""
    fields, at, name = await agent_form(request, context), context.at, context.session.agent
    factors, now, cipher = (
        at.service.ledger.second_factors,
        at.service.clock.now(),
        FactorCipher(at.service.settings),
    )
    found = await factors.find(name)
    secret = None if found is None or found.confirmed_at is not None else cipher.open(found.secret, name)
    if secret is None:
        nothing_done(request)
        return see_other(request, "/account/factor")
    at.take("logins")
    codes, code = new_recovery_codes(), fields.get("code", "")[:CODE_LENGTH]

    def right(sealed: str) -> int | None:
        opened = cipher.open(sealed, name)
        return None if opened is None else right_step(opened, code, now)

    digests = [digest(one, name) for one in codes]
    done = await factors.confirm(name, now, right, digests, context.session.id)
    if done.wait:
        return await _factor(request, context, 429, f"Too many wrong codes. Wait {remaining(done.wait)}.")
    if not done.right:
        problem = "The code is wrong. Type the one that your authenticator shows now."
        return await _shown(request, context, secret, 403, problem)
    at.service.limits.give_back("logins", at.site.name, at.origin.client)
    return await _factor(request, context, codes=codes)


@signed_in
async def renew_codes(request: Request, context: AgentContext) -> Response:
    """Make new recovery codes; those from before are worth nothing then."""
    fields, at, name = await agent_form(request, context), context.at, context.session.agent
    if not context.session.factor:
        nothing_done(request)
        return see_other(request, "/account/factor")
    try:
        await require_password(at, name, fields.get("password", ""))
    except Refused as refused:
        return await _factor(request, context, refused.status, refused.text)
    codes = new_recovery_codes()
    await at.service.ledger.second_factors.renew_codes(name, [digest(one, name) for one in codes])
    return await _factor(request, context, codes=codes)


@signed_in
async def remove(request: Request, context: AgentContext) -> Response:
    """Turn the second factor off, by password and code; all sessions end."""
    fields, at, name = await agent_form(request, context), context.at, context.session.agent
    try:
        await require_password(at, name, fields.get("password", ""))
    except Refused as refused:
        return await _factor(request, context, refused.status, f"{refused.text} Nothing changed.")
    at.take("logins")
    found = await checked(at, name, fields.get("code", ""))
    if not found.right:
        wait = f" Wait {remaining(found.wait)}." if found.wait else ""
        return await _factor(request, context, 403, f"The code is wrong. Nothing changed.{wait}")
    at.service.limits.give_back("logins", at.site.name, at.origin.client)
    await at.service.ledger.second_factors.reset(name)
    answer = left(DOOR, request)
    answer.headers["location"] += "?done=factor"
    return answer


routes: list[BaseRoute] = [
    Route("/desk/account", account, methods=["GET"]),
    Route("/desk/account/name", rename, methods=["POST"]),
    Route("/desk/account/alerts", set_alerts, methods=["POST"]),
    Route("/desk/account/password", set_password, methods=["POST"]),
    Route("/desk/account/sessions", end_sessions, methods=["POST"]),
    Route("/desk/account/factor", factor, methods=["GET"]),
    Route("/desk/account/factor", begin, methods=["POST"]),
    Route("/desk/account/factor/confirm", confirm, methods=["POST"]),
    Route("/desk/account/factor/codes", renew_codes, methods=["POST"]),
    Route("/desk/account/factor/remove", remove, methods=["POST"]),
]
