"""`POST hooks/SYSTEM`: webhooks of shop systems."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...service.limits import LimitedError
from ...service.ordering.webhooks import (
    BODY_LIMIT,
    AwayError,
    Received,
    RefusedError,
    UnknownSourceError,
)
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, read_body


@api
async def hooks_endpoint(request: Request, at: RequestContext) -> Response:
    """200 with what became of the webhook: `order`, `repeated`, `ignored` or `ping`. What could not be read
    is 200 or 422, as the shop system needs it. 401 without a right signature, 404 without a secret for this
    source."""
    webhooks, name = at.service.webhooks, request.path_params["system"]
    try:
        webhooks.source(at.site, name)
        over = _taken(at)
        body = await _body(request, at)
        if webhooks.is_ping(at.site, name, request.headers, body):
            # Anybody can send it.
            if over is not None:
                raise over
            return _answer(await webhooks.ping(at.site, name))
        try:
            webhooks.check(at.site, name, request.headers, body)
        except RefusedError:
            if over is not None:
                raise over from None
            raise
        # Who knows the secret is not limited, so that a sale does not lose its orders.
        if over is None:
            at.service.limits.give_back("webhooks", at.site.name, at.origin.client)
        at.service.limits.prove("webhooks", at.origin.client)
        return _answer(await webhooks.receive(at.site, name, request.headers, body))
    except UnknownSourceError as error:
        raise Refused(404, str(error)) from error
    except RefusedError as error:
        raise Refused(401, str(error)) from error
    except AwayError as error:
        raise Refused(503, str(error), wait=60) from error


def _taken(at: RequestContext) -> LimitedError | None:
    """Count a call whose signature is not checked yet. Over the limit of its own network it is refused at
    once; what others send keeps nobody out who knows the secret. Raises LimitedError."""
    try:
        at.take("webhooks")
    except LimitedError as limited:
        if limited.scope == "client":
            raise
        return limited
    return None


async def _body(request: Request, at: RequestContext) -> bytes:
    """The body; a long one is held as an upload while it comes in."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 6:
        return await read_body(request, BODY_LIMIT)
    with at.hold("uploads"):
        return await read_body(request, BODY_LIMIT)


def _answer(received: Received) -> Response:
    content = {"result": received.result, "id": received.order, "text": received.text}
    return JSONResponse(content, received.status, headers=NO_STORE)


routes = [Route("/hooks/{system}", hooks_endpoint, methods=["POST"])]
