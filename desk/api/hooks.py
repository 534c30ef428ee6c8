"""`POST hooks/NAME`: webhooks of shop systems and of chat providers."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...chat.providers import providers
from ...service import provider_hooks
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
    if name in providers():
        return await _of_provider(request, at, name)
    if "secret" in request.path_params:
        raise Refused(404, "shop systems send no secret in the address")
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


async def _of_provider(request: Request, at: RequestContext, name: str) -> Response:
    """The same for the webhook of the site's chat provider."""
    hooks, sent = at.service.provider_hooks, request.path_params.get("secret", "")
    path = request.scope["path"]
    if sent:
        # What is logged of a fault has the path.
        request.scope["path"] = f"/hooks/{name}/…"
    try:
        hooks.webhook(at.site, name)
        over = _taken(at)
        body = await _body(request, at, provider_hooks.BODY_LIMIT)
        query = request.scope.get("query_string", b"").decode("latin-1")
        url = f"{at.origin.scheme}://{at.origin.host}{at.root}{path}{'?' if query else ''}{query}"
        call = provider_hooks.Call(request.headers, body, url, sent)
        try:
            await hooks.check(at.site, name, call)
        except provider_hooks.NotSignedError:
            if over is not None:
                raise over from None
            raise
        if over is None:
            at.service.limits.give_back("webhooks", at.site.name, at.origin.client)
        at.service.limits.prove("webhooks", at.origin.client)
        heeded = await hooks.receive(at.site, name, call)
    except provider_hooks.NotTakenError as error:
        raise Refused(404, str(error)) from error
    except provider_hooks.NotSignedError as error:
        raise Refused(401, str(error)) from error
    content = heeded.answer or {"result": heeded.result, "text": heeded.text}
    return JSONResponse(dict(content), heeded.status, headers=NO_STORE)


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


async def _body(request: Request, at: RequestContext, limit: int = BODY_LIMIT) -> bytes:
    """The body; a long one is held as an upload while it comes in."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 6:
        return await read_body(request, limit)
    with at.hold("uploads"):
        return await read_body(request, limit)


def _answer(received: Received) -> Response:
    content = {"result": received.result, "id": received.order, "text": received.text}
    return JSONResponse(content, received.status, headers=NO_STORE)


routes = [
    Route("/hooks/{system}", hooks_endpoint, methods=["POST"]),
    Route("/hooks/{system}/{secret}", hooks_endpoint, methods=["POST"]),
]
