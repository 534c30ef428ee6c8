"""For those who run clew: `health`, `ready`, `metrics`; and the browser's two files."""

from ipaddress import ip_address

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..service.metrics import exposition
from ..service.readiness import postbacks_of, readiness
from ..templates import Script, loader, order_script, silence, widget
from .guard import NO_STORE, Refused, api, bearer
from .here import Here


@api
async def health(request: Request, at: Here) -> Response:
    """200 as long as the process answers."""
    return PlainTextResponse("ok\n", headers=NO_STORE)


@api
async def ready(request: Request, at: Here) -> Response:
    """200 when the ledger answers and the site's shop can be reached, else 503; also while clew stops.

    The status is for everybody; why, and the site's postbacks by their state, for whom `metrics` is.
    """
    name = at.site.name
    found = await readiness(at.service, [name])
    told: dict[str, object] = {"ready": found.ready}
    if _may_see_figures(request, at):
        if found.ready:
            told["postbacks"] = await postbacks_of(at.service, name)
        else:
            told["why"] = found.why
    return JSONResponse(told, 200 if found.ready else 503, headers=NO_STORE)


@api
async def metrics(request: Request, at: Here) -> Response:
    """The metrics for Prometheus: to this machine, or to whoever has the `metrics_token`."""
    if not _may_see_figures(request, at):
        raise Refused(403, "metrics are for this machine, or for a bearer of `metrics_token`")
    return Response(await exposition(at.service), headers={"content-type": CONTENT_TYPE_LATEST, **NO_STORE})


def _may_see_figures(request: Request, at: Here) -> bool:
    token = at.service.settings.metrics_token
    if token is not None and bearer(request, at, token.get_secret_value()):
        return True
    # Behind another proxy every peer may look local: then only the token opens.
    relayed = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip"))
    return not relayed and _is_loopback(at.origin.client)


def _is_loopback(client: str | None) -> bool:
    try:
        return ip_address(client or "").is_loopback
    except ValueError:
        return False


def _script(request: Request, at: Here, script: Script) -> Response:
    # Both files have one address for ever: a browser asks again after an hour, and gets a 304 as a rule.
    asked = request.headers.get("if-none-match", "")
    headers = {
        "cache-control": f"{'private' if at.origin.host_told else 'public'}, max-age=3600",
        "etag": script.etag,
        "content-type": "text/javascript; charset=utf-8",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    # Compared weakly (RFC 9110 §13.1.2): who packs the file on its way weakens its tag.
    if script.etag in (t.strip().removeprefix("W/") for t in asked.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(script.body, headers=headers)


@api
async def loader_file(request: Request, at: Here) -> Response:
    """The loader, the same for every page and visitor; nothing to do where the site has `inject = false`."""
    return _script(request, at, loader() if at.site.settings.inject else silence())


@api
async def order_file(request: Request, at: Here) -> Response:
    """What the loader fetches on an order's page of which the server saw no order."""
    return _script(request, at, order_script())


@api
async def widget_file(request: Request, at: Here) -> Response:
    """The widget, which the loader fetches when there is something to show."""
    return _script(request, at, widget())


routes = [
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", metrics),
    Route("/l.js", loader_file),
    Route("/o.js", order_file),
    Route("/w.js", widget_file),
]
