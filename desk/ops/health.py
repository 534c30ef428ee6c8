"""For operators: `health`, `ready`, `metrics`, below the prefix of a site."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...service.origin import is_this_machine
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, bearer
from .exposition import exposition
from .readiness import postbacks_of, readiness


@api
async def health(request: Request, at: RequestContext) -> Response:
    """200 as long as the process answers."""
    return PlainTextResponse("ok\n", headers=NO_STORE)


@api
async def ready(request: Request, at: RequestContext) -> Response:
    """200 when the ledger answers and the site's shop can be reached, else 503; also while clew stops.

    Every client gets the status; only clients that may read `metrics` get the reason, the postbacks by state,
    how many orders wait in the journal of this process, and why the visit store cannot be used.
    """
    name = at.site.name
    found = await readiness(at.service, [name])
    body: dict[str, object] = {"ready": found.ready}
    if _may_see_figures(request, at):
        body["orders_waiting"] = at.service.journal.waiting
        if found.visits:
            body["visits"] = found.visits
        if found.ready:
            body["postbacks"] = await postbacks_of(at.service, name)
        else:
            body["why"] = found.why
    return JSONResponse(body, 200 if found.ready else 503, headers=NO_STORE)


@api
async def metrics(request: Request, at: RequestContext) -> Response:
    """The metrics for Prometheus, for this machine or with the `metrics_token`."""
    if not _may_see_figures(request, at):
        raise Refused(403, "metrics are available to this machine, or with `metrics_token` as bearer token")
    return Response(await exposition(at.service), headers={"content-type": CONTENT_TYPE_LATEST, **NO_STORE})


def _may_see_figures(request: Request, at: RequestContext) -> bool:
    token = at.service.settings.metrics_token
    if token is not None and bearer(request, at, token.get_secret_value()):
        return True
    return is_this_machine(request.scope["headers"], at.origin.client)


routes = [
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", metrics),
]
