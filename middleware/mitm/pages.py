"""clew's own pages, served on a loopback port to which mitmproxy forwards the requests, so that responses
stream.

Only requests with a ticket are answered. Without it, another process that finds the port could pass for any
visitor of any site.
"""

import secrets
import socket

import uvicorn
from mitmproxy import http
from starlette.types import Receive, Scope, Send

from ...desk.app import desk_app
from ...desk.context import RequestContext
from ...injector.heads import value, without
from ..asgi.own_pages import inner_scope, refuse
from ..exchange.exchange import OwnPage

# Identifies a forwarded request.
_TICKET = b"x-clew-ticket"
STOP_SECONDS = 2


class OwnPages:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._desk = desk_app()
        self._expected: dict[bytes, tuple[OwnPage, RequestContext]] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
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
        """Listen. `Server.serve` would replace mitmproxy's signal handlers."""
        await self._server.startup(sockets=[self._socket])

    async def stop(self) -> None:
        """Stop; requests in progress get two seconds."""
        if self._server.started:
            await self._server.shutdown(sockets=[self._socket])
        self._socket.close()

    def send(self, flow: http.HTTPFlow, plan: OwnPage, context: RequestContext) -> bytes:
        """Make mitmproxy send a flow's request to the port. Returns its ticket."""
        ticket = secrets.token_hex(16).encode()
        self._expected[ticket] = plan, context
        data = flow.request.data
        data.scheme, data.host, data.port = b"http", "127.0.0.1", self._port
        fields = [pair for pair in flow.request.headers.fields if pair[0].lower() != _TICKET]
        flow.request.headers = http.Headers([*fields, (_TICKET, ticket)])
        if not flow.request.is_http2:
            data.authority = b""
        return ticket

    def forget(self, ticket: bytes) -> None:
        """The request was answered, or will not arrive."""
        self._expected.pop(ticket, None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._expected.pop(value(scope["headers"], _TICKET) or b"", None)
        if found is None:
            await refuse(scope, receive, send, 421)
            return
        plan, context = found
        scope = {**scope, "headers": without(scope["headers"], _TICKET)}
        await self._desk(inner_scope(scope, plan, context), receive, send)
