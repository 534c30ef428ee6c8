"""The connections of clients: limits by network, and which idle connection is closed for a new one."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable

from ...service.limits import Hold, LimitedError, Limits, networks_of
from ..exchange.origin import Networks, is_trusted
from ..http.handler import ClientConnection

# Local clients are proxies, health checks or tests.
LOCAL = frozenset({"127.0.0.1", "::1"})


class OpenConnection:
    """One connection of a client, from its start to `leave`."""

    __slots__ = ("_connections", "_hold", "client", "keys", "turn")

    def __init__(
        self,
        connections: "OpenConnections",
        client: ClientConnection,
        hold: Hold | None,
        keys: tuple[str, ...],
    ) -> None:
        self._connections = connections
        self._hold: Hold | None = hold
        self.client = client
        self.keys = keys
        self.turn = 0  # increases each time a connection becomes idle

    def busy(self) -> None:
        """A request begins."""
        self._connections.idle.pop(self, None)

    def waits(self) -> None:
        """It waits for a request."""
        if self._hold is not None:
            self._connections.began_to_wait(self)

    def leave(self) -> None:
        """It has closed, or another protocol has taken over."""
        self._connections.idle.pop(self, None)
        if self._hold is not None:
            self._hold.release()
            self._hold = None
            self._connections.left(self)


class OpenConnections:
    """All connections of clients to one process, limited by network and in total (`limits.connections`).

    Browsers keep connections that they may never use again. So a new connection replaces the one that has
    been idle longest, of the same network first; it is refused only if none is idle. Connections of trusted
    proxies carry many clients, and are not counted by network.
    """

    def __init__(self, limits: Limits, trusted: Callable[[], Networks]) -> None:
        self._limits = limits
        self._trusted = trusted
        # The longest idle first.
        self.idle: OrderedDict[OpenConnection, None] = OrderedDict()
        self._of: defaultdict[str, set[OpenConnection]] = defaultdict(set)
        self._turns = 0

    def enter(self, client: ClientConnection, address: str | None) -> OpenConnection | None:
        """Count a connection that a client has opened; None if it is over a limit."""
        counted = None if address in LOCAL or is_trusted(address, self._trusted()) else address
        keys = tuple(key for key, _ in networks_of(counted))
        for key in (*keys, None):
            scope = self._limits.full("connections", None, counted)
            if scope is not None and (scope == "client") == (key is not None):
                self._close_longest_idle(key)
        try:
            hold = self._limits.hold("connections", None, counted)
        except LimitedError:
            return None
        opened = OpenConnection(self, client, hold, keys)
        for key in keys:
            self._of[key].add(opened)
        opened.waits()
        return opened

    def left(self, opened: OpenConnection) -> None:
        """A connection has closed."""
        for key in opened.keys:
            self._of[key].discard(opened)
            if not self._of[key]:
                del self._of[key]

    def began_to_wait(self, opened: OpenConnection) -> None:
        """A connection has become idle."""
        self._turns += 1
        opened.turn = self._turns
        self.idle[opened] = None

    def _close_longest_idle(self, key: str | None) -> None:
        """Close the connection that has been idle longest, of one network or of all."""
        if key is None:
            found = next(iter(self.idle), None)
        else:
            own = (one for one in self._of.get(key, ()) if one in self.idle)
            found = min(own, key=lambda one: one.turn, default=None)
        if found is not None:
            found.leave()
            found.client.transport.close()
