"""The code after the password: a login with a second factor has two forms."""

import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.second_factor import FactorCipher, digest, right_step
from ...stores.ledger.agents import SESSION_SECONDS
from ...stores.ledger.second_factor import Checked
from ..context import RequestContext
from ..cookies import LOGIN, STEP
from ..guard import form_body
from ..times import remaining
from .auth import (
    DESK,
    anyone,
    begun,
    own_limit,
    same,
    see_other,
    set_cookie,
    tell,
    whence,
)
from .render import page

CODE_LENGTH = 40


async def checked(at: RequestContext, agent: str, code: str) -> Checked:
    """Take a code of an agent: one of its authenticator, or a recovery code."""
    now, cipher = at.service.clock.now(), FactorCipher(at.service.settings)
    code = code[:CODE_LENGTH]

    def right(sealed: str) -> int | None:
        secret = cipher.open(sealed, agent)
        return None if secret is None else right_step(secret, code, now)

    return await at.service.ledger.second_factors.check(agent, now, right, digest(code, agent))


def _target(text: str) -> str:
    return text if DESK.targets.fullmatch(text) else ""


def _form(request: Request, target: str, status: int = 200, problem: str = "") -> Response:
    csrf = request.cookies.get(LOGIN, "")
    return page(request, "code.html", status, csrf=csrf, target=target, problem=problem)


async def _waiting(request: Request, at: RequestContext) -> str | None:
    token = request.cookies.get(STEP, "")
    factors, now = at.service.ledger.second_factors, at.service.clock.now()
    return await factors.waiting(token, at.place, now) if token else None


def _again(request: Request, target: str) -> Response:
    answer = see_other(request, f"/login?to={quote(target)}" if target else "/login")
    set_cookie(DESK, request, answer, STEP, "", 0)
    return answer


@anyone
async def code_page(request: Request, at: RequestContext) -> Response:
    """The form for the code, as long as a login waits for one."""
    target = _target(request.query_params.get("to", ""))
    if await _waiting(request, at) is None:
        return _again(request, target)
    return _form(request, target)


@anyone
async def code(request: Request, at: RequestContext) -> Response:
    """Check the code, and begin the session."""
    fields, given = await form_body(request), request.cookies.get(LOGIN, "")
    target, agent = _target(fields.get("to", "")), await _waiting(request, at)
    if (
        agent is None
        or not re.fullmatch(r"[A-Za-z0-9_-]{43}", given)
        or not same(fields.get("csrf", ""), given)
    ):
        return _again(request, target)
    # Counted for the client's network like a wrong password. The person's own bound is in the ledger: only
    # who knows the password gets that far.
    at.take("logins")
    found = await checked(at, agent, fields.get("code", ""))
    if found.wait:
        await tell(request, agent, accepted=False, how="code")
        wait = remaining(found.wait)
        problem = f"Too many wrong codes. Wait {wait} and try again, or ask an owner of the desk."
        return _form(request, target, 429, problem)
    if not found.right:
        # Somebody knows the password: that is worth a look.
        at.service.events.notice("second_factor_wrong", site=at.chosen or "", key=agent, agent=agent)
        await tell(request, agent, accepted=False, how="code")
        problem = "The code is wrong, or it was used before. Wait for the next one of your authenticator."
        return _form(request, target, 403, problem)
    factors, now = at.service.ledger.second_factors, at.service.clock.now()
    token = await factors.finish_step(request.cookies.get(STEP, ""), at.place, now, **whence(request))
    if token is None:
        return _again(request, target)
    await tell(request, agent, accepted=True, how="recovery code" if found.recovery else "code")
    limits, own = at.service.limits, own_limit(agent)
    # Once for the password, once for the code.
    limits.give_back("logins", at.site.name, at.origin.client, own=own)
    limits.give_back("logins", at.site.name, at.origin.client)
    limits.prove("logins", at.origin.client)
    answer = see_other(request, target or "/")
    await begun(DESK, request, at, answer, token, SESSION_SECONDS)
    set_cookie(DESK, request, answer, STEP, "", 0)
    return answer


routes: list[BaseRoute] = [
    Route("/desk/login/code", code_page, methods=["GET"]),
    Route("/desk/login/code", code, methods=["POST"]),
]
