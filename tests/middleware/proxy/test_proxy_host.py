"""A shop that gets another Host than the visitor's, end to end; and request loops."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from certificates import certificate
from cryptography import x509
from raw_http import OK, Client, Shop, answering, get, proxying
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Origin

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def test_the_shop_gets_its_own_host_and_the_visitors_as_forwarded_host() -> None:
    """proxy 1.7, 5.9"""
    async with (
        Shop(answering(OK)) as shop,
        proxying(shop, host="shop.internal:8000") as port,
        Client(port) as client,
    ):
        page = b"Origin: http://shop.example", b"Referer: http://shop.example/cart"
        assert (await client.ask(get(b"/", *page))).status == 200
        request = shop.requests[0]
        assert request.all("host") == [b"shop.internal:8000"]
        assert request.all("x-forwarded-host") == [b"shop.example"]
        assert request.all("forwarded") == [b'for=127.0.0.1;proto=http;host="shop.example"']
        assert request.all("origin") == [b"http://shop.internal:8000"]
        assert request.all("referer") == [b"http://shop.internal:8000/cart"]


async def test_a_client_without_host_gets_the_shops_own_too() -> None:
    """proxy 1.7"""
    async with (
        Shop(answering(OK)) as shop,
        proxying(shop, host="shop.internal") as port,
        Client(port) as client,
    ):
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).status == 200
        assert shop.requests[0].all("host") == [b"shop.internal"]


async def test_the_answers_head_leads_back_to_the_visitors_host() -> None:
    """proxy 5.1, 5.3, 5.4, 5.10"""
    answer = (
        b"HTTP/1.1 302 Found\r\n"
        b"Location: http://shop.internal/caf\xe9?next=http://shop.internal/\r\n"
        b"Link: <http://shop.internal/a>; rel=canonical\r\n"
        b"Set-Cookie: a=1; Domain=shop.internal; Path=/\r\n"
        b"Set-Cookie: b=2; Path=/\r\n"
        b"Strict-Transport-Security: max-age=1\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    async with (
        Shop(answering(answer)) as shop,
        proxying(shop, host="shop.internal") as port,
        Client(port) as client,
    ):
        response = await client.ask(get())
        assert response.headers == [
            (b"location", b"http://shop.example/caf\xe9?next=http://shop.internal/"),
            (b"link", b"<http://shop.example/a>; rel=canonical"),
            (b"set-cookie", b"a=1; Path=/"),
            (b"set-cookie", b"b=2; Path=/"),
            (b"content-length", b"0"),
        ]


async def test_nothing_is_rewritten_where_the_host_is_kept() -> None:
    """proxy 5.1, 5.3, 5.4, 5.6, 5.7, 5.9, 5.10"""
    lines = [
        (b"location", b"http://127.0.0.1/x"),
        (b"content-location", b"http://shop.example/x"),
        (b"refresh", b"0; url=http://shop.example/x"),
        (b"link", b"<https://shop.example/>; rel=canonical"),
        (b"strict-transport-security", b"max-age=1; includeSubDomains; preload"),
        (b"clear-site-data", b'"cookies"'),
        (b"access-control-allow-origin", b"https://partner.example"),
        (b"set-cookie", b'a="x,\xff"; Domain=shop.example; samesite=none; Partitioned;'),
        (b"content-length", b"0"),
    ]
    answer = b"HTTP/1.1 201 Created\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in lines) + b"\r\n"
    async with Shop(answering(answer)) as shop, proxying(shop) as port, Client(port) as client:
        foreign = b"Origin: https://partner.example", b"Referer: https://partner.example/x"
        assert (await client.ask(get(b"/", *foreign))).headers == lines
        assert shop.requests[0].all("origin") == [b"https://partner.example"]
        assert shop.requests[0].all("referer") == [b"https://partner.example/x"]


async def test_a_preflight_is_the_shops_to_answer() -> None:
    """proxy 5.9"""
    answer = (
        b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://partner.example\r\n"
        b"Access-Control-Allow-Methods: PUT\r\n\r\n"
    )
    async with Shop(answering(answer)) as shop, proxying(shop) as port, Client(port) as client:
        asked = b"Origin: https://partner.example", b"Access-Control-Request-Method: PUT"
        response = await client.ask(get(b"/api", *asked, method=b"OPTIONS"))
        assert response.status == 204
        assert response.all("access-control-allow-origin") == [b"https://partner.example"]
        assert shop.requests[0].all("access-control-request-method") == [b"PUT"]


async def test_absolute_addresses_in_a_body_are_the_shops_business() -> None:
    """proxy 5.8"""
    page = b'<a href="http://shop.internal/x">x</a>'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page
    async with (
        Shop(answering(answer)) as shop,
        proxying(shop, host="shop.internal") as port,
        Client(port) as client,
    ):
        assert (await client.ask(get())).body == page


async def test_a_websockets_page_is_the_shops_own_page() -> None:
    """proxy 7, 5.9: a shop that compares Origin with Host accepts its own pages, and refuses others"""
    seen: list[tuple[str, str | None]] = []

    async def handler(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append((socket.request.headers["Host"], socket.request.headers["Origin"]))

    async with serve(handler, "127.0.0.1", 0) as server:
        shop = Shop(answering(OK))
        shop.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with proxying(shop, host="shop.internal") as front:
            for origin in (f"http://127.0.0.1:{front}", "https://evil.example"):
                async with connect(f"ws://127.0.0.1:{front}", proxy=None, origin=Origin(origin)) as socket:
                    await socket.wait_closed()
    assert seen == [("shop.internal", "http://shop.internal"), ("shop.internal", "https://evil.example")]


@pytest.mark.parametrize(
    ("certified", "host", "status"),
    [
        ("shop.internal", "shop.internal:8000", 200),
        ("other.internal", "shop.internal", 502),
        ("shop.internal", None, 502),
    ],
)
async def test_a_tls_shop_is_verified_for_upstream_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certified: str, host: str | None, status: int
) -> None:
    """proxy 6.17"""
    path = certificate(tmp_path, x509.DNSName(certified))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, server_name, _context: asked.append(server_name)
    async with (
        Shop(answering(OK), tls=context) as shop,
        proxying(shop, host=host) as port,
        Client(port) as client,
    ):
        assert (await client.ask(get())).status == status
        if host is not None:
            assert asked == ["shop.internal"]


async def test_a_shop_on_a_unix_socket_gets_its_own_host(tmp_path: Path) -> None:
    """proxy 6.18, 1.7"""
    async with (
        Shop(answering(OK), unix=str(tmp_path / "shop.sock")) as shop,
        proxying(shop, host="shop.internal") as port,
        Client(port) as client,
    ):
        assert (await client.ask(get())).status == 200
        assert shop.requests[0].all("host") == [b"shop.internal"]


async def test_via_is_added_if_configured_and_existing_values_are_kept() -> None:
    """proxy 2.13"""
    async with Shop(answering(OK)) as shop:
        async with proxying(shop) as port, Client(port) as client:
            await client.ask(get())
        async with proxying(shop, via="front-1") as port, Client(port) as client:
            await client.ask(get(b"/", b"Via: 1.0 cache, 2 edge", b"Connection: Via"))
            await client.ask(b"GET / HTTP/1.0\r\n\r\n")
        first, second, third = shop.requests
        assert first.all("via") == []
        assert second.all("via") == [b"1.0 cache, 2 edge", b"1.1 front-1"]
        assert third.all("via") == [b"1.0 front-1"]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"CDN-Loop: cdn.example, clew, clew"], 200),
        ([b"CDN-Loop: clew, clew; a=b", b"CDN-Loop: clew"], 200),
        ([b"CDN-Loop: clew, clew; a=b", b"CDN-Loop: clew,clew"], 508),
        ([b"CDN-Loop: clew, clew, clew, clew", b"Connection: CDN-Loop"], 508),
        ([b"CDN-Loop: cdn.example, cdn.example, cdn.example, cdn.example"], 200),
        ([b"Via: 1.1 front-1, 1.1 front-1, 1.1 front-1, 1.1 front-1"], 508),
        ([b"Via: 1.1 other, 1.1 other, 1.1 other, 1.1 other"], 200),
    ],
)
async def test_a_looping_request_is_refused(lines: list[bytes], status: int) -> None:
    """proxy 2.14"""
    async with (
        Shop(answering(OK)) as shop,
        proxying(shop, via="front-1") as port,
        Client(port) as client,
    ):
        assert (await client.ask(get(b"/", *lines))).status == status
        assert len(shop.requests) == (status == 200)
        if status == 200:
            assert shop.requests[0].all("cdn-loop")[-1] == b"clew"


async def test_an_upstream_name_that_resolves_to_clew_is_no_endless_loop() -> None:
    """proxy 2.14"""
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(Shop(answering(OK)))
        statuses = []
        for _ in range(6):
            port = await stack.enter_async_context(proxying(shop))
            client = await stack.enter_async_context(Client(port))
            statuses.append((await client.ask(get())).status)
            shop.url = f"http://127.0.0.1:{port}"
        assert statuses == [200, 200, 200, 200, 508, 508]
        assert len(shop.requests) == 4


@pytest.mark.parametrize(
    ("limit", "arrives"), [(b"5", b"4"), (b"1", b"0"), (b"x", b"x"), (b"99999999999999999999", None)]
)
async def test_max_forwards_counts_down_for_options(limit: bytes, arrives: bytes | None) -> None:
    """proxy 2.14"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get(b"/", b"Max-Forwards: " + limit, method=b"OPTIONS"))).status == 200
        assert shop.requests[0].all("max-forwards") == [arrives or limit]


async def test_options_with_max_forwards_0_is_answered_by_clew() -> None:
    """proxy 2.14"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(get(b"*", b"Max-Forwards: 0", method=b"OPTIONS"))
        assert (response.status, response.body) == (200, b"")
        assert b"GET" in response.all("allow")[0]
        assert (await client.ask(get(b"/", b"Max-Forwards: 0"))).body == b"ok"
        assert len(shop.requests) == 1
