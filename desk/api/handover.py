"""`handover`: the token with which a visitor goes on to another host of the shop."""

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...referral.handover import LIFETIME
from ..context import RequestContext
from ..guard import NO_STORE, api, json_body
from .decide import known_visitor

# Seconds before the end of a token's time from which the script asks for a new one.
SPARE = 60


class HandoverBody(BaseModel):
    """The body of `handover`: the host to which a link leads."""

    model_config = ConfigDict(extra="ignore")

    host: str = Field(max_length=261)


@api
async def handover_endpoint(request: Request, at: RequestContext) -> Response:
    """`POST handover`: a token, and the seconds for which the script may use it. 204 for a host that the site
    does not name, and for who is not known or has not agreed to be recognised."""
    body = await json_body(request, HandoverBody)
    at.take("events")
    known, handovers = known_visitor(request.scope, at), at.site.handovers
    if known is None or known.necessary or (at.site.asks_consent and not known.agreed):
        return Response(status_code=204, headers=NO_STORE)
    if not handovers.leads_to(body.host, at.origin.host):
        return Response(status_code=204, headers=NO_STORE)
    if await at.service.visitors.is_forgotten(at.site, known.visitor):
        return Response(status_code=204, headers=NO_STORE)
    token = handovers.token(known, at.origin.host, body.host, at.service.clock.now())
    return JSONResponse({"token": token, "seconds": LIFETIME - SPARE}, headers=NO_STORE)


routes = [Route("/handover", handover_endpoint, methods=["POST"])]
