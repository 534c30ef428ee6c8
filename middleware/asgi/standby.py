"""Serves the app without clew while the settings or the ledger cannot be used."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from ...service.origin import is_this_machine
from ...settings.load import SettingsErrors, logged_problem, read
from ...settings.model import Settings, Site
from .own_pages import shop_scope, target_path

DEFAULT_PREFIX = str(Site.model_fields["prefix"].default).encode()
_TEXTS = {b"health": (200, b"ok\n")}


def wants_strict(settings: "str | Path | Settings") -> bool:
    """Whether the settings say `strict = true`, even if they are invalid otherwise."""
    if isinstance(settings, Settings):
        return settings.strict
    with suppress(SettingsErrors):
        return read(Path(settings), {}).data.get("strict") is True
    return False


def one_line(error: Exception) -> str:
    """The text of an error on one line."""
    if isinstance(error, SettingsErrors):
        return "; ".join(map(logged_problem, error.problems))
    return str(getattr(error, "orig", None) or error) or repr(error)


def cannot_start(error: Exception) -> str:
    """The message for the server if the start fails."""
    return f"clew cannot start: {one_line(error)}"


class Refusal:
    """Replaces the app if clew cannot be used and is `strict`: the server's startup fails, and so does every
    request if the server starts nevertheless."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @classmethod
    def of(cls, error: Exception) -> "Refusal":
        """Raises the error, unless a server is already running: it would conclude that the app has no
        lifespan, and answer every request with 500."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise error from None
        return cls(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": cannot_start(self._error)})
        raise self._error


class Standby:
    """Stands in front of the app while clew cannot be used. Under the default prefix it answers `health` and
    `ready`, and everything else with 503. All other connections go to the app with the server's own
    `receive`, `send` and scope, without the desk's cookies."""

    def __init__(self, app: ASGIApp, error: Exception) -> None:
        self._app = app
        self._why = one_line(error)
        with suppress(OSError):
            structlog.get_logger("clew").error("unusable", site="", why=self._why, shop="served without clew")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path = target_path(scope)
        if path.startswith(DEFAULT_PREFIX) or path == DEFAULT_PREFIX[:-1]:
            await not_ready(scope, receive, send, path.removeprefix(DEFAULT_PREFIX), self._why)
        else:
            await self._app(shop_scope(scope), receive, send)


async def not_ready(scope: Scope, receive: Receive, send: Send, path: bytes, why: str) -> None:
    """Answer a request under a prefix while clew cannot be used; `path` is the part after the prefix. Only
    clients on this machine get the reason `why`, since it may name files."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1013})
        return
    shown = (
        why
        if is_this_machine(scope["headers"], (scope.get("client") or (None,))[0])
        else "clew cannot be used; its log says why"
    )
    status, text = _TEXTS.get(path, (503, json.dumps({"ready": False, "why": shown}).encode() + b"\n"))
    headers = [
        (b"content-type", b"application/json" if status == 503 else b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})
