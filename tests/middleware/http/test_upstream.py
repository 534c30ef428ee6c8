"""The client towards a shop, tested with raw bytes."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from asking import send
from certificates import certificate
from clew.middleware.http import connection as connection_module
from clew.middleware.http import upstream as upstream_module
from clew.middleware.http.connection import HIGH_WATER, LARGE_READ, UpstreamResponse
from clew.middleware.http.faults import (
    BrokenError,
    BusyError,
    ClientGoneError,
    ConnectError,
    ResponseError,
    UpstreamTimeoutError,
)
from clew.middleware.http.slots import NOBODY, QUEUE_PER_CONNECTION
from clew.middleware.http.upstream import Upstream
from cryptography import x509
from raw_http import OK, PATIENCE, Shop, answering, ended, limits

HOST = [(b"host", b"shop.example")]
BIG = 32 * 2**20

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def ask(
    upstream: Upstream, method: str = "GET", target: bytes = b"/", body: bytes | None = None
) -> bytes:
    response = await send(upstream, method, target, HOST, body)
    return b"".join([piece async for piece in response])


async def drained(response: UpstreamResponse) -> None:
    while await response.read():
        pass


async def blocked(work: Awaitable[object]) -> bool:
    """Whether it is still not done after half a second without a reader."""
    return not (await asyncio.wait({asyncio.ensure_future(work)}, timeout=0.5))[0]


async def test_a_connection_is_used_again() -> None:
    async with Shop(answering(OK)) as shop:
        upstream = Upstream(shop.url, limits())
        assert [await ask(upstream, target=b"/%d" % n) for n in range(3)] == [b"ok"] * 3
        assert shop.connections == 1
        assert [request.target for request in shop.requests] == [b"/0", b"/1", b"/2"]
        await upstream.close()
        await shop.until(lambda: shop.closed == 1)


async def test_the_status_line_and_head_are_written_as_they_came() -> None:
    async with Shop(answering(OK)) as shop:
        upstream = Upstream(shop.url, limits())
        await send(
            upstream, "GET", b"/a%2Fb//c/./d/../e%20f?x=%41&&=;q", [*HOST, (b"x", b"caf\xe9"), (b"x", b"2")]
        )
        assert shop.requests[0].line == b"GET /a%2Fb//c/./d/../e%20f?x=%41&&=;q HTTP/1.1"
        assert shop.requests[0].headers == [(b"host", b"shop.example"), (b"x", b"caf\xe9"), (b"x", b"2")]
        await upstream.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="1.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", id="more than asked"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\n\r\nok", id="timeout=1"
        ),
    ],
)
async def test_a_connection_that_is_not_clean_or_not_wanted_is_not_used_again(answer: bytes) -> None:
    """proxy 3.5, 6.6"""
    async with Shop(answering(answer)) as shop:
        upstream = Upstream(shop.url, limits())
        assert [await ask(upstream), await ask(upstream)] == [b"ok", b"ok"]
        assert shop.connections == 2
        await upstream.close()


async def test_an_unrequested_response_is_never_given_to_the_next_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """proxy 3.5"""
    spoil = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(OK)
        if shop.connections == 1:
            await spoil.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        assert await ask(upstream) == b"ok"
        spoil.set()
        await shop.until(lambda: shop.closed == 1)
        assert await ask(upstream) == b"ok"
        await upstream.close()
    assert not caplog.records


async def test_an_idle_connection_is_closed_in_time() -> None:
    """proxy 6.6"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(OK)
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(keep_alive=0.1))
        assert await ask(upstream) == b"ok"
        await shop.until(lambda: shop.closed == 1)
        await upstream.close()


async def test_an_old_connection_is_given_up_so_that_a_moved_name_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """proxy 6.15"""
    async with Shop(answering(OK)) as shop:
        upstream = Upstream(shop.url, limits())
        await ask(upstream)
        monkeypatch.setattr(upstream_module, "LIFETIME", 0.0)
        await ask(upstream)
        assert shop.connections == 2
        await upstream.close()


async def test_an_order_does_not_take_a_connection_that_the_shop_has_closed() -> None:
    """proxy 6.5, 6.6"""
    async with Shop(answering(OK, close=True)) as shop:
        upstream = Upstream(shop.url, limits())
        await ask(upstream)
        await shop.until(lambda: shop.closed == 1)
        assert await ask(upstream, "POST", b"/order", b"order") == b"ok"
        assert shop.requests[-1].body == b"order"
        await upstream.close()


async def test_a_refused_connection_is_a_connect_error() -> None:
    """proxy 6.1"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectError):
        await ask(Upstream(f"http://127.0.0.1:{port}", limits()))
    with pytest.raises(ConnectError):
        await ask(Upstream("http://nobody.invalid", limits()))
    with pytest.raises(ConnectError):
        await ask(Upstream("unix:/nowhere/shop.sock", limits()))


async def test_a_shop_that_hangs_up_at_once_is_known_at_once() -> None:
    """proxy 6.1"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        writer.transport.abort()

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        for _ in range(20):
            with pytest.raises((ConnectError, BrokenError)):
                await asyncio.wait_for(ask(upstream), PATIENCE)
        await shop.until(lambda: shop.closed == 20)
        assert upstream.slots.free == upstream._most
        assert all(connection.transport.is_closing() for connection in upstream._connections)


async def test_connecting_takes_no_longer_than_its_limit() -> None:
    """proxy 6.2"""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # The queue of one is full, and the kernel drops what comes after.
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        upstream = Upstream(f"http://127.0.0.1:{listener.getsockname()[1]}", limits(connect_timeout=0.2))
        with pytest.raises(UpstreamTimeoutError):
            await ask(upstream)


async def test_a_shop_that_does_not_answer_is_given_up() -> None:
    """proxy 6.2"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(response_timeout=0.1))
        with pytest.raises(UpstreamTimeoutError):
            await ask(upstream)
        await shop.until(lambda: shop.closed == 1)


@pytest.mark.parametrize(
    ("kind", "times_out"), [(b"text/html", True), (b"text/event-stream;charset=utf-8", False)]
)
async def test_a_pause_within_a_page_ends_and_one_between_events_does_not(
    kind: bytes, times_out: bool
) -> None:
    """proxy 6.2, 7: SSE"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: 4\r\n\r\nda")
        await go_on.wait()
        writer.write(b"ta")
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(idle_timeout=0.1))
        response = await send(upstream, "GET", b"/", HOST)
        assert await response.read() == b"da"
        if times_out:
            with pytest.raises(UpstreamTimeoutError):
                await response.read()
        else:
            reading = asyncio.ensure_future(response.read())
            assert await blocked(asyncio.shield(reading))
            go_on.set()
            assert await reading == b"ta"
        await upstream.close()


async def test_connections_are_limited_and_waiting_requests_are_served_in_turn() -> None:
    """proxy 6.14"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            await shop.request(reader)
            await go_on.wait()
            writer.write(OK)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(connections=2))
        asking = [asyncio.create_task(ask(upstream, target=b"/%d" % n)) for n in range(6)]
        await shop.until(lambda: len(shop.requests) == 2)
        go_on.set()
        assert await asyncio.gather(*asking) == [b"ok"] * 6
        assert shop.connections == 2
        assert [request.target for request in shop.requests[2:]] == [b"/2", b"/3", b"/4", b"/5"]
        await upstream.close()


async def test_waiting_for_a_connection_has_an_end_and_so_has_the_queue() -> None:
    """proxy 6.14"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(connections=1, connect_timeout=0.3))
        first = asyncio.create_task(ask(upstream))
        await shop.until(lambda: shop.requests)
        waiting = [asyncio.create_task(ask(upstream)) for _ in range(QUEUE_PER_CONNECTION)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="wait"):
            await ask(upstream)
        assert all(isinstance(e, BusyError) for e in await asyncio.gather(*waiting, return_exceptions=True))
        first.cancel()
        await asyncio.wait([first])
        assert upstream.slots.free == 1
        await upstream.close()


async def test_a_slot_is_not_lost_if_its_waiter_is_cancelled() -> None:
    """proxy 6.7, 6.14"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            await shop.request(reader)
            await go_on.wait()
            writer.write(OK)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(connections=1))
        first, second, last = (asyncio.create_task(ask(upstream, target=b"/%d" % n)) for n in range(3))
        await shop.until(lambda: shop.requests)
        second.cancel()
        go_on.set()
        assert await last == b"ok"
        await asyncio.wait([first, second])
        assert [request.target for request in shop.requests] == [b"/0", b"/2"]
        assert upstream.slots.free == 1
        await upstream.close()


async def test_a_slot_that_is_handed_over_in_the_moment_of_cancelling_is_not_lost() -> None:
    """proxy 6.7, 6.14"""
    async with Shop(answering(OK)) as shop:
        upstream = Upstream(shop.url, limits(connections=1))
        await ask(upstream)
        await upstream.slots.wait(NOBODY)
        waiting = asyncio.create_task(upstream.slots.wait(NOBODY))
        await asyncio.sleep(0)
        upstream.slots.give_back(NOBODY)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await ask(upstream) == b"ok"
        await upstream.close()


async def test_a_cancelled_request_closes_the_connection_at_once() -> None:
    """proxy 6.7"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        asking = asyncio.create_task(ask(upstream))
        await shop.until(lambda: shop.requests)
        asking.cancel()
        await shop.until(lambda: shop.closed == 1)
        assert upstream.slots.free == upstream._most


async def test_a_response_that_is_not_read_to_its_end_closes_the_connection() -> None:
    """proxy 6.7"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "GET", b"/", HOST)
        response.close()
        await shop.until(lambda: shop.closed == 1)
        with pytest.raises(BrokenError):
            await drained(response)


async def test_a_client_that_reads_nothing_does_not_keep_a_connection_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """proxy 6.10"""
    monkeypatch.setattr(connection_module, "STALLED_CLIENT", 0.1)

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(HIGH_WATER))
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "GET", b"/", HOST)
        await shop.until(lambda: shop.closed == 1)
        with pytest.raises(ClientGoneError):
            await drained(response)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_reader_that_is_slow_stops_the_shop(chunked: bool) -> None:
    """proxy 6.10"""
    sent = asyncio.Event()
    piece = bytes(65536)
    frame = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % BIG
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        for _ in range(BIG // len(piece)):
            writer.write(frame)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")
        sent.set()
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "GET", b"/", HOST)
        assert await blocked(sent.wait())
        assert response.reader.buffered <= HIGH_WATER + LARGE_READ
        received = 0
        async for data in response:
            assert response.reader.buffered <= HIGH_WATER + LARGE_READ
            received += len(data)
        assert received == BIG
        assert upstream.slots.free == upstream._most
        await upstream.close()


async def upload(sent: list[int], size: int = 65536, pieces: int = BIG // 65536) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        sent.append(size)
        yield bytes(size)


@pytest.mark.parametrize("headers", [[(b"content-length", b"%d" % BIG)], []])
async def test_a_shop_that_reads_slowly_stops_the_upload(headers: list[tuple[bytes, bytes]]) -> None:
    """proxy 6.9"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await go_on.wait()
        await shop.request(reader)
        writer.write(OK)

    async with Shop(script) as shop:
        upstream, sent = Upstream(shop.url, limits()), list[int]()
        asking = asyncio.create_task(send(upstream, "POST", b"/", [*HOST, *headers], upload(sent)))
        assert await blocked(asyncio.shield(asking))
        assert sum(sent) < BIG
        go_on.set()
        response = await asking
        assert await response.read() == b"ok"
        assert len(shop.requests[0].body) == BIG
        await upstream.close()


async def test_an_upload_keeps_its_framing() -> None:
    """proxy 3.2"""
    async with Shop(answering(OK)) as shop:
        upstream = Upstream(shop.url, limits())
        for headers in ([(b"content-length", b"6")], []):
            response = await send(upstream, "POST", b"/", [*HOST, *headers], upload([], 3, 2))
            assert await response.read() == b"ok"
        counted, chunked = shop.requests
        assert (counted.all("content-length"), counted.all("transfer-encoding")) == ([b"6"], [])
        assert (chunked.all("content-length"), chunked.all("transfer-encoding")) == ([], [b"chunked"])
        assert counted.body == chunked.body == bytes(6)
        assert shop.connections == 1
        await upstream.close()


async def test_a_refusal_during_an_upload_is_delivered_and_ends_the_upload() -> None:
    """proxy 3.6"""
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
    sent: list[int] = []

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1000)
        writer.write(refused)
        await ended(reader)

    async def without_end() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield bytes(65536)
            await asyncio.sleep(0)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "POST", b"/", HOST, without_end())
        assert (response.status, await response.read()) == (413, b"big")
        await shop.until(lambda: shop.closed == 1)
        after = len(sent)
        await asyncio.sleep(0)
        assert len(sent) == after


async def test_an_upload_stops_at_the_head_of_a_refusal() -> None:
    """proxy 3.6"""
    sent: list[int] = []
    arrived: list[int] = []
    enough, finish = asyncio.Event(), asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\n")
        await finish.wait()
        writer.write(b"big")
        while data := await reader.read(65536):
            arrived.append(len(data))

    async def without_end() -> AsyncIterator[bytes]:
        while True:
            sent.append(1000)
            if len(sent) > 1000:
                enough.set()
            yield bytes(1000)
            await asyncio.sleep(0)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "POST", b"/", HOST, without_end())
        before = sum(sent)
        await enough.wait()
        finish.set()
        assert await response.read() == b"big"
        await shop.until(lambda: shop.closed == 1)
        assert sum(sent) > 2 * before
        assert sum(arrived) < before + 2_000


async def test_an_answer_may_begin_while_the_request_still_comes() -> None:
    """proxy 3.6"""
    answered = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwait")
        while b"last" not in await reader.read(1000):
            pass
        writer.write(b" done")
        await ended(reader)

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        yield b"last"

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "POST", b"/", HOST, body())
        assert await response.read() == b"wait"
        answered.set()
        assert await response.read() == b" done"
        await upstream.close()


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"Content-Length: 10", b"hello"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
    ],
)
async def test_a_body_that_breaks_off_never_ends_cleanly(head: bytes, rest: bytes) -> None:
    """proxy 6.3"""
    async with Shop(answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + rest, close=True)) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "GET", b"/", HOST)
        assert await response.read() == b"hello"
        with pytest.raises(BrokenError):
            await response.read()
        assert not response.ended


async def test_a_reset_in_a_body_that_ends_with_the_connection_is_no_end() -> None:
    """proxy 6.3"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        shop.requests[0].body = await reader.readexactly(1)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "GET", b"/", HOST)
        assert await response.read() == b"hello"
        connection = next(iter(upstream._connections))
        connection.connection_lost(ConnectionResetError("reset"))
        with pytest.raises(BrokenError, match="reset"):
            await response.read()


async def test_redirects_and_cookies_are_the_clients_business() -> None:
    """proxy 8"""
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    )
    async with Shop(answering(answer)) as shop:
        upstream = Upstream(shop.url, limits())
        for _ in range(2):
            response = await send(upstream, "GET", b"/", HOST)
            assert (response.status, await response.read()) == (302, b"")
        assert [request.headers for request in shop.requests] == [HOST, HOST]
        await upstream.close()


async def test_environment_proxies_are_not_used_for_upstreams(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 8"""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Shop(answering(OK)) as shop:
        upstream = Upstream(shop.url, limits())
        assert await ask(upstream) == b"ok"
        await upstream.close()


async def test_a_shop_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    """proxy 6.18"""
    async with Shop(answering(OK), unix=str(tmp_path / "shop.sock")) as shop:
        upstream = Upstream(shop.url, limits())
        assert [await ask(upstream), await ask(upstream, "POST", b"/", b"x")] == [b"ok", b"ok"]
        assert shop.connections == 1
        await upstream.close()


@pytest.mark.parametrize(
    ("known", "name", "trusted"),
    [(True, "localhost", True), (True, "other.example", False), (False, "localhost", False)],
)
async def test_a_tls_shop_is_requested_by_its_name_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, name: str, trusted: bool
) -> None:
    """proxy 6.17"""
    path = certificate(tmp_path, x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.2")))
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, server_name, _context: asked.append(server_name)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000
    async with Shop(answering(large), tls=context) as shop:
        upstream = Upstream(f"https://localhost:{shop.port}", limits())
        if trusted:
            assert await ask(upstream) == await ask(upstream, "POST", b"/", b"y" * 300000) == b"x" * 300000
            assert shop.connections == 1
        else:
            with pytest.raises(ConnectError):
                await ask(upstream)
        assert asked[0] == "localhost"
        await upstream.close()


async def test_a_response_head_of_64_kb_is_read() -> None:
    """proxy 2.9"""
    async with Shop(
        answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65536 + b"\r\nContent-Length: 0\r\n\r\n")
    ) as shop:
        upstream = Upstream(shop.url, limits())
        response = await send(upstream, "GET", b"/", HOST)
        assert len(response.headers[0][1]) == 65536
        await upstream.close()


async def test_a_faulty_answer_closes_the_connection() -> None:
    """proxy 3.1"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
        await ended(reader)

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits())
        with pytest.raises(ResponseError):
            await ask(upstream)
        await shop.until(lambda: shop.closed == 1)
        assert upstream.slots.free == upstream._most


async def test_a_hundred_requests_at_once_get_their_own_answers() -> None:
    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            request = await shop.request(reader)
            await asyncio.sleep(0)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.target) + request.target
            )

    async with Shop(script) as shop:
        upstream = Upstream(shop.url, limits(connections=7, connect_timeout=PATIENCE))
        targets = [b"/%d" % n for n in range(70)]
        assert await asyncio.gather(*(ask(upstream, target=t) for t in targets)) == targets
        assert shop.connections == 7
        await upstream.close()


def test_it_can_be_made_before_a_loop_runs_and_used_in_one_after_another(tmp_path: Path) -> None:
    upstream = Upstream(f"unix:{tmp_path}/shop", limits())

    async def once() -> bytes:
        async with Shop(answering(OK), unix=f"{tmp_path}/shop"):
            return await ask(upstream)

    assert [asyncio.run(once()), asyncio.run(once())] == [b"ok", b"ok"]
