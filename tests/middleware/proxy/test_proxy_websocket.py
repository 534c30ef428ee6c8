"""WebSockets through the proxy, between a client library and shops that use frames or raw bytes."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from clew.middleware.proxy import websocket as websocket_module
from clew.middleware.proxy.shops import Proxy
from raw_http import PATIENCE, Client, Shop, answering, ended, get, limits, proxying, serving
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


def first_offered(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


@asynccontextmanager
async def chatting(handler: Handler, keep_alive: float = 5, **changes: float) -> AsyncIterator[str]:
    """A shop with a WebSocket behind the proxy; yields the address to connect to."""
    async with serve(handler, "127.0.0.1", 0, select_subprotocol=first_offered) as shop:
        port = next(iter(shop.sockets)).getsockname()[1]
        proxy = Proxy(f"http://127.0.0.1:{port}", limits(**changes))
        async with serving(proxy, timeout_keep_alive=keep_alive) as front:
            yield f"ws://127.0.0.1:{front}"
        await proxy.close()


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close frame that came; 1006 where none came."""
    async with asyncio.timeout(PATIENCE):
        await socket.wait_closed()
    return socket.close_code or 0, socket.close_reason or ""


async def test_text_and_binary_messages_pass_both_ways() -> None:
    async with chatting(echo) as address, connect(address, proxy=None) as socket:
        for message in ("héllo", b"\x00\xff", "", b"", "x" * 300_000, bytes(300_000)):
            await socket.send(message)
            assert await socket.recv() == message


async def test_a_websocket_that_says_nothing_is_closed() -> None:
    """field E9: on both sides; what does say something, either way, stays."""
    left = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        if socket.request is not None and socket.request.path == "/talks":
            while True:
                await socket.send("tick")
                await asyncio.sleep(0.05)
        await socket.wait_closed()
        left.set()

    async with (
        chatting(talk, websocket_idle=0.4) as address,
        connect(address + "/talks", proxy=None) as busy,
        connect(address, proxy=None) as idle,
    ):
        assert await closed(idle) == (1001, "no message for too long")
        await asyncio.wait_for(left.wait(), PATIENCE)
        assert await busy.recv() == "tick"


async def test_idle_websockets_do_not_keep_pages_from_the_shop() -> None:
    """field E9: they have a bound of their own."""
    async with chatting(echo, connections=2, websockets=3) as address:
        port = int(address.rpartition(":")[2])
        sockets = [await connect(address, proxy=None) for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, proxy=None)
        assert refused.value.response.status_code == 503
        async with Client(port) as client:
            assert (await client.ask(get(b"/page"))).status == 426
        for socket in sockets:
            await socket.close()


async def test_a_websocket_on_a_connection_that_was_kept_is_not_taken_for_idle() -> None:
    """proxy 7"""
    frame = b"\x81\x82\0\0\0\0hi"
    async with chatting(echo, keep_alive=0.3) as address, Client(int(address.rpartition(":")[2])) as client:
        assert (await client.ask(get(b"/page"))).status == 426
        upgrade = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
        client.writer.write(get(b"/", *upgrade, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
        assert (await client.head()).status == 101
        loop = asyncio.get_running_loop()
        later = loop.time() + 1
        while loop.time() < later:
            client.writer.write(frame)
            assert await client.reader.readexactly(4) == b"\x81\x02hi"


async def test_a_message_in_fragments_arrives_whole() -> None:
    async with chatting(echo) as address, connect(address, proxy=None) as socket:
        await socket.send(["one ", "two ", "three"])
        assert await socket.recv() == "one two three"


async def test_the_handshake_is_forwarded_with_origin_cookies_and_subprotocols() -> None:
    """proxy 7, 4.1, 1.1, 1.7: Origin, cookies, subprotocols"""
    seen: list[ServerConnection] = []

    async def handler(socket: ServerConnection) -> None:
        seen.append(socket)
        await socket.wait_closed()

    async with (
        chatting(handler) as address,
        connect(
            f"{address}/chat%2Fa?b=%41",
            proxy=None,
            origin=Origin("https://elsewhere.example"),
            subprotocols=[Subprotocol("v2"), Subprotocol("chat")],
            additional_headers=[("Cookie", "a=1; b=2"), ("X-Forwarded-For", "6.6.6.6")],
        ) as socket,
    ):
        assert socket.subprotocol == "v2"
        request = seen[0].request
        assert request is not None
        assert request.path == "/chat%2Fa?b=%41"
        assert request.headers["Origin"] == "https://elsewhere.example"
        assert request.headers["Cookie"] == "a=1; b=2"
        assert request.headers["Host"] == address.removeprefix("ws://")
        assert request.headers.get_all("X-Forwarded-For") == ["127.0.0.1"]
        assert request.headers.get_all("Sec-WebSocket-Extensions") == []
        assert len(request.headers.get_all("Sec-WebSocket-Key")) == 1


@pytest.mark.parametrize(
    ("code", "reason", "arrives"),
    [(1000, "done", 1000), (1001, "", 1001), (3456, "ours", 3456), (4999, "é", 4999)],
)
async def test_close_codes_pass_both_ways(code: int, reason: str, arrives: int) -> None:
    """proxy 7"""
    at_shop: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()

    async def handler(socket: ServerConnection) -> None:
        if await socket.recv() == "you close":
            await socket.wait_closed()
            at_shop.set_result((socket.close_code, socket.close_reason))
        else:
            await socket.close(code, reason)

    async with chatting(handler) as address:
        async with connect(address, proxy=None) as socket:
            await socket.send("I close")
            assert await closed(socket) == (arrives, reason)
        async with connect(address, proxy=None) as socket:
            await socket.send("you close")
            await socket.close(code, reason)
        assert await asyncio.wait_for(at_shop, PATIENCE) == (arrives, reason)


async def test_a_close_without_a_code_is_a_normal_close() -> None:
    """proxy 7: 1005 is never sent in a frame"""

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        async with socket.send_context():
            socket.protocol.send_close()

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        await socket.send("close")
        assert await closed(socket) == (1000, "")


async def test_a_shop_that_breaks_off_is_no_clean_close() -> None:
    """proxy 7, 6.3: 1006 is never sent in a frame"""

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        await socket.send("break")
        assert await closed(socket) == (1006, "")


async def test_a_browser_that_vanishes_ends_the_shops_side() -> None:
    """proxy 6.7, 7"""
    gone = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        await socket.send("here")
        await socket.wait_closed()
        gone.set()

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        assert await socket.recv() == "here"
        socket.transport.abort()
        await asyncio.wait_for(gone.wait(), PATIENCE)


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden", b"404 Not Found", b"200 OK"])
async def test_a_refused_handshake_keeps_its_status_and_page(status: bytes) -> None:
    """proxy 7, 3.9"""
    answer = (
        b"HTTP/1.1 "
        + status
        + b"\r\nContent-Type: text/plain\r\nWWW-Authenticate: x\r\nContent-Length: 2\r\n\r\nno"
    )
    async with Shop(answering(answer)) as shop, proxying(shop) as port:
        with pytest.raises(InvalidStatus) as error:
            await connect(f"ws://127.0.0.1:{port}", proxy=None)
        response = error.value.response
        assert (response.status_code, response.body) == (int(status[:3]), b"no")
        assert response.headers["WWW-Authenticate"] == "x"
        await shop.until(lambda: shop.closed == 1)


async def test_a_server_without_denial_responses_gets_a_plain_refusal() -> None:
    """proxy 7"""
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example")],
        "client": None,
    }
    async with Shop(answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")) as shop:
        proxy = Proxy(shop.url, limits())
        await proxy(scope, receive, send)  # type: ignore[arg-type]
        await proxy.close()
    assert sent == [{"type": "websocket.close"}]


def switched(key: bytes, *lines: bytes) -> bytes:
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    return b"\r\n".join([*head, b"Sec-WebSocket-Accept: " + proof, *lines, b"", b""])


@pytest.mark.parametrize(
    "answer",
    [
        lambda key: switched(b"another key"),
        lambda key: switched(key, b"Sec-WebSocket-Extensions: permessage-deflate"),
        lambda key: switched(key).replace(b"Upgrade: websocket\r\n", b""),
        lambda key: b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        lambda key: b"",
    ],
)
async def test_only_a_proven_switch_opens_a_tunnel(answer: Callable[[bytes], bytes]) -> None:
    """proxy 3.9"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        request = await shop.request(reader)
        writer.write(answer(request.all("sec-websocket-key")[0]))
        await writer.drain()
        if not answer(b""):
            return
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port:
        with pytest.raises(InvalidStatus) as error:
            await connect(f"ws://127.0.0.1:{port}", proxy=None)
        assert error.value.response.status_code == 502
        await shop.until(lambda: shop.closed == 1)


async def test_bytes_right_after_the_handshake_are_not_lost() -> None:
    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        request = await shop.request(reader)
        writer.write(switched(request.all("sec-websocket-key")[0], b"Set-Cookie: a=1") + b"\x81\x02hi")
        await ended(reader)

    async with (
        Shop(script) as shop,
        proxying(shop) as port,
        connect(f"ws://127.0.0.1:{port}", proxy=None) as socket,
    ):
        assert await socket.recv() == "hi"
        assert socket.response is not None
        assert socket.response.headers["Set-Cookie"] == "a=1"


async def test_a_shop_that_floods_a_slow_browser_is_stopped() -> None:
    """proxy 7: back-pressure"""
    done = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        for _ in range(400):
            await socket.send(bytes(100_000))
        done.set()
        await socket.wait_closed()

    async with (
        chatting(handler) as address,
        connect(address, proxy=None, max_queue=1, compression=None) as socket,
    ):
        assert not (await asyncio.wait({asyncio.ensure_future(done.wait())}, timeout=0.5))[0]
        for _ in range(400):
            assert len(await socket.recv()) == 100_000
        assert done.is_set()


async def test_a_browser_that_floods_a_slow_shop_is_stopped() -> None:
    """proxy 7: back-pressure"""
    go_on = asyncio.Event()
    received: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def handler(socket: ServerConnection) -> None:
        await go_on.wait()
        received.set_result([len(message) async for message in socket])

    async def flood(socket: ClientConnection) -> None:
        for _ in range(400):
            await socket.send(bytes(100_000))

    async with chatting(handler) as address, connect(address, proxy=None, compression=None) as socket:
        flooding = asyncio.create_task(flood(socket))
        assert not (await asyncio.wait({flooding}, timeout=0.5))[0]
        go_on.set()
        await flooding
        await socket.close()
        assert await asyncio.wait_for(received, PATIENCE) == [100_000] * 400


async def test_a_message_that_is_too_large_ends_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 7: maximum size"""
    monkeypatch.setattr(websocket_module, "MAX_MESSAGE", 1000)

    async def handler(socket: ServerConnection) -> None:
        await socket.send(bytes(1001))
        await socket.wait_closed()

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        assert await closed(socket) == (1011, "")


async def test_open_websockets_are_bounded_and_leave_requests_alone() -> None:
    """proxy 6.14"""
    async with chatting(echo, connections=1) as address, connect(address, proxy=None) as socket:
        with pytest.raises(InvalidStatus) as error:
            await connect(address, proxy=None)
        assert error.value.response.status_code == 503
        async with Client(int(address.rpartition(":")[2])) as client:
            assert (await client.ask(get())).status == 426
        await socket.send("still here")
        assert await socket.recv() == "still here"


async def test_a_shop_that_is_down_refuses_a_websocket() -> None:
    """proxy 6.1"""
    async with serving(Proxy("http://nobody.invalid", limits())) as port:
        with pytest.raises(InvalidStatus) as error:
            await connect(f"ws://127.0.0.1:{port}", proxy=None)
        assert error.value.response.status_code == 502


async def test_when_the_server_stops_both_sides_are_closed() -> None:
    """proxy 6.12"""
    at_shop: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def handler(socket: ServerConnection) -> None:
        await socket.send("here")
        await socket.wait_closed()
        at_shop.set_result(socket.close_code)

    async with serve(handler, "127.0.0.1", 0) as shop:
        proxy = Proxy(f"http://127.0.0.1:{next(iter(shop.sockets)).getsockname()[1]}", limits())
        async with serving(proxy) as port:
            socket = await connect(f"ws://127.0.0.1:{port}", proxy=None)
            assert await socket.recv() == "here"
        assert (await closed(socket))[0] == 1012
        assert await asyncio.wait_for(at_shop, PATIENCE) == 1012


async def test_pings_are_answered_on_each_side_by_itself() -> None:
    """proxy 7"""

    async def handler(socket: ServerConnection) -> None:
        await (await socket.ping())
        await socket.send("ponged")
        await socket.wait_closed()

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        assert await socket.recv() == "ponged"
        async with asyncio.timeout(PATIENCE):
            await (await socket.ping(b"mine"))


async def test_a_message_in_fragments_arrives_whole_from_the_shop_too() -> None:
    """proxy 7"""

    async def handler(socket: ServerConnection) -> None:
        await socket.send([b"one ", b"", b"two"])
        await socket.wait_closed()

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        assert await socket.recv() == b"one two"


async def test_each_side_packs_its_messages_by_itself() -> None:
    """proxy 7: permessage-deflate belongs to a connection"""
    at_shop: list[list[str]] = []

    async def handler(socket: ServerConnection) -> None:
        assert socket.request is not None
        at_shop.append(socket.request.headers.get_all("Sec-WebSocket-Extensions"))
        await echo(socket)

    async with chatting(handler) as address:
        for compression in ("deflate", None):
            async with connect(address, proxy=None, compression=compression) as socket:
                assert socket.response is not None
                agreed = socket.response.headers.get_all("Sec-WebSocket-Extensions")
                assert bool(agreed) is (compression == "deflate")
                await socket.send("tea " * 10_000)
                assert await socket.recv() == "tea " * 10_000
    assert at_shop == [[], []]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"\x83\x00", id="a reserved kind of frame"),
        pytest.param(b"\x81\x02\xff\xff", id="text that is no UTF-8"),
        pytest.param(b"\x88\x02\x03\xed", id="1005 in a frame"),
        pytest.param(b"\x88\x02\x03\xee", id="1006 in a frame"),
        pytest.param(b"\x88\x02\x03\xf7", id="1015 in a frame"),
        pytest.param(b"\x88\x01\x03", id="half a code"),
        pytest.param(b"\xc1\x02hi", id="packed without having agreed"),
        pytest.param(b"\x80\x02hi", id="a fragment of nothing"),
    ],
)
async def test_a_shop_that_breaks_the_protocol_is_an_error_to_the_browser(
    frames: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proxy 7: 1005, 1006 and 1015 are never sent in a frame"""
    monkeypatch.setattr(websocket_module, "CLOSE_WITHIN", 0.1)

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        request = await shop.request(reader)
        writer.write(switched(request.all("sec-websocket-key")[0]) + frames)
        await ended(reader)

    async with (
        Shop(script) as shop,
        proxying(shop) as port,
        connect(f"ws://127.0.0.1:{port}", proxy=None) as socket,
    ):
        assert await closed(socket) == (1011, "")
        await shop.until(lambda: shop.closed == 1)


async def test_a_shop_that_only_stops_sending_is_no_clean_close() -> None:
    """proxy 7, 6.3: half a connection is none"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        request = await shop.request(reader)
        writer.write(switched(request.all("sec-websocket-key")[0]) + b"\x81\x04last")
        writer.write_eof()
        await ended(reader)

    async with (
        Shop(script) as shop,
        proxying(shop) as port,
        connect(f"ws://127.0.0.1:{port}", proxy=None) as socket,
    ):
        assert await socket.recv() == "last"
        assert await closed(socket) == (1006, "")


async def test_a_browser_that_closes_without_a_code_has_ended_normally() -> None:
    """proxy 7"""
    at_shop: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def handler(socket: ServerConnection) -> None:
        await socket.wait_closed()
        at_shop.set_result(socket.close_code)

    async with chatting(handler) as address, connect(address, proxy=None) as socket:
        async with socket.send_context():
            socket.protocol.send_close()
        assert await asyncio.wait_for(at_shop, PATIENCE) == 1000


async def test_a_message_from_the_browser_that_is_too_large_ends_the_conversation() -> None:
    """proxy 7: maximum size"""
    gone = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        await socket.wait_closed()
        gone.set()

    async with serve(handler, "127.0.0.1", 0) as shop:
        proxy = Proxy(f"http://127.0.0.1:{next(iter(shop.sockets)).getsockname()[1]}", limits())
        async with (
            serving(proxy, ws_max_size=1000) as port,
            connect(f"ws://127.0.0.1:{port}", proxy=None) as socket,
        ):
            await socket.send(bytes(1001))
            assert (await closed(socket))[0] == 1009
            await asyncio.wait_for(gone.wait(), PATIENCE)
