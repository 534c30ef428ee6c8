"""The limit on connections to all shops, and each shop's fair share of it.

A shop may open one more connection while it holds fewer than are free (dynamic thresholds: Choudhury and
Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on
Networking 6(2), 1998). So one busy shop may hold half of the connections, n busy shops 1/(n + 1) each, and a
shop that hangs takes half of what the others left free; the rest is for shops without requests so far.
Waiting requests are served in turn, shop by shop.
"""

from collections import OrderedDict
from typing import Protocol

from .faults import BusyError

# Requests that may wait for each connection.
QUEUE_PER_CONNECTION = 10


class Waiting(Protocol):
    """The requests waiting for one shop."""

    def hand_over(self) -> bool:
        """Give a connection to the next request, if it may have one now. Returns whether one got it."""


class Idle(Protocol):
    """An idle connection that is kept."""

    def give_up(self) -> None:
        """Close it to make room for another shop's connection."""


class Share:
    """At most `most` connections to all shops together, idle ones included."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.free = most
        self._idle: OrderedDict[Idle, None] = OrderedDict()
        self._waiting: OrderedDict[Waiting, int] = OrderedDict()
        self._requests = 0

    def may(self, held: int) -> bool:
        """Whether a shop that holds `held` connections may take one more."""
        return held < self.free

    def take(self) -> None:
        """Count one more connection in use."""
        self.free -= 1

    def give_back(self, count: int = 1) -> None:
        """Count `count` fewer connections in use; waiting requests get them."""
        self.free += count
        if not self._waiting:
            return
        for waiting in tuple(self._waiting):
            if not self.free:
                return
            if waiting.hand_over() and waiting in self._waiting:
                self._waiting.move_to_end(waiting)

    def wait(self, waiting: Waiting) -> None:
        """Count a request that starts to wait. Raises BusyError if too many wait."""
        if self._requests >= self.most * QUEUE_PER_CONNECTION:
            raise BusyError(f"{self.most} connections are in use, {self._requests} requests wait")
        self._requests += 1
        self._waiting[waiting] = self._waiting.get(waiting, 0) + 1

    def waited(self, waiting: Waiting) -> None:
        """Count a request that no longer waits."""
        self._requests -= 1
        self._waiting[waiting] -= 1
        if not self._waiting[waiting]:
            del self._waiting[waiting]

    def keep(self, connection: Idle) -> None:
        """Note an idle connection; see `make_room`."""
        self._idle[connection] = None

    def unkeep(self, connection: Idle) -> None:
        """Remove an idle connection: it is in use again, or closed."""
        self._idle.pop(connection, None)

    def make_room(self) -> None:
        """Call before a connection is opened: closes the one that has been idle longest, of any shop, if
        there would be too many."""
        if len(self._idle) > self.free:
            connection, _ = self._idle.popitem(last=False)
            connection.give_up()
