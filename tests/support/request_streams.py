"""Whole request streams of several clients through the server and the pool to one shop, beside h11.

What the shop saw of a client must be what h11 reads in that client's bytes: the same requests with the same
bodies, in order, up to where clew refuses. h11 reads more than clew does (a transfer coding beside a length,
bare line feeds), so clew may stop earlier; and where h11 stops, nothing is compared any more.

Everything is in memory: the server's protocol and the connections to the shop are the real ones, with
transports that call back at once.
"""

import asyncio
import socket
from collections.abc import Iterator
from functools import cache
from typing import Any

import h11
import uvicorn
from clew.middleware.http.connection import Connection
from clew.middleware.http.protocol import BoundedProtocol
from clew.middleware.proxy.shops import Proxy
from clew.settings.model import Upstream
from uvicorn.server import ServerState

CLIENTS = 3
# What a byte of the input stands for; those behind the end of the list stand for themselves.
ALPHABET: tuple[bytes, ...] = (
    b"GET / HTTP/1.1\r\nHost: shop.example\r\n",
    b"POST /a HTTP/1.1\r\nHost: shop.example\r\n",
    b"PUT /early HTTP/1.1\r\nHost: shop.example\r\n",
    b"POST /old HTTP/1.0\r\nHost: shop.example\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: shop.example\r\n",
    b"TRACE /t HTTP/1.1\r\nHost: shop.example\r\n",
    b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n",
    b"\r\n",
    b"Connection: Upgrade\r\n",
    b"Connection: keep-alive, Upgrade, HTTP2-Settings\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Upgrade: h2c\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c, websocket\r\n",
    b"Upgrade: \r\n",
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 3 \t\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 72\r\n",  # the length of the next but one
    b"Content-Length:\t3\r\n",
    b"GET /hidden HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: Chunked \r\n",
    b"Transfer-Encoding: identity\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"3;x=y\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Trailer: 1\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"X: y\r\n",
    b"X-Forwarded-For: 192.0.2.9\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\0",
)
SWITCH = 0xFF  # the other client goes on
LONGEST = 400  # bytes of input

# What a kept connection is polled by: nothing ever comes.
QUIET = socket.socketpair()

Seen = tuple[bytes, bytes, bytes]


class ClientSide(asyncio.Transport):
    """The server's transport towards a client, who takes everything at once."""

    def __init__(self, number: int) -> None:
        super().__init__({"peername": (f"192.0.2.{number}", 1), "sockname": ("192.0.2.99", 80)})
        self.closed = False
        self.out = b""

    def write(self, data: Any) -> None:
        self.out += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        return

    resume_reading = pause_reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        return


class ShopSide(asyncio.Transport):
    """A connection to the shop, and the shop: it reads strictly, and answers each request."""

    def __init__(self, shop: "Shop", connection: Connection) -> None:
        super().__init__({"socket": QUIET[0]})
        self._shop = shop
        self._connection = connection
        self._received = b""
        self._answered_early = False
        self.closed = False

    def write(self, data: Any) -> None:
        self._received += bytes(data)
        while not self.closed and self._request():
            pass

    def _request(self) -> bool:
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return False
        first, *lines = head.split(b"\r\n")
        fields = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]
        if first.split(b" ")[1] == b"/early" and not self._answered_early:
            self._answered_early = True
            asyncio.get_running_loop().call_soon(self._answer)
        found = framed(fields, rest)
        if found is None:
            return False
        body, self._received = found
        clients = [value for name, value in fields if name == b"x-forwarded-for"]
        method, target, _ = first.split(b" ")
        self._shop.seen.append((b"".join(clients), (method, target, body)))
        if not self._answered_early:
            asyncio.get_running_loop().call_soon(self._answer, method == b"HEAD")
        self._answered_early = False
        return True

    def _answer(self, bare: bool = False) -> None:
        if not self.closed:
            data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if bare else b"ok")
            self._connection.get_buffer(-1)[: len(data)] = data
            self._connection.buffer_updated(len(data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        return

    resume_reading = pause_reading


def framed(fields: list[tuple[bytes, bytes]], rest: bytes) -> tuple[bytes, bytes] | None:
    """The body at the start of `rest`, and what follows; None while it is not complete."""
    values = dict(fields)
    assert len([name for name, _ in fields if name in (b"content-length", b"transfer-encoding")]) <= 1
    if b"transfer-encoding" not in values:
        length = int(values.get(b"content-length", b"0"))
        return (rest[:length], rest[length:]) if len(rest) >= length else None
    body = b""
    while True:
        size, line, rest = rest.partition(b"\r\n")
        if not line:
            return None
        length = int(size, 16)
        if len(rest) < length + 2:
            return None
        assert rest[length : length + 2] == b"\r\n"
        if not length:
            return body, rest[2:]
        body, rest = body + rest[:length], rest[length + 2 :]


class Shop:
    """All connections to the shop. `seen` is what came, with the client that it was said to be from."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, Seen]] = []

    async def open(self, protocol: Any) -> Connection:
        """In place of `Dial.open`."""
        connection: Connection = protocol()
        connection.connection_made(ShopSide(self, connection))
        return connection


class NoWebSocket(asyncio.Protocol):
    """Takes a handshake, and the connection with it: what follows is no HTTP."""

    def __init__(self, **_: Any) -> None:
        return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@cache
def config() -> tuple[uvicorn.Config, Proxy, asyncio.AbstractEventLoop]:
    proxy = Proxy("http://192.0.2.80:80", Upstream(connections=4))
    made = uvicorn.Config(
        proxy, ws=NoWebSocket, lifespan="off", proxy_headers=False, access_log=False, log_config=None
    )
    made.load()
    return made, proxy, asyncio.new_event_loop()


def scripts(data: bytes) -> list[tuple[int, bytes]]:
    """Whose turn it is, and what it sends."""
    steps: list[tuple[int, bytes]] = []
    turn, sent = 0, b""
    for byte in data[:LONGEST]:
        if byte == SWITCH:
            steps.append((turn, sent))
            turn, sent = (turn + 1) % CLIENTS, b""
        else:
            sent += ALPHABET[byte] if byte < len(ALPHABET) else bytes([byte])
    return [*steps, (turn, sent)]


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    size = len(data) if seed == 0 else seed
    for at in range(0, len(data), max(1, size)):
        yield data[at : at + size]


async def play(steps: list[tuple[int, bytes]], seed: int) -> list[tuple[bytes, Seen]]:
    made, proxy, loop = config()
    proxy.upstream._loop = None  # new connections for each input
    shop = Shop()
    proxy.upstream._dial.open = shop.open  # type: ignore[method-assign]
    state = ServerState()
    clients = [BoundedProtocol(made, state, {}, loop) for _ in range(CLIENTS)]
    sides = [ClientSide(number) for number in range(CLIENTS)]
    for client, side in zip(clients, sides, strict=True):
        client.connection_made(side)
    for turn, sent in steps:
        for piece in cut(sent, seed):
            if not sides[turn].closed:
                clients[turn].data_received(piece)
        for _ in range(6):
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    for client, side in zip(clients, sides, strict=True):
        side.closed = True
        client.connection_lost(None)
    await proxy.close()
    for _ in range(6):
        await asyncio.sleep(0)
    return shop.seen


def read_by_h11(data: bytes) -> tuple[list[Seen], bool]:
    """The complete requests in a client's bytes, as long as the connection lasts; whether a fault ended."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    found: list[Seen] = []
    request, body = None, b""
    try:
        reader.receive_data(data)
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                found.append((request.method, request.target, body))
                reader.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is h11.MUST_CLOSE:
                    return found, False
                reader.start_next_cycle()
            else:
                return found, False
    except h11.ProtocolError:
        return found, True


def passed_on(requests: list[Seen]) -> list[Seen]:
    """Without those that clew answers itself, and those that the shop answered before it had all of them."""
    return [r for r in requests if r[0] != b"TRACE" and r[1] != b"/early"]


def streams(data: bytes) -> None:
    """What the shop saw of each client is what h11 reads in its bytes, whatever the others send."""
    seed, steps = data[0] if data else 0, scripts(data[1:])
    seen = config()[2].run_until_complete(play(steps, seed))
    assert {client for client, _ in seen} <= {b"192.0.2.%d" % number for number in range(CLIENTS)}
    for number in range(CLIENTS):
        sent = b"".join(data for turn, data in steps if turn == number)
        ours = passed_on([request for client, request in seen if client == b"192.0.2.%d" % number])
        found, faulty = read_by_h11(sent)
        theirs = passed_on(found)
        if faulty:
            ours = ours[: len(theirs)]
        assert ours == theirs[: len(ours)], (sent, ours, theirs)
