"""What no request below the prefix may be, in whatever mount it came."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from ..injector.heads import Headers, values
from ..service.origin import is_host
from .guard import NO_STORE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DENIAL = "websocket.http.response"


class Front:
    """Stands before the desk's app. There is no WebSocket below the prefix: a handshake is answered with 404,
    also where the server passes it on as a plain request. Two Host fields, or one that is no
    host, are 400 (RFC 9112 §3.2)."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or handshake, with its `Here` in the scope."""
        status, text = _refusal(scope["type"], scope["headers"])
        if not status:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await JSONResponse({"error": text}, status, NO_STORE)(scope, receive, send)
        elif _DENIAL in (scope.get("extensions") or ()):
            await receive()
            await JSONResponse({"error": text}, status, NO_STORE)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close"})


def _refusal(kind: str, headers: Headers) -> tuple[int, str]:
    hosts = values(headers, b"host")
    if len(hosts) > 1:
        return 400, "more than one Host header"
    if hosts and hosts[0] and not is_host(hosts[0]):
        return 400, "a Host header with characters that no host has"
    upgrades = [found.strip(b" \t").lower() for found in values(headers, b"upgrade")]
    if kind == "websocket" or upgrades == [b"websocket"]:
        return 404, "there is no WebSocket here"
    return 0, ""
