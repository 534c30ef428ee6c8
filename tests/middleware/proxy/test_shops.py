"""Connections to a shop when its site changes, is removed, or was not requested for some time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.middleware.proxy import shops as module
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from raw_http import OK, PATIENCE, Client, Shop, answering, serving
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

PART = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 8\r\n\r\nhalf"


class Running:
    """Sites behind clew, which may be others from one moment to the next."""

    def __init__(self, folder: Path) -> None:
        self._database = f"sqlite:{folder / 'clew.db'}"
        self.port = 0

    def settings(self, *sites: dict[str, Any], **more: Any) -> Settings:
        named = [{"hosts": [f"{site['name']}.example"], **site} for site in sites]
        top = {"secret": "s" * 40, "store": self._database, "ledger": self._database}
        return Settings.model_validate({**top, "desk_host": "desk.example", **more, "sites": named})

    @asynccontextmanager
    async def serving(self, *sites: dict[str, Any]) -> AsyncIterator[ReverseProxy]:
        proxy = ReverseProxy(self.settings(*sites))
        async with serving(proxy, lifespan="on") as self.port:
            yield proxy

    async def status(self, name: str) -> int:
        async with Client(self.port) as client:
            return (await client.ask(request(name) + b"Connection: close\r\n\r\n")).status


def request(name: str) -> bytes:
    return b"GET /image HTTP/1.1\r\nHost: %b.example\r\n" % name.encode()


def shop_of(name: str, shop: Shop, **more: Any) -> dict[str, Any]:
    return {"name": name, "upstream": shop.url, **more}


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


async def test_connections_stay_where_the_address_does_and_end_where_it_changes(running: Running) -> None:
    async with (
        Shop(answering(OK)) as old,
        Shop(answering(OK)) as new,
        running.serving(shop_of("a", old), shop_of("b", old)) as proxy,
    ):
        assert [await running.status(name) for name in "ab"] == [200, 200]
        assert old.connections == 2
        proxy.service.swap(running.settings(shop_of("a", old, debug=True), shop_of("b", new)))
        await old.until(lambda: old.closed)
        assert [await running.status(name) for name in "ab"] == [200, 200]
        assert (old.connections, old.closed, new.connections) == (2, 1, 1)


async def test_exchanges_in_progress_at_a_removed_site_are_completed(running: Running) -> None:
    go_on = asyncio.Event()

    async def slow(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PART)
        await go_on.wait()
        writer.write(b"half")
        await writer.drain()

    async with (
        Shop(slow) as gone,
        Shop(answering(OK)) as stays,
        running.serving(shop_of("a", gone), shop_of("b", stays)) as proxy,
        Client(running.port) as client,
    ):
        await client.send(request("a") + b"\r\n")
        head = await client.head()
        proxy.service.swap(running.settings(shop_of("b", stays)))
        assert (head.status, await running.status("a"), await running.status("b")) == (200, 421, 200)
        go_on.set()
        assert await client.reader.readexactly(8) == b"halfhalf"
        assert proxy._shops._draining == set() or await drained(proxy)
        # The client's own connection is good for more.
        assert (await client.ask(request("a") + b"\r\n")).status == 421


async def drained(proxy: ReverseProxy) -> bool:
    async with asyncio.timeout(PATIENCE):
        while proxy._shops._draining:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return True


async def test_exchanges_that_do_not_end_are_cut_at_the_stop(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A WebSocket gets a close code; one of a site whose upstream changed continues."""
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.2)

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0) as chat, Shop(answering(OK)) as other:
        address = f"http://127.0.0.1:{next(iter(chat.sockets)).getsockname()[1]}"
        sites = [{"name": name, "upstream": address} for name in "ab"]
        async with running.serving(*sites) as proxy:
            sockets = [
                await connect(f"ws://{name}.example/", host="127.0.0.1", port=running.port, proxy=None)
                for name in "ab"
            ]
            gone, moved = sockets
            proxy.service.swap(running.settings(shop_of("b", other)))
            for socket in sockets:
                await socket.send("still there?")
                assert await socket.recv() == "still there?"
            await asyncio.wait_for(gone.wait_closed(), PATIENCE)
            assert (gone.close_code, gone.close_reason) == (1001, "this site is served no more")
            await moved.send("and now?")
            assert await moved.recv() == "and now?"
            await moved.close()
            assert await drained(proxy)


async def test_shops_without_requests_are_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    async with (
        Shop(answering(OK)) as shop,
        running.serving(*(shop_of(name, shop) for name in "abcd")) as proxy,
    ):
        assert await running.status("a") == 200  # a connection is kept
        for name in "bcd":
            assert proxy._shops.of(name) is not None
        kept = set(proxy._shops._shops)
        assert "a" in kept
        assert len(kept) <= 3


async def test_connections_over_all_shops_are_bounded_and_each_gets_some(running: Running) -> None:
    """One shop hangs: it does not get the connections that another one needs."""

    async def hangs(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(PATIENCE)

    async with Shop(hangs) as slow, Shop(answering(OK)) as quick:
        sites = shop_of("slow", slow), shop_of("quick", quick)
        upstream = {"connections_total": 8, "connect_timeout": "0.5"}
        async with running.serving(*sites) as proxy:
            proxy.service.swap(running.settings(*sites, upstream=upstream))
            clients = [Client(running.port) for _ in range(12)]
            for client in clients:
                await client.__aenter__()
                await client.send(request("slow") + b"\r\n")
            await slow.until(lambda: slow.connections == 4)
            assert await running.status("quick") == 200
            assert slow.connections == 4
            answers = [await client.response("GET") for client in clients[4:]]
            assert {answer.status for answer in answers} == {503}
            for client in clients:
                await client.__aexit__(None, None, None)
