"""The shops behind the reverse proxy: where the requests of each site go, by the current settings.

A shop is created at the first request for its site. If its address has changed, or its site was removed, it
is drained: running requests continue, and no new ones begin.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from ...service.limits import LimitedError, Limits
from ...settings import model
from ...settings.changes import Changes
from ..asgi.denial import deny
from ..asgi.own_pages import misdirected, refuse
from ..exchange.hostrewrite import HostRewrite
from ..exchange.origin import Networks, origin_of
from ..http.faults import RequestError, TooManyError
from ..http.handler import ClientConnection
from ..http.pages import failure
from ..http.share import Share
from ..http.upstream import Upstream
from .forwarding import Forwarding
from .proxied import ProxiedRequest
from .websocket import relay

# Shops without connections that are kept.
KEPT = 1000
# Seconds that exchanges with a removed site may go on.
DRAIN_SECONDS = 60.0


class Proxy:
    """Forwards to the shop at `address`: requests by `handler_for`, WebSockets as an ASGI app.

    `trusted` are the networks of trusted proxies; `host` is the Host sent to the shop, None for the client's
    own. A failure before the response has begun is answered with an error page, 502, 503 or 504; after that
    the client's connection is cut, and the client sees an incomplete message.
    """

    def __init__(
        self,
        address: str,
        limits: model.Upstream,
        trusted: Networks = (),
        host: str | None = None,
        share: Share | None = None,
    ) -> None:
        rewrite = HostRewrite.of(address, host) if host else None
        self.upstream = Upstream(address, limits, rewrite.name if rewrite else None, share)
        self.forwarding = Forwarding(self.upstream.authority, trusted, rewrite, limits.via)
        self._trusted = tuple(trusted)
        self._websocket_idle = float(limits.websocket_idle)

    def handler_for(self, client: ClientConnection, scope: Scope, *, keep_alive: bool) -> ProxiedRequest:
        """A handler that needs no exchange."""
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


class _Wanted(NamedTuple):
    """What a shop is made from; if it changes, new connections are needed."""

    address: str
    limits: model.Upstream
    trusted: tuple[object, ...]
    host: str | None

    @classmethod
    def of(cls, settings: model.Settings, site: model.Site | None) -> "_Wanted | None":
        if site is None or site.upstream is None:
            return None
        return cls(site.upstream, settings.upstream, tuple(settings.trusted_proxies), site.upstream_host)


class Shops:
    """The app behind the reverse proxy: a WebSocket goes to the shop of its host, if `limits` allow."""

    # Set once the service is there, which this app is made before.
    limits: Limits
    site_of: Callable[[str], model.Site | None]

    def __init__(self, settings: model.Settings) -> None:
        self._settings = settings
        self._share = Share(settings.upstream.most_connections)
        self._shops: OrderedDict[str, tuple[_Wanted, Proxy]] = OrderedDict()
        self._draining: set[Proxy] = set()

    def of(self, site: str) -> Proxy | None:
        """The shop of a site, if it has one."""
        found = self._shops.get(site)
        if found is not None:
            self._shops.move_to_end(site)
            return found[1]
        wanted = _Wanted.of(self._settings, self.site_of(site))
        if wanted is None:
            return None
        shop = Proxy(wanted.address, wanted.limits, self._settings.trusted_proxies, wanted.host, self._share)
        self._shops[site] = wanted, shop
        if len(self._shops) > KEPT:
            self._drop_one()
        return shop

    def _drop_one(self) -> None:
        """Drop the least recently used shop, unless it has connections."""
        site, (_, shop) = next(iter(self._shops.items()))
        if shop.upstream.unused:
            del self._shops[site]
        else:
            self._shops.move_to_end(site)

    def swap(self, settings: model.Settings, changes: Changes) -> None:
        """Use these settings for new requests; running exchanges continue unchanged."""
        before, self._settings = self._settings, settings
        if self._share.most != settings.upstream.most_connections:
            # The draining connections belong to the old one.
            self._share = Share(settings.upstream.most_connections)
        same = (before.upstream, before.trusted_proxies) == (settings.upstream, settings.trusted_proxies)
        for site in (*changes.changed, *changes.removed) if same else tuple(self._shops):
            if site not in self._shops:
                continue
            made_from, shop = self._shops[site]
            wanted = _Wanted.of(settings, self.site_of(site))
            if wanted != made_from:
                del self._shops[site]
                self._drain(shop, gone=wanted is None)

    def _drain(self, shop: Proxy, *, gone: bool) -> None:
        self._draining.add(shop)
        shop.upstream.drain(lambda: self._draining.discard(shop))
        if gone:
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, shop.upstream.cut)

    async def reachable(self, site: str) -> bool | None:
        """Whether a connection to the shop of a site can be had; None for a site without one."""
        shop = self.of(site)
        return None if shop is None else await shop.upstream.reachable()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket; 421 for a host that no site has (RFC 9110 §15.5.20), 400 where there is no one host
        (RFC 9112 §3.2)."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await refuse(scope, receive, send, misdirected(scope))
        elif (shop := self.of(site := scope.get("clew.site", ""))) is not None:
            try:
                hold = self.limits.hold("websockets", site, scope["clew.origin"].client)
            except LimitedError as error:
                await deny(scope, send, *failure(TooManyError(str(error), error.wait)))
                return
            with hold:
                await shop(scope, receive, send)
        else:
            await refuse(scope, receive, send, misdirected(scope))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                for shop in (*(shop for _, shop in self._shops.values()), *self._draining):
                    await shop.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
