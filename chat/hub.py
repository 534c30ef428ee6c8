"""Wake-ups for live streams inside one process.

A stream reads the ledger, sends what is new and waits here until somebody says that there may be more. The
hub carries no messages: what was missed is in the ledger, so a wake-up that is lost or comes twice does no
harm, and a stream that also looks by itself every POLL_SECONDS is right when another process wrote.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

POLL_SECONDS = 2.0
LISTENERS = 10_000


class HubFullError(Exception):
    """There are as many open streams as the process, or this topic, may have."""


def visitor_topic(site: str, visitor: str) -> str:
    """What a visitor's own stream listens to."""
    return f"visitor/{site}/{visitor}"


def desk_topic(site: str) -> str:
    """What the desks of a site listen to."""
    return f"desk/{site}"


class Listener:
    """One stream's ear. A notification that comes while the stream is busy is kept until it waits again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.stopped = False

    async def wait(self, timeout: float = POLL_SECONDS) -> bool:  # noqa: ASYNC109 - a time-out is an answer here
        """Wait for a notification, at most `timeout` seconds; whether one came."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def wake(self) -> None:
        """End the wait."""
        self._event.set()

    def stop(self) -> None:
        """End the wait and tell the stream to end."""
        self.stopped = True
        self._event.set()


class Hub:
    """Who listens to what. Used from the event loop's thread only; at most `limit` listeners at a time."""

    def __init__(self, limit: int = LISTENERS) -> None:
        self._limit = limit
        self._count = 0
        self._topics: dict[str, set[Listener]] = {}
        self.closed = False

    def __len__(self) -> int:
        """The number of listeners."""
        return self._count

    def notify(self, topic: str) -> None:
        """Wake everybody who listens to `topic`."""
        for listener in self._topics.get(topic, ()):
            listener.wake()

    @contextmanager
    def listen(self, topic: str, most: int | None = None) -> Iterator[Listener]:
        """Listen to `topic` for as long as the block runs.

        Raises HubFullError when the hub is full or closed, or `most` streams listen to the topic already.
        """
        listeners = self._topics.get(topic, set())
        if self.closed or self._count >= self._limit or (most is not None and len(listeners) >= most):
            raise HubFullError(topic)
        listener = Listener()
        self._topics[topic] = listeners
        listeners.add(listener)
        self._count += 1
        try:
            yield listener
        finally:
            self._count -= 1
            listeners.discard(listener)
            if not listeners:
                del self._topics[topic]

    def close(self) -> None:
        """End all streams, so that a server that drains its connections need not wait for them."""
        self.closed = True
        for listeners in self._topics.values():
            for listener in listeners:
                listener.stop()
