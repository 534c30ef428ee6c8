"""The response's half of a proxied request: what the shop sends, and what is sent to the client.

`TABLE` names the step for each event in each state, and the states that the step may lead to. An event that
has no step in a state is a bug in clew.
"""

import socket
import struct
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from enum import IntEnum, auto
from typing import Any, Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ...injector.heads import Headers, ResponseHead
from ...service.origin import Origin
from ..exchange.exchange import Exchange, Out, State
from ..http.handler import ClientConnection
from ..http.pages import date
from ..http.wire import ResponseReader
from .forwarding import Forwarding

# Pieces of up to this many bytes in total are joined: writing one buffer is cheaper than several.
JOINED: Final = 16 * 1024

_STATUS_LINE = {status: line.removesuffix(b"\r\n") for status, line in STATUS_LINE.items()}
_END_OF_HEAD = (b"", b"")
_NO_LINGER = struct.pack("ii", 1, 0)


class AnswerState(IntEnum):
    """The state of the response on its way to the client."""

    AWAITED = auto()  # waits for the shop's head
    HELD = auto()  # the head was received, and the exchange holds it
    STARTED = auto()  # the head was sent to the client, the body follows
    WAITING = auto()  # the whole response was received; its end waits until its order is on the disk
    COMPLETE = auto()
    CUT = auto()  # the client's connection was closed before that


class AnswerStateError(Exception):
    """A step of the table led to a state that the table does not name for it: a bug in clew."""


class AnswerHalf:
    """The response to the client. `pull` takes what the shop's reader has, `own` sends a response of clew in
    its place, `cut` breaks it off.

    `forwarding` turns the shop's headers into those for the client.
    """

    # Class attributes are the defaults that most responses keep: creating one sets few fields.
    state = AnswerState.AWAITED
    status = 0
    exchange: Exchange | None = None
    _chunked = False
    _trailers = False

    def __init__(
        self,
        client: ClientConnection,
        method: str,
        forwarding: Forwarding,
        origin: Origin,
        *,
        modern: bool,
        keep_alive: bool,
    ) -> None:
        self._client = client
        self._method = method
        self._forwarding = forwarding
        self._origin = origin
        self._modern = modern  # HTTP/1.1
        self.keep_alive = keep_alive and modern
        self._out: list[bytes | memoryview] = []

    def accept_trailers(self) -> None:
        """The client understands trailers."""
        self._trailers = True

    @property
    def started(self) -> bool:
        """Whether any byte may have been sent."""
        return self.state >= AnswerState.STARTED

    def pull(self, reader: ResponseReader) -> bool:
        """Pass on what the reader has. Returns whether bytes of the body were taken.

        Raises ResponseBrokenError if the exchange cannot continue, and any other error of the exchange.
        """
        if self.state is AnswerState.AWAITED:
            if reader.interim:
                self._on("interim", reader)
            if reader.status:
                self._on("head", reader)
        taken = bool(reader.chunks)
        if taken:
            self._on("data", reader)
        if reader.complete:
            self._on("end", reader)
        if self._out and self.state is not AnswerState.WAITING:
            self._flush()
        return taken

    def release(self) -> None:
        """Send the last bytes, which waited."""
        self._on("release", None)

    def own(self, status: int, headers: Headers, text: bytes) -> None:
        """Send a response of clew instead of the shop's."""
        self._on("own", (status, headers, text))

    def cut(self, *, gently: bool) -> None:
        """Close the client's connection so that the response is visibly incomplete. `gently`: the client may
        still read what was sent; not with HTTP/1.0, where the end of the connection ends the body."""
        self._on("cut", gently)

    def _on(self, event: str, given: Any) -> None:
        handler, leads_to = TABLE[self.state][event]
        state = handler(self, given)
        if state not in leads_to:
            raise AnswerStateError(f"{event} in state {self.state.name} cannot lead to {state.name}")
        self.state = state

    # -- what the table does

    def _pass_interim(self, reader: ResponseReader) -> AnswerState:
        """Forward interim responses, which HTTP/1.0 does not have (RFC 9110 §15.2)."""
        found, reader.interim = reader.interim, []
        if self._modern:
            for status, headers in found:
                self._out.append(STATUS_LINE[status])
                passed = self._forwarding.response(status, headers, self._origin)
                self._out += [b"%b: %b\r\n" % pair for pair in passed]
                self._out.append(b"\r\n")
        return AnswerState.AWAITED

    def _take_head(self, reader: ResponseReader) -> AnswerState:
        headers = self._forwarding.response(reader.status, reader.headers, self._origin)
        head = ResponseHead(reader.status, headers)
        if self.exchange is None:
            return self._write_head(head)
        out = self.exchange.response(head)
        return AnswerState.HELD if out.head is None else self._write_head(out.head)

    def _take_data(self, reader: ResponseReader) -> AnswerState:
        data = reader.take()
        exchange = self.exchange
        if exchange is not None and exchange.state is not State.PASSING:
            return self._write_out(exchange.body(data))
        self._write(data)
        return self.state

    def _take_end(self, reader: ResponseReader) -> AnswerState:
        if self.exchange is not None:
            self._write_out(self.exchange.end())
        if self._chunked:
            self._out.append(b"0\r\n")
            if self._trailers:
                self._out += [b"%b: %b\r\n" % trailer for trailer in reader.trailers]
            self._out.append(b"\r\n")
        shows_order = self.exchange is not None and self.exchange.shows_order
        return AnswerState.WAITING if shows_order else AnswerState.COMPLETE

    def _send_last(self, _: None) -> AnswerState:
        self._flush()
        return AnswerState.COMPLETE

    def _answer(self, given: tuple[int, Headers, bytes]) -> AnswerState:
        status, headers, text = given
        self._write_head(ResponseHead(status, [*headers, date()]))
        if self._method != "HEAD":
            self._write(text)
        self._flush()
        return AnswerState.COMPLETE

    def _break_off(self, gently: bool) -> AnswerState:
        self._flush()
        if gently and self._modern:
            self._client.end()
        else:
            reset(self._client)
        return AnswerState.CUT

    # -- bytes for the client

    def _write_out(self, out: Out) -> AnswerState:
        state = self.state
        if out.head is not None:
            state = self._write_head(out.head)
        if out.body:
            self._write(out.body)
        if out.rest:
            self._write(out.rest)
        return state

    def _write_head(self, head: ResponseHead) -> AnswerState:
        status, counted = head.status, False
        self.status = status
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
        self._out.append(b"\r\n".join(lines))
        return AnswerState.STARTED

    def _write(self, data: bytes | memoryview) -> None:
        if self._chunked:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def _flush(self) -> None:
        out, transport = self._out, self._client.transport
        if not out:
            return
        self._out = []
        if transport.is_closing():
            # The client has disconnected; `client_gone` follows. uvloop raises on writing to it.
            return
        if len(out) == 1:
            transport.write(out[0])
        elif sum(map(len, out)) <= JOINED:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)


class Step(NamedTuple):
    """What is done in one state with one event: `handler` returns the next state, which is one of
    `leads_to`."""

    handler: Callable[..., AnswerState]
    leads_to: Set[AnswerState]


_OWN = Step(AnswerHalf._answer, {AnswerState.COMPLETE})
_CUT = Step(AnswerHalf._break_off, {AnswerState.CUT})

TABLE: Mapping[AnswerState, Mapping[str, Step]] = {
    AnswerState.AWAITED: {
        "interim": Step(AnswerHalf._pass_interim, {AnswerState.AWAITED}),
        "head": Step(AnswerHalf._take_head, {AnswerState.HELD, AnswerState.STARTED}),
        "own": _OWN,
        "cut": _CUT,
    },
    AnswerState.HELD: {
        "data": Step(AnswerHalf._take_data, {AnswerState.HELD, AnswerState.STARTED}),
        "end": Step(AnswerHalf._take_end, {AnswerState.WAITING, AnswerState.COMPLETE}),
        "own": _OWN,
        "cut": _CUT,
    },
    AnswerState.STARTED: {
        "data": Step(AnswerHalf._take_data, {AnswerState.STARTED}),
        "end": Step(AnswerHalf._take_end, {AnswerState.WAITING, AnswerState.COMPLETE}),
        "cut": _CUT,
    },
    AnswerState.WAITING: {
        "release": Step(AnswerHalf._send_last, {AnswerState.COMPLETE}),
        "cut": _CUT,
    },
    AnswerState.COMPLETE: {},
    AnswerState.CUT: {},
}


def reset(client: ClientConnection) -> None:
    """Close a connection with a reset: with a linger time of zero, closing sends RST."""
    sock = client.transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    client.transport.abort()
