"""Server-sent events (WHATWG HTML §9.2): a response that lives until its reader or the process goes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..chat.hub import Hub, HubFullError, Listener
from ..service.limits import LimitedError
from ..stores.errors import STORE_FAILURES
from .guard import Refused, over, refusal

# The shortest time after which proxies take a silent stream for dead is usually a minute.
PING_SECONDS = 50.0
# How long a stream whose reader has gone may take to end by itself before it is cancelled.
GRACE_SECONDS = 5.0

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # no-transform: a proxy that compresses would hold events back. X-Accel-Buffering is nginx's word for it.
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class StreamEnd(Exception):  # noqa: N818 - the end is no error
    """Raised by a reader when there will never be more for this stream."""


def event(name: str, data: str, id: str) -> bytes:  # noqa: A002 - the standard's word
    """One event. `data` is a single line, as JSON is."""
    return f"id: {id}\nevent: {name}\ndata: {data}\n\n".encode()


def passing(name: str, data: str) -> bytes:
    """An event without an id: a browser that reconnects does not ask for it again."""
    return f"event: {name}\ndata: {data}\n\n".encode()


class EventStream(Response):
    """Sends what `read` returns: at first, after a wake-up of `topic` or `others`, and at the time to which
    `read` has set `listener.look_at`.

    `read` returns the events since its last call and may raise StreamEnd. `hold` takes a place under the
    limits for as long as the stream lives, and at most `most` streams (None: any number) listen to one
    topic: the next is refused with 429. A comment is sent after 50 silent seconds, so that no proxy closes
    the connection, and `retry` sets the browser's reconnection time. An idle stream does nothing else.
    """

    def __init__(
        self,
        hub: Hub,
        topic: str,
        most: int | None,
        hold: Callable[[], AbstractContextManager[object]],
        read: Callable[[Listener], Awaitable[Sequence[bytes]]],
        *,
        others: Sequence[str] = (),
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._topic = topic
        self._most = most
        self._hold = hold
        self._read = read
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One stream, from the head to the end."""
        try:
            with self._hold(), self._hub.listen(self._topic, self._most, *self._others) as listener:
                await self._serve(listener, receive, send)
        except HubFullError:
            refused = Refused(429, "too many open streams: close other tabs", wait=30)
            await refusal(refused)(scope, receive, send)
        except LimitedError as limited:
            await refusal(over(limited))(scope, receive, send)

    async def _serve(self, listener: Listener, receive: Receive, send: Send) -> None:
        watch = asyncio.create_task(_until_gone(receive, listener))
        stream = asyncio.create_task(self._stream(listener, send))
        try:
            await asyncio.wait((watch, stream), return_when=asyncio.FIRST_COMPLETED)
            # Ends by itself at its next look, unless it hangs in a send that nobody reads any more.
            await asyncio.wait((stream,), timeout=GRACE_SECONDS)
        finally:
            watch.cancel()
            stream.cancel()
            results = await asyncio.gather(watch, stream, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    async def _stream(self, listener: Listener, send: Send) -> None:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
        sent = loop.time()
        # A ledger that fails ends the stream as well: the browser comes back, with the last id it saw.
        with suppress(StreamEnd, *STORE_FAILURES):
            woken = True
            while not listener.stopped:
                events = b"".join(await self._read(listener)) if woken else b""
                if not events and loop.time() >= sent + PING_SECONDS:
                    events = b": ping\n\n"
                if events:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
                    sent = loop.time()
                until = min(sent + PING_SECONDS, listener.look_at)
                woken = await listener.wait(until - loop.time()) or loop.time() >= listener.look_at
        if not listener.stopped or listener.closing:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.stop()
