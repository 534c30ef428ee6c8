"""What other proxies get wrong, each as one request through a real server to a raw shop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from raw_http import OK, Client, Request, Response, Shop, answering, ended, get, proxying

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


def answer(*lines: bytes, body: bytes = b"ok") -> bytes:
    head = [b"HTTP/1.1 200 OK", *lines, b"Content-Length: %d" % len(body), b"", b""]
    return b"\r\n".join(head) + body


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: shop.example", *lines, b"", body])


@dataclass(frozen=True)
class Row:
    """A request, the shop's answer, and what must hold at both ends. `at_shop` None: it never gets there."""

    request: bytes
    at_shop: Callable[[Request], bool] | None
    at_client: Callable[[Response], bool]
    answer: bytes = OK


def passed(response: Response) -> bool:
    return response.status == 200 and response.body == b"ok" and response.complete


def refused(response: Response) -> bool:
    return response.status == 400


def anything(request: Request) -> bool:
    return True


IDENTITY_OF_THE_PEER = {
    "x-forwarded-for": [b"127.0.0.1"],
    "x-forwarded-proto": [b"http"],
    "x-forwarded-host": [b"shop.example"],
    "x-real-ip": [b"127.0.0.1"],
    "forwarded": [b'for=127.0.0.1;proto=http;host="shop.example"'],
}

TABLE = {
    "proxy 0.1 the path is byte-identical": Row(
        get(b"/a%2Fb//c/./d/../e%20f"), lambda r: r.target == b"/a%2Fb//c/./d/../e%20f", passed
    ),
    "proxy 0.2 the query is byte-identical": Row(
        get(b"/?x=%41&y=a+b&z=;q&&=&[k]=1|2"), lambda r: r.target == b"/?x=%41&y=a+b&z=;q&&=&[k]=1|2", passed
    ),
    "proxy 0.3 three Set-Cookie arrive as three": Row(
        get(),
        anything,
        lambda r: passed(r) and r.all("set-cookie") == [b"a=1", b"b=2; Path=/", b"a=3"],
        answer(b"Set-Cookie: a=1", b"Set-Cookie: b=2; Path=/", b"Set-Cookie: a=3"),
    ),
    "proxy 0.4 two equal request headers arrive as two": Row(
        get(b"/", b"X-A: 1", b"X-A: 1", b"X-A: 2"), lambda r: r.all("x-a") == [b"1", b"1", b"2"], passed
    ),
    "proxy 0.5 bytes of request headers are kept": Row(
        get(b"/", b"X-A: caf\xe9", "X-B: café".encode()),
        lambda r: r.all("x-a") == [b"caf\xe9"] and r.all("x-b") == ["café".encode()],
        passed,
    ),
    "proxy 0.6 bytes of Location are kept": Row(
        get(), anything, lambda r: r.all("location") == [b"/caf\xe9"], answer(b"Location: /caf\xe9")
    ),
    "proxy 0.7 Connection strips what it names": Row(
        get(b"/", b"Connection: close, X-Secret", b"X-Secret: 1"),
        lambda r: not r.all("x-secret") and not r.all("connection"),
        passed,
    ),
    "proxy 0.8 hop-by-hop fields of the answer are stripped": Row(
        get(),
        anything,
        lambda r: passed(r) and not {n.lower() for n, _ in r.headers} - {b"x-kept", b"content-length"},
        answer(
            b"Connection: keep-alive, X-Own",
            b"X-Own: 1",
            b"Keep-Alive: timeout=5",
            b"Proxy-Authenticate: Basic",
            b"Proxy-Connection: keep-alive",
            b"Upgrade: h2c",
            b"X-Kept: 1",
        ),
    ),
    "proxy 0.9 a chunked request arrives whole, framed once": Row(
        post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        lambda r: r.body == b"abcde" and not r.all("content-length"),
        passed,
    ),
    "proxy 0.10 Expect is answered at the door": Row(
        post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
        lambda r: r.body == b"abc" and not r.all("expect"),
        passed,
    ),
    "proxy 0.12 a chunked answer that breaks off is incomplete": Row(
        get(),
        anything,
        lambda r: r.status == 200 and r.body == b"hello" and not r.complete,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ),
    "proxy 0.13 a counted answer that breaks off is incomplete": Row(
        get(),
        anything,
        lambda r: r.status == 200 and r.body == b"hello" and not r.complete,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    ),
    "proxy 0.14 103 is not taken for the answer": Row(
        get(), anything, passed, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK
    ),
    "proxy 0.15 trailers are dropped, not merged into the headers": Row(
        get(),
        anything,
        lambda r: passed(r) and not r.trailers and not r.all("x-t"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: v\r\n\r\n",
    ),
    "proxy 0.16 length and chunks together are refused": Row(
        post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), None, refused
    ),
    "proxy 0.17 a bare LF is refused": Row(b"GET / HTTP/1.1\nHost: shop.example\n\n", None, refused),
    "proxy 0.18 a folded line is refused": Row(get(b"/", b"X-A: 1\r\n 2"), None, refused),
    "proxy 0.19 two lengths in the answer are a bad gateway": Row(
        get(),
        anything,
        lambda r: r.status == 502,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    ),
    "proxy 0.20 spoofed identity is replaced": Row(
        get(
            b"/",
            b"X-Forwarded-For: 6.6.6.6",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: evil.example",
            b"X-Real-IP: 6.6.6.6",
            b"Forwarded: for=6.6.6.6",
        ),
        lambda r: all(r.all(name) == values for name, values in IDENTITY_OF_THE_PEER.items()),
        passed,
    ),
    "proxy 0.21 a shop that hangs up is a bad gateway": Row(get(), anything, lambda r: r.status == 502, b""),
    "proxy 0.22 16 KB of cookies pass": Row(
        get(b"/", b"Cookie: a=" + b"x" * 16384), lambda r: len(r.all("cookie")[0]) == 16386, passed
    ),
    "proxy 0.23 a response header of 30 KB passes": Row(
        get(), anything, lambda r: len(r.all("x-a")[0]) == 30000, answer(b"X-A: " + b"x" * 30000)
    ),
    "proxy 0.24 GET with a body passes": Row(
        get(b"/", b"Content-Length: 3") + b"abc", lambda r: r.body == b"abc", passed
    ),
    "GET without a body gets none": Row(
        get(), lambda r: not r.all("content-length") and not r.all("transfer-encoding"), passed
    ),
    "proxy 0.25 TRACE is not allowed": Row(
        get(method=b"TRACE"), None, lambda r: r.status == 405 and bool(r.all("allow"))
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
async def test_the_proxy_gets_right(row: Row) -> None:
    """proxy 1.1, 1.6, 1.10, 2.1, 2.2, 2.3, 2.5, 2.6, 2.9, 2.16, 3.1, 3.2, 3.7, 3.8, 4.1, 4.4, 6.1, 6.3"""
    breaks_off = row.answer == b"" or b"hello" in row.answer
    async with (
        Shop(answering(row.answer, close=breaks_off)) as shop,
        proxying(shop) as port,
        Client(port) as client,
    ):
        response = await client.ask(row.request)
        assert row.at_client(response), response
        if row.at_shop is None:
            assert not shop.requests
        else:
            assert len(shop.requests) == 1
            assert row.at_shop(shop.requests[0]), shop.requests[0]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_request_is_sent_once_to_a_shop_that_dies_before_it_responds(method: bytes) -> None:
    """proxy 0.21, 6.5"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get(method=method))).status == 502
        assert len(shop.requests) == 1


async def test_a_slow_answer_arrives_piece_by_piece() -> None:
    """proxy 0.11, 6.10, 7: SSE"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await go_on.wait()
        go_on.clear()
        writer.write(b"5\r\nfirst\r\n")
        await go_on.wait()
        writer.write(b"0\r\n\r\n")
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(get())
        assert (await client.head()).status == 200
        go_on.set()
        assert await client.reader.readexactly(10) == b"5\r\nfirst\r\n"
        go_on.set()
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"


async def test_a_slow_upload_arrives_piece_by_piece() -> None:
    """proxy 0.9, 6.9"""
    arrived = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"3\r\nabc\r\n")
        arrived.set()
        await reader.readuntil(b"2\r\nde\r\n0\r\n\r\n")
        writer.write(OK)
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"))
        await asyncio.wait_for(arrived.wait(), 60)
        assert passed(await client.ask(b"2\r\nde\r\n0\r\n\r\n"))
