"""The operations listener: `health`, `ready` and `metrics` at an address of its own, whatever the Host says.

It is for operators, so it shows details and needs no token: bind it to a private address.
"""

from itertools import islice

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...events.metrics import VERSION
from ...service.service import Service
from ..guard import NO_STORE
from .exposition import exposition
from .readiness import postbacks_of, readiness

KNOWN = 20  # sites listed in the error for an unknown site


def operations_app(service: Service) -> Starlette:
    """The listener's app, for all sites of a running clew."""

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=NO_STORE)

    async def ready(request: Request) -> Response:
        site = request.query_params.get("site")
        if site is not None and site not in service.sites:
            known = ", ".join(islice(service.sites, KNOWN)) + (", …" if len(service.sites) > KNOWN else "")
            return JSONResponse({"error": f"no site {site[:64]!r}; known: {known}"}, 404, headers=NO_STORE)
        found = await readiness(service, [site] if site is not None else list(service.sites))
        body = {
            "ready": found.ready,
            **({"why": found.why} if found.why else {}),
            **({"visits": found.visits} if found.visits else {}),
            "version": VERSION,
            "sites": {
                name: {"shop_reachable": reached, "postbacks": await postbacks_of(service, name)}
                for name, reached in found.shops.items()
            },
        }
        return JSONResponse(body, 200 if found.ready else 503, headers=NO_STORE)

    async def metrics(request: Request) -> Response:
        return Response(await exposition(service), headers={"content-type": CONTENT_TYPE_LATEST, **NO_STORE})

    routes = [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app
