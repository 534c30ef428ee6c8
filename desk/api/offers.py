"""The links that agents send: `GET /o/CODE` leads to a page of the shop, also without JavaScript; and the
codes of invites: `POST coupon`."""

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ...service.invite_offers import NotInvitedError
from ...service.offers import target
from ...stores.ledger.offers import NoCodeError
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, json_body
from ..visitor import cookie_visitor, known_writer


class CouponBody(BaseModel):
    """The body of `POST coupon`."""

    rule: str = Field(max_length=64)
    page: str = Field("/", max_length=2048)


@api
async def coupon(request: Request, at: RequestContext) -> Response:
    """A visitor asks for the code that an invite offers."""
    known, body = known_writer(request, at), await json_body(request, CouponBody)
    rule = next((one for one in at.site.settings.rules if one.name == body.rule and one.offer), None)
    if rule is None:
        raise Refused(404, "rule: no invite of this rule offers a code")
    try:
        given = await at.service.invite_offers.give(
            at.site, known, rule, body.page, at.origin.host, at.origin.client
        )
    except NotInvitedError:
        raise Refused(403, "only visitors whom the rule has invited in this visit get a code") from None
    except NoCodeError:
        raise Refused(409, "no code is left") from None
    data = {"code": given.code, "label": given.label, "link": given.link}
    return JSONResponse(data, headers=NO_STORE)


@api
async def follow(request: Request, at: RequestContext) -> Response:
    """Lead to the offer's page. A code that nobody was given leads to the shop's first page, so that guessing
    tells nothing; one that has ended to its page without coupon and cart."""
    at.take("reads")
    code, known = request.path_params["code"], cookie_visitor(request.scope, at)
    looks = request.method != "GET" or _is_prefetch(request)
    offer, valid = await at.service.offers.followed(
        at.site, code, None if known is None else known.visitor, counts=not looks
    )
    place = "/" if offer is None else target(at.site, offer) if valid else offer.page
    headers = {**NO_STORE, "Referrer-Policy": "same-origin", "X-Robots-Tag": "noindex, nofollow"}
    return RedirectResponse(place, 302, headers)


def _is_prefetch(request: Request) -> bool:
    purpose = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
    return "prefetch" in purpose.lower()


routes: list[BaseRoute] = [
    Route("/o/{code}", follow, methods=["GET"]),
    Route("/coupon", coupon, methods=["POST"]),
]
