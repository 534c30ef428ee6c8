"""Slots for exchanges with one shop, shared fairly between clients and between kinds of requests.

`share` limits the connections of one shop in relation to other shops.
"""

import asyncio
from collections import OrderedDict, deque
from typing import NamedTuple

from .faults import BusyError
from .share import QUEUE_PER_CONNECTION, Share


class Use(NamedTuple):
    """What a connection is used for. `client` is the client's network, None if it has no address; `upload`:
    the request's body is not complete yet."""

    client: str | None = None
    upload: bool = False


NOBODY = Use()
Queue = OrderedDict[str | None, deque[asyncio.Future[None]]]


class Slots:
    """At most `most` concurrent exchanges, as far as `share` allows. Further requests wait up to `seconds`:
    `QUEUE_PER_CONNECTION` for each connection, at most half of them of one client, served client by client.

    One client network gets at most three quarters of the slots, uploads get half: a client that sends slowly
    must not block others, or its own page views. A single slot is not divided.
    """

    def __init__(self, most: int, seconds: float, share: Share | None = None) -> None:
        self.free = most
        # Without `share` the shop has its own.
        self._share = share or Share(most * 2)
        self._most = most
        self._seconds = seconds
        self._for_client = most - most // 4
        self._for_uploads = most - most // 2
        self._held: dict[str | None, int] = {}
        self._uploads = 0
        self._queues: tuple[Queue, Queue] = (OrderedDict(), OrderedDict())  # the second is for uploads
        self._waiting = 0
        self._turn = False  # whether uploads come next

    @property
    def few_uploads(self) -> bool:
        """Whether there are so few uploads that another one may hold a slot even if it is slow."""
        return self._uploads < self._most // 4

    def take(self, use: Use) -> bool:
        """Take a slot if one may be taken at once."""
        if not self.free or not self._may(use) or not self._share.may(self.held):
            return False
        self._give(use)
        return True

    @property
    def held(self) -> int:
        """The number of slots in use."""
        return self._most - self.free

    @property
    def unused(self) -> bool:
        """Whether no slot is taken and no request waits."""
        return self.free == self._most and not self._waiting

    async def wait(self, use: Use) -> None:
        """Wait for a slot and take it. Raises BusyError."""
        if self.take(use):
            return
        queue, most = self._queues[use.upload], self._most * QUEUE_PER_CONNECTION
        if self._waiting >= most:
            raise BusyError(f"{self._most} connections are in use, {self._waiting} requests wait")
        if use.client is not None and len(queue.get(use.client, ())) >= most // 2:
            raise BusyError(f"{most // 2} requests of {use.client} wait")
        self._share.wait(self)
        waiter = asyncio.get_running_loop().create_future()
        queue.setdefault(use.client, deque()).append(waiter)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(use)
            if isinstance(error, TimeoutError):
                raise BusyError(f"no connection became free within {self._seconds:g} s") from None
            raise
        finally:
            self._waiting -= 1
            self._left(use, waiter)
            self._share.waited(self)

    def give_back(self, use: Use) -> None:
        """Give a slot back; a waiting request gets it."""
        self.free += 1
        self._uploads -= use.upload
        if use.client is not None:
            self._held[use.client] -= 1
            if not self._held[use.client]:
                del self._held[use.client]
        self._share.give_back()

    def sent(self, use: Use) -> Use:
        """The use of a slot once its upload is complete."""
        if not use.upload:
            return use
        self._uploads -= 1
        self.hand_over()
        return use._replace(upload=False)

    def abandon(self) -> None:
        """Forget the slots of an event loop that has ended."""
        self._share.give_back(self.held)

    def close(self) -> None:
        """Refuse all waiting requests: the server shuts down."""
        for queue in self._queues:
            for waiters in queue.values():
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_exception(BusyError("shutting down"))

    def _may(self, use: Use) -> bool:
        if use.upload and self._uploads >= self._for_uploads:
            return False
        return use.client is None or self._held.get(use.client, 0) < self._for_client

    def _give(self, use: Use) -> None:
        self.free -= 1
        self._share.take()
        self._uploads += use.upload
        if use.client is not None:
            self._held[use.client] = self._held.get(use.client, 0) + 1

    def hand_over(self) -> bool:
        """Give a slot to the next request that may have one. Returns whether there was one."""
        if not self.free or not self._waiting or not self._share.may(self.held):
            return False
        for upload in (self._turn, not self._turn):
            queue = self._queues[upload]
            for client, waiters in queue.items():
                use = Use(client, upload)
                # At most one client can have used up its share, so this loop is short.
                if self._may(use) and (waiter := self._next(waiters)) is not None:
                    queue.move_to_end(client)
                    self._turn = not upload
                    self._give(use)
                    waiter.set_result(None)
                    return True
                if upload and self._uploads >= self._for_uploads:
                    break
        return False

    def _next(self, waiters: "deque[asyncio.Future[None]]") -> "asyncio.Future[None] | None":
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _left(self, use: Use, waiter: "asyncio.Future[None]") -> None:
        queue = self._queues[use.upload]
        waiters = queue.get(use.client)
        if waiters is None:
            return
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            del queue[use.client]
