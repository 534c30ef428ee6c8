"""Links and offers that agents send in a conversation, and the coupons in them."""

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.model import Conversation
from ...service.conversations import MessageError
from ...service.offers import LABEL_LENGTH, OfferError, Wanted
from ...service.shop_pages import NoShopPageError, shop_origin
from .auth import AgentContext, agent_form, see_other, signed_in
from .handing_on import talk_of
from .live import page_mark
from .render import page


async def offer_values(context: AgentContext, found: Conversation) -> dict[str, Any]:
    """What the page of a conversation needs to show its offers, and the form for a new one."""
    at, settings = context.at, context.at.site.settings.offers
    return {
        "offers": await at.service.ledger.offers.of_conversation(found.site, found.id, found.visitor),
        "coupons": settings.coupons,
        "takes_cart": settings.cart_url is not None,
        "label_length": LABEL_LENGTH,
    }


@signed_in
async def form(request: Request, context: AgentContext) -> Response:
    """The form for a link or an offer."""
    return await _form(request, context, await talk_of(request, context))


async def _form(
    request: Request,
    context: AgentContext,
    found: Conversation,
    status: int = 200,
    problem: str = "",
    typed: dict[str, str] | None = None,
) -> Response:
    at = context.at
    pools = await at.service.ledger.offers.pools(at.site.name)
    return page(
        request,
        "offer.html",
        status,
        mark=await page_mark(at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        conversation=found,
        coupons=[(c, pools.get(c.name)) for c in at.site.settings.offers.coupons],
        hours=at.site.settings.offers.hours,
        takes_cart=at.site.settings.offers.cart_url is not None,
        label_length=LABEL_LENGTH,
        problem=problem,
        typed={"label": "", "page": "/", "coupon": "", "cart": "", **(typed or {})},
        draft_id=secrets.token_urlsafe(16),
    )


@signed_in
async def send(request: Request, context: AgentContext) -> Response:
    """Make a link and send it to the visitor."""
    at, found = context.at, await talk_of(request, context)
    fields = await agent_form(request, context)
    visitor = await at.service.visitors.find(at.site.name, found.visitor, "desk")
    here = f"{at.origin.scheme}://{at.shop_host}" if at.shop_host else None
    try:
        origin = shop_origin(at.site, visitor, here)
    except NoShopPageError as error:
        return await _form(request, context, found, 422, f"Not sent: {error}.", fields)
    wanted = Wanted(
        page=fields.get("page", ""),
        label=fields.get("label", ""),
        coupon=fields.get("coupon", ""),
        cart=fields.get("cart", ""),
        origin=origin,
        client_id=fields.get("client_id", "")[:58] or None,
    )
    if found.agent not in (None, context.session.agent):
        problem = f"Not sent: {found.agent} has this conversation. Take it over first."
        return await _form(request, context, found, 409, problem, fields)
    try:
        await at.service.offers.send(at.site, found.id, found.visitor, context.session.agent, wanted)
    except (OfferError, MessageError) as error:
        return await _form(request, context, found, 422, f"Not sent: {error}.", fields)
    return see_other(request, f"/conversations/{found.id}#offers")


@signed_in
async def withdraw(request: Request, context: AgentContext) -> Response:
    """End a link."""
    found, fields = await talk_of(request, context), await agent_form(request, context)
    await context.at.service.offers.withdraw(context.at.site, found.id, fields.get("offer", "")[:32])
    context.at.service.conversations.changed(found.site)
    return see_other(request, f"/conversations/{found.id}#offers")


@signed_in
async def coupons(request: Request, context: AgentContext) -> Response:
    """The coupons of the site, how many single-use codes are left, and what offers came to."""
    return await _coupons(request, context)


async def _coupons(
    request: Request, context: AgentContext, status: int = 200, problem: str = "", typed: str = ""
) -> Response:
    at = context.at
    books = at.service.ledger.offers
    pools = await books.pools(at.site.name)
    return page(
        request,
        "coupons.html",
        status,
        mark=await page_mark(at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        coupons=[(c, pools.get(c.name)) for c in at.site.settings.offers.coupons],
        sums=await books.sums(at.site.name),
        problem=problem,
        typed=typed,
        added=request.query_params.get("added", "")[:10],
    )


@signed_in
async def add(request: Request, context: AgentContext) -> Response:
    """Add single-use codes to a pool."""
    fields, at = await agent_form(request, context), context.at
    try:
        _, new = await at.service.offers.add_codes(at.site, fields.get("coupon", ""), fields.get("codes", ""))
    except OfferError as error:
        return await _coupons(request, context, 422, f"Nothing was added: {error}.", fields.get("codes", ""))
    return see_other(request, f"/coupons?added={new}")


_TALK = "/desk/conversations/{id}"

routes: list[BaseRoute] = [
    Route(f"{_TALK}/offers", form, methods=["GET"]),
    Route(f"{_TALK}/offers", send, methods=["POST"]),
    Route(f"{_TALK}/offers/withdraw", withdraw, methods=["POST"]),
    Route("/desk/coupons", coupons, methods=["GET"]),
    Route("/desk/coupons", add, methods=["POST"]),
]
