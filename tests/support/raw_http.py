"""Both ends of a proxy as bytes: a shop that a test scripts, and a client that hides nothing."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

import uvicorn
from clew.middleware.http.handshake import AnsweringWebSocket
from clew.middleware.http.protocol import BoundedProtocol
from clew.middleware.proxy.shops import Proxy
from clew.settings import model

PATIENCE = 120.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Pairs = list[tuple[bytes, bytes]]
Script = Callable[["Shop", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def limits(**changes: Any) -> model.Upstream:
    """The settings' limits towards a shop, with some of them changed."""
    return model.Upstream(
        **{k: v if k in ("connections", "via", "websockets") else Decimal(str(v)) for k, v in changes.items()}
    )


@dataclass
class Request:
    """A request as the shop received it."""

    line: bytes
    headers: Pairs
    body: bytes = b""

    @property
    def target(self) -> bytes:
        """The request target, byte for byte."""
        return self.line.split(b" ")[1]

    def all(self, name: str) -> list[bytes]:
        """All values of a header, in order."""
        return [value for found, value in self.headers if found.lower() == name.lower().encode()]


@dataclass
class Response:
    """A response as the client received it. `complete` is False where the message broke off."""

    status: int
    headers: Pairs
    body: bytes = b""
    complete: bool = True
    trailers: Pairs = field(default_factory=list)

    def all(self, name: str) -> list[bytes]:
        """All values of a header, in order."""
        return [value for found, value in self.headers if found.lower() == name.lower().encode()]


def split_head(head: bytes) -> tuple[bytes, Pairs]:
    """First line and header pairs; nothing is stripped but the one blank after the colon."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return first, [
        (name, value.removeprefix(b" ")) for name, _, value in (line.partition(b":") for line in lines)
    ]


async def read_request(reader: asyncio.StreamReader, head: bytes = b"") -> Request:
    """The next request with its whole body, or the rest of that with this `head`. Raises IncompleteReadError
    at the end of the connection."""
    line, headers = split_head(head or await reader.readuntil(b"\r\n\r\n"))
    request = Request(line, headers)
    if request.all("transfer-encoding") == [b"chunked"]:
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        request.body = b"".join(pieces)
    else:
        for length in request.all("content-length"):
            request.body = await reader.readexactly(int(length))
    return request


class Shop:
    """An upstream on a port of its own, or a unix socket. It runs `script` for each connection."""

    def __init__(self, script: Script, *, unix: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.closed = 0
        self.port = 0
        self.url = f"unix:{unix}"
        self._script = script
        self._unix = unix
        self._tls = tls
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        limit = 2**20
        if self._unix:
            self._server = await asyncio.start_unix_server(self._connected, self._unix, limit=limit)
        else:
            self._server = await asyncio.start_server(
                self._connected, "127.0.0.1", 0, limit=limit, ssl=self._tls
            )
            self.port = self._server.sockets[0].getsockname()[1]
            self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        await self.notify()
        try:
            await self._script(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.closed += 1
            await self.notify()

    async def request(self, reader: asyncio.StreamReader) -> Request:
        """Read a request and remember it."""
        request = await read_request(reader)
        self.requests.append(request)
        await self.notify()
        return request

    async def notify(self) -> None:
        """Something changed that `until` may wait for."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something that happens at the shop; TimeoutError after thirty seconds."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: bool(holds()))


def answering(*responses: bytes, close: bool = False) -> Script:
    """Answer the connection's requests with these bytes, the last one again and again."""

    async def script(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = 0
        while True:
            await shop.request(reader)
            writer.write(responses[min(turn, len(responses) - 1)])
            await writer.drain()
            turn += 1
            if close:
                return

    return script


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until the other side closes or breaks the connection; what it sends is dropped."""
    async with asyncio.timeout(PATIENCE):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            return


class Client:
    """One connection to a server, in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, port: int, host: str = "127.0.0.1", **options: Any) -> None:
        self._address = host, port
        self._options = options

    async def __aenter__(self) -> Self:
        options = {"limit": 2**20} | self._options
        self.reader, self.writer = await asyncio.open_connection(*self._address, **options)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, data: bytes) -> None:
        """Send bytes, and let the other side read them before more follow."""
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    async def ask(self, request: bytes, method: str = "GET") -> Response:
        """Send bytes and read one response."""
        self.writer.write(request)
        return await self.response(method)

    async def response(self, method: str = "GET") -> Response:
        """The next final response with its body, as far as it was received."""
        async with asyncio.timeout(PATIENCE):
            response = await self.head()
            while 100 <= response.status < 200:
                response = await self.head()
            if method == "HEAD" or response.status in (204, 304):
                return response
            try:
                await self._body(response)
            except asyncio.IncompleteReadError as error:
                response.body += error.partial
                response.complete = False
            except ConnectionError:
                response.complete = False
            return response

    async def head(self) -> Response:
        """The next response head, interim ones too."""
        first, headers = split_head(await self.reader.readuntil(b"\r\n\r\n"))
        return Response(int(first.split(b" ")[1]), headers)

    async def _body(self, response: Response) -> None:
        if response.all("transfer-encoding") == [b"chunked"]:
            while size := int(await self._line(), 16):
                response.body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            while line := (await self._line()).removesuffix(b"\r\n"):
                name, _, value = line.partition(b": ")
                response.trailers.append((name, value))
        elif lengths := response.all("content-length"):
            response.body = await self.reader.readexactly(int(lengths[0]))
        else:
            response.body = await self.reader.read()

    async def _line(self) -> bytes:
        return await self.reader.readuntil(b"\r\n")


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[int]:
    """Run an ASGI app as `clew serve` runs its own, in this loop; yields the port."""
    settings = {
        "http": BoundedProtocol,
        "ws": AnsweringWebSocket,
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_graceful_shutdown": 2,
    }
    config = uvicorn.Config(app, **(settings | options))
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Left alone, some systems let the kernel take tens of megabytes that nobody has read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        await server.startup(sockets=[listener])
        try:
            yield listener.getsockname()[1]
        finally:
            await server.shutdown(sockets=[listener])


@asynccontextmanager
async def proxying(
    shop: Shop, *, trusted: Any = (), host: str | None = None, **changes: Any
) -> AsyncIterator[int]:
    """A shop behind a `Proxy` behind uvicorn; yields the port to ask."""
    proxy = Proxy(shop.url, limits(**changes), trusted, host)
    try:
        async with serving(proxy) as port:
            yield port
    finally:
        await proxy.close()


def get(target: bytes = b"/", *lines: bytes, method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: shop.example", *lines, b"", b""])
