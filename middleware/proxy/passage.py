"""One request's way to the shop and its answer's way back, in callbacks: no task, no queue, no copy that is
not needed. It drives an exchange where one watches, and holds no policy of its own.

| server says   | connection says   | what happens                                            |
|---------------|-------------------|---------------------------------------------------------|
| `start`       |                   | effects, a connection, the request's head               |
| `feed`, `fed` | `caught_up`       | the request's body goes on, no faster than the shop reads |
| `resumed`     | `advance`, `over` | the answer goes on, no faster than the client reads     |
| `gone`        |                   | the exchange with the shop ends at once                 |

A failure before the head of the answer went out is a short text of ours (`pages`). After that the client's
connection is cut, so that it sees an incomplete message: never a clean end after a broken body.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ...injector.heads import Headers, ResponseHead
from ...service.effects import Before
from ...service.limits import Hold, LimitedError, network_of
from ...service.navigation import finish, perform
from ...service.origin import Origin
from ...service.service import Service
from ..exchange.exchange import Exchange, Out, ResponseBrokenError, State
from ..http.connection import Connection
from ..http.faults import (
    ClientGoneError,
    RequestError,
    RequestTimeoutError,
    StaleError,
    TooManyError,
    UpstreamError,
)
from ..http.pages import date, failure, page
from ..http.slots import NOBODY, Use
from ..http.upstream import Upstream
from ..http.wire import ResponseReader, request_head
from .forwarding import ALLOW, REFUSED_METHODS, Forwarding

# A request's body is gathered before a connection to the shop is taken: all of it, or this much if it comes
# fast; then it is streamed. Of a slow one more is gathered. (nginx's proxy_request_buffering, in memory.)
# While few others send, a longer body is streamed from its start.
GATHERED_BODY: Final = 64 * 1024
GATHERED_SLOW: Final = 256 * 1024
FAST_RATE: Final = 64 * 1024  # bytes a second
# A body has to bring this many bytes a second, counted over so many seconds (Apache's mod_reqtimeout has the
# same rate, nginx's client_body_timeout the same time); a shorter one has to be there by then.
LEAST_RATE: Final = 500
BODY_SECONDS = 60.0
# What a client may have sent of a body before the shop takes it.
HIGH_WATER: Final = 64 * 1024
# Pieces of an answer up to this long together are joined: one buffer to write is cheaper than several.
JOINED: Final = 16 * 1024

_LOG = logging.getLogger("clew.proxy")
# Safe, and without a body: what may be sent again on a connection that turns out closed (RFC 9110 §9.2.2).
_REPLAYABLE = frozenset({"GET", "HEAD"})
_FRAMING = frozenset({b"content-length", b"expect", b"te", b"transfer-encoding"})
_STATUS_LINE = {status: line.removesuffix(b"\r\n") for status, line in STATUS_LINE.items()}
_END_OF_HEAD = (b"", b"")
_NO_TIME = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Door(Protocol):
    """The client's connection, as the server keeps it."""

    transport: asyncio.Transport
    flow: FlowControl
    loop: asyncio.AbstractEventLoop

    def on_response_complete(self) -> None:
        """The answer is out: the next request may start."""

    def end(self) -> None:
        """Close the connection once the client has what was written. Nothing may be written after this."""


class Shop(Protocol):
    """Where a request goes."""

    upstream: Upstream
    forwarding: Forwarding


class Watch:
    """An exchange at work on a passage, and the effects it wants before the request goes on."""

    __slots__ = ("effects", "exchange", "service")

    def __init__(self, service: Service, exchange: Exchange, effects: Sequence[Before]) -> None:
        self.service = service
        self.exchange = exchange
        self.effects = effects


class Passage:
    """See the module's text. Made when the request's head is complete; `start` begins it, once the answers
    to earlier requests on the connection are out.

    `headers` are the request's, as the exchange wants them. The server reads `response_complete`, and clears
    `keep_alive` to have the connection closed after the answer.
    """

    # What most passages never change stands here, so that making one costs little.
    response_complete = False
    disconnected = False
    more_body = True
    _tell: Callable[[int], None] | None = None  # told of the answer's status, at the end
    _status = 0
    _service: Service | None = None
    _exchange: Exchange | None = None
    _effects: Sequence[Before] = ()
    _request = b""
    _length: int | None = 0  # of the request's body; None: in chunks
    _pieces: list[bytes] = []  # noqa: RUF012 # never changed, always replaced
    _waiting = 0  # bytes in `_pieces`
    _fed = 0  # bytes of the body that came
    _streaming = False  # the request's body goes to the shop as it comes
    _gathering = False  # the body is awaited, no connection is taken yet
    _since = 0.0
    _counted = 0  # bytes of the body at the last look at its rate
    _held_back = False  # we did not read for a while since then
    _upload_hold: Hold | None = None
    _late: asyncio.TimerHandle | None = None
    _use = NOBODY
    _task: asyncio.Task[None] | None = None
    _connection: Connection | None = None
    _kept = False
    _reader: ResponseReader | None = None
    _taken_head = False
    _head_out = False
    _chunked = False
    _trailers = False
    _expects_continue = False
    _error: Exception | None = None

    def __init__(
        self,
        door: Door,
        shop: Shop,
        scope: Mapping[str, Any],
        headers: Headers,
        origin: Origin,
        *,
        keep_alive: bool,
        watch: Watch | None = None,
        hold_upload: Callable[[], Hold] | None = None,
        tell: Callable[[int], None] | None = None,
    ) -> None:
        self._hold_upload = hold_upload
        if tell is not None:
            self._tell = tell
        self._modern = scope["http_version"] == "1.1"
        self.keep_alive = keep_alive and self._modern
        self._door = door
        self._shop = shop
        self._scope = scope
        self._headers = headers
        self._origin = origin
        self._method: str = scope["method"]
        self._out: list[bytes | memoryview] = []
        if watch is not None:
            self._service, self._exchange, self._effects = watch.service, watch.exchange, watch.effects

    # -- the request

    def start(self) -> None:
        """Begin. Never raises: what cannot be passed on is refused."""
        if self.disconnected:
            return
        if self._method in REFUSED_METHODS:
            self._answer(*page(405, (b"allow", ALLOW)))
            return
        try:
            target, headers = self._shop.forwarding.request(self._scope, self._headers, self._origin)
            self._read_framing()
            if self._trailers:
                headers.append((b"te", b"trailers"))
            if self._length is None:
                headers.append((b"transfer-encoding", b"chunked"))
            if not self.more_body and not self._framed_as_announced():
                raise RequestError("a body of another length than announced")
            self._request = request_head(self._method, target, headers)
        except RequestError as error:
            self._refuse(error)
            return
        if self.more_body and self._length != 0:
            self._receive()
        else:
            self._go()

    def _receive(self) -> None:
        """Take a body that is not here yet. Where it may come slowly, no connection
        of the shop's waits for it."""
        self._since = self._door.loop.time()
        self._late = self._door.loop.call_later(BODY_SECONDS, self._check_rate)
        if self._hold_upload is not None:
            self._door.loop.call_soon(self._count_upload)
        short = self._length is not None and self._length <= GATHERED_BODY
        if short or not self._shop.upstream.slots.few_uploads:
            self._gathering = True
            self._continue()
        else:
            self._go()

    def _count_upload(self) -> None:
        """Called once all is read that came together with the head: most bodies are complete by then."""
        if not self.more_body or self.response_complete or self.disconnected or self._hold_upload is None:
            return
        try:
            self._upload_hold = self._hold_upload()
        except LimitedError as limited:
            error = TooManyError(limited)
            self._give_up(error)
            self._refuse(error)

    def _gathered(self) -> bool:
        """Whether enough of an unfinished body is here for the rest to be streamed."""
        if self._waiting < GATHERED_BODY:
            return False
        fast = self._waiting >= FAST_RATE * (self._door.loop.time() - self._since)
        return fast or self._waiting >= GATHERED_SLOW

    def _check_rate(self) -> None:
        """Let go of a client that sends too slowly. While we do not read, it cannot send."""
        self._late = None
        arrived, self._counted = self._fed - self._counted, self._fed
        if arrived < LEAST_RATE * BODY_SECONDS and not self._held_back:
            error = RequestTimeoutError(f"a body of which {arrived} bytes came in {BODY_SECONDS:g} s")
            if self._head_out:
                self._fail(error)
            else:
                self._give_up(error)
                self._refuse(error)
            return
        self._held_back = self._door.flow.read_paused
        self._late = self._door.loop.call_later(BODY_SECONDS, self._check_rate)

    def _hold_back(self) -> None:
        self._held_back = True
        self._door.flow.pause_reading()

    def _read_framing(self) -> None:
        """How long the body is, and what the client expects. `Forwarding` has refused what is unclear."""
        for name, value in self._headers:
            if name not in _FRAMING:
                continue
            if name == b"content-length":
                self._length = int(value)
            elif name == b"transfer-encoding":
                self._length = None
            elif not self._modern:
                continue
            elif name == b"te":
                self._trailers = self._trailers or b"trailers" in value.lower()
            else:
                self._expects_continue = value.lower() == b"100-continue"

    def _framed_as_announced(self) -> bool:
        """Whether the whole body has the announced length. The parser promises it. If it ever fails to keep
        that promise, the shop would take the next request on its connection for the rest of this body."""
        return self._length is None or self._fed == self._length

    def feed(self, data: bytes) -> None:
        """Take a piece of the request's body; what nobody wants any more is dropped."""
        self._fed += len(data)
        if self.response_complete or self.disconnected or (self._streaming and self._connection is None):
            return
        if self._streaming:
            self._upload(data)
            return
        if not self._waiting:
            self._pieces = []
        self._pieces.append(data)
        self._waiting += len(data)
        if self._gathering:
            if self._gathered():
                self._gathering = False
                self._go()
        elif self._waiting > HIGH_WATER:
            self._hold_back()

    def fed(self) -> None:
        """The request's body is complete."""
        if self._request and not self.response_complete and not self._framed_as_announced():
            self.malformed()
            return
        self.more_body = False
        self._end_watch()
        if self._gathering:
            self._gathering = False
            self._go()
        elif self._streaming:
            self._end_upload()

    def _end_watch(self) -> None:
        """The request's body is complete, or nobody wants the rest of it."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._upload_hold is not None:
            self._upload_hold.release()
            self._upload_hold = None

    def gone(self) -> None:
        """The client has left."""
        if self.disconnected or self.response_complete:
            return
        self.disconnected = True
        self._give_up(ClientGoneError("the client closed the connection"))
        _LOG.info("499 %s", self._method)
        self._close()

    def malformed(self) -> None:
        """The request's body breaks the protocol: no more of it will come."""
        error = RequestError("a body in malformed chunks")
        if self._head_out:
            self._fail(error)
        else:
            self._give_up(error)
            self._refuse(error)

    def _continue(self) -> None:
        # The server's own answer: the shop is not asked (RFC 9110 §10.1.1).
        if self._expects_continue and self.more_body:
            self._expects_continue = False
            self._door.transport.write(_CONTINUE)

    @property
    def _replayable(self) -> bool:
        return self._length == 0 and self._method in _REPLAYABLE

    def _go(self) -> None:
        """Find a connection: at once if one is kept, else in a task."""
        self._use = Use(network_of(self._origin.client), self.more_body and self._length != 0)
        if not self._effects:
            connection = self._shop.upstream.take(self._replayable, self._use)
            if connection is not None:
                self._begin(connection, kept=True)
                return
        self._task = self._door.loop.create_task(self._connect(fresh=False))

    async def _connect(self, *, fresh: bool) -> None:
        try:
            if self._effects and self._service and self._exchange:
                effects, self._effects = self._effects, ()
                await perform(self._service, self._exchange.site, effects)
            connection, kept = await self._shop.upstream.acquire(self._replayable, self._use, fresh=fresh)
        except UpstreamError as error:
            self._fail(error)
        except Exception as error:
            _LOG.exception("%s %r", self._method, self._scope["raw_path"][:200])
            self._fail(error)
        else:
            self._begin(connection, kept)
        finally:
            self._task = None

    def _begin(self, connection: Connection, kept: bool) -> None:
        self._connection, self._kept = connection, kept
        reader = self._reader = ResponseReader(self._method)
        if self._length == 0:
            connection.begin(self._request, reader, self)
        elif self._length is not None and not self.more_body:
            connection.begin(b"".join((self._request, *self._pieces)), reader, self)
        else:
            self._streaming = True
            connection.begin(self._request, reader, self, uploading=True)
            for piece in self._pieces:
                self._upload(piece)
            if self.more_body:
                self._continue()
                self._door.flow.resume_reading()
            else:
                self._end_upload()
        self._pieces, self._waiting = [], 0

    def _upload(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._length is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not connection.upload(data):
            self._hold_back()

    def _end_upload(self) -> None:
        if self._connection is not None:
            if self._length is None:
                self._connection.upload(b"0\r\n\r\n")
            self._connection.uploaded()
            self._connection.use = self._shop.upstream.slots.sent(self._connection.use)

    def unsent(self) -> bool:
        """Whether the client has not taken all of the answer so far."""
        return self._door.transport.get_write_buffer_size() > 0

    def caught_up(self) -> None:
        """The shop takes the request's body again."""
        if not self.response_complete:
            self._door.flow.resume_reading()

    # -- the answer

    def advance(self) -> None:
        """There is more of the answer."""
        if not self._door.flow.write_paused:
            self._move()
        self._hold()

    def resumed(self) -> None:
        """The client has caught up."""
        if self._reader is None or self.response_complete or self.disconnected:
            return
        if self._connection is not None:
            self._connection.taken()
        self._move()
        self._hold()

    def _hold(self) -> None:
        if self._connection is not None and self._door.flow.write_paused:
            self._connection.hold()

    def over(self, error: Exception | None) -> None:
        """The shop's side is done."""
        if self._connection is None:  # given up by ourselves
            return
        self._connection = None
        if isinstance(error, StaleError) and self._kept and self._replayable:
            # Once, on a connection of its own: a kept one may be closed the moment it is used.
            self._reader = None
            self._task = self._door.loop.create_task(self._connect(fresh=True))
            return
        self._error = error
        self.advance()

    def _move(self) -> None:
        """Take what the reader has, and send on what may go."""
        reader = self._reader
        assert reader is not None
        try:
            if not self._taken_head:
                if reader.interim:
                    self._interim(reader)
                if reader.status:
                    self._head(reader)
                elif self._error is not None:
                    self._fail(self._error)
                    return
            if reader.chunks:
                data = reader.take()
                if self._connection is not None:
                    self._connection.taken()
                self._body(data)
            if reader.complete:
                self._end(reader)
            elif self._error is not None:
                self._fail(self._error)
            else:
                self._flush()
        except ResponseBrokenError as error:
            self._fail(error)
        except Exception as error:
            # Nothing of ours may leave the client waiting, nor end the shop's connection without a word.
            _LOG.exception("%s %r", self._method, self._scope["raw_path"][:200])
            if self._exchange is not None:
                self._exchange.fault = error
            self._fail(error)

    def _interim(self, reader: ResponseReader) -> None:
        """Pass on what comes before the answer; HTTP/1.0 knows nothing of it (RFC 9110 §15.2)."""
        found, reader.interim = reader.interim, []
        if self._modern:
            for status, headers in found:
                self._out.append(STATUS_LINE[status])
                passed = self._shop.forwarding.response(status, headers, self._origin)
                self._out += [b"%b: %b\r\n" % pair for pair in passed]
                self._out.append(b"\r\n")

    def _head(self, reader: ResponseReader) -> None:
        self._taken_head = True
        headers = self._shop.forwarding.response(reader.status, reader.headers, self._origin)
        head = ResponseHead(reader.status, headers)
        if self._exchange is None:
            self._write_head(head)
            return
        out = self._exchange.response(head)
        if out.head is not None:
            self._write_head(out.head)

    def _body(self, data: bytes | memoryview) -> None:
        exchange = self._exchange
        if exchange is None or exchange.state is State.PASSING:
            self._write(data)
        else:
            self._write_out(exchange.body(data))

    def _end(self, reader: ResponseReader) -> None:
        if self._exchange is not None:
            self._write_out(self._exchange.end())
        if self._chunked:
            self._out.append(b"0\r\n")
            if self._trailers:
                self._out += [b"%b: %b\r\n" % trailer for trailer in reader.trailers]
            self._out.append(b"\r\n")
        self._flush()
        self._complete()

    def _write_out(self, out: Out) -> None:
        if out.head is not None:
            self._write_head(out.head)
        if out.body:
            self._write(out.body)
        if out.rest:
            self._write(out.rest)

    def _write_head(self, head: ResponseHead) -> None:
        status, counted = head.status, False
        self._status = status
        headers = head.headers
        for name, _ in headers:
            if name == b"content-length":
                counted = True
        lines = [_STATUS_LINE[status], *map(b": ".join, headers)]
        if not counted and self._method != "HEAD" and status not in (204, 304):
            if self._modern:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
            else:
                self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close")
        lines += _END_OF_HEAD
        self._head_out = True
        self._out.append(b"\r\n".join(lines))

    def _write(self, data: bytes | memoryview) -> None:
        if self._chunked:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def _flush(self) -> None:
        out, transport = self._out, self._door.transport
        if not out:
            return
        self._out = []
        if transport.is_closing():
            # The client has gone, and we shall be told: uvloop raises on writing to it.
            return
        if len(out) == 1:
            transport.write(out[0])
        elif sum(map(len, out)) <= JOINED:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)

    def _answer(self, status: int, headers: Headers, text: bytes) -> None:
        """An answer of our own."""
        self._write_head(ResponseHead(status, [*headers, date()]))
        if self._method != "HEAD":
            self._write(text)
        self._flush()
        self._complete()

    def _refuse(self, error: RequestError) -> None:
        _LOG.info("refused: %s", error)
        if error.status in (400, 408, 429):
            # Where the next request begins is no longer sure (RFC 9112 §9.3).
            self.keep_alive = False
        self._answer(*failure(error))

    # -- the end

    def _fail(self, error: Exception) -> None:
        """The answer will not come, or not to its end."""
        self._give_up(error)
        if isinstance(error, UpstreamError):
            path = self._scope["raw_path"][:200]
            address = self._shop.upstream.address
            _LOG.warning("%d %s %r at %s: %s", error.status, self._method, path, address, error)
            if not self._head_out:
                self._answer(*failure(error))
                return
        self.disconnected = True
        self._flush()
        if self._modern and not isinstance(error, ClientGoneError):
            self._door.end()
        else:
            # HTTP/1.0 takes the end of the connection for the end of the body: it must be a reset.
            reset(self._door.transport)
        self._close()

    def _give_up(self, error: Exception) -> None:
        """End what still runs for this passage."""
        self._end_watch()
        self._gathering = False
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.fail(error)

    def _complete(self) -> None:
        self.response_complete = True
        if self._connection is not None or self._task is not None or self._late is not None:
            self._give_up(ClientGoneError("answered"))
        if not self.keep_alive:
            self._door.end()
        self._close()
        self._door.on_response_complete()

    def _close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and self._service is not None:
            finish(self._service, exchange)
        if self._tell is not None:
            tell, self._tell = self._tell, None
            tell(self._status)


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that the other side sees it broken: with no time to linger, closing sends RST."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_TIME)
    transport.abort()
