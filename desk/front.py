"""What no request below the prefix may be, in whatever mount it came."""

import re

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..injector.heads import Headers, values
from ..service.origin import is_host
from .context import RequestContext
from .guard import NO_STORE

# The page that a visitor shows its agent, in the desk's own frame: it proves itself by its key.
_FRAMED = re.compile(r"/desk/conversations/[^/]+/cobrowsing/page")
_DENIAL = "websocket.http.response"


class Front:
    """Stands before the desk's app. There is no WebSocket below the prefix: a handshake is answered
    with 404, also where the server passes it on as a plain request. Two Host fields, none in HTTP/1.1, or
    one that is no host are 400 (RFC 9112 §3.2).

    The desk is 404 on a shop's host where it has one of its own. Where it shares the shop's origin, its pages
    are for a browser's own navigations alone: what comes through a service worker of the shop, into a frame,
    or by a script's `fetch` is refused (W3C Fetch Metadata; no script can forge these fields). The desk's own
    script proves itself with its session's token (see `auth`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or handshake, with its `RequestContext` in the scope."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status, text = _refusal(scope)
        if not status:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await receive()
            if _DENIAL not in (scope.get("extensions") or ()):
                await send({"type": "websocket.close"})
                return
        await JSONResponse({"error": text}, status, NO_STORE)(scope, receive, send)


def _refusal(scope: Scope) -> tuple[int, str]:
    headers: Headers = scope["headers"]
    hosts, upgrades, workers = [], [], False
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"upgrade":
            upgrades.append(value.strip(b" \t").lower())
        elif name == b"service-worker":
            workers = True
    if len(hosts) > 1:
        return 400, "more than one Host header"
    if not hosts and scope["http_version"] == "1.1":
        return 400, "no Host header"
    if hosts and hosts[0] and not is_host(hosts[0]):
        return 400, "a Host header with characters that no host has"
    if scope["type"] == "websocket" or upgrades == [b"websocket"]:
        return 404, "there is no WebSocket here"
    if workers:
        return 403, "nothing here is a service worker"
    path: str = scope["path"]
    if path == "/desk" or path.startswith("/desk/"):
        return _desk_refusal(scope["clew"], headers, path)
    return 0, ""


def _desk_refusal(at: RequestContext, headers: Headers, path: str) -> tuple[int, str]:
    if at.way is None and at.service.settings.desk_host is not None:
        return 404, "the desk has a host of its own"
    worker = bool(values(headers, b"service-worker-navigation-preload"))
    if values(headers, b"sec-fetch-mode") == [b"navigate"]:
        framed = _FRAMED.fullmatch(path) is not None and values(headers, b"sec-fetch-dest") == [b"iframe"]
        worker = worker or not (framed or values(headers, b"sec-fetch-dest") in ([], [b"document"]))
    if worker:
        return 403, (
            "this page was asked for by a service worker of the shop, or for a frame: open it in a private "
            "window, or give the desk a host of its own (desk_host)"
        )
    return 0, ""
