"""The links that agents send: `GET /o/CODE` leads to a page of the shop, also without JavaScript."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ...service.offers import target
from ..context import RequestContext
from ..guard import NO_STORE, api
from ..visitor import cookie_visitor


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


routes: list[BaseRoute] = [Route("/o/{code}", follow, methods=["GET"])]
