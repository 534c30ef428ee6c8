"""The scripts that a page of the shop loads: `l.js`, and what that and the widget fetch when it is needed."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...injector.codings import takes_gzip
from ...templates import (
    Script,
    actions_script,
    carry_script,
    checkout_script,
    consent_script,
    language,
    loader,
    menu_script,
    order_script,
    share_script,
    signals_script,
    silence,
    widget,
)
from ..context import RequestContext
from ..guard import Refused, api


def _script(request: Request, at: RequestContext, script: Script) -> Response:
    # The URLs never change: browsers revalidate after an hour, and usually get a 304.
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    zipped = takes_gzip(",".join(request.headers.getlist("accept-encoding")).encode("latin-1"))
    headers = {
        "cache-control": f"{'private' if at.origin.host_forwarded else 'public'}, max-age=3600",
        "etag": script.gzipped_etag if zipped else script.etag,
        "vary": "accept-encoding",
        "content-type": "text/javascript; charset=utf-8",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    # Weak comparison (RFC 9110 §13.1.2), since proxies that compress the file make its tag weak.
    if headers["etag"] in known:
        return Response(status_code=304, headers=headers)
    if zipped:
        return Response(script.gzipped, headers={**headers, "content-encoding": "gzip"})
    return Response(script.body, headers=headers)


def _asked(request: Request, at: RequestContext) -> str:
    query = request.scope["query_string"][:8].decode("latin-1")
    return language(query, default=at.site.settings.language)


@api
async def loader_file(request: Request, at: RequestContext) -> Response:
    """The loader, the same for every page and visitor; empty if the site has `inject = false`."""
    return _script(request, at, loader() if at.site.settings.inject else silence())


@api
async def consent_file(request: Request, at: RequestContext) -> Response:
    """What the loader fetches at a site that asks for consent."""
    return _script(request, at, consent_script())


@api
async def carry_file(request: Request, at: RequestContext) -> Response:
    """What the loader fetches at a site whose cart gets clew's token."""
    return _script(request, at, carry_script())


@api
async def checkout_file(request: Request, at: RequestContext) -> Response:
    """What the loader fetches at a site with `checkout_hosts`."""
    return _script(request, at, checkout_script())


@api
async def signals_file(request: Request, at: RequestContext) -> Response:
    """What the loader fetches when a decision waits for a signal of the browser."""
    return _script(request, at, signals_script())


@api
async def order_file(request: Request, at: RequestContext) -> Response:
    """What the loader fetches on an order's page of which the server saw no order."""
    return _script(request, at, order_script())


@api
async def share_file(request: Request, at: RequestContext) -> Response:
    """What the widget fetches when the visitor sends a file, in the language that the query names."""
    return _script(request, at, share_script(_asked(request, at)))


@api
async def menu_file(request: Request, at: RequestContext) -> Response:
    """What the widget fetches when the chat is opened, in the language that the query names."""
    return _script(request, at, menu_script(_asked(request, at)))


@api
async def actions_file(request: Request, at: RequestContext) -> Response:
    """What the widget fetches with an invite that has more than a text and a field, in the language that the
    query names."""
    callback = at.site.settings.callback
    known = callback is not None and callback.country is not None
    return _script(request, at, actions_script(_asked(request, at), one_country=known))


@api
async def widget_file(request: Request, at: RequestContext) -> Response:
    """The widget, which the loader fetches when there is something to show, in the language that the query
    names."""
    return _script(request, at, widget(_asked(request, at)))


@api
async def provider_file(request: Request, at: RequestContext) -> Response:
    """What the widget fetches at a site with a provider's chat, when that is opened; 404 at any other."""
    script = at.site.provider_script
    if script is None:
        raise Refused(404, "this site uses clew's own chat")
    return _script(request, at, script)


routes = [
    Route("/a.js", actions_file),
    Route("/l.js", loader_file),
    Route("/c.js", consent_file),
    Route("/h.js", checkout_file),
    Route("/k.js", carry_file),
    Route("/m.js", menu_file),
    Route("/o.js", order_file),
    Route("/p.js", provider_file),
    Route("/s.js", share_file),
    Route("/t.js", signals_file),
    Route("/w.js", widget_file),
]
