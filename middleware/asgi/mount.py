"""The ASGI mount: in front of any ASGI app, which knows nothing of it."""

import asyncio
import os
import time
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...desk.app import desk_app
from ...desk.here import Here
from ...injector.heads import RequestHead, ResponseHead
from ...service.check import checked
from ...service.limits import network_of
from ...service.navigation import finish, perform
from ...service.origin import Origin
from ...service.service import Service
from ...service.site import SiteRuntime
from ...settings.model import Settings
from ..exchange.exchange import Exchange, Forward, Ours, Out
from ..exchange.origin import origin_of, unbelieved
from .ours import inner_scope, onward, refuse, target_path, to_desk
from .standby import Standby, told, unready, wants_strict

# With these the app would hand over a file instead of bytes, and a page would pass us by.
BODY_BYPASSES = ("http.response.pathsend", "http.response.zerocopysend")
# What belongs before the head on the wire may overtake one that is held: a 103 cannot come later.
AHEAD_OF_HEAD = frozenset({"http.response.debug", "http.response.early_hint", "http.response.push"})
TRY_AGAIN_SECONDS = 10
# How long the app's start, and a request, wait for ours.
START_SECONDS = 10.0
LATE_SECONDS = 1.0


class ClewMiddleware:
    """`app.add_middleware(ClewMiddleware, settings="clew.toml")`, or `ClewMiddleware(app, "clew.toml")`.

    `settings` is a file or a ready `Settings`. What is for clew goes to its own pages, also a WebSocket's
    handshake; navigations go through the exchange; everything else goes to `app` with the receive and send
    that came, and the scope too, but for the cookies of the desk.

    Settings or a ledger that cannot be used leave the app as it is: an event `unusable` and `ready` say why,
    and the ledger is tried again every ten seconds. With `strict` (None: as the settings say) they stop the
    app instead: by raising what the settings raise, or, where the server runs already, as it does when
    Starlette makes its middleware, by failing the server's start.
    """

    announces = True  # a server that says so itself once it listens clears this

    def __init__(
        self, app: ASGIApp, settings: str | Path | Settings = "clew.toml", *, strict: bool | None = None
    ) -> None:
        self.app = app
        self.strict = wants_strict(settings) if strict is None else strict
        # In place of everything below, where the settings cannot be used.
        self._standby: Standby | None = None
        self._refusal: Exception | None = None
        try:
            loaded = settings if isinstance(settings, Settings) else checked(Path(settings), os.environ)
            self.service = Service(loaded)
        except Exception as error:
            self._refuse(error)
            return
        self._desk = desk_app()
        self._starting: asyncio.Task[None] | None = None
        self._started = False
        self._why = "starting"
        self._wait_until = 0.0
        self._try_again_at = 0.0

    def _refuse(self, error: Exception) -> None:
        if not self.strict:
            self._standby = Standby(self.app, error)
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise error from None
        # Raised within a server that runs already, it would only be taken for an app without a lifespan, and
        # then make every page a 500.
        self._refusal = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if self._standby is not None:
            await self._standby(scope, receive, send)
            return
        if self._refusal is not None:
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.failed", "message": _cannot(self._refusal)})
            raise self._refusal
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        origin = self._origin_of(scope)
        scope["clew.origin"] = origin
        if self.service.sites.is_desk_host(origin.host):
            if self._started or await self._started_late():
                await to_desk(self._desk, self.service, origin, scope, receive, send)
            else:
                await unready(scope, receive, send, b"", self._why)
            return
        site = self.service.sites.at(origin.host)
        if site is not None:
            scope["clew.site"] = site.name
        path = target_path(scope)
        if site is None:
            self.service.journal.host_unknown(origin.host, self.service.sites.hosts)
            if self.service.sites.own(path):
                await refuse(scope, receive, send, 421)
            else:
                await self.app(onward(scope), receive, send)
        elif not self._started and not await self._started_late():
            if site.owns(path):
                await unready(scope, receive, send, Ours.at(site, path).path[1:], self._why)
            else:
                await self.app(onward(scope), receive, send)
        elif scope["type"] == "http":
            await self._http(site, path, origin, scope, receive, send)
        elif site.owns(path):
            await self._ours(Ours.at(site, path), site, origin, scope, receive, send)
        else:
            await self.app(onward(scope), receive, send)

    def _origin_of(self, scope: Scope) -> Origin:
        settings = self.service.settings
        return origin_of(scope, settings.trusted_proxies, settings.forwarded_host)

    async def _http(
        self, site: SiteRuntime, path: bytes, origin: Origin, scope: Scope, receive: Receive, send: Send
    ) -> None:
        exchange = Exchange(site, self.service.clock.now())
        head = RequestHead(
            scope["method"],
            path,
            scope["query_string"],
            list(scope["headers"]),
            origin.scheme,
            origin.host,
            origin.client,
            origin.host_told,
        )
        plan = exchange.request(head)
        if isinstance(plan, Ours):
            await self._ours(plan, site, origin, scope, receive, send)
        elif plan.watch:
            exchange.began = time.monotonic()
            self._note_proxy(site, head, scope)
            await self._watched(exchange, plan, scope, receive, send)
        else:
            if exchange.fault is not None:
                finish(self.service, exchange)
            if plan.headers is not head.headers:
                scope = {**scope, "headers": plan.headers}
            await self.app(scope, receive, send)

    def _note_proxy(self, site: SiteRuntime, head: RequestHead, scope: Scope) -> None:
        """Tell of a peer that speaks as a proxy and is not believed: without TLS, cookies are not Secure and
        the shop is told `http`."""
        peer = scope["client"][0] if scope.get("client") else None
        header = unbelieved(head.plain or dict(head.headers), peer, self.service.settings.trusted_proxies)
        if header is not None:
            self.service.journal.proxy_untrusted(site.name, network_of(peer) or "", header)

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

    async def _start(self, seconds: float) -> None:
        """Start, or wait for the start that goes on, for at most so long. Raises nothing unless `strict`."""
        if self._starting is None:
            self._wait_until = time.monotonic() + seconds
            self._starting = asyncio.create_task(self._try_start(), name="clew-start")
        left = max(0.0, self._wait_until - time.monotonic())
        task = self._starting
        await asyncio.wait({task}, timeout=None if self.strict else left)
        if self.strict and not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _try_start(self) -> None:
        try:
            await self.service.start()
        except Exception as error:
            self._try_again_at = time.monotonic() + TRY_AGAIN_SECONDS
            self._why = told(error)
            if self.strict:
                raise
            self.service.journal.notice("unusable", site="", key="start", why=self._why)
        else:
            self._started = True
            if self.announces:
                self.service.announce()
        finally:
            self._starting = None

    async def _started_late(self) -> bool:
        """Start at a request: for servers that know no lifespan, and where the start failed. Meanwhile the
        shop goes on without us, and a request waits for a second at most."""
        if time.monotonic() >= self._try_again_at:
            await self._start(LATE_SECONDS)
        return self._started

    async def _stop(self) -> None:
        if (starting := self._starting) is not None:
            starting.cancel()
            await asyncio.wait({starting})
        await self.service.stop()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the app starts and stop after it has stopped; also for an app that has no lifespan."""
        answered = heard = False

        async def hear() -> Message:
            nonlocal heard
            message = await receive()
            if message["type"] == "lifespan.startup":
                heard = True
                try:
                    await self._start(START_SECONDS)
                except Exception as error:
                    await tell({"type": "lifespan.startup.failed", "message": _cannot(error)})
                    raise
            return message

        async def tell(message: Message) -> None:
            nonlocal answered
            answered = True
            if message["type"].startswith("lifespan.shutdown"):
                await self._stop()
            await send(message)

        try:
            await self.app(scope, hear, tell)
        except Exception:
            # Django's app, for one, refuses a lifespan: then the lifespan is ours alone.
            if answered:
                raise
        if not answered:
            await self._own_lifespan(receive, send, heard=heard)

    async def _own_lifespan(self, receive: Receive, send: Send, *, heard: bool) -> None:
        """`heard`: the startup message went to the app, which then refused it."""
        while True:
            if heard:
                await send({"type": "lifespan.startup.complete"})
            message = await receive()
            heard = message["type"] == "lifespan.startup"
            if heard:
                await self._start(START_SECONDS)
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _cannot(error: Exception) -> str:
    return f"clew cannot start: {told(error)}"


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
                await self._release(self._exchange.other())
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
