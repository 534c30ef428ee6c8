"""The server's side of a client's connection: uvicorn's, bounded, with a door of its own to the shop."""

import asyncio
from collections import deque
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .passage import Passage

# A request's head: the request line, all headers. Shops with 16 KB of cookies exist.
MAX_HEAD = 64 * 1024
HEAD_SECONDS = 30.0

_CLOSING = b"connection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _CLOSING
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSING


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with two things more.

    An app that has a `passage` is asked for it first: what goes to the shop takes that way, without ASGI in
    between, and nothing of ASGI is made for it. And by itself the protocol takes a request's head however
    long it is or takes.

    A head of more than 64 KB is answered with 431 (RFC 6585 §5), one that does not come to its end within
    30 seconds with 408. A fragment in the target is a 400: shops and proxies disagree on what it means
    (CVE-2023-47106).
    """

    # A passage, or uvicorn's own.
    cycle: Any
    pipeline: deque[tuple[Any, Any]]

    _head_open = False
    _head_bytes = 0
    _received = 0
    _refusal = b""
    _late: asyncio.TimerHandle | None = None
    _active: Passage | None = None  # whose answer is going out
    _idle: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ask = getattr(self.app, "passage", None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_LATE)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._in_time()
        if self._idle is not None:
            self._idle.cancel()
        active, self._active = self._active, None
        if active is not None:
            active.gone()
        if isinstance(self.cycle, Passage):
            self.cycle.gone()
            self.cycle = None
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._received = len(data)
        super().data_received(data)
        if self._head_open:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse(_TOO_LARGE)
            elif self._late is None:
                # Only a head that came in pieces needs a timer.
                self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_LATE)

    def on_message_begin(self) -> None:
        """A request starts."""
        self._head_open, self._head_bytes = True, 0
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. Those after the body are trailers, which nobody here may take for headers."""
        if self._head_open:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete. What is raised here ends in `send_400_response`."""
        self._head_open = False
        if self._late is not None:
            self._in_time()
        if self._head_bytes or self._received > MAX_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD:
                self._refusal = _TOO_LARGE
        if self._refusal or b"#" in self.url:
            raise ValueError("a head too large, or a fragment")
        passage = self._passage()
        if passage is None:
            self._asgi()
            return
        before, self.cycle = self.cycle, passage
        if before is None or before.response_complete:
            self._active = passage
            passage.start()
        else:
            # Answers go out in the order of their requests.
            self.flow.pause_reading()
            self.pipeline.appendleft((passage, self.app))

    def _passage(self) -> Passage | None:
        parser = self.parser
        if self._ask is None or (parser.should_upgrade() and self._should_upgrade()):
            return None
        url = httptools.parse_url(self.url)
        scope = {
            "type": "http",
            "http_version": parser.get_http_version(),
            "method": parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "client": self.client,
        }
        passage: Passage | None = self._ask(
            self,
            scope,
            keep_alive=parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        return passage

    def _asgi(self) -> None:
        """Everything as uvicorn does it."""
        url, headers, expects_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects_continue
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if isinstance(self.cycle, Passage):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if isinstance(self.cycle, Passage):
            self.cycle.fed()
        else:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Passage):
            self._active = cycle
            cycle.start()
        else:
            self._active = None
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer is out. The connection's idle time is watched by one timer, not by one an answer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._end_idle)

    def _end_idle(self) -> None:
        self._idle = None
        if self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if self._head_open or (self.cycle is not None and not self.cycle.response_complete):
            left = self.timeout_keep_alive
        if left <= 0:
            self.transport.close()
        else:
            self._idle = self.loop.call_later(left, self._end_idle)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._active is not None:
            self._active.resumed()

    def send_400_response(self, msg: str) -> None:
        """Refuse the request and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if isinstance(self.cycle, Passage) and self.cycle is self._active and self.cycle.more_body:
                self.cycle.malformed()
            # Else the answer to an earlier request is under way: nothing may be written into it.
            self.transport.close()
        elif not self._refusal:
            super().send_400_response(msg)
        else:
            self.transport.write(self._refusal)
            self.transport.close()

    def _refuse(self, refusal: bytes) -> None:
        self._refusal = refusal
        self.send_400_response("")

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
