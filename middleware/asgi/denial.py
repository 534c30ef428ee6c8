"""Refuses a WebSocket handshake with a response (ASGI's extension "WebSocket Denial Response")."""

from starlette.types import Scope, Send

from ...injector.heads import Headers, value
from ..http.pages import date

_DENIAL = "websocket.http.response"


async def deny(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Refuse a handshake with a response, or with a plain 403 if the server lacks the extension."""
    if _DENIAL not in (scope.get("extensions") or ()):
        await send({"type": "websocket.close"})
        return
    if value(headers, b"date") is None:
        headers = [*headers, date()]
    await send({"type": f"{_DENIAL}.start", "status": status, "headers": headers})
    await send({"type": f"{_DENIAL}.body", "body": body, "more_body": False})
