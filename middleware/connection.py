"""One connection to the shop, and one exchange on it at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from ..injector.heads import Headers, value
from .faults import (
    BrokenError,
    ClientGoneError,
    RequestError,
    StaleError,
    UpstreamError,
    UpstreamTimeoutError,
)
from .wire import ResponseReader

# Reading stops while this much of a body waits for its reader.
HIGH_WATER = 32 * 1024
# A page comes in one large read. What goes on after that comes in small ones: a slow client then holds little
# memory (what its own connection has not taken yet, a read on the way there, a read that waits).
LARGE_READ = 128 * 1024
SMALL_READ = 32 * 1024
# A client that takes nothing of what waits for it, or sends nothing of what it announced, so long is gone.
STALLED_CLIENT = 300.0
# An exchange is watched for its client's leaving once it lasts longer than this: short ones cost no task.
WATCH_AFTER = 0.2

Gone = Callable[[], Awaitable[object]]
Released = Callable[["Connection", bool], None]


@dataclass(frozen=True, slots=True)
class Phases:
    """The limits of an exchange, in seconds."""

    response: float
    idle: float
    keep_alive: float


class UpstreamResponse:
    """The shop's answer: its head is there, its body is read with `read()` or `async for`.

    `headers` are end-to-end fields only. Not read to the end, it must be closed: that closes the connection,
    since the rest of a body nobody wants may be long. Not made by users: `Upstream.send` returns one.
    """

    __slots__ = ("_connection", "_error", "_loop", "_waiter", "gone", "headers", "reader", "status")

    def __init__(self, connection: "Connection", reader: ResponseReader, gone: Gone | None) -> None:
        self.status = 0
        self.headers: Headers = []
        self.reader = reader
        self.gone = gone
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether the whole body has come and was read."""
        return self.reader.complete and not self.reader.chunks

    @property
    def trailers(self) -> Headers:
        """The trailer fields (RFC 9110 §6.5), once the body has ended."""
        return self.reader.trailers

    async def head(self) -> None:
        """Wait for the final head. Raises what ended the exchange before it."""
        while not self.reader.status:
            if self._error is not None:
                raise self._error
            await self._more()
        self.status = self.reader.status
        self.headers = self.reader.headers

    async def read(self) -> bytes:
        """The next bytes of the body, empty once it has ended.

        Raises UpstreamError when it cannot be brought to its end: what was read is then an incomplete body.
        """
        reader = self.reader
        while not reader.chunks:
            if self._error is not None:
                raise self._error
            if reader.complete:
                return b""
            await self._more()
        data = reader.take()
        if self._connection is not None:
            self._connection.taken()
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    def close(self) -> None:
        """Give up what has not come yet."""
        if self._connection is not None:
            self._connection.fail(BrokenError("the answer was given up"))

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After 101: the connection itself, not reading, and what it received behind the head."""
        connection, self._connection = self._connection, None
        if self.status != 101 or connection is None:
            raise BrokenError("the shop closed the connection at the switch of protocols")
        return connection.leave(), self.reader.take()

    def over(self, error: Exception | None) -> None:
        """The connection is done with this exchange; `error` says why it did not end well."""
        self._connection = None
        self._error = error
        self.wake()

    def wake(self) -> None:
        """Something has changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Connection(asyncio.BufferedProtocol):
    """The asyncio side of one connection.

    `buffer` is shared by all connections of a thread: it is filled and emptied within one call of the loop.
    `released` is called once for each exchange, with whether another may follow; `lost` once, at the end.
    """

    __slots__ = (
        "_gate",
        "_lost",
        "_paused",
        "_phases",
        "_received",
        "_released",
        "_response",
        "_small",
        "_upload",
        "_uploaded",
        "_view",
        "_watch",
        "active_at",
        "born_at",
        "fileno",
        "idle_limit",
        "loop",
        "started_at",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        phases: Phases,
        released: Released,
        lost: Callable[["Connection"], None],
    ) -> None:
        self.loop = loop
        self.transport: asyncio.Transport
        self.fileno = -1
        self.born_at = self.active_at = self.started_at = loop.time()
        self.idle_limit = phases.keep_alive
        self._view = buffer
        self._small = buffer[:SMALL_READ]
        self._phases = phases
        self._released = released
        self._lost = lost
        self._response: UpstreamResponse | None = None
        self._received = 0
        self._paused = False
        self._gate: asyncio.Future[None] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._uploaded = True
        self._watch: asyncio.Task[None] | None = None

    # -- an exchange

    def begin(
        self,
        request: bytes,
        reader: ResponseReader,
        body: AsyncIterator[bytes] | None = None,
        length: int | None = None,
        gone: Gone | None = None,
    ) -> UpstreamResponse:
        """Send a request, and its body beside everything else. `length` None means chunks."""
        response = self._response = UpstreamResponse(self, reader, gone)
        self._received = 0
        self.active_at = self.started_at = self.loop.time()
        self.transport.write(request)
        if body is not None:
            self._uploaded = False
            self._upload = self.loop.create_task(self._send(body, length))
        return response

    async def _send(self, body: AsyncIterator[bytes], length: int | None) -> None:
        write, left = self.transport.write, length
        try:
            async for data in body:
                if left is None:
                    if data:
                        write(b"%x\r\n%b\r\n" % (len(data), data))
                else:
                    left -= len(data)
                    if left < 0:
                        raise RequestError("the request's body is longer than its Content-Length")
                    write(data)
                self.active_at = self.loop.time()
                if self._gate is not None:
                    await self._gate
                    self.active_at = self.loop.time()
                if left == 0:
                    break
            if left:
                raise RequestError("the request's body is shorter than its Content-Length")
            if left is None:
                write(b"0\r\n\r\n")
            self._uploaded = True
        except Exception as error:
            self.fail(error)

    def taken(self) -> None:
        """The reader took what had been received."""
        self.active_at = self.loop.time()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def fail(self, error: Exception) -> None:
        """End the exchange, and the connection with it."""
        response = self._response
        if response is not None:
            self._response = None
            self._stop_tasks()
            self.transport.abort()
            self._released(self, False)
            response.over(error)

    def leave(self) -> asyncio.Transport:
        """Let go of the transport, which another protocol takes over."""
        if not self._paused:
            self.transport.pause_reading()
        self._response = None
        self._stop_tasks()
        self._released(self, False)
        self._lost(self)
        return self.transport

    def _finish(self, response: UpstreamResponse) -> None:
        reader = response.reader
        reusable = reader.reusable and self._uploaded and not self.transport.is_closing()
        if reader.keep_alive is not None:
            # A second less than the shop says, for the way there (Node: 5 s, Apache: 5 s).
            self.idle_limit = min(self._phases.keep_alive, reader.keep_alive - 1)
        self._response = None
        self._stop_tasks()
        if not reusable:
            self.transport.abort()
        elif self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._released(self, reusable)
        response.over(None)

    def _stop_tasks(self) -> None:
        for task in (self._upload, self._watch):
            if task is not None:
                task.cancel()
        self._upload = self._watch = None

    # -- time

    def check(self, now: float) -> None:
        """End what takes too long. Called a few times a second for all connections, instead of timers."""
        response, quiet = self._response, now - self.active_at
        if response is None:
            if quiet > self.idle_limit:
                self.transport.abort()
            return
        reader = response.reader
        sending = self._upload is not None and not self._uploaded
        if reader.chunks or (sending and self._gate is None):
            if quiet > STALLED_CLIENT:
                self.fail(ClientGoneError(f"the client did nothing for {STALLED_CLIENT:.0f} s"))
        elif not reader.status:
            if quiet > self._phases.response:
                self.fail(UpstreamTimeoutError(f"no answer within {self._phases.response:g} s"))
        elif quiet > self._phases.idle and not _endless(reader):
            self.fail(UpstreamTimeoutError(f"nothing within the body for {self._phases.idle:g} s"))
        if self._watch is None and not sending and response.gone and now - self.started_at > WATCH_AFTER:
            self._watch = self.loop.create_task(self._see_off(response.gone))

    async def _see_off(self, gone: Gone) -> None:
        try:
            await gone()
        except Exception as error:
            self.fail(error)
        else:
            self.fail(ClientGoneError("the client closed the connection"))

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, TLS included."""
        # uvloop's transports are asyncio's by behaviour, not by class.
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        self.fileno = -1 if sock is None else sock.fileno()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop receives into."""
        if self._received == 0:
            return self._view
        left = LARGE_READ - self._received
        return self._view[:left] if left > SMALL_READ else self._small

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` were received."""
        response = self._response
        if response is None:
            # An answer nobody asked for: it must not become the next request's.
            self.transport.abort()
            return
        self._received += nbytes
        self.active_at = self.loop.time()
        reader = response.reader
        try:
            reader.feed(self._view[:nbytes])
        except UpstreamError as error:
            self.fail(error)
            return
        if reader.complete:
            self._finish(response)
            return
        if reader.buffered >= HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        if reader.status >= 300 and self._upload is not None and not self._uploaded:
            # Refused while still sending: stop (RFC 9112 §9.5), and read the answer to its end.
            self._upload.cancel()
            self._upload = None
        response.wake()

    def eof_received(self) -> None:
        """The shop sends no more; the transport closes itself after this."""
        response = self._response
        if response is not None:
            try:
                response.reader.eof()
            except UpstreamError as error:
                self.fail(error if response.reader.started else StaleError("closed without an answer"))
            else:
                self._finish(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.resume_writing()
        self._lost(self)
        response = self._response
        if response is not None:
            kind = BrokenError if response.reader.started else StaleError
            self.fail(kind(f"the shop closed the connection{f': {exc}' if exc else ''}"))

    def pause_writing(self) -> None:
        """The shop reads slower than the client sends."""
        self._gate = self.loop.create_future()

    def resume_writing(self) -> None:
        """The shop has caught up."""
        gate, self._gate = self._gate, None
        if gate is not None and not gate.done():
            gate.set_result(None)


def _endless(reader: ResponseReader) -> bool:
    """Events come when something happens (text/event-stream); 101 has no body at all."""
    kind = value(reader.headers, b"content-type") or b""
    return reader.status == 101 or kind.lower().startswith(b"text/event-stream")
