"""Requests for clew's own pages: their path, their scope for the desk, and refusals. And the shop's scope."""

from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from ...desk.context import RequestContext
from ...desk.cookies import without_desk_cookies
from ...desk.ways import HOME, way
from ...injector.heads import values
from ...service.origin import Origin, is_host
from ...service.service import Service
from ..exchange.exchange import OwnPage
from ..http.pages import page
from .denial import deny


def target_path(scope: Scope) -> bytes:
    """The raw path of an HTTP request or a WebSocket handshake, without the query.

    `raw_path` is optional in ASGI, and some servers keep a target in absolute form (RFC 9112 §3.2.2) in it.
    """
    path: bytes | None = scope.get("raw_path")
    if path is None:
        return quote(scope["path"]).encode("ascii")
    if not path.startswith(b"/") and b"://" in path[:8]:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return path.partition(b"?")[0]


def inner_scope(scope: Scope, plan: OwnPage, context: RequestContext) -> Scope:
    """The ASGI scope below the site's prefix, with the desk's context."""
    return {
        **scope,
        "path": plan.path.decode("latin-1"),
        "raw_path": plan.path,
        "root_path": context.root,
        "clew": context,
    }


async def to_desk(
    desk: ASGIApp, service: Service, origin: Origin, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request or handshake to the desk's own host. All paths there belong to clew."""
    path = target_path(scope)
    found = way(service.sites, path)
    if found is not None:
        context = RequestContext(service, found.site, origin, found)
        await desk(inner_scope(scope, OwnPage(found.path), await context.whole()), receive, send)
    elif path in (b"", b"/") and scope["type"] == "http":
        headers = [(b"location", HOME.encode()), (b"content-length", b"0"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
    else:
        await refuse(scope, receive, send, 404)


def shop_scope(scope: Scope) -> Scope:
    """The scope for the shop, without the desk's cookies; the same object if it has none."""
    headers = without_desk_cookies(scope["headers"])
    return scope if headers is scope["headers"] else {**scope, "headers": headers}


async def refuse(scope: Scope, receive: Receive, send: Send, status: int) -> None:
    """Answer an HTTP request or a handshake with clew's error page."""
    status, headers, text = page(status)
    if scope["type"] == "websocket":
        await receive()
        await deny(scope, send, status, headers, text)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def misdirected(scope: Scope) -> int:
    """The status for a request whose Host belongs to no site: 421 (RFC 9110 §15.5.20), or 400 if it does not
    have exactly one valid Host header (RFC 9112 §3.2)."""
    hosts = values(scope["headers"], b"host")
    if len(hosts) != 1:
        return 421 if not hosts and scope["http_version"] == "1.0" else 400
    return 421 if is_host(hosts[0]) else 400
