"""The HTTP/1.1 client for a shop: raw bytes in and out, a bounded pool of connections.

It changes nothing: no cookies, no redirects, no proxies from the environment, no decoding, no normalisation
of URLs. It connects only to the address it was created with, never to one that a request names.
"""

import asyncio
import select
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol, SupportsFloat

from ...injector.heads import Headers
from .connection import Connection, Phases, ReceiveBuffer, Released, UpstreamResponse
from .dial import Dial
from .faults import BusyError, ConnectError
from .share import Share
from .slots import NOBODY, Slots, Use
from .wire import ResponseReader, request_head

# A connection is closed after this many seconds, so that a changed DNS entry takes effect.
LIFETIME = 60.0
_LONGEST_TICK = 0.25

_thread = threading.local()


def _buffer() -> ReceiveBuffer:
    """The receive buffer of this thread."""
    found: ReceiveBuffer | None = getattr(_thread, "buffer", None)
    if found is None:
        found = _thread.buffer = ReceiveBuffer()
    return found


class UpstreamLimits(Protocol):
    """The concurrency limits and the timeouts for one shop."""

    @property
    def connections(self) -> int:
        """The maximum of concurrent exchanges."""

    @property
    def websockets(self) -> int | None:
        """The maximum of open WebSockets; None: the same as `connections`."""

    @property
    def connect_timeout(self) -> SupportsFloat:
        """Seconds to connect, or to wait for a free connection."""

    @property
    def response_timeout(self) -> SupportsFloat:
        """Seconds until the response head is received."""

    @property
    def idle_timeout(self) -> SupportsFloat:
        """Seconds between two reads of a body."""

    @property
    def keep_alive(self) -> SupportsFloat:
        """Seconds that an idle connection is kept."""


class OpenWebSocket(Protocol):
    """An open WebSocket."""

    def cut(self) -> None:
        """Close it with a close code."""


class Upstream:
    """The connections to one shop. It may be created before the event loop runs, and is bound to the loop of
    its first use.

    At most `limits.connections` exchanges run at once, divided fairly (`Slots`). Up to ten times as many wait
    for `limits.connect_timeout`, then BusyError is raised. `limits.websockets` are counted separately. `name`
    is the host in the certificate of a TLS shop, if it is not the host of the address. `authority` is the
    Host of requests that have none. `share` limits the connections to all shops; None: this shop has its own.
    """

    def __init__(
        self, address: str, limits: UpstreamLimits, name: str | None = None, share: Share | None = None
    ) -> None:
        self.address = address
        self._share = share or Share(limits.connections * 2)
        self._draining = False
        self._drained: Callable[[], None] | None = None
        self._websockets: set[OpenWebSocket] = set()
        self._most = limits.connections
        self._most_tunnels = limits.websockets or limits.connections
        self._connect_timeout = float(limits.connect_timeout)
        self._dial = Dial(address, self._connect_timeout, name)
        self.reachable = self._dial.reachable
        self.authority = self._dial.authority
        self._phases = Phases(
            float(limits.response_timeout), float(limits.idle_timeout), float(limits.keep_alive)
        )
        shortest = min(self._connect_timeout, self._phases.response, self._phases.idle)
        self._tick_seconds = min(_LONGEST_TICK, shortest / 4)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reset()

    def _reset(self) -> None:
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self.slots = Slots(self._most, self._connect_timeout, self._share)
        self._tunnels = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, replayable: bool, use: Use = NOBODY) -> Connection | None:
        """An idle connection, if there is one that may be used at once.

        `replayable`: the request may be sent again if the connection turns out closed.
        """
        self._bind()
        if not self._idle or not self.slots.take(use):
            return None
        connection = self._kept(replayable)
        if connection is None:
            self.slots.give_back(use)
        else:
            connection.use = use
        return connection

    async def acquire(
        self, replayable: bool, use: Use = NOBODY, *, fresh: bool = False
    ) -> tuple[Connection, bool]:
        """A connection for one exchange, and whether it was reused; with `fresh` always a new one.

        Raises ConnectError, UpstreamTimeoutError and BusyError (all UpstreamError). The exchange must
        `begin` on it before anything else is awaited.
        """
        self._bind()
        await self.slots.wait(use)
        kept = None if fresh else self._kept(replayable)
        connection = kept or await self._connect(use)
        connection.use = use
        return connection, kept is not None

    @asynccontextmanager
    async def upgrade(self, target: bytes, headers: Headers) -> AsyncIterator[UpstreamResponse]:
        """Ask to switch protocols, with the Upgrade and Connection fields among `headers`.

        The response is a 101, whose connection `detach()` hands over, or an ordinary one. It counts as open
        until the block ends. Raises UpstreamError, and RequestError for a request that cannot be written
        safely.
        """
        self._bind()
        request = request_head("GET", target, headers)
        if self._tunnels >= self._most_tunnels:
            raise BusyError(f"{self._most_tunnels} WebSockets are open")
        self._tunnels += 1
        try:
            connection = await self._open(_not_kept)
            reader = ResponseReader("GET", upgrade=True)
            response = UpstreamResponse(connection, reader)
            connection.begin(request, reader, response)
            try:
                await response.head()
                yield response
            finally:
                response.close()
                if response.status != 101:
                    connection.transport.abort()
        finally:
            self._tunnels -= 1
            self._look_if_drained()

    @contextmanager
    def count_websocket(self, websocket: "OpenWebSocket") -> Iterator[None]:
        """Count an open WebSocket while the block runs; `cut` closes it."""
        self._websockets.add(websocket)
        try:
            yield
        finally:
            self._websockets.discard(websocket)

    @property
    def unused(self) -> bool:
        """Whether there is no connection and no request waits for one."""
        return not self._connections and not self._tunnels and self.slots.unused

    def drain(self, drained: Callable[[], None]) -> None:
        """Keep no idle connections from now on. Running exchanges and waiting requests continue; `drained` is
        called when none is left."""
        self._draining, self._drained = True, drained
        for connection in tuple(self._idle):
            connection.transport.abort()
        self._look_if_drained()

    def cut(self) -> None:
        """End all exchanges, WebSockets with a close frame."""
        for connection in list(self._connections):
            connection.transport.abort()
        for websocket in tuple(self._websockets):
            websocket.cut()

    def _look_if_drained(self) -> None:
        if self._drained is not None and self.unused:
            drained, self._drained = self._drained, None
            drained()

    async def close(self) -> None:
        """Close all connections; running exchanges break off."""
        for connection in list(self._connections):
            connection.transport.abort()
        self.slots.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # The event loop of the old connections has ended.
            self._loop = loop
            for connection in self._idle:
                self._share.unkeep(connection)
            self.slots.abandon()
            self._reset()

    # -- connections

    def _kept(self, replayable: bool) -> Connection | None:
        """The most recently used idle connection that is still usable, if there is one."""
        assert self._loop is not None
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            self._share.unkeep(connection)
            if (
                now - connection.active_at < connection.idle_limit
                and now - connection.born_at < LIFETIME
                and not connection.transport.is_closing()
                and (replayable or not _readable(connection.fileno))
            ):
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, use: Use) -> Connection:
        if len(self._idle) > self.slots.free:
            oldest = self._idle.pop(0)
            self._share.unkeep(oldest)
            oldest.give_up()
        self._share.make_room()
        try:
            return await self._open(self._released)
        except BaseException:
            self.slots.give_back(use)
            raise

    async def _open(self, released: Released) -> Connection:
        loop = asyncio.get_running_loop()

        def protocol() -> Connection:
            return Connection(loop, _buffer(), self._phases, released, self._lost)

        connection = await self._dial.open(protocol)
        if connection.transport.is_closing():
            # Closed before it was used: no callback would reach an exchange on it.
            raise ConnectError("the shop closed the connection at once")
        self._connections.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._tick_seconds, self._tick)
        return connection

    def _released(self, connection: Connection, reusable: bool) -> None:
        if reusable and self._draining:
            connection.give_up()
        elif reusable:
            self._idle.append(connection)
            self._share.keep(connection)
        self.slots.give_back(connection.use)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._share.unkeep(connection)
        self._look_if_drained()

    def _tick(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for connection in tuple(self._connections):
            connection.check(now)
        self._timer = self._loop.call_later(self._tick_seconds, self._tick) if self._connections else None


def _not_kept(connection: Connection, reusable: bool) -> None:
    """A connection that was opened to switch protocols is never reused."""


def _readable(fileno: int) -> bool:
    """Whether an idle connection has been closed, or has unexpected bytes, that the loop has not seen yet."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))
