"""The mitmproxy mount: an addon that drives the exchange, for trying a shop out and looking at its flows.

`clew mitm` starts mitmdump with it; `mitm_script.py` is what mitmproxy's option `scripts` names. In reverse
mode `keep_host_header` has to be on: the addon sees to Host itself. In regular mode, where the browser is set
to use the proxy, the shop keeps its own address.
"""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import uvicorn
from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode

from ...desk import ways
from ...desk.app import desk_app
from ...desk.cookies import without_desk_cookies
from ...desk.here import Here
from ...events.logs import configure_logs
from ...injector.heads import Headers, RequestHead, ResponseHead, tokens, value, without
from ...service.check import checked
from ...service.origin import Origin
from ...service.service import Service
from ...settings.load import SettingsErrors
from ...settings.model import Settings
from ..asgi.ours import inner_scope, refuse
from ..exchange.exchange import Exchange, Ours
from ..exchange.origin import forwarded_headers, is_trusted, origin_of
from ..http.hops import HOP_BY_HOP, connection_options
from .origin import Addresses, leads_away, origin, to_local, to_shop
from .stream import Relay, Relays, take_over
from .view import View

_LOG = logging.getLogger("clew.mitm")
# Names the request for one of our own pages on its way through the port below.
_TICKET = b"x-clew-ticket"
STOP_SECONDS = 2


@dataclass
class Way:
    """What is known of a flow between its hooks."""

    started: float
    addresses: Addresses | None
    ticket: bytes = b""
    exchange: Exchange | None = None
    location: bytes = b""


class Clew:
    """The addon. Its options are `clew_config`, `clew_rewrite` and `clew_open`."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._pages: OwnPages | None = None
        self._view: View | None = None
        self._ready = asyncio.Event()
        self._ways: WeakKeyDictionary[http.HTTPFlow, Way] = WeakKeyDictionary()
        self._relays: Relays = WeakKeyDictionary()

    # -- the life of mitmproxy

    def load(self, loader: Any) -> None:
        """Name the options."""
        loader.add_option("clew_config", str, "", "clew's settings file.")
        loader.add_option(
            "clew_rewrite",
            bool,
            False,
            "In reverse mode: ask the shop under its own name, and keep the browser on the local address.",
        )
        loader.add_option("clew_open", str, "", "The address that is printed when everything is ready.")

    async def running(self) -> None:
        """Start. An error here ends mitmproxy (its addon `errorcheck`)."""
        try:
            settings = self._settings()
            if settings.log == "console":
                self._view = View()
            else:
                configure_logs(settings.log)
            self._service = Service(settings)
            self._check_modes(self._service)
            await self._service.start()
            self._pages = OwnPages(self._service)
            await self._pages.start()
        except SettingsErrors as error:
            _LOG.error("%s", error)
            return
        except Exception as error:
            _LOG.error("clew cannot start: %s", error)
            return
        self._ready.set()
        if self._view is not None:
            self._view.ready(ctx.options.clew_open)

    def _settings(self) -> Settings:
        path = Path(ctx.options.clew_config)
        if not ctx.options.clew_config:
            raise ValueError("the option clew_config names no settings file: --set clew_config=clew.toml")
        return checked(path, os.environ)

    def _check_modes(self, service: Service) -> None:
        for mode in map(ProxyMode.parse, ctx.options.mode):
            if not isinstance(mode, ReverseMode):
                continue
            if not ctx.options.keep_host_header:
                raise ValueError("in reverse mode clew sees to the Host header: --set keep_host_header=true")
            host, port = mode.address
            if ctx.options.clew_rewrite and service.sites.at(f"{host}:{port}") is None:
                file = ctx.options.clew_config
                raise ValueError(f"{file} has no site for {host}: add it to `hosts`, or leave `hosts` out")

    async def done(self) -> None:
        """Stop."""
        if self._service is not None:
            self._service.hub.close()
        if self._pages is not None:
            await self._pages.stop()
        if self._service is not None:
            await self._service.stop()

    def next_layer(self, nextlayer: Any) -> None:
        """Let mitmproxy choose a connection's layers, then have the HTTP layer make streams of ours."""
        ctx.master.addons.get("nextlayer").next_layer(nextlayer)
        take_over(nextlayer.context.layers, self._relays)

    # -- the life of a flow

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Send the request on its way: to the shop, or to our own pages."""
        flow.request.stream = True
        if flow.error is not None:
            return
        await self._ready.wait()
        try:
            await self._request(flow)
        except Exception as error:
            self._fault(error)
            self._past_us(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Take the shop's head; it goes on from here, or later from the stream."""
        flow.response.stream = True
        way = self._ways.get(flow)
        if way is None or flow.response.status_code == 101:
            return
        fields: Headers = list(flow.response.headers.fields)
        way.location = flow.response.headers.get("location", "").encode("utf-8", "surrogateescape")
        try:
            if way.exchange is None:
                self._write_head(flow, way, ResponseHead(flow.response.status_code, fields))
            else:
                self._watch(flow, way, way.exchange)
        except Exception as error:
            self._relays.pop(flow, None)
            flow.response.headers = http.Headers(fields)
            self._fault(error)

    def response(self, flow: http.HTTPFlow) -> None:
        """All bytes of the answer have been sent."""
        self._close(flow, "")

    def error(self, flow: http.HTTPFlow) -> None:
        """The flow has ended before its time."""
        self._close(flow, "" if flow.error is None else flow.error.msg)

    # -- parts

    def _past_us(self, flow: http.HTTPFlow) -> None:
        """Something of ours has failed: the shop gets the request, but nothing of it that is ours."""
        assert self._service is not None
        request = flow.request
        if self._service.sites.own(request.data.path):
            request.stream = False
            flow.response = http.Response.make(503)
        else:
            _write_request(request, without_desk_cookies(_request_headers(request)), as_path=False)

    async def _request(self, flow: http.HTTPFlow) -> None:
        assert self._service is not None
        assert self._pages is not None
        service, settings = self._service, self._service.settings
        trusted = settings.trusted_proxies
        headers = _request_headers(flow.request)
        scheme = "https" if flow.client_conn.tls_established else "http"
        peer = flow.client_conn.peername
        shown = {"headers": headers, "client": peer, "scheme": scheme}
        asked = origin_of(shown, trusted, settings.forwarded_host)
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        addresses = self._addresses(flow, asked) if reverse and ctx.options.clew_rewrite else None
        site = service.sites.at(addresses.authority.decode("latin-1") if addresses else asked.host)
        way = Way(time.monotonic(), addresses)
        path, _, query = flow.request.data.path.partition(b"?")
        if service.sites.is_desk_host(asked.host):
            found = ways.way(service.sites, path)
            if found is None:
                flow.request.stream = False
                flow.response = http.Response.make(404)
                return
            way.ticket = self._pages.expect(Ours(found.path), Here(service, found.site, asked, found))
            self._ways[flow] = way
            self._to_own_pages(flow, way.ticket)
            return
        if site is None:
            service.journal.host_unknown(asked.host, service.sites.hosts)
        if site is not None:
            exchange = Exchange(site, service.clock.now())
            plan = exchange.request(
                RequestHead(
                    flow.request.method,
                    path,
                    query,
                    headers,
                    asked.scheme,
                    asked.host,
                    asked.client,
                    asked.host_forwarded,
                )
            )
            if isinstance(plan, Ours):
                way.ticket = self._pages.expect(plan, Here(service, site, asked))
                self._ways[flow] = way
                self._to_own_pages(flow, way.ticket)
                return
            if plan.watch:
                way.exchange = exchange
                await service.attribution.perform(site, plan.effects)
            elif exchange.fault is not None:
                service.attribution.finish(exchange)
            headers = plan.headers
        elif service.sites.own(path):
            flow.request.stream = False
            flow.response = http.Response.make(421)
            return
        else:
            headers = without_desk_cookies(headers)
        if reverse:
            client = peer[0] if peer else None
            headers = _onward(headers, asked, is_trusted(client, trusted), client)
        if addresses is not None:
            headers = to_shop(headers, addresses)
        self._ways[flow] = way
        _write_request(flow.request, headers, as_path=reverse)

    def _addresses(self, flow: http.HTTPFlow, asked: Origin) -> Addresses:
        request = flow.request
        shop = f"[{request.host}]" if ":" in request.host else request.host
        return Addresses(
            origin(request.data.scheme, f"{shop}:{request.port}".encode()),
            origin(asked.scheme.encode(), asked.host.encode("latin-1")),
        )

    def _to_own_pages(self, flow: http.HTTPFlow, ticket: bytes) -> None:
        assert self._pages is not None
        data = flow.request.data
        data.scheme, data.host, data.port = b"http", "127.0.0.1", self._pages.port
        fields = [pair for pair in flow.request.headers.fields if pair[0].lower() != _TICKET]
        flow.request.headers = http.Headers([*fields, (_TICKET, ticket)])
        if not flow.request.is_http2:
            data.authority = b""

    def _watch(self, flow: http.HTTPFlow, way: Way, exchange: Exchange) -> None:
        relay = Relay(
            exchange,
            lambda head: self._write_head(flow, way, head),
            lambda error: self._close(flow, str(error)),
        )
        headers = [(name.lower(), found) for name, found in flow.response.headers.fields]
        self._relays[flow] = relay
        relay.head(flow.response.status_code, _end_to_end(headers))

    def _write_head(self, flow: http.HTTPFlow, way: Way, head: ResponseHead) -> None:
        """Put a head that goes to the client into the flow."""
        headers = _end_to_end(head.headers)
        if way.addresses is not None:
            try:
                headers = to_local(headers, way.addresses)
            except Exception as error:
                self._fault(error)
        sized = flow.response.is_http2 or "content-length" in flow.response.headers
        flow.response.status_code = head.status
        flow.response.headers = http.Headers(_framed(headers, flow, sized))

    def _close(self, flow: http.HTTPFlow, broken: str) -> None:
        """Count what became of the flow, once, and read the page now that its bytes are gone."""
        way = self._ways.pop(flow, None)
        self._relays.pop(flow, None)
        if way is None or self._service is None:
            return
        if way.ticket and self._pages is not None:
            self._pages.forget(way.ticket)
        if way.exchange is not None:
            self._service.attribution.finish(way.exchange)
        if self._view is None:
            return
        if broken:
            self._view.broken(flow.request.method, flow.request.path, broken)
        elif way.exchange is not None:
            what, why = way.exchange.outcome
            seconds = time.monotonic() - way.started
            self._view.answer(
                what, why, flow.request.method, flow.request.path, flow.response.status_code, seconds
            )
            away = leads_away(way.location, way.addresses) if way.addresses and way.location else None
            if away:
                self._view.away(away.decode("latin-1"))

    def _fault(self, error: Exception) -> None:
        assert self._service is not None
        self._service.journal.emit("fault", site="", where="mitmproxy", error=repr(error))


def _request_headers(request: http.Request) -> Headers:
    """The client's headers, names in lower case, with the target's authority as Host (RFC 9112 §3.2.2)."""
    headers = [(name.lower(), found) for name, found in request.headers.fields]
    authority = request.data.authority
    return [(b"host", authority), *without(headers, b"host")] if authority else headers


def _write_request(request: http.Request, headers: Headers, *, as_path: bool) -> None:
    """Put headers that go to the shop into the request; `as_path`: its target goes out as a mere path."""
    if request.is_http2:
        request.data.authority = value(headers, b"host") or b""
        headers = without(headers, b"host")
    elif as_path:
        request.data.authority = b""
    request.headers = http.Headers(headers)


def _onward(headers: Headers, asked: Origin, trusted: bool, peer: str | None) -> Headers:
    """A request's headers as the reverse proxy would send them; mitmproxy needs some more for its framing."""
    kept = [pair for pair in headers if pair[0] in (b"transfer-encoding", b"expect")]
    if b"close" in tokens(headers, b"connection"):
        kept.append((b"connection", b"close"))
    if (value(headers, b"upgrade") or b"").lower() == b"websocket":
        kept += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    return [*forwarded_headers(headers, asked, trusted, peer), *kept]


_ENDS_HERE = HOP_BY_HOP - {b"transfer-encoding"}


def _end_to_end(headers: Headers) -> Headers:
    """A response's headers without those that end at this hop (RFC 9110 §7.6.1), names in any spelling."""
    connection = [found for name, found in headers if name.lower() == b"connection"]
    named = connection_options(connection)
    kept = [(name, found) for name, found in headers if name.lower() not in _ENDS_HERE | named]
    if any(b"close" in found.lower() for found in connection):
        kept.append((b"connection", b"close"))
    return kept


def _framed(headers: Headers, flow: http.HTTPFlow, sized: bool) -> Headers:
    """Headers with a framing that shows where the body ends, where the shop's own did so (`sized`) and does
    no more: its length has changed, or it came by HTTP/2."""
    status = flow.response.status_code
    bodiless = flow.request.method == "HEAD" or status < 200 or status in (204, 304)
    framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)
    if not sized or bodiless or framed or flow.request.http_version != "HTTP/1.1":
        return headers
    return [*headers, (b"transfer-encoding", b"chunked")]


class OwnPages:
    """Our own pages, served on a port of the loopback address to which mitmproxy sends the requests for them.

    So their answers stream. Only a request with a ticket is answered: whoever else comes to this port would
    be believed to be any visitor of any site.
    """

    def __init__(self, service: Service) -> None:
        self._desk = desk_app()
        self._expected: dict[bytes, tuple[Ours, Here]] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)

    async def start(self) -> None:
        """Listen. Not `Server.serve`, which would take mitmproxy's signal handlers."""
        await self._server.startup(sockets=[self._socket])

    async def stop(self) -> None:
        """End what runs, within two seconds."""
        if self._server.started:
            await self._server.shutdown(sockets=[self._socket])
        self._socket.close()

    def expect(self, plan: Ours, here: Here) -> bytes:
        """A ticket for one request."""
        ticket = secrets.token_hex(16).encode()
        self._expected[ticket] = plan, here
        return ticket

    def forget(self, ticket: bytes) -> None:
        """The request has been answered, or will not come."""
        self._expected.pop(ticket, None)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        found = self._expected.pop(value(scope["headers"], _TICKET) or b"", None)
        if found is None:
            await refuse(scope, receive, send, 421)
            return
        plan, here = found
        scope = {**scope, "headers": without(scope["headers"], _TICKET)}
        await self._desk(inner_scope(scope, plan, here), receive, send)
