"""Wake-ups for live streams inside one process.

A stream reads the ledger, sends what is new and waits here until somebody says that there may be more. The
hub carries no messages: what was missed is in the ledger, so a wake-up that comes twice does no harm. Nobody
looks by itself: what other processes write, `service/watch.py` finds out for all streams at once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

LISTENERS = 10_000


class HubFullError(Exception):
    """There are as many open streams as the process, or this topic, may have."""


def visitor_topic(site: str, visitor: str) -> str:
    """What a visitor's own stream listens to."""
    return f"visitor/{site}/{visitor}"


def desk_topic(site: str) -> str:
    """What the desks of a site listen to."""
    return f"desk/{site}"


def visit_topic(site: str, visitor: str) -> str:
    """What a desk listens to that shows this visitor's visit."""
    return f"visit/{site}/{visitor}"


class Listener:
    """One stream's ear. A notification that comes while the stream is busy is kept until it waits again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.stopped = False
        self.closing = False  # by us: the reader is still there, and should see a clean end

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a time-out is an answer here
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

    def stop(self, *, closing: bool = False) -> None:
        """End the wait and tell the stream to end."""
        self.stopped = True
        self.closing = self.closing or closing
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

    def notify_all(self) -> None:
        """Wake everybody."""
        for listeners in self._topics.values():
            for listener in listeners:
                listener.wake()

    def heard(self, topic: str) -> bool:
        """Whether anybody listens to `topic`."""
        return topic in self._topics

    def shown_visits(self) -> list[tuple[str, str]]:
        """Site and visitor of every visit that somebody listens to."""
        shown = (topic.split("/", 2) for topic in self._topics if topic.startswith("visit/"))
        return [(site, visitor) for _, site, visitor in shown]

    @contextmanager
    def listen(self, topic: str, most: int | None = None, *others: str) -> Iterator[Listener]:
        """Listen to `topic`, and to the `others`, for as long as the block runs.

        Raises HubFullError when the hub is full or closed, or `most` streams listen to `topic` already.
        """
        there = self._topics.get(topic, ())
        if self.closed or self._count >= self._limit or (most is not None and len(there) >= most):
            raise HubFullError(topic)
        listener = Listener()
        for each in (topic, *others):
            self._topics.setdefault(each, set()).add(listener)
        self._count += 1
        try:
            yield listener
        finally:
            self._count -= 1
            for each in (topic, *others):
                self._topics[each].discard(listener)
                if not self._topics[each]:
                    del self._topics[each]

    def close(self) -> None:
        """End all streams, so that a server that drains its connections need not wait for them."""
        self.closed = True
        for listeners in self._topics.values():
            for listener in listeners:
                listener.stop(closing=True)

    def end(self, site: str) -> None:
        """End all streams of a site that is served no more."""
        for topic, listeners in self._topics.items():
            if topic.split("/", 2)[1] == site:
                for listener in listeners:
                    listener.stop(closing=True)
