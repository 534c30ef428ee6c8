"""Forwards a flow's request to the shop, or to clew's own pages."""

from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ReverseMode

from ...desk import ways
from ...desk.context import RequestContext
from ...desk.cookies import without_desk_cookies
from ...injector.heads import Headers, RequestHead
from ...service.origin import Origin
from ...service.service import Service
from ...service.site import SiteRuntime
from ..exchange.exchange import Exchange, OwnPage
from ..exchange.origin import is_trusted, origin_of
from .addresses import Addresses, origin, to_shop
from .flows import Flows, FlowState
from .headers import onward, request_headers, write_request
from .pages import OwnPages


class Requests:
    """Decides where each request goes, and writes its headers into the flow."""

    def __init__(self, service: Service, pages: OwnPages, flows: Flows) -> None:
        self._service = service
        self._pages = pages
        self._flows = flows

    async def send(self, flow: http.HTTPFlow) -> None:
        """Forward the request."""
        service, settings = self._service, self._service.settings
        headers = request_headers(flow.request)
        scheme = "https" if flow.client_conn.tls_established else "http"
        peer = flow.client_conn.peername
        shown = {"headers": headers, "client": peer, "scheme": scheme}
        origin_seen = origin_of(shown, settings.trusted_proxies, settings.forwarded_host)
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        addresses = _addresses(flow, origin_seen) if reverse and ctx.options.clew_rewrite else None
        path, _, query = flow.request.data.path.partition(b"?")
        if service.sites.is_desk_host(origin_seen.host):
            await self._to_desk(flow, path, origin_seen)
            return
        state = FlowState(self._service.clock.monotonic(), addresses)
        site = service.sites.at(addresses.authority.decode("latin-1") if addresses else origin_seen.host)
        if site is not None:
            head = RequestHead(
                flow.request.method,
                path,
                query,
                headers,
                origin_seen.scheme,
                origin_seen.host,
                origin_seen.client,
                origin_seen.host_forwarded,
            )
            plan = await self._plan(state, site, head)
            if isinstance(plan, OwnPage):
                context = await RequestContext(service, site, origin_seen).whole()
                self._to_own_pages(flow, state, plan, context)
                return
            headers = plan
        else:
            service.events.host_unknown(origin_seen.host, service.sites.hosts)
            if service.sites.own(path):
                _refuse(flow, 421)
                return
            headers = without_desk_cookies(headers)
        if reverse:
            client = peer[0] if peer else None
            headers = onward(headers, origin_seen, is_trusted(client, settings.trusted_proxies), client)
        if addresses is not None:
            headers = to_shop(headers, addresses)
        self._flows[flow] = state
        write_request(flow.request, headers, as_path=reverse)

    def send_unchanged(self, flow: http.HTTPFlow) -> None:
        """After a fault of clew's own: forward the request unchanged, but without the desk's cookies, and
        refuse it if it is for clew."""
        request = flow.request
        if self._service.sites.own(request.data.path):
            _refuse(flow, 503)
        else:
            write_request(request, without_desk_cookies(request_headers(request)), as_path=False)

    async def _plan(self, state: FlowState, site: SiteRuntime, head: RequestHead) -> OwnPage | Headers:
        """The exchange's decision: one of clew's own pages, or the headers for the shop."""
        exchange = Exchange(site, self._service.clock.now())
        plan = exchange.request(head)
        if isinstance(plan, OwnPage):
            return plan
        if plan.watch:
            state.exchange = exchange
            await self._service.attribution.perform(site, plan.effects)
            return exchange.after_effects(plan.headers)
        if exchange.fault is not None:
            self._service.attribution.finish(exchange)
        return plan.headers

    async def _to_desk(self, flow: http.HTTPFlow, path: bytes, origin_seen: Origin) -> None:
        """All paths on the desk's own host belong to clew."""
        found = ways.way(self._service.sites, path)
        if found is None:
            _refuse(flow, 404)
            return
        context = await RequestContext(self._service, found.site, origin_seen, found).whole()
        self._to_own_pages(
            flow, FlowState(self._service.clock.monotonic(), None), OwnPage(found.path), context
        )

    def _to_own_pages(
        self, flow: http.HTTPFlow, state: FlowState, plan: OwnPage, context: RequestContext
    ) -> None:
        state.ticket = self._pages.send(flow, plan, context)
        self._flows[flow] = state


def _addresses(flow: http.HTTPFlow, origin_seen: Origin) -> Addresses:
    request = flow.request
    shop = f"[{request.host}]" if ":" in request.host else request.host
    return Addresses(
        origin(request.data.scheme, f"{shop}:{request.port}".encode()),
        origin(origin_seen.scheme.encode(), origin_seen.host.encode("latin-1")),
    )


def _refuse(flow: http.HTTPFlow, status: int) -> None:
    flow.request.stream = False
    flow.response = http.Response.make(status)
