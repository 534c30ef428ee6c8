"""The ASGI mount: in front of any ASGI app, which knows nothing of it."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from ..desk.app import desk_app
from ..desk.here import Here
from ..injector.heads import RequestHead, ResponseHead
from ..service.check import check
from ..service.navigation import finish, perform
from ..service.origin import Origin
from ..service.service import Service
from ..service.site import SiteRuntime
from ..settings.load import SettingsErrors
from ..settings.model import Settings
from .exchange import Exchange, Forward, Ours, Out
from .origin import origin_of
from .ours import inner_scope

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# With these the app would hand over a file instead of bytes, and a page would pass us by.
BODY_BYPASSES = ("http.response.pathsend", "http.response.zerocopysend")
# What belongs before the head on the wire may overtake one that is held: a 103 cannot come later.
AHEAD_OF_HEAD = frozenset({"http.response.debug", "http.response.early_hint", "http.response.push"})
TRY_AGAIN_SECONDS = 10


class ClewMiddleware:
    """`app.add_middleware(ClewMiddleware, settings="clew.toml")`, or `ClewMiddleware(app, "clew.toml")`.

    `settings` is a file or a ready `Settings`. Raises `SettingsErrors` at once if the file is not in order.
    What is for clew goes to its own pages; navigations go through the exchange; everything else goes to `app`
    with the very scope, receive and send that came.
    """

    announces = True  # a server that says so itself once it listens clears this

    def __init__(self, app: App, settings: str | Path | Settings = "clew.toml") -> None:
        if not isinstance(settings, Settings):
            settings = _checked(Path(settings))
        self.app = app
        self.service = Service(settings)
        self._desk = desk_app()
        self._trusted = settings.trusted_proxies
        self._starting = asyncio.Lock()
        self._started = False
        self._try_again_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        origin = origin_of(scope, self._trusted)
        site = self.service.site_for(origin.host)
        if site is not None:
            scope["clew.site"] = site.name
        if scope["type"] == "http":
            await self._http(site, origin, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(
        self, site: SiteRuntime | None, origin: Origin, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path = scope.get("raw_path")
        if site is None or path is None:
            await self.app(scope, receive, send)
            return
        if not self._started and not await self._started_late():
            await self.app(scope, receive, send)
            return
        exchange = Exchange(site, time.time())
        head = RequestHead(
            scope["method"],
            path,
            scope["query_string"],
            list(scope["headers"]),
            origin.scheme,
            origin.host,
            origin.client,
        )
        plan = exchange.request(head)
        if isinstance(plan, Ours):
            await self._ours(plan, site, origin, scope, receive, send)
        elif plan.watch:
            await self._watched(exchange, plan, scope, receive, send)
        else:
            if exchange.fault is not None:
                finish(self.service, exchange)
            if plan.headers is not head.headers:
                scope = {**scope, "headers": plan.headers}
            await self.app(scope, receive, send)

    async def _ours(
        self, plan: Ours, site: SiteRuntime, origin: Origin, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await self._desk(inner_scope(scope, plan, Here(self.service, site, origin)), receive, send)

    async def _watched(
        self, exchange: Exchange, plan: Forward, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await perform(self.service, exchange.site, plan.effects)
        inner = dict(scope)
        inner["headers"] = plan.headers
        extensions = scope.get("extensions")
        if extensions and any(name in extensions for name in BODY_BYPASSES):
            inner["extensions"] = {k: v for k, v in extensions.items() if k not in BODY_BYPASSES}
        try:
            await self.app(inner, receive, _Sender(exchange, send))
        finally:
            finish(self.service, exchange)

    async def _start(self) -> None:
        async with self._starting:
            if not self._started:
                await self.service.start()
                self._started = True
                if self.announces:
                    self.service.announce()

    async def _started_late(self) -> bool:
        """Start at the first request, for servers that know no lifespan. If that fails the shop goes on
        without us, and it is tried again ten seconds later."""
        if time.monotonic() < self._try_again_at:
            return False
        try:
            await self._start()
        except Exception as error:
            self._try_again_at = time.monotonic() + TRY_AGAIN_SECONDS
            self.service.journal.emit("fault", site="", where="start", error=repr(error))
            return False
        return True

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the app starts and stop after it has stopped; also for an app that has no lifespan."""
        answered = False

        async def hear() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except Exception as error:
                    reason = getattr(error, "orig", None) or error
                    await tell({"type": "lifespan.startup.failed", "message": f"clew cannot start: {reason}"})
                    raise
            return message

        async def tell(message: Message) -> None:
            nonlocal answered
            answered = True
            if message["type"].startswith("lifespan.shutdown"):
                await self.service.stop()
            await send(message)

        try:
            await self.app(scope, hear, tell)
        except Exception:
            # Django's app, for one, refuses a lifespan: then the lifespan is ours alone.
            if answered:
                raise
        if not answered:
            await self._own_lifespan(receive, send)

    async def _own_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            # The startup message may have gone to the app that then refused it.
            if self._started:
                await send({"type": "lifespan.startup.complete"})
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
            else:
                await self.service.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _checked(path: Path) -> Settings:
    settings, problems = check(path, os.environ)
    if settings is None:
        raise SettingsErrors(problems)
    return settings


class _Sender:
    """Takes what the app sends, feeds the exchange, and sends on what the exchange releases."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self._start: Message = {}

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
            # Names are lower case by the standard; Django, for one, sends them as they were written.
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            await self._release(self._exchange.response(ResponseHead(message["status"], headers)))
        elif kind == "http.response.body":
            await self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            # Trailers, files, and whatever a later version of the standard brings: in order, unchanged.
            if kind not in AHEAD_OF_HEAD:
                await self._release(self._exchange.give_way())
            await self._send(message)

    async def _body(self, chunk: bytes, *, more: bool) -> None:
        # Starlette, for one, hands views on.
        out = self._exchange.body(bytes(chunk)) if chunk else Out()
        if more:
            await self._release(out)
            return
        last = self._exchange.end()
        await self._release(Out(out.head or last.head, b""))
        await self._send({"type": "http.response.body", "body": out.data + last.data, "more_body": False})

    async def _release(self, out: Out) -> None:
        if out.head is not None:
            await self._send({**self._start, "status": out.head.status, "headers": out.head.headers})
        if out.body:
            await self._send({"type": "http.response.body", "body": out.data, "more_body": True})
