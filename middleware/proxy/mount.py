"""The reverse proxy: requests go to the shop byte for byte, and answers come back byte for byte."""

from starlette.types import Message, Receive, Scope, Send

from ...desk.context import RequestContext
from ...injector.heads import RequestHead
from ...service.origin import Origin
from ...service.site import SiteRuntime
from ...settings import model
from ..asgi.mount import ClewMiddleware
from ..exchange.exchange import Exchange, OwnPage
from ..http.handler import ClientConnection
from .access import access_line
from .clients import OpenConnection, OpenConnections
from .decide import DecideRequest, usual_fields
from .proxied import ProxiedRequest, Watch
from .shops import Shops


class ReverseProxy(ClewMiddleware):
    """Serves all sites of the settings, each in front of its shop.

    The server asks `handler_for` at every request. What is for clew itself, and WebSockets, come as to any
    ASGI app.
    """

    validated = True
    access_log = False  # a line for each request

    def __init__(self, settings: model.Settings) -> None:
        self._shops = Shops(settings)
        super().__init__(self._shops, settings, strict=True)
        self._shops.limits = self.service.limits
        self._shops.site_of = self.service.sites.settings_of
        self.service.shop_reachable = self._shops.reachable
        self.service.on_swap.append(self._shops.swap)
        self._clients = OpenConnections(self.service.limits, lambda: self.service.settings.trusted_proxies)

    def connected(self, client: ClientConnection, address: str | None) -> OpenConnection | None:
        """Count a client's new connection; None if the client has too many."""
        return self._clients.enter(client, address)

    def handler_for(
        self, client: ClientConnection, scope: Scope, *, keep_alive: bool
    ) -> ProxiedRequest | DecideRequest | None:
        """The handler that brings a request to its shop, or decides; None for one that clew answers in
        another way."""
        origin = self._origin_of(scope)
        site = self.service.sites.at(origin.host)
        if site is None or self.service.sites.is_desk_host(origin.host):
            return None
        if site.owns(scope["raw_path"]):
            return self._decide(client, site, scope, origin, keep_alive=keep_alive)
        shop = self._shops.of(site.name)
        if shop is None:
            return None
        exchange = Exchange(site, self.service.clock.now())
        head = RequestHead(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            scope["headers"],
            origin.scheme,
            origin.host,
            origin.client,
            origin.host_forwarded,
        )
        plan = exchange.request(head)
        if isinstance(plan, OwnPage):
            return None
        watch = None
        if plan.watch:
            exchange.began = self.service.clock.monotonic()
            self._note_proxy(site, head, scope)
            watch = Watch(self.service, exchange, plan.effects)
        if exchange.fault is not None and watch is None:
            self.service.attribution.finish(exchange)
        return ProxiedRequest(
            client,
            shop,
            scope,
            plan.headers,
            origin,
            keep_alive=keep_alive,
            watch=watch,
            hold_upload=lambda: self.service.limits.hold("uploads", site.name, origin.client),
            notify=access_line(scope, site, origin) if self.access_log else None,
        )

    def _decide(
        self, client: ClientConnection, site: SiteRuntime, scope: Scope, origin: Origin, *, keep_alive: bool
    ) -> DecideRequest | None:
        if scope["raw_path"] != site.decide_path or not self.startup.started:
            return None
        fields = usual_fields(scope)
        if fields is None:
            return None
        notify = access_line(scope, site, origin) if self.access_log else None
        at = RequestContext(self.service, site, origin)
        return DecideRequest(client, at, scope, fields, keep_alive=keep_alive, notify=notify)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection: clew's own pages, and WebSockets."""
        if not self.access_log or scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        origin = self._origin_of(scope)
        write, status = access_line(scope, self.service.sites.at(origin.host), origin), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await super().__call__(scope, receive, noting)
        finally:
            write(status)
