"""A client over `Upstream` that awaits, for tests: what a passage does in callbacks."""

import asyncio
from collections.abc import AsyncIterator

from clew.injector.heads import Headers, value
from clew.middleware.http.connection import Connection, UpstreamResponse
from clew.middleware.http.upstream import Upstream
from clew.middleware.http.wire import ResponseReader, request_head


class Asked(UpstreamResponse):
    """An answer, and the body on its way to the shop beside it."""

    def __init__(self, connection: Connection, reader: ResponseReader) -> None:
        super().__init__(connection, reader)
        self._ready = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def upload(self, connection: Connection, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Send the body as fast as the shop takes it."""

        async def pump() -> None:
            async for data in body:
                self._ready.clear()
                if not connection.upload(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data):
                    await self._ready.wait()
            if chunked:
                connection.upload(b"0\r\n\r\n")
            connection.uploaded()

        self._pump = asyncio.create_task(pump())

    def shop_ready(self) -> None:
        """The shop takes more."""
        self._ready.set()

    def exchange_over(self, error: Exception | None) -> None:
        """All has come, or never will."""
        if self._pump is not None:
            self._pump.cancel()
        super().exchange_over(error)


async def send(
    upstream: Upstream,
    method: str,
    target: bytes,
    headers: Headers,
    body: bytes | AsyncIterator[bytes] | None = None,
) -> Asked:
    """Send a request, and return when the head of its answer is there. Nothing is sent twice."""
    chunked = body is not None and value(headers, b"content-length") is None
    if isinstance(body, bytes):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    elif chunked:
        headers = [*headers, (b"transfer-encoding", b"chunked")]
    request = request_head(method, target, headers)
    replayable = body is None and method in ("GET", "HEAD")
    connection = upstream.take(replayable) or (await upstream.acquire(replayable))[0]
    reader = ResponseReader(method)
    asked = Asked(connection, reader)
    if isinstance(body, bytes) or body is None:
        connection.begin(request + (body or b""), reader, asked)
    else:
        connection.begin(request, reader, asked, uploading=True)
        asked.upload(connection, body, chunked=chunked)
    try:
        await asked.head()
    except BaseException:
        asked.close()
        raise
    return asked
