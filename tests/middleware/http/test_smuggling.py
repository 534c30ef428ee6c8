"""Requests that two readers could take for different ones: the classes of http-desync-guardian and those
that were found since, each followed by a second request. No shop sees what it could read otherwise."""

import asyncio

import pytest
from raw_http import OK, PATIENCE, Client, Request, Shop, answering, proxying

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = [b"POST / HTTP/" + version, b"Host: shop.example", *lines, b"", b""]
    return b"\r\n".join(head) + body


def length(value: bytes, name: bytes = b"Content-Length:") -> bytes:
    return post(name + value, body=b"abc")


def coding(value: bytes, name: bytes = b"Transfer-Encoding:") -> bytes:
    return post(name + value, body=END)


def chunks(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


REFUSED = {
    "length and coding": post(b"Content-Length: 3", CHUNKED, body=END),
    "coding and length": post(CHUNKED, b"Content-Length: 3", body=END),
    "length of nothing and coding": post(b"Content-Length: 0", CHUNKED, body=END),
    "two lengths": post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
    "the same length twice": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "a list of lengths": length(b" 3, 3"),
    "a list of two lengths": length(b" 3, 4"),
    "a plus": length(b" +3"),
    "a minus": length(b" -3"),
    "hexadecimal": length(b" 0x3"),
    "an exponent": length(b" 3e0"),
    "a fraction": length(b" 3.0"),
    "an empty length": length(b""),
    "two numbers": length(b" 3 4"),
    "a vertical tab before the length": length(b" \x0b3"),
    "a parameter of the length": length(b" 3;a"),
    "a quoted length": length(b' "3"'),
    "an underscore in the length": length(b" 1_0"),
    "a length beyond 64 bits": length(b" 18446744073709551619"),
    "a length beyond 63 bits": length(b" 9223372036854775808"),
    "a digit of another script": length(" ٣".encode()),
    "a superscript": length(b" \xb3"),
    "a blank before the length's colon": length(b" 3", b"Content-Length :"),
    "a tab before the length's colon": length(b" 3", b"Content-Length\t:"),
    "a made-up coding": coding(b" xchunked"),
    "identity": coding(b" identity"),
    "identity last": coding(b" chunked, identity"),
    "identity first": coding(b" identity, chunked"),
    "gzip first": coding(b" gzip, chunked"),
    "chunked in a list twice": coding(b" chunked, chunked"),
    "chunked twice": post(CHUNKED, CHUNKED, body=END),
    "an empty coding": coding(b""),
    "an empty coding and another": post(b"Transfer-Encoding:", CHUNKED, body=END),
    "chunked, then identity": post(CHUNKED, b"Transfer-Encoding: identity", body=END),
    "identity, then chunked": post(b"Transfer-Encoding: identity", CHUNKED, body=END),
    "a comma behind": coding(b" chunked,"),
    "a comma before": coding(b" ,chunked"),
    "a parameter": coding(b" chunked;q=1"),
    "quotes": coding(b' "chunked"'),
    "single quotes": coding(b" 'chunked'"),
    "a vertical tab": coding(b" \x0bchunked"),
    "a form feed": coding(b" \x0cchunked"),
    "a NUL": coding(b" chunked\0"),
    "a blank that is none": coding(b"\xa0chunked"),
    "a letter that folds to k": coding(" chun\u212aed".encode()),
    "a blank before the coding's colon": coding(b" chunked", b"Transfer-Encoding :"),
    "a tab before the coding's colon": coding(b" chunked", b"Transfer-Encoding\t:"),
    "a blank before the first field": coding(b" chunked", b" Transfer-Encoding:"),
    "a NUL before the field": coding(b" chunked", b"\0Transfer-Encoding:"),
    "no colon": coding(b" chunked", b"Transfer-Encoding"),
    "a folded field": post(b"X: y", b" Transfer-Encoding: chunked", body=END),
    "a folded coding": coding(b"\r\n chunked"),
    "a field behind a bare CR": post(b"X: y\rTransfer-Encoding: chunked", body=END),
    "a field behind a bare LF": post(b"X: y\nTransfer-Encoding: chunked", body=END),
    "a CR before the line's end": post(b"X: y\r", body=b""),
    "a coding in HTTP/1.0": post(CHUNKED, body=END, version=b"1.0"),
    "a chunk in 0x": chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk with a plus": chunks(b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk with a minus": chunks(b"-1\r\nabc\r\n0\r\n\r\n"),
    "a blank behind the size": chunks(b"3 \r\nabc\r\n0\r\n\r\n"),
    "a blank before the size": chunks(b" 3\r\nabc\r\n0\r\n\r\n"),
    "an underscore in the size": chunks(b"1_0\r\nabc\r\n0\r\n\r\n"),
    "no size": chunks(b"\r\nabc\r\n0\r\n\r\n"),
    "a size behind a bare LF": chunks(b"3\nabc\r\n0\r\n\r\n"),
    "a chunk extension with a bare LF": chunks(b"3;a\nabc\r\n0\r\n\r\n"),
    "a chunk extension with a bare CR": chunks(b"3;a\rabc\r\n0\r\n\r\n"),
    "a chunk extension with a quoted line break": chunks(b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n'),
    "a chunk without its end": chunks(b"3\r\nabcXX0\r\n\r\n"),
    "a size that overflows": chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "an end with a bare LF": chunks(b"3\r\nabc\r\n0\r\n\n"),
    "a trailer with a blank before its colon": chunks(b"0\r\nX : y\r\n\r\n"),
    "a trailer with a bare LF": chunks(b"0\r\nX: y\n\r\n"),
    "a trailer with a length": chunks(b"0\r\nContent-Length: 5\r\n\r\n"),
    "HTTP/1.2": post(version=b"1.2"),
    "HTTP/2.0": post(version=b"2.0"),
    "HTTP/0.9": post(version=b"0.9"),
    "HTTP/1.10": post(version=b"1.10"),
    "HTTP/01.1": post(version=b"01.1"),
    "http/1.1": b"GET / http/1.1\r\nHost: shop.example\r\n\r\n",
    "no version": b"GET /\r\nHost: shop.example\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tab behind the method": b"GET\t/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a NUL in the target": b"GET /a\0b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a blank behind the version": b"GET / HTTP/1.1 \r\nHost: shop.example\r\n\r\n",
    "a blank before the method": b" GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "bare LFs": b"GET / HTTP/1.1\nHost: shop.example\n\n",
    "a bare LF": b"GET / HTTP/1.1\r\nHost: shop.example\nX: y\r\n\r\n",
    "a head that ends with a bare LF": b"GET / HTTP/1.1\r\nHost: shop.example\r\n\n",
    "two CRs": b"GET / HTTP/1.1\r\nHost: shop.example\r\r\n\r\n",
    "no name": post(b": y"),
    "a name in brackets": post(b"X(y): 1"),
    "a name that is not ASCII": post(b"X\xe9: 1"),
    "a control character": post(b"X: a\x01b"),
    "a DEL": post(b"X: a\x7fb"),
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a list of hosts": b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
    "a blank before the host's colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a method in small letters": b"get / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a method nobody knows": b"FOO / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
}


async def answers(port: int, request: bytes) -> list[int]:
    """The statuses of all that comes back for a request and the one behind it, until the connection ends."""
    async with Client(port) as client:
        client.writer.write(request + NEXT)
        statuses = []
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    statuses.append((await client.response()).status)
            except (asyncio.IncompleteReadError, ConnectionError):
                return statuses


@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED)
async def test_a_request_with_two_readings_is_refused_with_all_that_follows(request_bytes: bytes) -> None:
    """proxy 3.1, 3.3, 2.5, 2.8, 1.6"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port:
        assert await answers(port, request_bytes) == [400]
        assert [r for r in shop.requests if r.line.startswith(b"GET")] == []
        assert all(_is_framed_once(request) for request in shop.requests)


READ = {
    "field F3 a blank behind the length": (length(b" 3 "), b"abc"),
    "field F3 a tab behind the length": (length(b" 3\t"), b"abc"),
    "field F3 blanks behind the host": (
        b"POST / HTTP/1.1\r\nHost: shop.example \t\r\nContent-Length: 3\t \r\n\r\nabc",
        b"abc",
    ),
    "zeros before the length": (length(b" 0003"), b"abc"),
    "small and large letters": (coding(b" Chunked"), b""),
    "a tab before the coding": (coding(b"\tchunked"), b""),
    "a blank behind the coding": (coding(b" chunked "), b""),
    "a chunk extension": (chunks(b"3;a=b\r\nabc\r\n0\r\n\r\n"), b"abc"),
    "an empty line before the request": (b"\r\n" + length(b" 3"), b"abc"),
    "a length that CGI would take for one": (post(b"Content_Length: 9"), b""),
    "a coding that CGI would take for one": (post(b"Transfer_Encoding: chunked"), b""),
}


@pytest.mark.parametrize(("request_bytes", "body"), READ.values(), ids=READ)
async def test_a_request_with_one_reading_has_the_same_one_at_the_shop(
    request_bytes: bytes, body: bytes
) -> None:
    """proxy 3.1, 3.2, 2.7"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port:
        assert await answers(port, request_bytes) == [200, 200]
        first, second = shop.requests
        assert first.body == body
        assert second.target == b"/smuggled"
        assert all(_is_framed_once(request) for request in shop.requests)
        for name in ("content_length", "transfer_encoding"):
            assert first.all(name) == []
        assert (first.all("host"), first.all("x-forwarded-for")) == ([b"shop.example"], [b"127.0.0.1"])


def _is_framed_once(request: Request) -> bool:
    return len(request.all("content-length")) + len(request.all("transfer-encoding")) <= 1


HANDSHAKE = (
    b"Host: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"POST / HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", 405, id="POST"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HANDSHAKE + CHUNKED + b"\r\n\r\n" + END, 400, id="chunks"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"Content-Length: 3\r\n\r\nabc", 400, id="length"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"X: y\r\n" * 300 + b"\r\n", 400, id="many fields"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: b\r\n" + HANDSHAKE + b"\r\n", 400, id="two hosts"),
        pytest.param(b"GET /caf\xe9 HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", 400, id="not ASCII"),
    ],
)
async def test_an_invalid_handshake_is_answered_and_the_connection_closed(
    request_bytes: bytes, status: int
) -> None:
    """proxy 3.9, 3.1"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port:
        assert await answers(port, request_bytes) == [status]
        assert shop.requests == []


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((b"Connection: Upgrade", b"Upgrade: websocket, h2c"), id="two protocols"),
        pytest.param((b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), id="h2c"),
        pytest.param((b"Connection: Upgrade", b"Upgrade: TLS/1.0"), id="TLS"),
        pytest.param((b"Upgrade: websocket",), id="without Connection"),
    ],
)
async def test_no_other_protocol_gets_a_tunnel(lines: tuple[bytes, ...]) -> None:
    """proxy 3.9"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        head = [b"GET / HTTP/1.1", b"Host: shop.example", *lines, b"", b""]
        assert (await client.ask(b"\r\n".join(head))).status == 200
        assert shop.requests[0].all("upgrade") == shop.requests[0].all("connection") == []
