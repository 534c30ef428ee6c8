"""The server's side of a client's connection: uvicorn's HTTP protocol with limits, and with handlers that do
not use ASGI."""

import asyncio
from collections import deque
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .connection import STALLED_CLIENT
from .handler import ConnectionCounter, HandlerFactory, Place, RequestHandler
from .ignored_upgrade import parser_of_body
from .pages import ALLOW, closing, date
from .target import origin_form

# The size of a request's head in bytes: request line and headers. Shops with 16 KB of cookies exist.
MAX_HEAD = 64 * 1024
HEAD_SECONDS = 30.0
# Pipelined requests that may wait for earlier responses; with more, the connection closes after the last one.
MOST_AHEAD = 100
# A connection that the server closes stays half open for LINGER seconds, and for a multiple of that while the
# client still sends, or still has to read (nginx's lingering_time).
LINGER = 5.0
LINGERS_SENDING = 6
LINGERS_READING = 60

_MALFORMED = b"HTTP/1.1 400 Bad Request\r\n"
_NO_TUNNEL = b"HTTP/1.1 405 Method Not Allowed\r\nallow: " + ALLOW + b"\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\n"
_HEAD_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, extended in two ways.

    An app that has `handler_for` (`HandlerFactory`) is asked for a handler first; a request that has one does
    not use ASGI. And the size and duration of a request's head are limited, which uvicorn does not do.

    A head of more than 64 KB is answered with 431 (RFC 6585 §5), one that is not complete within 30 seconds
    with 408. A fragment in the target is a 400: shops and proxies disagree on its meaning (CVE-2023-47106).
    Responses to earlier requests are sent first, and the connection closes after the last of them.

    `end` closes a connection in steps: if it were closed while received bytes are unread, the system would
    send a reset, and a slow client would lose what was sent to it before (RFC 9112 §9.6).
    """

    # A `RequestHandler`, or uvicorn's own cycle.
    cycle: Any
    pipeline: deque[tuple[Any, Any]]

    _head_open = False
    _head_bytes = 0
    _received = 0
    _shared = False  # this read also held the end of another request
    _websocket = False  # the request opens a WebSocket
    _upgrade_ignored = False  # the head asks for an upgrade that is ignored; its body comes next
    _refusal = _MALFORMED
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _active: Any = None  # the handler or cycle whose answer is being sent
    _discarding = False  # received bytes are discarded
    _discarded = False  # bytes were received since the linger timer last fired
    _lingers = 0
    _linger_timer: asyncio.TimerHandle | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _place: Place | None = None  # among all connections, if the app counts them

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._factory: HandlerFactory | None = self.app if hasattr(self.app, "handler_for") else None
        self._counter: ConnectionCounter | None = self.app if hasattr(self.app, "connected") else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if self._counter is not None:
            self._place = self._counter.connected(self, self.client[0] if self.client else None)
            if self._place is None:
                self._discarding = True
                transport.write(closing(_TOO_MANY))
                transport.close()
                return
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._cancel_head_timer()
        self._leave()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        active, self._active = self._active, None
        if isinstance(active, RequestHandler):
            active.client_gone()
        elif active is not None and not active.response_complete:
            # uvicorn notifies the app of the last request only.
            active.disconnected = True
            active.message_event.set()
        if isinstance(self.cycle, RequestHandler):
            self.cycle.client_gone()
            self.cycle = None
        self.pipeline.clear()
        super().connection_lost(exc)
        # It refers to this, and so both would wait for the garbage collector.
        self.cycle = None

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._discarding:
            self._discarded = True
            return
        self._received, self._shared = len(data), False
        self._parse(data)
        if self._head_open:
            # Where a head begins within a read, its share of the bytes is unknown.
            self._head_bytes += 1 if self._shared else len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse(_TOO_LARGE)
            elif self._head_timer is None:
                # Only a head that arrives in several reads needs a timer.
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timed_out)

    def _parse(self, data: bytes) -> None:
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    if not self._upgrade_ignored:
                        self.handle_websocket_upgrade()
                        return
                    data = data[upgrade.args[0] :]
                self._upgrade_ignored = False
                follower = parser_of_body(self, self.parser, self.headers)
                if follower is None:
                    self.on_message_complete()
                else:
                    self.parser = follower
        except httptools.HttpParserError:
            self.send_400_response("")

    def _is_websocket(self) -> bool:
        """Whether the head asks for a WebSocket. The WebSocket protocol answers a faulty handshake.

        Any other Upgrade is ignored, as RFC 9110 §7.8 allows, and requires for HTTP/1.0."""
        if self.parser.get_http_version() != "1.1":
            return False
        protocols = [value.strip(b" \t").lower() for name, value in self.headers if name == b"upgrade"]
        return protocols == [b"websocket"] and self._should_upgrade_to_ws()

    def on_message_begin(self) -> None:
        """A request starts."""
        if self._place is not None:
            self._place.busy()
        self._head_open, self._head_bytes = True, 0
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. Fields after the body are trailers, and are not treated as headers."""
        if self._head_open:
            # Whitespace around a value is no part of it (RFC 9112 §5.1); the parser keeps it at the end.
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete. An exception raised here leads to `send_400_response`."""
        self._head_open = False
        if self._discarding:
            raise ValueError("the connection closes after the response before this one")
        if self._head_timer is not None:
            self._cancel_head_timer()
        if self._head_bytes or self._received > MAX_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD:
                self._refusal = _TOO_LARGE
        if self._refusal is not _MALFORMED or b"#" in self.url:
            raise ValueError("the head is too large, or the target has a fragment")
        upgrade = self.parser.should_upgrade()
        if not self.url.startswith(b"/"):
            method, version = self.parser.get_method(), self.parser.get_http_version()
            self.url, self.headers = origin_form(method, self.url, self.headers, version)
        if upgrade and self.parser.get_method() == b"CONNECT":
            # What follows is not HTTP (RFC 9110 §9.3.6): the connection closes after the refusal.
            self._refusal = _NO_TUNNEL
            raise ValueError("CONNECT")
        self._websocket = upgrade and self._is_websocket()
        self._upgrade_ignored = upgrade and not self._websocket
        waits = self.cycle is not None and not self.cycle.response_complete
        if waits and (len(self.pipeline) >= MOST_AHEAD or self._websocket):
            raise ValueError("too many pipelined requests, or an upgrade before an earlier response")
        handler = self._handler()
        if handler is None:
            self._start_asgi()
            return
        self.cycle = handler
        if waits:
            # Responses are sent in the order of their requests.
            self.flow.pause_reading()
            self.pipeline.appendleft((handler, self.app))
        else:
            self._active = handler
            handler.start()

    def _handler(self) -> RequestHandler | None:
        parser = self.parser
        if self._factory is None or self._websocket:
            return None
        path, _, query = self.url.partition(b"?")
        method = parser.get_method()
        scope = {
            "type": "http",
            "http_version": parser.get_http_version(),
            "method": "GET" if method == b"GET" else method.decode("ascii"),
            "scheme": self.scheme,
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
            "client": self.client,
        }
        return self._factory.handler_for(self, scope, keep_alive=parser.should_keep_alive())

    def _start_asgi(self) -> None:
        """Let uvicorn run the ASGI app."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        if not self._websocket:
            self.cycle.transport = _LingeringTransport(self)
            self.cycle.default_headers = [date()]

    def _should_upgrade(self) -> bool:
        return self._websocket

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if isinstance(self.cycle, RequestHandler):
            self.cycle.body_received(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if self._upgrade_ignored:
            return  # its body has not been read yet
        self._shared = True
        if isinstance(self.cycle, RequestHandler):
            self.cycle.body_complete()
        else:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._active = cycle
        if isinstance(cycle, RequestHandler):
            cycle.start()
        else:
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer has been sent. One timer for each connection watches its idle time."""
        self.server_state.total_requests += 1
        if self._linger_timer is not None or self.transport.is_closing():
            return
        if self._head_timer is not None and self.flow.read_paused:
            # Reading was paused within a head: its time starts now.
            self._cancel_head_timer()
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timed_out)
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            if self.pipeline:
                self.flow.pause_reading()
            return
        if self._place is not None and not self._head_open:
            self._place.waits()
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_idle)

    def handle_websocket_upgrade(self) -> None:
        """Another protocol takes over; WebSockets have limits of their own."""
        self._leave()
        super().handle_websocket_upgrade()

    def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()

    def _end_idle(self) -> None:
        self._idle_timer = None
        if self._linger_timer is not None or self.transport.is_closing():
            return
        if self not in self.connections:  # it is a WebSocket now
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if self._head_open or (self.cycle is not None and not self.cycle.response_complete):
            left = self.timeout_keep_alive
        if left <= 0:
            self.transport.close()
        else:
            self._idle_timer = self.loop.call_later(left, self._end_idle)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALLED_CLIENT, self._abort_stalled)

    def resume_writing(self) -> None:
        """The client has read what was written."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        if isinstance(self._active, RequestHandler):
            self._active.client_ready()

    def _abort_stalled(self) -> None:
        if self in self.connections:  # else it is a WebSocket
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse the request and close."""
        if self._linger_timer is not None or self.transport.is_closing():
            return
        self._discarding = True
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            if cycle is self._active:
                self._malformed(cycle)
                return
            self.pipeline.popleft()
            cycle = self.cycle = self.pipeline[0][0] if self.pipeline else self._active
        if cycle is None or cycle.response_complete:
            # Otherwise the request has been answered already.
            if not (isinstance(cycle, RequestHandler) and cycle.more_body):
                self.transport.write(closing(self._refusal))
            self.end()
        else:
            # Answers to earlier requests are being sent: nothing may be written between their bytes.
            cycle.keep_alive = False

    def _malformed(self, cycle: Any) -> None:
        if isinstance(cycle, RequestHandler):
            cycle.body_malformed()
        else:
            if not cycle.response_started:
                self.transport.write(closing(self._refusal))
            cycle.disconnected = True
            cycle.message_event.set()
            self.end()

    def end(self) -> None:
        """Close the connection once the client has had time to read what was written."""
        if self._linger_timer is not None or self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self._discarding = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._linger_timer = self.loop.call_later(LINGER, self._linger)

    def shutdown(self) -> None:
        """The server shuts down."""
        if self._linger_timer is None:
            super().shutdown()

    def _linger(self) -> None:
        self._lingers += 1
        heard, self._discarded = self._discarded, False
        unread = self.transport.get_write_buffer_size() > 0
        if self._lingers < (LINGERS_READING if unread else LINGERS_SENDING if heard else 0):
            self._linger_timer = self.loop.call_later(LINGER, self._linger)
        else:
            self.transport.abort()

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:
            # Reading is paused by the server, not delayed by the client.
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timed_out)
        else:
            self._refuse(_HEAD_TIMEOUT)

    def _refuse(self, refusal: bytes) -> None:
        self._refusal = refusal
        self.send_400_response("")

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _LingeringTransport:
    """The transport given to uvicorn's request cycle: closing it lingers."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.end
