"""The reverse proxy: requests go to the shop byte for byte, and answers come back so."""

import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Message, Receive, Scope, Send

from ...injector.heads import RequestHead
from ...service.access import request_told
from ...service.limits import LimitedError, Limits
from ...service.navigation import finish
from ...settings import model
from ..asgi.denial import deny
from ..asgi.mount import ClewMiddleware
from ..asgi.ours import refuse
from ..exchange.exchange import Exchange, Ours
from ..exchange.hostrewrite import HostRewrite
from ..exchange.origin import Networks, origin_of
from ..http.faults import RequestError, TooManyError
from ..http.handler import ClientConnection
from ..http.pages import failure
from ..http.upstream import Upstream
from .forwarding import Forwarding
from .proxied import ProxiedRequest, Watch
from .websocket import relay


class Proxy:
    """Forwards to the shop at `address`: requests by `handler_for`, WebSockets as an ASGI app.

    `trusted` are the networks of proxies whose word on the client counts; `host` is the Host that the shop is
    asked by, None for the client's own. A failure before the answer has begun is a short text of ours, 502,
    503 or 504; after that the client's connection is cut, and it sees an incomplete message.
    """

    def __init__(
        self, address: str, limits: model.Upstream, trusted: Networks = (), host: str | None = None
    ) -> None:
        rewrite = HostRewrite.of(address, host) if host else None
        self.upstream = Upstream(address, limits, rewrite.name if rewrite else None)
        self.forwarding = Forwarding(self.upstream.authority, trusted, rewrite, limits.via)
        self._trusted = tuple(trusted)
        self._websocket_idle = float(limits.websocket_idle)

    def handler_for(self, client: ClientConnection, scope: Scope, *, keep_alive: bool) -> ProxiedRequest:
        """A request that nothing watches."""
        origin = origin_of(scope, self._trusted)
        headers = scope["headers"]
        return ProxiedRequest(client, self, scope, headers, origin, keep_alive=keep_alive)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket."""
        try:
            origin = scope.get("clew.origin") or origin_of(scope, self._trusted)
            target, headers = self.forwarding.request(scope, scope["headers"], origin)
        except RequestError as error:
            await deny(scope, send, *failure(error))
            return
        await relay(scope, receive, send, self.upstream, target, headers, self._websocket_idle)

    async def close(self) -> None:
        """Close all connections to the shop."""
        await self.upstream.close()


class ReverseProxy(ClewMiddleware):
    """All sites of the settings, each in front of its shop.

    The server asks `handler_for` at every request. What is for clew itself, and WebSockets, come as to any
    ASGI app.
    """

    access_log = False  # a line for each request

    def __init__(self, settings: model.Settings) -> None:
        self._shops = Shops(settings)
        super().__init__(self._shops, settings, strict=True)
        self._shops.limits = self.service.limits
        self.service.shops_reachable = self._shops.reachable

    def handler_for(
        self, client: ClientConnection, scope: Scope, *, keep_alive: bool
    ) -> ProxiedRequest | None:
        """What brings a request to its shop; None for one that clew answers itself."""
        origin = origin_of(scope, self._trusted, self._forwarded_host)
        site = self.service.sites.at(origin.host)
        shop = self._shops.of(site.name) if site is not None else None
        if site is None or shop is None or self.service.sites.is_desk_host(origin.host):
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
            origin.host_told,
        )
        plan = exchange.request(head)
        if isinstance(plan, Ours):
            return None
        watch = None
        if plan.watch:
            exchange.began = time.monotonic()
            self._note_proxy(site, head, scope)
            watch = Watch(self.service, exchange, plan.effects)
        if exchange.fault is not None and watch is None:
            finish(self.service, exchange)
        return ProxiedRequest(
            client,
            shop,
            scope,
            plan.headers,
            origin,
            keep_alive=keep_alive,
            watch=watch,
            hold_upload=lambda: self.service.limits.hold("uploads", site.name, origin.client),
            notify=request_told(scope, site, origin) if self.access_log else None,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection: clew's own pages, and WebSockets."""
        if not self.access_log or scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        origin = origin_of(scope, self._trusted)
        tell, status = request_told(scope, self.service.sites.at(origin.host), origin), 0

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
            tell(status)


class Shops:
    """The app behind the reverse proxy: a WebSocket goes to the shop of its host, if `limits` allow."""

    limits: Limits

    def __init__(self, settings: model.Settings) -> None:
        self._shops: dict[str, Proxy] = {
            site.name: Proxy(site.upstream, settings.upstream, settings.trusted_proxies, site.upstream_host)
            for site in settings.sites
            if site.upstream is not None
        }

    def of(self, site: str) -> Proxy | None:
        """The shop of a site, if it has one."""
        return self._shops.get(site)

    @property
    def reachable(self) -> Mapping[str, Callable[[], Awaitable[bool]]]:
        """For each site by its name, what tells whether a connection to its shop can be had."""
        return {name: shop.upstream.reachable for name, shop in self._shops.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket; 421 for a host that no site has (RFC 9110 §15.5.20)."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await refuse(scope, receive, send, 421)
        elif (shop := self.of(site := scope.get("clew.site", ""))) is not None:
            try:
                hold = self.limits.hold("websockets", site, scope["clew.origin"].client)
            except LimitedError as error:
                await deny(scope, send, *failure(TooManyError(str(error), error.wait)))
                return
            with hold:
                await shop(scope, receive, send)
        else:
            await refuse(scope, receive, send, 421)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                for shop in self._shops.values():
                    await shop.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
