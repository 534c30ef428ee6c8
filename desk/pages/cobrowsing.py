"""The page that a visitor shows its agent, in a frame that can do nothing, and pages that agents propose."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from ...service.cobrowsing import PageRefusedError, Shown, origin_of
from ...service.conversations import MessageError
from ...stores.ledger.conversations import HeldError
from ..context import RequestContext
from ..guard import NO_STORE, Refused
from .auth import (
    AgentContext,
    agent_context,
    agent_form,
    anyone,
    must_set_up,
    require_own_stream,
    require_role,
    see_other,
    signed_in,
)
from .handing_on import talk_of

_NOTHING = "<!doctype html><meta charset=utf-8><p>The visitor shows no page now."


@signed_in
async def cobrowse(request: Request, context: AgentContext) -> Response:
    """Ask the visitor for its page, or end it (`do`)."""
    at, fields = context.at, await agent_form(request, context)
    found, agent = await talk_of(request, context), context.session.agent
    try:
        if fields.get("do") == "end":
            await at.service.cobrowsing.end(at.site, found, agent)
        else:
            await at.service.cobrowsing.ask(at.site, found, agent)
    except PageRefusedError as refused:
        raise Refused(refused.status, f"Not asked: {refused}.") from None
    except HeldError as held:
        raise Refused(409, f"Not asked: {held}. Take it over first.") from None
    return see_other(request, f"/conversations/{found.id}")


@signed_in
async def propose(request: Request, context: AgentContext) -> Response:
    """Propose a page of the shop."""
    at, fields = context.at, await agent_form(request, context)
    found = await talk_of(request, context)
    try:
        url, here = fields.get("url", ""), at.shop_host
        await at.service.cobrowsing.propose(at.site, found, url, context.session.agent, here)
    except PageRefusedError as refused:
        raise Refused(refused.status, f"Not proposed: {refused}.") from None
    except HeldError as held:
        raise Refused(409, f"Not proposed: {held}. Take it over first.") from None
    except MessageError as error:
        raise Refused(422, f"Not proposed: {error}.") from None
    return see_other(request, f"/conversations/{found.id}#end")


@anyone
async def page(request: Request, at: RequestContext) -> Response:
    """The visitor's page for the frame. `?key=` proves that the desk's page has it."""
    context = await agent_context(request, at)
    if context is None or must_set_up(context):
        return Response(status_code=404, headers=NO_STORE)
    require_own_stream(request, context.session.csrf)
    require_role(context)
    found = await talk_of(request, context)
    shown = await at.service.cobrowsing.shown(at.site, found)
    return HTMLResponse(_NOTHING if shown is None else shown.html, headers=_headers(at, shown))


def _headers(at: RequestContext, shown: Shown | None) -> dict[str, str]:
    """What the page may load: pictures and style sheets of the shop, and nothing else. It runs nothing, sends
    nothing, leads nowhere, and is at an origin of its own."""
    hosts = [*at.site.settings.hosts, *at.site.settings.cobrowsing.hosts]
    known = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
    shop = " ".join([*known, *([origin_of(shown.url)] if shown is not None else [])])
    policy = (
        f"sandbox; default-src 'none'; img-src {shop} data:; style-src {shop} 'unsafe-inline'; "
        f"font-src {shop}; base-uri {shop}; form-action 'none'; frame-ancestors 'self'"
    )
    return {
        **NO_STORE,
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
    }


_TALK = "/desk/conversations/{id}"

routes: list[BaseRoute] = [
    Route(f"{_TALK}/cobrowsing", cobrowse, methods=["POST"]),
    Route(f"{_TALK}/open", propose, methods=["POST"]),
    Route(f"{_TALK}/cobrowsing/page", page, methods=["GET"]),
]
