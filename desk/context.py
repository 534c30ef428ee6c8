"""Where a request below the prefix stands: the running service, the site, and who asked."""

import dataclasses

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request

from ..service.limits import Hold, Own
from ..service.origin import Origin
from ..service.service import Service
from ..service.site import SiteRuntime
from ..settings.hosts import host_key
from ..stores.ledger.agents import Place
from .ways import Way


class RequestContext(Struct, frozen=True):
    """Put into `scope["clew"]` by the mount. `way` is there on the desk's own host, None elsewhere."""

    service: Service
    site: SiteRuntime
    origin: Origin
    way: Way | None = None

    async def whole(self) -> "RequestContext":
        """The same with the site's rules: if it is being compiled, once it is."""
        if self.site.ready:
            return self
        site = await self.service.sites.whole(self.site.name)
        return replace(self, site=site, way=self.way and dataclasses.replace(self.way, site=site))

    @property
    def chosen(self) -> str | None:
        """The name of the site that the request is for; None on the desk's host before one is chosen."""
        return self.site.name if self.way is None or self.way.chosen else None

    @property
    def shop_host(self) -> str:
        """The shop's host, as far as this request tells: empty on the desk's own host."""
        return "" if self.way else self.origin.host

    def is_shop(self, host: str) -> bool:
        """Whether a page's host is one of the site's, or the one of this request."""
        return self.site.landing.is_own(host, self.shop_host)

    @property
    def root(self) -> str:
        """What stands before our own paths in the address."""
        return self.site.prefix.rstrip("/") if self.way is None else self.way.root

    def take(self, limit: str, *, cost: float = 1, own: Own | None = None) -> None:
        """Count one more of a limit for this client and site; see `Limits.take`. Raises LimitedError."""
        self.service.limits.take(limit, self.site.name, self.origin.client, cost=cost, own=own)

    def hold(self, limit: str) -> Hold:
        """Hold one more of a limit for this client and site; see `Limits.hold`. Raises LimitedError."""
        return self.service.limits.hold(limit, self.site.name, self.origin.client)

    @property
    def place(self) -> Place:
        """Where a desk session that is opened here belongs."""
        return Place(None if self.way else self.site.name, host_key(self.origin.host))


def request_context(request: Request) -> RequestContext:
    """The `RequestContext` of a request."""
    found = request.scope["clew"]
    assert isinstance(found, RequestContext)
    return found
