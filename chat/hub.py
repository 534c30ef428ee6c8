"""Notifications for live streams inside one process.

A stream reads the ledger, sends new messages, and waits here for a notification that there may be more. A
repeated notification does no harm. With news comes the message itself, so that a stream that has told the one
before it needs not read; and signs (`signs.py`), which are kept nowhere, go through the hub. Streams do not
poll: `stores/watch.py` detects what other processes write, for all streams at once.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from .model import News
from .signs import Sign

LISTENERS = 10_000
GIVEN = 100
"""Signs, and news, that a busy stream has waiting at most."""

TOGETHER, PAUSE = 20, 0.01
"""Streams that are woken at once where there may be thousands, and seconds until the next ones are."""
TOLD = 4096
"""Messages of which it is known that they were told."""


class HubFullError(Exception):
    """The process, or this topic, has the maximum number of open streams."""


def visitor_topic(site: str, visitor: str) -> str:
    """The topic of a visitor's own stream."""
    return f"visitor/{site}/{visitor}"


def desk_topic(site: str) -> str:
    """The topic of a site's desks."""
    return f"desk/{site}"


def talk_topic(site: str, conversation: str) -> str:
    """The topic of desks that show this conversation, or whose agent has it."""
    return f"talk/{site}/{conversation}"


def visit_topic(site: str, visitor: str) -> str:
    """The topic of desks that show this visitor's visit."""
    return f"visit/{site}/{visitor}"


def agent_topic(agent: str) -> str:
    """The topic of an agent's desks, at whatever site: something was given to it, or taken."""
    return f"agent//{agent}"


def presence_topic(site: str) -> str:
    """The topic of visitors' streams: agents have come or gone."""
    return f"presence/{site}"


def network_topic(site: str, mark: str) -> str:
    """The topic of visitors' streams from one client network: a block of it has begun or ended."""
    return f"network/{site}/{mark}"


def _site(topic: str) -> str:
    """The site of a topic."""
    return topic.partition("/")[2].partition("/")[0]


class Listener:
    """The subscription of one stream to `topics`. A notification while the stream is busy is kept until it
    waits."""

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self.topics = set(topics)
        self._is_woken = False
        self._waiter: asyncio.Future[None] | None = None
        self._woken: set[str] = set()
        self._given: dict[tuple[str, str], Sign] = {}
        self._news: list[News] = []
        self.later: frozenset[str] = frozenset()
        self.later_at = -math.inf  # until then notifications of these topics end no wait, but set `look_at`
        self.look_at = math.inf  # of the loop's clock: when the stream is to read also without a notification
        self.stopped = False
        self.closing = False  # by the server: the client is still connected, and should see a clean end

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a time-out is an answer here
        """Wait for a notification, at most `timeout` seconds. Returns whether there was one."""
        if not self._is_woken:
            loop = asyncio.get_running_loop()
            self._waiter = waiter = loop.create_future()
            late = loop.call_later(timeout, _end, waiter)
            try:
                await waiter
            finally:
                late.cancel()
                self._waiter = None
        woken, self._is_woken = self._is_woken, False
        return woken

    def _wake(self) -> None:
        self._is_woken = True
        if self._waiter is not None:
            _end(self._waiter)

    def wake(self, topic: str) -> None:
        """End the wait, because of a topic."""
        if topic in self._woken:
            return  # since the stream has looked last
        self._woken.add(topic)
        if topic in self.later and asyncio.get_running_loop().time() < self.later_at:
            if self.look_at <= self.later_at:
                return
            self.look_at = self.later_at
        self._wake()

    def rouse(self) -> None:
        """End the wait, because the stream itself has found something."""
        self._wake()

    def taken(self) -> set[str]:
        """The topics of which there were notifications since the last call."""
        woken, self._woken = self._woken, set()
        return woken

    def tell(self, topic: str, news: News) -> None:
        """End the wait, because of a message of a topic."""
        if news.previous is None or len(self._news) >= GIVEN:
            self._woken.add(topic)
        else:
            self._news.append(news)
        self._wake()

    def told(self) -> Sequence[News]:
        """The messages that were told since the last call."""
        told, self._news = self._news, []
        return told

    def give(self, sign: Sign) -> None:
        """End the wait, because of a sign, which takes the place of an older one of its kind."""
        if sign.place in self._given or len(self._given) < GIVEN:
            self._given[sign.place] = sign
        self._wake()

    def given(self) -> Iterable[Sign]:
        """The signs that were given since the last call."""
        given, self._given = self._given, {}
        return given.values()

    def stop(self, *, closing: bool = False) -> None:
        """End the wait, and let the stream end."""
        self.stopped = True
        self.closing = self.closing or closing
        self._wake()


def _end(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Hub:
    """Listeners by topic, at most `limit` of them; `has_site` says whether a site is in the settings. Use it
    only from the event loop's thread."""

    def __init__(self, limit: int = LISTENERS, has_site: Callable[[str], bool] = lambda name: True) -> None:
        self._limit = limit
        self._has_site = has_site
        self._count = 0
        self._topics: dict[str, set[Listener]] = {}
        self._told: dict[int, None] = {}
        self.closed = False

    def __len__(self) -> int:
        """The number of listeners."""
        return self._count

    def notify(self, topic: str) -> None:
        """Wake all listeners of `topic`."""
        for listener in self._topics.get(topic, ()):
            listener.wake(topic)

    async def notify_slowly(self, topic: str) -> None:
        """The same for thousands, in turn, so that who has a message to send needs not wait for them."""
        for place, listener in enumerate(list(self._topics.get(topic, ()))):
            listener.wake(topic)
            if place % TOGETHER == TOGETHER - 1:
                await asyncio.sleep(PAUSE)

    def tell(self, news: News) -> None:
        """Tell the streams of its visitor, and of the desks that show its conversation, of a message; once,
        whether this process has written it or found it in the ledger: who listens later reads that."""
        if news.message.id in self._told:
            return
        self._told[news.message.id] = None
        if len(self._told) > TOLD:
            del self._told[next(iter(self._told))]
        for topic in (visitor_topic(news.site, news.visitor), talk_topic(news.site, news.conversation)):
            for listener in self._topics.get(topic, ()):
                listener.tell(topic, news)
        self.notify(desk_topic(news.site))

    def give(self, sign: Sign) -> None:
        """Give a sign to all listeners of its topic."""
        for listener in self._topics.get(sign.topic, ()):
            listener.give(sign)

    def notify_all(self) -> None:
        """Wake all listeners."""
        for topic in self._topics:
            self.notify(topic)

    def present_sites(self) -> list[str]:
        """The sites of which visitors' streams are open."""
        return [_site(topic) for topic in self._topics if topic.startswith("presence/")]

    def heard(self, topic: str) -> int:
        """How many listeners `topic` has."""
        return len(self._topics.get(topic, ()))

    def shown_visits(self) -> list[tuple[str, str]]:
        """Site and visitor of every visit with listeners."""
        shown = (topic.split("/", 2) for topic in self._topics if topic.startswith("visit/"))
        return [(site, visitor) for _, site, visitor in shown]

    @contextmanager
    def listen(self, topic: str, most: int | None = None, *others: str) -> Iterator[Listener]:
        """Listen to `topic` and the `others` while the block runs.

        The listener is stopped from the beginning if the site was removed since the request was accepted.
        Raises HubFullError if the hub is full or closed, or if `topic` already has `most` listeners.
        """
        there = self._topics.get(topic, ())
        if self.closed or self._count >= self._limit or (most is not None and len(there) >= most):
            raise HubFullError(topic)
        listener = Listener([topic, *others])
        if not self._has_site(_site(topic)):
            listener.stop(closing=True)
        for each in listener.topics:
            self._topics.setdefault(each, set()).add(listener)
        self._count += 1
        try:
            yield listener
        finally:
            self._count -= 1
            self._leave(listener, listener.topics)

    def follow(self, listener: Listener, topics: Iterable[str]) -> None:
        """Have a listener listen to these topics, and to no others."""
        wanted = set(topics)
        self._leave(listener, listener.topics - wanted)
        for topic in wanted - listener.topics:
            self._topics.setdefault(topic, set()).add(listener)
        listener.topics = wanted

    def _leave(self, listener: Listener, topics: Iterable[str]) -> None:
        for topic in topics:
            self._topics[topic].discard(listener)
            if not self._topics[topic]:
                del self._topics[topic]

    def close(self) -> None:
        """End all streams, so that a server that drains its connections does not wait for them."""
        self.closed = True
        for listeners in self._topics.values():
            for listener in listeners:
                listener.stop(closing=True)

    def end(self, site: str) -> None:
        """End all streams of a site that was removed."""
        for topic, listeners in self._topics.items():
            if _site(topic) == site:
                for listener in listeners:
                    listener.stop(closing=True)
