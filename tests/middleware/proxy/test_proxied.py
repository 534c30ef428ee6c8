"""A request's way to the shop and back, at the moments when something else happens on the connection."""

import asyncio
import contextlib
import random
import socket
from typing import Any, cast

import pytest
from clew.middleware.http import protocol as protocol_module
from clew.middleware.http.handler import ClientConnection
from clew.middleware.proxy.proxied import ProxiedRequest
from clew.middleware.proxy.shops import Proxy
from raw_http import PATIENCE, Client, Shop, answering, ended, get, limits, proxying, serving

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
TRACE = b"TRACE / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Gate:
    """A shop that answers each request with its target, when `open` says so."""

    def __init__(self) -> None:
        self.open = asyncio.Semaphore(0)

    async def __call__(self, shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            request = await shop.request(reader)
            await self.open.acquire()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target)
            )


# -- requests sent ahead


async def test_pipelined_requests_are_read_no_faster_than_they_are_answered() -> None:
    gate, made = Gate(), 0

    class Counting(Proxy):
        def handler_for(self, *arguments: Any, **options: Any) -> ProxiedRequest:
            nonlocal made
            made += 1
            return super().handler_for(*arguments, **options)

    async with Shop(gate) as shop:
        proxy = Counting(shop.url, limits())
        async with serving(proxy) as port, Client(port) as client:
            client.writer.write(get(b"/", b"X: " + b"x" * 8000) * 2000)
            for turn in range(20):
                await shop.until(lambda turn=turn: len(shop.requests) > turn)
                gate.open.release()
                assert (await client.response()).status == 200
            assert made <= 20 + protocol_module.MOST_AHEAD
            client.writer.transport.abort()
            for _ in range(2000):
                gate.open.release()
        await proxy.close()


async def test_too_many_pipelined_requests_are_answered_up_to_the_limit() -> None:
    gate, ahead = Gate(), 3 * protocol_module.MOST_AHEAD
    async with Shop(gate) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(b"".join(get(b"/%d" % number) for number in range(ahead)))
        for _ in range(ahead):
            gate.open.release()
        answers = [await client.response()]
        while not answers[-1].all("connection"):
            answers.append(await client.response())
        bodies = [answer.body for answer in answers]
        assert bodies == [b"/%d" % number for number in range(len(bodies))]
        assert len(bodies) > protocol_module.MOST_AHEAD
        assert await client.reader.read() == b""


async def test_many_refusals_behind_an_answer_take_no_stack() -> None:
    gate = Gate()
    async with Shop(gate) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get() + TRACE * (protocol_module.MOST_AHEAD - 1) + get(b"/last"))
        await shop.until(lambda: shop.requests)
        gate.open.release()
        gate.open.release()
        assert (await client.response()).status == 200
        for _ in range(protocol_module.MOST_AHEAD - 1):
            assert (await client.response()).status == 405
        assert (await client.response()).body == b"/last"


async def test_invalid_bytes_after_a_request_do_not_prevent_its_response() -> None:
    gate = Gate()
    async with Shop(gate) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get(b"/good") + b"nonsense\r\n\r\n")
        await shop.until(lambda: shop.requests)
        gate.open.release()
        response = await client.response()
        assert (response.body, response.all("connection")) == (b"/good", [b"close"])
        assert await client.reader.read() == b""


async def test_a_head_that_waits_behind_an_answer_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server itself stopped reading in the middle of it."""
    monkeypatch.setattr(protocol_module, "HEAD_SECONDS", 0.1)
    gate = Gate()
    async with Shop(gate) as shop, proxying(shop) as port, Client(port) as client:
        requests = get(b"/1") + get(b"/2") + get(b"/3")
        client.writer.write(requests[:-10])
        await shop.until(lambda: shop.requests)
        await asyncio.sleep(0.3)
        client.writer.write(requests[-10:])
        for number in (b"/1", b"/2", b"/3"):
            gate.open.release()
            assert (await client.response()).body == number


async def test_an_upgrade_behind_an_answer_does_not_write_into_it() -> None:
    gate = Gate()
    async with Shop(gate) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get(b"/page") + get(b"/ws", *UPGRADE))
        await shop.until(lambda: shop.requests)
        gate.open.release()
        response = await client.response()
        assert (response.body, response.all("connection")) == (b"/page", [b"close"])
        assert await client.reader.read() == b""
        assert len(shop.requests) == 1


# -- clients that go, or do nothing


async def test_clews_own_response_is_notified_of_a_disconnect_even_with_pipelined_data() -> None:
    """proxy 6.7: a live stream with a request behind it."""
    left, began = asyncio.Event(), asyncio.Event()

    class Own(Proxy):
        def handler_for(self, client: ClientConnection, scope: Any, *, keep_alive: bool) -> ProxiedRequest:
            if scope["raw_path"] == b"/own":
                return cast("Any", None)
            return super().handler_for(client, scope, keep_alive=keep_alive)

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await receive()
            began.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()

    async with Shop(Gate()) as shop:
        proxy = Own(shop.url, limits())
        async with serving(proxy) as port:
            async with Client(port) as client:
                client.writer.write(get(b"/own") + get())
                await asyncio.wait_for(began.wait(), 60)
            await asyncio.wait_for(left.wait(), 60)
        await proxy.close()


async def test_a_client_that_reads_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.10"""
    monkeypatch.setattr(protocol_module, "STALLED_CLIENT", 0.2)

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**26 + bytes(2**26))
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get())
        await shop.until(lambda: shop.closed == 1)
        assert not (await client.response()).complete


# -- memory that is borrowed


async def test_bytes_for_a_slow_client_are_not_overwritten_by_another_response() -> None:
    def page(target: bytes) -> bytes:
        return random.Random(target).randbytes(1_000_000) * 6

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            request = await shop.request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n" + page(request.target))

    async def ask(port: int, target: bytes) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, get(target, b"Connection: close"))
        return client

    async def read(client: socket.socket) -> bytes:
        pieces = []
        while piece := await loop.sock_recv(client, 65536):
            pieces.append(piece)
        client.close()
        return b"".join(pieces).partition(b"\r\n\r\n")[2]

    loop = asyncio.get_running_loop()
    async with Shop(script) as shop, proxying(shop) as port, asyncio.timeout(PATIENCE):
        slow = {target: await ask(port, target) for target in (b"/slow/%d" % n for n in range(6))}
        await shop.until(lambda: len(shop.requests) == 6)
        for n in range(4):
            async with Client(port) as client:
                same = (await client.ask(get(b"/fast/%d" % n))).body == page(b"/fast/%d" % n)
                assert same
        for target, client in slow.items():
            same = await read(client) == page(target)
            assert same, target


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ],
)
async def test_an_old_client_sees_a_broken_answer_as_broken(answer: bytes) -> None:
    """proxy 6.3: HTTP/1.0 takes the end of the connection for the end of the body, but not a reset."""
    async with (
        Shop(answering(answer, close=True)) as shop,
        proxying(shop) as port,
        Client(port) as client,
    ):
        assert not (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).complete


# -- how a connection ends


async def test_a_slow_client_keeps_what_was_answered_before_a_broken_answer() -> None:
    """proxy 3.6: unread bytes of the client do not cut off a response that it has not read yet."""
    picture = random.Random(5).randbytes(1_000_000)

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + picture)
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbroke")

    async with Shop(script) as shop, proxying(shop) as port, Client(port, limit=4096) as client:
        client.writer.transport.set_write_buffer_limits(0)
        upload = get(b"/later", b"Content-Length: 9000000", method=b"POST") + bytes(9_000_000)
        client.writer.write(get(b"/picture") + get(b"/broken") + upload)
        async with asyncio.timeout(PATIENCE):
            await client.writer.drain()
        first, second = await client.response(), await client.response()
        assert first.complete
        assert first.body == picture
        assert (second.body, second.complete) == (b"broke", False)
        assert len(shop.requests) == 2


async def test_a_client_that_does_not_close_an_ended_connection_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """proxy 3.6: soon if it is silent; later if it continues to send or read."""
    monkeypatch.setattr(protocol_module, "LINGER", 0.05)
    monkeypatch.setattr(protocol_module, "LINGERS_READING", 10**9)
    page = bytes(16_000_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)
    async with Shop(answering(answer)) as shop, proxying(shop) as port:
        async with Client(port) as silent:
            await silent.ask(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.wait_for(written_in_vain(silent), PATIENCE)
        async with Client(port, limit=4096) as slow:
            slow.writer.write(get(b"/", b"Connection: close"))
            await shop.until(lambda: len(shop.requests) == 1)
            await asyncio.sleep(0.3)
            whole = (await slow.response()).body == page
            assert whole
            assert await slow.reader.read() == b""
            await asyncio.wait_for(written_in_vain(slow), PATIENCE)


async def written_in_vain(client: Client) -> None:
    """Wait until the other side has closed completely, so that further writes reset the connection."""
    await client.reader.read()
    with contextlib.suppress(ConnectionError):
        while True:
            client.writer.write(b"x")
            await client.writer.drain()
            await asyncio.sleep(0.01)


async def test_pipelined_requests_after_a_closing_request_are_not_forwarded() -> None:
    async with Shop(answering()) as shop, proxying(shop) as port, Client(port) as client:
        refused = await client.ask(b"GET /1 HTTP/1.1\r\n\r\n" + get(b"/2"))
        assert (refused.status, refused.all("connection")) == (400, [b"close"])
        assert await client.reader.read() == b""
        assert shop.requests == []


CHUNKED_POST = (b"POST /upload HTTP/1.1", b"Host: shop.example", b"Transfer-Encoding: chunked", b"", b"")


async def test_a_malformed_body_behind_an_answer_does_not_cost_it() -> None:
    """The connection ends with the answers before it."""
    gate = Gate()
    async with Shop(gate) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get(b"/1") + get(b"/2") + b"\r\n".join(CHUNKED_POST) + b"zz\r\n")
        await shop.until(lambda: shop.requests)
        gate.open.release()
        gate.open.release()
        bodies = [(await client.response()).body for _ in range(2)]
        assert bodies == [b"/1", b"/2"]
        assert await client.reader.read() == b""
        assert len(shop.requests) == 2


async def test_a_malformed_body_behind_its_own_answer_gets_no_second_one() -> None:
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refused)
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        answer = await client.ask(b"\r\n".join(CHUNKED_POST) + b"1\r\na\r\n")
        assert (answer.status, answer.body) == (403, b"no")
        client.writer.write(b"zz\r\n")
        assert await client.reader.read() == b""


@pytest.mark.parametrize("answered", [True, False])
async def test_a_malformed_body_ends_the_exchange(answered: bool) -> None:
    """With a refusal, or with a broken answer if that has begun."""
    began = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answered:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
        began.set()
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(b"\r\n".join(CHUNKED_POST) + b"1\r\na\r\n")
        await asyncio.wait_for(began.wait(), PATIENCE)
        if answered:
            head = await asyncio.wait_for(client.head(), PATIENCE)
            client.writer.write(b"zz\r\n")
            assert head.status == 200
            assert await client.reader.read() == b"begun"
        else:
            client.writer.write(b"zz\r\n")
            refused = await client.response()
            assert (refused.status, refused.all("connection")) == (400, [b"close"])
            assert await client.reader.read() == b""
        await shop.until(lambda: shop.closed == 1)
