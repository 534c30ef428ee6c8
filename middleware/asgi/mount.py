"""The ASGI mount: middleware in front of any ASGI app. The app needs no change."""

import asyncio
import os
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...desk.app import desk_app
from ...desk.context import RequestContext
from ...injector.heads import RequestHead
from ...service.check import loader
from ...service.limits import network_of
from ...service.origin import Origin
from ...service.service import Service
from ...service.site import SiteRuntime
from ...settings.changes import Changes
from ...settings.model import Settings
from ..exchange.exchange import Exchange, Forward, OwnPage
from ..exchange.origin import Origins, untrusted_field
from .own_pages import inner_scope, misdirected, refuse, shop_scope, target_path, to_desk
from .reloads import Reloads
from .sender import Sender
from .standby import Refusal, Standby, not_ready, wants_strict
from .startup import Startup

# With these extensions the app would send a file instead of bytes, and the page could not be edited.
BODY_BYPASSES = ("http.response.pathsend", "http.response.zerocopysend")


class ClewMiddleware:
    """`app.add_middleware(ClewMiddleware, settings="clew.toml")`, or `ClewMiddleware(app, "clew.toml")`.

    `settings` is a path or a `Settings` object. Requests under the prefix, WebSocket handshakes too, go to
    clew's own pages. Navigations go through the exchange. Everything else goes to `app` with the server's own
    `receive`, `send` and scope, without the desk's cookies.

    If the settings or the ledger cannot be used, the app runs without clew: an event `unusable` and `ready`
    give the reason, and the ledger is tried again every ten seconds. With `strict` (None: the value in the
    settings) the app does not start instead: the constructor raises the error of the settings. If the server
    is already running, as it is when Starlette builds its middleware, the server's startup fails.
    """

    validated = False  # whether a `Settings` object was validated like a file

    def __init__(
        self, app: ASGIApp, settings: str | Path | Settings = "clew.toml", *, strict: bool | None = None
    ) -> None:
        self.app = app
        self._strict = wants_strict(settings) if strict is None else strict
        self._file = None if isinstance(settings, Settings) else Path(settings)
        self._building = asyncio.Lock()
        self._origins: tuple[Settings, Origins] | None = None
        self._instead: ASGIApp | None = None  # answers everything if the settings cannot be used
        try:
            self._build(settings)
        except Exception as error:
            self._instead = Refusal.of(error) if self._strict else Standby(app, error)

    def _build(self, settings: str | Path | Settings) -> None:
        """Build the service from the settings. Raises the errors of the settings."""
        if isinstance(settings, Settings):
            reader, loaded = None, settings
        else:
            reader = loader(Path(settings), os.environ)
            loaded = reader.load().used()
        self.service = Service(loaded)
        if reader is None and not self.validated:
            self.service.sites.verify()
        self._reloads = Reloads(self.service, reader)
        self.startup = Startup(self.service, self.app, strict=self._strict)
        self.startup.on_start, self.startup.on_stop = self._reloads.watch, self._reloads.stop
        self._desk = desk_app()

    async def reload(self, settings: Settings | None = None) -> Changes:
        """Switch to the settings now in the file, or to `settings`, between two requests. No request is lost.
        Returns which sites changed.

        Raises SettingsErrors if the settings are invalid, or change what only a restart can change. The
        current settings then stay in use. If clew could not be used before, it is used from the next request
        on.
        """
        if self._instead is not None:
            async with self._building:
                # Another call may have done this meanwhile.
                if self._instead is not None:
                    given = settings or self._file
                    assert given is not None
                    await asyncio.to_thread(self._build, given)
                    self._instead = None
                    return Changes(added=tuple(self.service.sites))
        return await (self._reloads.from_file() if settings is None else self._reloads.to(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if self._instead is not None:
            await self._instead(scope, receive, self._stopping(send) if scope["type"] == "lifespan" else send)
            return
        startup = self.startup
        if scope["type"] == "lifespan":
            await startup.lifespan(scope, receive, send)
            return
        origin = self._origin_of(scope)
        scope["clew.origin"] = origin
        if self.service.sites.is_desk_host(origin.host):
            if startup.started or await startup.at_request():
                await to_desk(self._desk, self.service, origin, scope, receive, send)
            else:
                await not_ready(scope, receive, send, b"", startup.why)
            return
        site = self.service.sites.at(origin.host)
        if site is not None:
            scope["clew.site"] = site.name
        path = target_path(scope)
        if site is None:
            self.service.events.host_unknown(origin.host, self.service.sites.hosts)
            if self.service.sites.own(path):
                await refuse(scope, receive, send, misdirected(scope))
            else:
                await self.app(shop_scope(scope), receive, send)
        elif not startup.started and not await startup.at_request():
            if site.owns(path):
                await not_ready(scope, receive, send, OwnPage.at(site, path).path[1:], startup.why)
            else:
                await self.app(shop_scope(scope), receive, send)
        elif site.owns(path):
            await self._own_page(OwnPage.at(site, path), site, origin, scope, receive, send)
        elif scope["type"] == "http":
            await self._http(site, path, origin, scope, receive, send)
        else:
            await self.app(shop_scope(scope), receive, send)

    def _stopping(self, send: Send) -> Send:
        """A `send` for the lifespan of an app whose settings could not be used at the start. They may be
        usable when it ends; the service is then stopped first."""

        async def stop_first(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown") and self._instead is None:
                await self.startup.stop()
            await send(message)

        return stop_first

    def _origin_of(self, scope: Scope) -> Origin:
        settings = self.service.settings
        if self._origins is None or self._origins[0] is not settings:
            self._origins = settings, Origins(settings.trusted_proxies, settings.forwarded_host)
        return self._origins[1].of(scope)

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
            origin.host_forwarded,
        )
        plan = exchange.request(head)
        if isinstance(plan, OwnPage):
            await self._own_page(plan, site, origin, scope, receive, send)
        elif plan.watch:
            exchange.began = self.service.clock.monotonic()
            self._note_proxy(site, head, scope)
            await self._watched(exchange, plan, scope, receive, send)
        else:
            if exchange.fault is not None:
                self.service.attribution.finish(exchange)
            if plan.headers is not head.headers:
                scope = {**scope, "headers": plan.headers}
            await self.app(scope, receive, send)

    def _note_proxy(self, site: SiteRuntime, head: RequestHead, scope: Scope) -> None:
        """Report an untrusted peer that sends a proxy's headers. The request counts as plain http then:
        cookies are not Secure, and the shop gets `X-Forwarded-Proto: http`."""
        peer = scope["client"][0] if scope.get("client") else None
        header = untrusted_field(
            head.plain or dict(head.headers), peer, self.service.settings.trusted_proxies
        )
        if header is not None:
            self.service.events.proxy_untrusted(site.name, network_of(peer) or "", header)

    async def _own_page(
        self, plan: OwnPage, site: SiteRuntime, origin: Origin, scope: Scope, receive: Receive, send: Send
    ) -> None:
        context = await RequestContext(self.service, site, origin).whole()
        await self._desk(inner_scope(scope, plan, context), receive, send)

    async def _watched(
        self, exchange: Exchange, plan: Forward, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await self.service.attribution.perform(exchange.site, plan.effects)
        inner = dict(scope)
        inner["headers"] = exchange.after_effects(plan.headers)
        extensions = scope.get("extensions")
        if extensions and any(name in extensions for name in BODY_BYPASSES):
            inner["extensions"] = {k: v for k, v in extensions.items() if k not in BODY_BYPASSES}
        try:
            await self.app(inner, receive, Sender(exchange, send, self.service.attribution.secure))
        finally:
            self.service.attribution.finish(exchange)
