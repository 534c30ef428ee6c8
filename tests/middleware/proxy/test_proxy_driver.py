"""Interim responses, trailers and old clients, which ASGI cannot express."""

import asyncio

import pytest
from raw_http import OK, PATIENCE, Client, Response, Shop, answering, ended, get, proxying

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n"
TRAILING = (
    b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\nX-Sum: caf\xe9\r\nSet-Cookie: a=1\r\nHost: x\r\nX-Late: 1\r\n\r\n"
)


async def interim(client: Client) -> tuple[list[Response], Response]:
    """All interim responses before the answer, and the answer's head."""
    found = []
    async with asyncio.timeout(PATIENCE):
        while (response := await client.head()).status < 200:
            found.append(response)
    return found, response


async def test_an_early_hint_is_sent_before_the_response() -> None:
    """proxy 0.14, 3.7"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(HINT)
        await go_on.wait()
        writer.write(OK)
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get())
        async with asyncio.timeout(PATIENCE):
            hint = await client.head()
        assert hint.status == 103
        assert hint.all("link") == [b"</a.css>; rel=preload", b"</b.js>"]
        go_on.set()
        response = await client.response()
        assert (response.status, response.body, response.all("link")) == (200, b"ok", [])


async def test_interim_responses_keep_their_order_and_end_to_end_fields_only() -> None:
    """proxy 3.7, 2.1, 2.2, 5.2"""
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\nX-A: 1\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nConnection: X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n"
        b'Alt-Svc: h3=":443"\r\nContent-Length: 9\r\nLink: </a.css>\r\n\r\n'
    )
    async with Shop(answering(answer + OK)) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get())
        found, response = await interim(client)
        assert [(r.status, r.headers) for r in found] == [
            (102, [(b"x-a", b"1")]),
            (103, [(b"link", b"</a.css>")]),
        ]
        assert (response.status, response.headers) == (200, [(b"content-length", b"2")])


@pytest.mark.parametrize(("number", "status"), [(8, 200), (9, 502)])
async def test_a_shop_may_send_eight_interim_responses(number: int, status: int) -> None:
    """proxy 3.7"""
    async with Shop(answering(HINT * number + OK)) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get())
        found, response = await interim(client)
        assert response.status == status
        assert len(found) <= 8
        assert status == 502 or len(found) == 8


async def test_a_client_of_http_1_0_gets_the_answer_alone() -> None:
    """proxy 3.7"""
    async with Shop(answering(HINT + OK)) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n")
        found, response = await interim(client)
        assert (found, response.status) == ([], 200)


async def test_a_hint_before_an_upload_ends_does_not_end_it() -> None:
    """proxy 3.7, 3.6"""
    hinted = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HINT)
        await hinted.wait()
        assert await reader.readexactly(200_000) == bytes(200_000)
        writer.write(OK)
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get(b"/", b"Content-Length: 200000", method=b"POST") + bytes(100_000))
        async with asyncio.timeout(PATIENCE):
            assert (await client.head()).status == 103
        hinted.set()
        assert (await client.ask(bytes(100_000))).body == b"ok"


async def test_trailers_are_sent_to_a_client_that_requested_them() -> None:
    """proxy 0.15, 3.8, 2.1"""
    async with Shop(answering(TRAILING)) as shop, proxying(shop) as port, Client(port) as client:
        for _ in range(2):
            response = await client.ask(get(b"/", b"TE: trailers", b"Connection: TE"))
            assert (response.body, response.complete) == (b"ok", True)
            assert response.trailers == [(b"x-sum", b"caf\xe9"), (b"x-late", b"1")]
            for name in ("x-sum", "x-late", "set-cookie"):
                assert response.all(name) == []
        assert shop.requests[0].all("te") == [b"trailers"]
        assert shop.connections == 1


@pytest.mark.parametrize("lines", [(), (b"TE: gzip", b"Connection: TE")])
async def test_trailers_are_dropped_if_the_client_did_not_request_them(lines: tuple[bytes, ...]) -> None:
    """proxy 3.8"""
    async with Shop(answering(TRAILING)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(get(b"/", *lines))
        assert (response.body, response.complete, response.trailers) == (b"ok", True, [])
        for name in ("x-sum", "x-late", "set-cookie"):
            assert response.all(name) == []


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    """proxy 3.2, 3.8"""
    async with Shop(answering(TRAILING)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(b"GET / HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n")
        assert response.all("transfer-encoding") == []
        assert (response.body, response.complete) == (b"ok", True)
        assert await client.reader.read() == b""


async def test_a_requests_trailers_are_no_headers() -> None:
    """proxy 3.8, 3.1, 4.1"""
    body = b"3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nHost: evil\r\nCookie: a=1\r\nX-Sum: 1\r\n\r\n"
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        for _ in range(2):
            assert (
                await client.ask(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + body)
            ).status == 200
        assert len(shop.requests) == 2
        for request in shop.requests:
            assert request.body == b"abc"
            assert request.all("host") == [b"shop.example"]
            assert request.all("x-forwarded-for") == [b"127.0.0.1"]
            assert request.all("cookie") == request.all("x-sum") == []
