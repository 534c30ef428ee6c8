"""The request's half of a proxied request: its head, its body, and when they go to the shop.

`TABLE` names the step for each event in each state, and `ENTRY` what is done on entering a state. An event
that has no step in a state is a bug in clew.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import IntEnum, auto
from typing import Any, Final, Protocol

from ...injector.heads import Headers
from ...service.limits import Hold, LimitedError
from ...service.origin import Origin
from ..http.connection import Connection, Taker
from ..http.faults import RequestError, RequestTimeoutError, TooManyError
from ..http.handler import ClientConnection
from ..http.slots import Slots
from ..http.wire import ResponseReader, request_head
from .forwarding import Forwarding

# A request's body is buffered before a connection to the shop is taken: all of it, or this much if it arrives
# fast, and more if it arrives slowly; the rest is streamed. (nginx's proxy_request_buffering, in memory.)
# While there are few other uploads, a longer body is streamed from its start.
GATHERED_BODY: Final = 64 * 1024
GATHERED_SLOW: Final = 256 * 1024
FAST_RATE: Final = 64 * 1024  # bytes a second
# The minimum rate of a body in bytes a second, measured over BODY_SECONDS (Apache's mod_reqtimeout has the
# same rate, nginx's client_body_timeout the same time); a shorter body has to be complete by then.
LEAST_RATE: Final = 500
BODY_SECONDS = 60.0
# Bytes of a body that are buffered before the shop accepts them.
HIGH_WATER: Final = 64 * 1024

# Safe and without a body: may be retried if the connection turns out closed (RFC 9110 §9.2.2).
_REPLAYABLE = frozenset({"GET", "HEAD"})
_FRAMING = frozenset({b"content-length", b"expect", b"te", b"transfer-encoding"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestState(IntEnum):
    """The state of the request on its way to the shop."""

    NEW = auto()  # earlier requests on the connection are not answered yet
    GATHERING = auto()  # waits for the body, without a connection to the shop
    CONNECTING = auto()  # waits for a connection to the shop
    STREAMING = auto()  # the head was sent; the body is sent as it arrives
    SENT = auto()  # all of it was sent
    DROPPED = auto()  # the rest of it is discarded


class Owner(Taker, Protocol):
    """The owner of this half; it takes the response."""

    client: ClientConnection

    @property
    def slots(self) -> Slots:
        """The slots of the shop's connections."""

    def connect(self) -> None:
        """Find a connection, and call `connected` with it."""

    def fail(self, error: Exception) -> None:
        """The request cannot be completed."""

    def hold_upload(self) -> Hold | None:
        """Count an upload of the client; None if uploads are not counted. Raises LimitedError."""


class RequestHalf:
    """The request, as it goes to the shop. `start`, `piece`, `complete`, `connected`, `retry` and `drop` are
    its events; `piece` and `complete` raise RequestError for a body of another length than announced."""

    # Class attributes are the defaults that most requests keep: creating one sets few fields.
    state = RequestState.NEW
    more_body = True
    accepts_trailers = False
    _head = b""
    _length: int | None = 0  # of the body; None: in chunks
    _pieces: list[bytes] = []  # noqa: RUF012 # never changed, always replaced
    _waiting = 0  # bytes in `_pieces`
    _received = 0  # bytes of the body that came
    _counted = 0  # of these, at the last check of the rate
    _since = 0.0
    _held_back = False  # reading was paused since the last check
    _expects_continue = False
    _hold: Hold | None = None
    _rate_timer: asyncio.TimerHandle | None = None
    _connection: Connection | None = None

    def __init__(self, owner: Owner, method: str) -> None:
        self._owner = owner
        self._client = owner.client
        self._method = method

    def prepare(
        self, scope: Mapping[str, Any], headers: Headers, origin: Origin, forwarding: Forwarding
    ) -> None:
        """Build the head for the shop. Raises RequestError if the request cannot be forwarded."""
        target, forwarded = forwarding.request(scope, headers, origin)
        self._read_framing(headers, modern=scope["http_version"] == "1.1")
        if self.accepts_trailers:
            forwarded.append((b"te", b"trailers"))
        if self._length is None:
            forwarded.append((b"transfer-encoding", b"chunked"))
        if not self.more_body:
            self._check_length()
        self._head = request_head(self._method, target, forwarded)

    def _read_framing(self, headers: Headers, *, modern: bool) -> None:
        """Read the body's length and what the client expects. `Forwarding` has refused ambiguous framing."""
        for name, value in headers:
            if name not in _FRAMING:
                continue
            if name == b"content-length":
                self._length = int(value)
            elif name == b"transfer-encoding":
                self._length = None
            elif not modern:
                continue
            elif name == b"te":
                self.accepts_trailers = self.accepts_trailers or b"trailers" in value.lower()
            else:
                self._expects_continue = value.lower() == b"100-continue"

    def _check_length(self) -> None:
        """Check that the body has the announced length. The parser ensures it; if it ever failed, the shop
        would take the next request on its connection for the rest of this body."""
        if self._length is not None and self._received != self._length:
            raise RequestError("the body does not have the announced length")

    @property
    def replayable(self) -> bool:
        """Whether the request may be sent a second time."""
        return self._length == 0 and self._method in _REPLAYABLE

    @property
    def uploading(self) -> bool:
        """Whether some of the body has not come yet."""
        return self.more_body and self._length != 0

    # -- events

    def start(self) -> None:
        """The request's turn has come."""
        self._on("start")

    def piece(self, data: bytes) -> None:
        """A piece of the body."""
        self._received += len(data)
        self._on("piece", data)

    def complete(self) -> None:
        """The body is complete."""
        self.more_body = False
        if self._rate_timer is not None:
            self._stop_watching()
        self._on("complete")

    def connected(self, connection: Connection, reader: ResponseReader) -> None:
        """There is a connection for it; `reader` reads the answer."""
        self._connection, self._reader = connection, reader
        self._on("connected")

    def retry(self) -> None:
        """The connection turned out closed; the request is sent once more."""
        self._on("retry")

    def shop_ready(self) -> None:
        """The shop accepts more of the body."""
        self._client.flow.resume_reading()

    def drop(self) -> None:
        """Discard the rest of the request."""
        if self.state is not RequestState.DROPPED:
            self._on("drop")

    def release(self) -> None:
        """Drop the reference to the owner, so that no cycle keeps both until the garbage collector runs."""
        vars(self).pop("_owner", None)

    def _on(self, event: str, data: bytes = b"") -> None:
        before = self.state
        state = TABLE[before][event](self, data)
        if state is not before:
            self.state = state
            if (enter := ENTRY.get(state)) is not None:
                enter(self)

    # -- what the table does

    def _begin(self, _: bytes) -> RequestState:
        """A body that may arrive slowly does not hold a connection to the shop."""
        if self._length == 0 or not self.more_body:
            return RequestState.CONNECTING
        self._since = self._client.loop.time()
        self._rate_timer = self._client.loop.call_later(BODY_SECONDS, self._check_rate)
        self._client.loop.call_soon(self._count_upload)
        short = self._length is not None and self._length <= GATHERED_BODY
        gather = short or not self._owner.slots.few_uploads
        return RequestState.GATHERING if gather else RequestState.CONNECTING

    def _keep(self, data: bytes) -> RequestState:
        if not self._waiting:
            self._pieces = []
        self._pieces.append(data)
        self._waiting += len(data)
        if self.state is not RequestState.GATHERING and self._waiting > HIGH_WATER:
            self._hold_back()
        return self.state

    def _gather(self, data: bytes) -> RequestState:
        self._keep(data)
        return RequestState.CONNECTING if self._gathered() else RequestState.GATHERING

    def _gathered(self) -> bool:
        """Whether enough of an incomplete body was received to stream the rest."""
        if self._waiting < GATHERED_BODY:
            return False
        fast = self._waiting >= FAST_RATE * (self._client.loop.time() - self._since)
        return fast or self._waiting >= GATHERED_SLOW

    def _all_gathered(self, _: bytes) -> RequestState:
        self._check_length()
        return RequestState.CONNECTING

    def _all_kept(self, _: bytes) -> RequestState:
        if self.state is not RequestState.NEW:  # else it is checked with the head
            self._check_length()
        return self.state

    def _send(self, _: bytes) -> RequestState:
        assert self._connection is not None
        if self._length == 0:
            self._connection.begin(self._head, self._reader, self._owner)
            return RequestState.SENT
        if self._length is None or self.more_body:
            return RequestState.STREAMING
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        self._connection.begin(b"".join((self._head, *pieces)), self._reader, self._owner)
        return RequestState.SENT

    def _pass_on(self, data: bytes) -> RequestState:
        assert self._connection is not None
        if self._length is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not self._connection.upload(data):
            self._hold_back()
        return self.state

    def _too_long(self, _: bytes) -> RequestState:
        raise RequestError("the body is longer than announced")

    def _finish(self, _: bytes) -> RequestState:
        self._check_length()
        connection = self._connection
        assert connection is not None
        if self._length is None:
            connection.upload(b"0\r\n\r\n")
        connection.uploaded()
        connection.use = self._owner.slots.sent(connection.use)
        return RequestState.SENT

    def _resend(self, _: bytes) -> RequestState:
        return RequestState.CONNECTING

    def _drop(self, _: bytes) -> RequestState:
        return RequestState.DROPPED

    def _ignore(self, _: bytes) -> RequestState:
        return self.state

    # -- on entering a state

    def _ask_for_body(self) -> None:
        # clew answers itself, without the shop (RFC 9110 §10.1.1).
        if self._expects_continue and self.more_body:
            self._expects_continue = False
            self._client.transport.write(_CONTINUE)

    def _connect(self) -> None:
        self._owner.connect()

    def _stream(self) -> None:
        """Send the head, and what was received of the body."""
        assert self._connection is not None
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        self._connection.begin(self._head, self._reader, self._owner, uploading=True)
        for data in pieces:
            self._pass_on(data)
        if self.more_body:
            self._ask_for_body()
            self._client.flow.resume_reading()
        else:
            self._on("complete")

    def _forget(self) -> None:
        self._stop_watching()
        self._pieces, self._waiting, self._connection = [], 0, None

    # -- a slow body

    def _hold_back(self) -> None:
        self._held_back = True
        self._client.flow.pause_reading()

    def _count_upload(self) -> None:
        """Called after the bytes that came with the head are read: most bodies are complete by then."""
        if not self.more_body or self.state is RequestState.DROPPED:
            return
        try:
            self._hold = self._owner.hold_upload()
        except LimitedError as limited:
            self._owner.fail(TooManyError(str(limited), limited.wait))

    def _check_rate(self) -> None:
        """Refuse a client that sends too slowly. While reading is paused, it cannot send."""
        self._rate_timer = None
        arrived, self._counted = self._received - self._counted, self._received
        if arrived < LEAST_RATE * BODY_SECONDS and not self._held_back:
            message = f"only {arrived} bytes of the body were received in {BODY_SECONDS:g} s"
            self._owner.fail(RequestTimeoutError(message))
            return
        self._held_back = self._client.flow.read_paused
        self._rate_timer = self._client.loop.call_later(BODY_SECONDS, self._check_rate)

    def _stop_watching(self) -> None:
        if self._rate_timer is not None:
            self._rate_timer.cancel()
            self._rate_timer = None
        if self._hold is not None:
            self._hold.release()
            self._hold = None


Step = Callable[[RequestHalf, bytes], RequestState]

TABLE: Mapping[RequestState, Mapping[str, Step]] = {
    RequestState.NEW: {
        "start": RequestHalf._begin,
        "piece": RequestHalf._keep,
        "complete": RequestHalf._all_kept,
        "drop": RequestHalf._drop,
    },
    RequestState.GATHERING: {
        "piece": RequestHalf._gather,
        "complete": RequestHalf._all_gathered,
        "drop": RequestHalf._drop,
    },
    RequestState.CONNECTING: {
        "piece": RequestHalf._keep,
        "complete": RequestHalf._all_kept,
        "connected": RequestHalf._send,
        "drop": RequestHalf._drop,
    },
    RequestState.STREAMING: {
        "piece": RequestHalf._pass_on,
        "complete": RequestHalf._finish,
        "drop": RequestHalf._drop,
    },
    RequestState.SENT: {
        "piece": RequestHalf._too_long,
        "complete": RequestHalf._ignore,
        "retry": RequestHalf._resend,
        "drop": RequestHalf._drop,
    },
    RequestState.DROPPED: {"piece": RequestHalf._ignore, "complete": RequestHalf._ignore},
}
ENTRY: Mapping[RequestState, Callable[[RequestHalf], None]] = {
    RequestState.GATHERING: RequestHalf._ask_for_body,
    RequestState.CONNECTING: RequestHalf._connect,
    RequestState.STREAMING: RequestHalf._stream,
    RequestState.DROPPED: RequestHalf._forget,
}
