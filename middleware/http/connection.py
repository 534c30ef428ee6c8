"""A connection to the shop; it carries one exchange at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol, cast

from ...injector.heads import Headers, value
from .faults import (
    BrokenError,
    ClientGoneError,
    StaleError,
    UpstreamError,
    UpstreamTimeoutError,
)
from .slots import NOBODY
from .wire import BORROW_ABOVE, ResponseReader

# Reading stops while this much of a body waits for its reader.
HIGH_WATER = 32 * 1024
# Reads are large while the client keeps up, and small from the first time that it does not: a slow client
# then uses little memory (the unsent bytes of its connection, and one read that waits).
LARGE_READ = 128 * 1024
SMALL_READ = 32 * 1024
# A client that neither reads the response nor sends the announced body for this many seconds counts as gone.
STALLED_CLIENT = 300.0
Released = Callable[["Connection", bool], None]


@dataclass(frozen=True, slots=True)
class Phases:
    """The limits of an exchange, in seconds."""

    response: float
    idle: float
    keep_alive: float


class Taker(Protocol):
    """Takes the response from the reader. Called from the connection's own callbacks."""

    def answer_ready(self) -> None:
        """The reader has more of the response."""

    def shop_ready(self) -> None:
        """The shop accepts more of the request's body, after `upload` returned False."""

    def exchange_over(self, error: Exception | None) -> None:
        """The exchange is over: the reader has the whole response, or `error` is why it is incomplete."""

    def has_unsent(self) -> bool:
        """Whether views of the receive buffer have not been sent yet."""


class ReceiveBuffer:
    """The buffer into which all connections of a thread receive: filled, and nearly always emptied, within
    one callback of the loop."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Take new memory; the old is still being sent from."""
        self.large = memoryview(bytearray(LARGE_READ))
        self.small = self.large[:SMALL_READ]


class UpstreamResponse:
    """A response to await: its head with `head()`, its body with `read()` or `async for`.

    `headers` are end-to-end fields only. If it is not read to the end, it must be closed, which closes the
    connection: the rest of the body may be long. It is the `Taker` of the connection's exchange.
    """

    def __init__(self, connection: "Connection", reader: ResponseReader) -> None:
        self.status = 0
        self.headers: Headers = []
        self.reader = reader
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether the whole body has been received and read."""
        return self.reader.complete and not self.reader.chunks

    async def head(self) -> None:
        """Wait for the final head. Raises the error that ended the exchange before it."""
        while not self.reader.status:
            if self._error is not None:
                raise self._error
            await self._more()
        self.status = self.reader.status
        self.headers = self.reader.headers

    async def read(self) -> bytes | memoryview:
        """The next bytes of the body, empty once it has ended.

        Raises UpstreamError if the body cannot be completed: what was read is then an incomplete body.
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

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        while data := await self.read():
            yield data

    def close(self) -> None:
        """Stop the exchange."""
        if self._connection is not None:
            self._connection.fail(BrokenError("the response was abandoned"))

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: the transport, with reading paused, and the bytes received after the head."""
        connection, self._connection = self._connection, None
        if self.status != 101 or connection is None:
            raise BrokenError("the shop closed the connection while switching protocols")
        return connection.leave(), bytes(self.reader.take())

    def exchange_over(self, error: Exception | None) -> None:
        """The connection is done with this exchange; `error` says why it did not end well."""
        self._connection = None
        self._error = error
        self.answer_ready()

    def answer_ready(self) -> None:
        """Something has changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def shop_ready(self) -> None:
        """Not used: a handshake has no body."""

    def has_unsent(self) -> bool:
        """Always False: it copies the bytes it takes."""
        return False

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Connection(asyncio.BufferedProtocol):
    """The asyncio side of one connection.

    `released` is called once for each exchange, with whether another may follow; `lost` once, at the end.
    """

    __slots__ = (
        "_buffer",
        "_choked",
        "_lost",
        "_paused",
        "_phases",
        "_reader",
        "_released",
        "_slow",
        "_taker",
        "_uploading",
        "active_at",
        "born_at",
        "fileno",
        "idle_limit",
        "loop",
        "transport",
        "use",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: ReceiveBuffer,
        phases: Phases,
        released: Released,
        lost: Callable[["Connection"], None],
    ) -> None:
        self.loop = loop
        self.transport: asyncio.Transport
        self.use = NOBODY
        self.fileno = -1
        self.born_at = self.active_at = loop.time()
        self.idle_limit = phases.keep_alive
        self._buffer = buffer
        self._phases = phases
        self._released = released
        self._lost = lost
        self._taker: Taker | None = None
        self._reader: ResponseReader
        self._paused = False  # nothing is read from the shop
        self._slow = False  # the client has been slower than the shop in this exchange
        self._choked = False  # the shop is slower than the client
        self._uploading = False

    # -- an exchange

    def begin(self, request: bytes, reader: ResponseReader, taker: Taker, *, uploading: bool = False) -> None:
        """Send a request. With `uploading` its body follows, by `upload` and `uploaded`."""
        self._taker, self._reader = taker, reader
        self._slow, self._uploading = False, uploading
        self.active_at = self.loop.time()
        self.transport.write(request)

    def give_up(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def upload(self, data: bytes) -> bool:
        """Send a piece of the request's body, already framed. Returns False if the caller has to wait for
        `shop_ready`."""
        if self._uploading:
            self.active_at = self.loop.time()
            self.transport.write(data)
        return not self._choked

    def uploaded(self) -> None:
        """The request's body is complete."""
        self._uploading = False
        self.active_at = self.loop.time()

    def taken(self) -> None:
        """The taker has read the reader, or can read more."""
        self.active_at = self.loop.time()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def hold(self) -> None:
        """The client reads slowly: stop reading from the shop until `taken`."""
        self._slow = True
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def fail(self, error: Exception) -> None:
        """End the exchange, and the connection with it."""
        taker, self._taker = self._taker, None
        if taker is not None:
            self.transport.abort()
            self._released(self, False)
            taker.exchange_over(error)

    def leave(self) -> asyncio.Transport:
        """Release the transport, which another protocol takes over."""
        if not self._paused:
            self.transport.pause_reading()
        self._taker = None
        self._released(self, False)
        self._lost(self)
        return self.transport

    def _finish(self, taker: Taker, reader: ResponseReader) -> None:
        reusable = reader.reusable and not self._uploading and not self.transport.is_closing()
        if reader.keep_alive is not None:
            # A second less than the shop states, for the network (Node: 5 s, Apache: 5 s).
            self.idle_limit = min(self._phases.keep_alive, reader.keep_alive - 1)
        self._taker = None
        if not reusable:
            self.transport.abort()
        elif self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._released(self, reusable)
        taker.exchange_over(None)

    # -- time

    def check(self, now: float) -> None:
        """End an exchange that takes too long. Called a few times a second for all connections, instead of
        a timer for each."""
        quiet = now - self.active_at
        if self._taker is None:
            if quiet > self.idle_limit:
                self.transport.abort()
            return
        reader = self._reader
        if self._paused or reader.chunks or (self._uploading and not self._choked):
            if quiet > STALLED_CLIENT:
                self.fail(ClientGoneError(f"the client did nothing for {STALLED_CLIENT:.0f} s"))
        elif not reader.status:
            if quiet > self._phases.response:
                self.fail(UpstreamTimeoutError(f"no answer within {self._phases.response:g} s"))
        elif quiet > self._phases.idle and not _endless(reader):
            self.fail(UpstreamTimeoutError(f"nothing within the body for {self._phases.idle:g} s"))

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open, TLS included."""
        # uvloop's transports are asyncio's by behaviour, not by class.
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        self.fileno = -1 if sock is None else sock.fileno()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop receives into."""
        return self._buffer.small if self._slow else self._buffer.large

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` were received."""
        taker = self._taker
        if taker is None:
            # A response without a request must not become the response to the next one.
            self.transport.abort()
            return
        reader = self._reader
        self._received(taker, reader, self._buffer.large[:nbytes])
        if nbytes > BORROW_ABOVE:
            reader.copy_borrowed()
            if taker.has_unsent():
                self._buffer.renew()

    def _received(self, taker: Taker, reader: ResponseReader, data: memoryview) -> None:
        self.active_at = self.loop.time()
        try:
            reader.feed(data)
        except UpstreamError as error:
            self.fail(error)
            return
        if reader.complete:
            self._finish(taker, reader)
            return
        if reader.status >= 300:
            # Refused during the upload: stop sending (RFC 9112 §9.5), and read the response to its end. The
            # connection is not used again.
            reader.reusable = reader.reusable and not self._uploading
            self._uploading = False
        taker.answer_ready()
        if reader.buffered >= HIGH_WATER and not self._paused and self._taker is taker:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """The shop has closed its side; the transport closes itself after this."""
        taker = self._taker
        if taker is not None:
            reader = self._reader
            try:
                reader.eof()
            except UpstreamError as error:
                self.fail(error if reader.started else StaleError("closed without an answer"))
            else:
                self._finish(taker, reader)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._lost(self)
        if self._taker is not None:
            kind = BrokenError if self._reader.started else StaleError
            self.fail(kind(f"the shop closed the connection{f': {exc}' if exc else ''}"))

    def pause_writing(self) -> None:
        """The shop reads more slowly than the client sends."""
        self._choked = True

    def resume_writing(self) -> None:
        """The shop has caught up."""
        self._choked = False
        self.active_at = self.loop.time()
        if self._taker is not None:
            self._taker.shop_ready()


def _endless(reader: ResponseReader) -> bool:
    """Whether silence is normal: text/event-stream waits for events, and 101 has no body."""
    kind = value(reader.headers, b"content-type") or b""
    return reader.status == 101 or kind.lower().startswith(b"text/event-stream")
