"""A partner's own pages: what came of its clicks."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .partner_door import PartnerContext, for_partner, partner_page


@for_partner
async def overview(request: Request, context: PartnerContext) -> Response:
    """The start page."""
    return partner_page(request, context, "partner.html", here="/")


routes: list[BaseRoute] = [Route("/desk/partner/", overview, methods=["GET"])]
