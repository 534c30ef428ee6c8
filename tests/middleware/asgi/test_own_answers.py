"""What clew answers by itself: every answer is whole and dated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from raw_http import OK, Client, Shop, answering, get, proxying, serving


@asynccontextmanager
async def clew_in_front_of_nothing(folder: Path) -> AsyncIterator[int]:
    database = f"sqlite:{folder / 'clew.db'}"
    site = {"name": "shop", "upstream": "http://127.0.0.1:9"}
    secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
    settings = {"secret": secret, "store": database, "ledger": database, "sites": [site]}
    app = ReverseProxy(Settings.model_validate(settings))
    await app.service.start()
    try:
        async with serving(app) as port:
            yield port
    finally:
        await app.service.stop()


@pytest.mark.parametrize("cut", [0, 1, -1], ids=["one write", "two writes", "byte by byte"])
async def test_a_malformed_chunk_for_an_endpoint_of_ours_is_answered(tmp_path: Path, cut: int) -> None:
    """field F4"""
    request = (
        b"POST /-/clew/decide HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"
    )
    async with clew_in_front_of_nothing(tmp_path) as port, Client(port) as client:
        head = request.index(b"zz")
        pieces = {0: [request], 1: [request[:head], request[head:]]}.get(
            cut, [bytes([byte]) for byte in request]
        )
        for piece in pieces:
            await client.send(piece)
        response = await client.response()
        assert response.status == 400
        assert await client.reader.read() == b""


REFUSALS = {
    "malformed": (b"nonsense\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a head too large": (get(b"/", b"X: " + b"y" * 70_000), 431),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    "TRACE": (get(method=b"TRACE"), 405),
    "a handshake with a body": (
        get(b"/", b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 1") + b"x",
        400,
    ),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_has_a_date(request_bytes: bytes, status: int) -> None:
    """field F6: RFC 9110 §6.6.1."""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(request_bytes)
    assert response.status == status
    assert len(response.all("date")) == 1
    parsedate_to_datetime(response.all("date")[0].decode())


async def test_the_shops_date_is_kept_and_none_is_added() -> None:
    """field F6"""
    dated = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    async with Shop(answering(dated, OK)) as shop, proxying(shop) as port, Client(port) as client:
        first, second = await client.ask(get()), await client.ask(get())
    assert first.all("date") == [b"Thu, 01 Jan 2026 00:00:00 GMT"]
    assert second.all("date") == []


async def test_our_endpoints_have_a_date(tmp_path: Path) -> None:
    """field F6"""
    async with clew_in_front_of_nothing(tmp_path) as port, Client(port) as client:
        for path in (b"/-/clew/health", b"/-/clew/l.js", b"/-/clew/nothing", b"/a-shop-that-is-down"):
            response = await client.ask(get(path))
            assert len(response.all("date")) == 1, path
