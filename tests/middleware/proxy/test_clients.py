"""How many connections clients may keep open, through the real server (field E9)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from desks import until
from raw_http import OK, Client, Shop, answering, ended, get, serving
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

HERE, THERE = ("127.0.0.2", 0), ("127.0.0.3", 0)  # two networks; 127.0.0.1 is this machine


@asynccontextmanager
async def clew(
    folder: Path, upstream: str, client: int, most: int, **changes: Any
) -> AsyncIterator[tuple[int, ReverseProxy]]:
    values = {
        "secret": "s" * 40,
        "store": f"sqlite:{folder / 'visits.db'}",
        "ledger": f"sqlite:{folder / 'clew.db'}",
        "limits": {"connections": {"client": client, "all": most}},
        "sites": [{"name": "shop", "upstream": upstream}],
    }
    proxy = ReverseProxy(Settings.model_validate(values | changes))
    async with serving(proxy, lifespan="on") as port:
        yield port, proxy


async def test_over_a_networks_limit_its_longest_idle_connection_is_closed(tmp_path: Path) -> None:
    """field E9: idle connections of one network do not block others, nor its own next visitor"""
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, shop.url, 3, 100) as (port, proxy),
        AsyncExitStack() as stack,
    ):
        other = await stack.enter_async_context(Client(port, local_addr=THERE))
        assert (await other.ask(get())).status == 200
        clients = [await stack.enter_async_context(Client(port, local_addr=HERE)) for _ in range(3)]
        for client in (clients[1], clients[0], clients[2], clients[0]):
            assert (await client.ask(get())).status == 200
        for _ in range(2):
            new = await stack.enter_async_context(Client(port, local_addr=HERE))
            assert (await new.ask(get())).status == 200
        # The first to wait were 1 and then 2; 0 was used again after them.
        await ended(clients[1].reader)
        await ended(clients[2].reader)
        assert (await clients[0].ask(get())).status == 200
        assert (await other.ask(get())).status == 200
        assert proxy.service.limits.held("connections") == 4


async def test_a_network_with_only_busy_connections_gets_no_more_and_it_is_reported(tmp_path: Path) -> None:
    """field E9: heads that never end, one byte at a time"""
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, shop.url, 3, 100) as (port, proxy),
        AsyncExitStack() as stack,
    ):
        busy = [await stack.enter_async_context(Client(port, local_addr=HERE)) for _ in range(3)]
        for client in busy:
            await client.send(b"GET / HTTP/1.1\r\nHo")
        await until(lambda: not proxy._clients.idle)
        with structlog.testing.capture_logs() as lines:
            new = await stack.enter_async_context(Client(port, local_addr=HERE))
            refused = await new.response()
        assert (refused.status, refused.all("retry-after")) == (429, [b"30"])
        assert [(e["limit"], e["scope"], e["client"]) for e in lines if e["event"] == "limited"] == [
            ("connections", "client", "127.0.0.2")
        ]
        other = await stack.enter_async_context(Client(port, local_addr=THERE))
        assert (await other.ask(get())).status == 200
        await busy[0].send(b"st: shop.example\r\n\r\n")
        assert (await busy[0].response()).status == 200


async def test_over_the_total_limit_the_longest_idle_connection_is_closed(tmp_path: Path) -> None:
    """field E9: many networks"""
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, shop.url, 3, 4) as (port, _),
        AsyncExitStack() as stack,
    ):
        first = [
            await stack.enter_async_context(Client(port, local_addr=(f"127.0.1.{n}", 0))) for n in range(1, 5)
        ]
        for client in first:
            assert (await client.ask(get())).status == 200
        new = await stack.enter_async_context(Client(port, local_addr=HERE))
        assert (await new.ask(get())).status == 200
        await ended(first[0].reader)
        assert (await first[1].ask(get())).status == 200


async def test_connections_of_trusted_proxies_are_not_one_clients(tmp_path: Path) -> None:
    """field E9: they are those of all of the proxy's clients"""
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, shop.url, 2, 100, trusted_proxies=["127.0.0.2/32"]) as (port, _),
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(Client(port, local_addr=HERE)) for _ in range(6)]
        for client in clients:
            assert (await client.ask(get())).status == 200


async def test_a_place_is_freed_however_the_work_ends(tmp_path: Path) -> None:
    """field E9: answered and closed, refused, broken off, upgraded to a WebSocket"""

    async def echo(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0) as shop:
        upstream = f"http://127.0.0.1:{shop.sockets[0].getsockname()[1]}"
        async with clew(tmp_path, upstream, 2, 100) as (port, proxy):
            for request in (
                b"",
                b"GET / HT",
                b"nonsense\r\n\r\n",
                get(b"/-/clew/health", b"Connection: close"),
            ):
                for _ in range(3):
                    async with Client(port, local_addr=HERE) as client:
                        if request:
                            await client.send(request)
            async with AsyncExitStack() as stack:
                sockets = [
                    await stack.enter_async_context(
                        connect(f"ws://127.0.0.1:{port}/", proxy=None, local_addr=HERE)
                    )
                    for _ in range(4)
                ]
                await sockets[0].send("tea")
                assert await sockets[0].recv() == "tea"
            await until(lambda: not proxy.service.limits.held("connections"))
            assert not proxy._clients.idle
            assert not proxy._clients._of
