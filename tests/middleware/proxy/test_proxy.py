"""The proxy between a real server and shops, tested with raw bytes."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from clew.injector.heads import ResponseHead
from clew.middleware.exchange.exchange import Out, ResponseBrokenError, State
from clew.middleware.http.pages import ALLOW
from clew.middleware.proxy import request_half
from clew.middleware.proxy.proxied import ProxiedRequest, Watch
from clew.middleware.proxy.shops import Proxy
from clew.service.origin import Origin
from raw_http import OK, Client, Pairs, Shop, answering, ended, get, limits, proxying, serving

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
BIG = 32 * 2**20


async def silent(shop: Shop, reader: Reader, writer: Writer) -> None:
    """Takes the request and says nothing."""
    await shop.request(reader)
    await ended(reader)


@pytest.mark.parametrize(
    "target",
    [
        b"/a%2fb/%2e%2e/c;d=1/%zz?q=%zz",
        b"//evil.example/x",
        b"/%2e%2e/%2e%2e/etc",
        b"/a\\b",
        b"/@evil.example/",
        b'/?a="<>`{}|\\^[]',
        b"/?" + b"x" * 60000,
        b"/?a=b?c=d",
    ],
)
async def test_targets_reach_the_shop_as_they_came(target: bytes) -> None:
    """proxy 1.1, 1.5, 1.9, 1.10"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get(target))).status == 200
        assert shop.requests[0].target == target


@pytest.mark.parametrize(
    "method", [b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND", b"PURGE", b"M-SEARCH"]
)
async def test_methods_reach_the_shop_as_they_came(method: bytes) -> None:
    """proxy 1.6"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get(method=method))).status == 200
        assert shop.requests[0].line == method + b" / HTTP/1.1"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", id="a blank in Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", id="a slash in Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", id="a user in Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", id="an empty Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\n\r\n", id="a Host too long"),
        pytest.param(b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", id="a fragment"),
        pytest.param(b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", id="no path"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", id="a star"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", id="a blank before a colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", id="no name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", id="a NUL"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            id="two lengths",
        ),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", id="a list of lengths"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", id="a signed length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", id="a hexadecimal length"
        ),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", id="an empty length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", id="a made-up coding"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            id="identity last",
        ),
    ],
)
async def test_requests_that_could_be_read_in_two_ways_are_refused(request_bytes: bytes) -> None:
    """proxy 1.3, 1.5, 1.7, 2.5, 2.8, 3.1"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(request_bytes)).status == 400
        assert not shop.requests


async def test_connect_makes_no_tunnel() -> None:
    """proxy 1.6, field F5"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(
            b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        )
        assert (response.status, response.all("allow")) == (405, [ALLOW])
        assert await client.reader.read() == b""
        assert not shop.requests


async def test_an_absolute_target_does_not_choose_where_to_connect() -> None:
    """proxy 1.4, 8"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(b"GET http://127.0.0.1:1/x HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert response.status == 200
        assert shop.requests[0].target == b"/x"


@pytest.mark.parametrize(
    "host", [b"shop.example:8443", b"SHOP.example", b"[2001:db8::1]:80", b"xn--caf-dma.example"]
)
async def test_the_shop_gets_the_clients_host(host: bytes) -> None:
    """proxy 1.7"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        await client.ask(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert shop.requests[0].all("host") == [host]
        assert shop.requests[0].all("x-forwarded-host") == [host]


async def test_an_old_client_without_host_gets_the_shops_own() -> None:
    """proxy 1.7"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).status == 200
        assert shop.requests[0].all("host") == [b"127.0.0.1:%d" % shop.port]


async def test_a_trusted_proxys_report_of_the_client_is_forwarded() -> None:
    """proxy 4.1, 4.6"""
    trusted = [ip_network("127.0.0.0/8")]
    async with Shop(answering(OK)) as shop, proxying(shop, trusted=trusted) as port, Client(port) as client:
        await client.ask(get(b"/", b"X-Forwarded-For: 198.51.100.7", b"X-Forwarded-Proto: https"))
        assert shop.requests[0].all("x-forwarded-for") == [b"198.51.100.7, 127.0.0.1"]
        assert shop.requests[0].all("x-forwarded-proto") == [b"https"]


async def test_cookies_are_passed_raw() -> None:
    """proxy 2.10"""
    cookie = b'a; b="x,y; c=caf\xe9; $Version=1; =; a=1; a=2'
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        await client.ask(get(b"/", b"Cookie: " + cookie, b"Cookie: d=e"))
        assert shop.requests[0].all("cookie") == [cookie, b"d=e"]


async def test_no_header_is_added_to_an_answer() -> None:
    """proxy 2.13"""
    answer = b"HTTP/1.1 200 OK\r\nServer: shop\r\nDate: yesterday\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok"
    async with Shop(answering(answer)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).headers == [
            (b"server", b"shop"),
            (b"date", b"yesterday"),
            (b"x-a", b"1"),
            (b"content-length", b"2"),
        ]


async def test_alt_svc_is_removed() -> None:
    """proxy 5.2"""
    answer = b'HTTP/1.1 200 OK\r\nAlt-Svc: h3=":443"\r\nContent-Length: 2\r\n\r\nok'
    async with Shop(answering(answer)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).headers == [(b"content-length", b"2")]


@pytest.mark.parametrize(
    ("method", "answer", "headers"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", [(b"content-length", b"500")]),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 500\r\n\r\n", [(b"etag", b"x")]),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", []),
        (b"GET", b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", [(b"content-length", b"0")]),
    ],
)
async def test_answers_without_a_body_leave_the_connection_in_step(
    method: bytes, answer: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """proxy 3.5, 5.11"""
    async with Shop(answering(answer)) as shop, proxying(shop) as port, Client(port) as client:
        for _ in range(2):
            response = await client.ask(get(method=method), method.decode())
            assert response.status == int(answer.split(b" ")[1])
            assert response.headers == headers
        assert shop.connections == 1


async def test_a_stale_connection_causes_no_error_for_the_next_visitor() -> None:
    """proxy 6.5, 6.6"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(OK)
        if shop.connections == 1:
            await shop.request(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).status == 200
        assert (await client.ask(get(b"/again"))).status == 200
        assert [r.target for r in shop.requests] == [b"/", b"/again", b"/again"]


def hanging_up(first: bytes = b"") -> Callable[[Shop, Reader, Writer], Awaitable[None]]:
    """Answers once; then takes a request, says `first`, and hangs up. Later connections hang up at once."""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        if shop.connections == 1:
            writer.write(OK)
            await shop.request(reader)
        writer.write(first)

    return script


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_safe_request_is_sent_a_second_time_on_a_stale_connection_and_no_third(method: bytes) -> None:
    """proxy 6.5"""
    async with Shop(hanging_up()) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).body == b"ok"
        assert (await client.ask(get(b"/again", method=method), method.decode())).status == 502
        assert [r.target for r in shop.requests] == [b"/", b"/again", b"/again"]
        assert shop.connections == 2


@pytest.mark.parametrize(
    ("method", "body", "first"),
    [
        (b"POST", b"order", b""),
        (b"DELETE", b"", b""),
        (b"GET", b"body", b""),
        (b"GET", b"", b"HTTP/1.1 200 O"),
    ],
)
async def test_requests_that_may_have_had_an_effect_are_sent_once(
    method: bytes, body: bytes, first: bytes
) -> None:
    """proxy 6.5"""
    length = (b"Content-Length: %d" % len(body),) if body else ()
    async with Shop(hanging_up(first)) as shop, proxying(shop) as port, Client(port) as client:
        await client.ask(get())
        assert (await client.ask(get(b"/once", *length, method=method) + body)).status == 502
        assert [r.target for r in shop.requests].count(b"/once") == 1


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    """proxy 6.5"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).status == 502
        assert len(shop.requests) == 1


async def test_a_shop_that_is_down_gets_a_short_page_that_is_not_cached(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """proxy 6.1, 8"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with serving(Proxy(f"http://127.0.0.1:{port}", limits())) as front, Client(front) as client:
        response = await client.ask(get(b"/secret?token=1", b"X-A: secret"))
    assert response.status == 502
    assert response.all("cache-control") == [b"no-store"]
    told = response.body + b"".join(name + value for name, value in response.headers)
    for echoed in (b"secret", b"token", b"shop.example", b"127.0.0.1", b"refused", b"<"):
        assert echoed not in told
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "token" not in caplog.text


async def test_a_shop_that_does_not_respond_is_a_gateway_timeout() -> None:
    """proxy 6.2"""
    async with Shop(silent) as shop, proxying(shop, response_timeout=0.1) as port, Client(port) as client:
        response = await client.ask(get())
        assert (response.status, response.all("cache-control")) == (504, [b"no-store"])


async def test_a_shop_without_a_free_connection_is_busy_and_says_when_to_come_back() -> None:
    """proxy 6.14"""
    async with (
        Shop(silent) as shop,
        proxying(shop, connections=1, connect_timeout=0.1) as port,
        Client(port) as first,
        Client(port) as second,
    ):
        first.writer.write(get())
        await shop.until(lambda: shop.requests)
        response = await second.ask(get())
        assert response.status == 503
        assert response.all("retry-after")


async def test_a_pause_that_is_too_long_breaks_the_answer_off() -> None:
    """proxy 6.2, 6.3"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await ended(reader)

    async with Shop(script) as shop, proxying(shop, idle_timeout=0.1) as port, Client(port) as client:
        response = await client.ask(get())
        assert (response.body, response.complete) == (b"hello", False)


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % BIG, b"Transfer-Encoding: chunked"])
async def test_a_shop_that_resets_in_the_middle_never_makes_a_whole_answer(framing: bytes) -> None:
    """proxy 6.3"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        writer.write(b"10000\r\n" if framing.startswith(b"T") else b"")
        writer.write(bytes(65536) + b"\r\n")
        await writer.drain()
        # The next byte of the client is not read: closing then is a reset.
        writer.transport.abort()

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(get())
        assert response.status in (200, 502)
        if response.status == 200:
            assert not response.complete


async def test_a_visitors_disconnect_ends_the_shops_work() -> None:
    """proxy 6.7"""
    async with Shop(silent) as shop, proxying(shop) as port:
        async with Client(port) as client:
            client.writer.write(get())
            await shop.until(lambda: shop.requests)
        await shop.until(lambda: shop.closed == 1)


async def test_a_disconnect_ends_an_event_stream() -> None:
    """proxy 6.7, 7: SSE"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port:
        async with Client(port) as client:
            client.writer.write(get())
            await client.reader.readuntil(b"data: 1\n\n")
        await shop.until(lambda: shop.closed == 1)


async def test_a_visitor_who_leaves_within_an_upload_leaves_no_whole_request() -> None:
    """proxy 6.7"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port:
        async with Client(port) as client:
            client.writer.write(get(b"/", b"Content-Length: 1000000", method=b"POST") + b"x" * 100000)
            await shop.until(lambda: shop.connections == 1)
        await shop.until(lambda: shop.closed == 1)
        assert not shop.requests


async def test_a_short_body_that_does_not_come_is_a_request_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.11"""
    monkeypatch.setattr(request_half, "BODY_SECONDS", 0.1)
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get(b"/", b"Content-Length: 3", method=b"POST") + b"ab")).status == 408
        assert not shop.requests


async def test_a_visitor_who_reads_slowly_slows_the_shop_down() -> None:
    """proxy 6.10"""
    sent = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        for _ in range(BIG // 65536):
            writer.write(bytes(65536))
            await writer.drain()
        sent.set()
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get())
        await client.head()
        assert not (await asyncio.wait({asyncio.ensure_future(sent.wait())}, timeout=0.5))[0]
        received = 0
        while received < BIG:
            received += len(await client.reader.read(2**20))
        assert sent.is_set()


async def test_a_shop_that_reads_slowly_slows_the_upload_down() -> None:
    """proxy 6.9"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await go_on.wait()
        await shop.request(reader)
        writer.write(OK)
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get(b"/", b"Content-Length: %d" % BIG, method=b"POST"))

        async def upload() -> None:
            for _ in range(BIG // 65536):
                client.writer.write(bytes(65536))
                await client.writer.drain()

        uploading = asyncio.create_task(upload())
        assert not (await asyncio.wait({uploading}, timeout=0.5))[0]
        go_on.set()
        assert (await client.response()).status == 200
        await uploading
        assert len(shop.requests[0].body) == BIG


async def test_a_refusal_during_an_upload_reaches_the_visitor() -> None:
    """proxy 3.6"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get(b"/", b"Content-Length: 1000000", method=b"POST") + bytes(200000))
        response = await client.response()
        assert (response.status, response.body) == (413, b"big")
        await shop.until(lambda: shop.closed == 1)


async def test_an_upgrade_to_anything_but_websocket_is_not_passed_on() -> None:
    """proxy 3.9"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x")
        assert (await client.ask(get(b"/", *upgrade))).status == 200
        for name in ("connection", "upgrade", "http2-settings"):
            assert not shop.requests[0].all(name)


async def test_redirects_are_passed_to_the_visitor() -> None:
    """proxy 8, 5.1"""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with Shop(answering(answer)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(get())
        assert (response.status, response.all("location")) == (302, [b"http://169.254.169.254/"])
        assert len(shop.requests) == 1


async def test_visitors_do_not_share_cookies() -> None:
    """proxy 8"""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 2\r\n\r\nok"
    async with (
        Shop(answering(answer)) as shop,
        proxying(shop) as port,
        Client(port) as one,
        Client(port) as two,
    ):
        await one.ask(get(b"/", b"Cookie: session=one"))
        await two.ask(get())
        assert [request.all("cookie") for request in shop.requests] == [[b"session=one"], []]


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: v\r\n\r\n"
)


@pytest.mark.parametrize(("asked", "trailers"), [((b"TE: trailers",), [(b"x-t", b"v")]), ((), [])])
async def test_trailers_reach_a_client_that_requested_them(asked: tuple[bytes, ...], trailers: Pairs) -> None:
    """proxy 3.8, proxy 2.1"""
    async with Shop(answering(CHUNKED)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(get(b"/", *asked))
        assert (response.body, response.trailers, response.all("x-t")) == (b"ok", trailers, [])
        assert shop.requests[0].all("te") == [line.partition(b": ")[2] for line in asked]


class Door:
    """A client's connection that only remembers."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.answered = False
        self.transport = self.flow = self
        self.write_paused = False
        self.loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.written += b"".join(pieces)

    def end(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def resume_reading(self) -> None:
        pass

    def on_response_complete(self) -> None:
        self.answered = True


def proxied(client: Any, proxy: Proxy, watch: Watch | None = None, **changes: Any) -> ProxiedRequest:
    scope = {
        "http_version": "1.1",
        "method": "GET",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example")],
        "client": ("203.0.113.9", 5000),
    } | changes
    origin = Origin("203.0.113.9", "http", "shop.example")
    return ProxiedRequest(client, proxy, scope, scope["headers"], origin, keep_alive=True, watch=watch)


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_path": None},
        {"raw_path": b"*"},
        {"raw_path": b"http://evil.example/"},
        {"raw_path": b"/a b"},
        {"query_string": b"a b"},
        {"method": "GET\r\nX: y"},
        {"headers": [(b"host", b"shop.example"), (b"x", b"a\r\nY: b")]},
        {
            "headers": [
                (b"host", b"shop.example"),
                (b"content-length", b"1"),
                (b"transfer-encoding", b"chunked"),
            ]
        },
        {"headers": [(b"host", b"shop.example"), (b"content-length", b"+1")]},
    ],
)
async def test_messages_that_lenient_parsers_accept_are_refused(changes: dict[str, Any]) -> None:
    """proxy 1.1, proxy 1.5, proxy 3.1, proxy 3.4, proxy 3.10"""
    async with Shop(answering(OK)) as shop:
        proxy, door = Proxy(shop.url, limits()), Door()
        proxied(door, proxy, **changes).start()
        assert door.written.startswith(b"HTTP/1.1 400 ")
        assert door.closed
        assert not shop.requests
        await proxy.close()


async def test_nothing_is_written_to_a_client_whose_connection_is_closing() -> None:
    """proxy 6.7"""
    proxy, door = Proxy("http://shop.example", limits()), Door()
    door.end()
    proxied(door, proxy, method="TRACE").start()
    assert door.written == b""


async def test_a_broken_edited_page_cancels_the_app_and_is_not_completed() -> None:
    """proxy 6.7, proxy 6.4"""

    class Breaking:
        state = State.EDITING
        outcome, fault, effects = ("edit", ""), None, ()

        def response(self, head: ResponseHead) -> Out:
            return Out(head)

        def body(self, chunk: bytes) -> Out:
            raise ResponseBrokenError("the page cannot be made right")

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await ended(reader)

    async with Shop(script) as shop:
        proxy, door, watch = (
            Proxy(shop.url, limits()),
            Door(),
            Watch(MagicMock(), cast("Any", Breaking()), ()),
        )
        proxied(door, proxy, watch).start()
        await shop.until(lambda: shop.closed == 1)
        assert door.closed
        assert not door.answered
        assert b"0\r\n" not in door.written
        await proxy.close()


async def test_an_aborted_page_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """proxy 6.3"""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    async with (
        Shop(answering(answer, close=True)) as shop,
        proxying(shop) as port,
        Client(port) as client,
    ):
        caplog.set_level(logging.WARNING, "clew.proxy")
        await client.ask(get(b"/page"))
    lines = [record.getMessage() for record in caplog.records if record.name == "clew.proxy"]
    assert len(lines) == 1
    assert "GET b'/page'" in lines[0]
