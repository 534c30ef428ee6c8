"""Idle uploads and WebSockets do not block the shop for others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.middleware.proxy import request_half
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from raw_http import OK, PATIENCE, Client, Shop, answering, get, proxying, serving
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

CHUNKED = b"Transfer-Encoding: chunked"


def post(*lines: bytes) -> bytes:
    return get(b"/upload", *lines, method=b"POST")


@asynccontextmanager
async def slow_uploads(port: int, count: int, head: bytes, start: bytes) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(port)) for _ in range(count)]
        for client in clients:
            await client.send(head + start)
        yield clients


STARTS = {
    "a byte of a short body": (post(b"Content-Length: 100"), b"x"),
    "a byte of a long body": (post(b"Content-Length: 1000000"), b"x"),
    "a chunk of a byte": (post(CHUNKED), b"1\r\nx\r\n"),
    "all but a byte": (post(b"Content-Length: 60000"), b"x" * 59_999),
}


@pytest.mark.parametrize(("head", "start"), STARTS.values(), ids=STARTS)
async def test_a_slow_upload_takes_no_connection_to_the_shop(head: bytes, start: bytes) -> None:
    """field E8: ten of them and a pool of ten."""
    async with Shop(answering(OK)) as shop, proxying(shop, connections=10) as port:
        async with slow_uploads(port, 10, head, start), Client(port) as visitor:
            assert (await visitor.ask(get(b"/page"))).status == 200
        assert [r.target for r in shop.requests] == [b"/page"]


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", CHUNKED], ids=["length", "chunks"])
async def test_uploads_that_stop_in_the_middle_leave_connections_for_others(framing: bytes) -> None:
    """field E8: each starts fast enough to be passed on, and then stops."""
    start = b"x" * 100_000
    if framing is CHUNKED:
        start = b"%x\r\n%b\r\n" % (len(start), start)
    async with (
        Shop(answering(OK)) as shop,
        proxying(shop, connections=10) as port,
        slow_uploads(port, 10, post(framing), start),
        Client(port) as visitor,
    ):
        await shop.until(lambda: shop.connections == 5)
        assert (await visitor.ask(get(b"/page"))).status == 200


@pytest.mark.parametrize("start", [1, 100_000], ids=["gathered", "passed on"])
async def test_an_upload_below_the_minimum_rate_is_ended(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    """field E8: a 408, and the shop's connection is free."""
    monkeypatch.setattr(request_half, "BODY_SECONDS", 0.3)
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        await client.send(post(b"Content-Length: 1000000") + b"x" * start)
        response = await client.response()
        assert (response.status, response.all("connection")) == (408, [b"close"])
        await shop.until(lambda: shop.closed == shop.connections)


async def test_an_upload_above_the_minimum_rate_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    """field E8: slow, but not too slow."""
    monkeypatch.setattr(request_half, "BODY_SECONDS", 0.5)
    size, sent = 300_000, 0
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        await client.send(post(b"Content-Length: %d" % size))
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.2
        while loop.time() < until:
            await client.send(b"x" * 200)
            sent += 200
            await asyncio.sleep(0.02)
        await client.send(b"x" * (size - sent))
        assert (await client.response()).status == 200
        assert len(shop.requests[0].body) == size


async def test_a_body_that_comes_slowly_is_gathered_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """field E8: a picture over a bad line needs the shop for a moment, not for a minute."""
    monkeypatch.setattr(request_half, "FAST_RATE", 10**12)
    size = request_half.GATHERED_SLOW - 1
    async with Shop(answering(OK)) as shop, proxying(shop, connections=3) as port, Client(port) as client:
        await client.send(post(b"Content-Length: %d" % size) + b"x" * (size - 1))
        async with Client(port) as visitor:
            assert (await visitor.ask(get(b"/page"))).status == 200
        assert shop.connections == 1
        await client.send(b"x")
        assert (await client.response()).status == 200
        assert len(shop.requests[1].body) == size


async def test_an_upload_waits_for_the_shop_without_being_taken_for_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """field E8: it is the shop that does not read."""
    monkeypatch.setattr(request_half, "BODY_SECONDS", 0.1)
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        await reader.readexactly(size)
        writer.write(OK)
        assert head

    size = 16_000_000
    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        sending = asyncio.create_task(client.send(post(b"Content-Length: %d" % size) + b"x" * size))
        await shop.until(lambda: shop.connections)
        await asyncio.sleep(0.5)
        go_on.set()
        await asyncio.wait_for(sending, PATIENCE)
        assert (await client.response()).status == 200


@asynccontextmanager
async def clew_before(shop: Shop, folder: Path, **limits: Any) -> AsyncIterator[int]:
    settings = {
        "secret": "aV3ryl0ngSecretThatNobodyGuesses-42x",
        "store": f"sqlite:{folder / 'visits.db'}",
        "ledger": f"sqlite:{folder / 'clew.db'}",
        "limits": limits,
        "sites": [{"name": "shop", "upstream": shop.url}],
    }
    app = ReverseProxy(Settings.model_validate(settings))
    await app.service.start()
    try:
        async with serving(app) as port:
            yield port
    finally:
        await app.service.stop()
        await app._shops.of("shop").close()  # type: ignore[union-attr]


async def test_one_client_has_so_many_uploads_at_once(tmp_path: Path) -> None:
    """field E8: by client network; a whole body, and a place that is free again, are none."""
    async with Shop(answering(OK)) as shop, clew_before(shop, tmp_path, uploads={"client": 2}) as port:
        async with slow_uploads(port, 2, post(b"Content-Length: 9"), b"x"), Client(port) as third:
            refused = await third.ask(post(b"Content-Length: 9"))
            assert (refused.status, refused.all("retry-after")) == (429, [b"30"])
            assert refused.all("connection") == [b"close"]
            async with Client(port) as whole:
                assert (await whole.ask(post(b"Content-Length: 3") + b"abc")).status == 200
        async with Client(port) as later:
            await later.send(post(b"Content-Length: 9") + b"x")
            assert (await later.ask(b"x" * 8)).status == 200


async def test_one_client_has_so_many_websockets_at_once(tmp_path: Path) -> None:
    """field E9"""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0) as server, Shop(answering(OK)) as shop:
        shop.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with clew_before(shop, tmp_path, websockets={"client": 1}) as port:
            address = f"ws://127.0.0.1:{port}"
            async with connect(address, proxy=None) as first:
                with pytest.raises(InvalidStatus) as refused:
                    await connect(address, proxy=None)
                assert refused.value.response.status_code == 429
                await first.send("a")
                assert await first.recv() == "a"
            async with connect(address, proxy=None) as second:
                await second.send("b")
                assert await second.recv() == "b"
