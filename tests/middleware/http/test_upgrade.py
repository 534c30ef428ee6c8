"""Upgrades other than to a WebSocket are ignored (RFC 9110 §7.8): the request is framed as any other."""

import pytest
from raw_http import OK, Client, Shop, answering, proxying

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: shop.example\r\nCookie: session=victim\r\nConnection: close\r\n\r\n"

UPGRADES = {
    "h2c": [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"],
    "made up": [b"Connection: upgrade", b"Upgrade: x"],
    "in two fields": [b"Connection: Upgrade", b"Connection: keep-alive", b"Upgrade: h2c"],
    "TLS": [b"Connection: Upgrade", b"Upgrade: TLS/1.0"],
    "a list with websocket": [b"Connection: Upgrade", b"Upgrade: h2c, websocket"],
    "websocket twice": [b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: websocket"],
    "empty": [b"Connection: Upgrade", b"Upgrade:"],
}


def post(*lines: bytes, method: bytes = b"POST", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([method + b" /static HTTP/" + version, b"Host: shop.example", *lines, b"", b""])


def framed(body: bytes, *, chunked: bool) -> tuple[bytes, bytes]:
    if not chunked:
        return b"Content-Length: %d" % len(body), body
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"Transfer-Encoding: chunked", parts + b"0\r\nX-Trailer: 1\r\n\r\n"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("cut", ["whole", "head first", "bytes"])
async def test_a_body_behind_an_ignored_upgrade_stays_a_body(
    upgrade: list[bytes], cut: str, *, chunked: bool
) -> None:
    """field F1: neither the next request nor one hidden in the body takes the other's place."""
    body = HIDDEN * 9
    line, sent = framed(body, chunked=chunked)
    head = post(*upgrade, line)
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        if cut == "whole":
            await client.send(head + sent + NEXT)
        elif cut == "head first":
            await client.send(head)
            await client.send(sent)
            await client.send(NEXT)
        else:
            for position in range(0, len(head + sent), 7):
                await client.send((head + sent)[position : position + 7])
            await client.send(NEXT)
        first = await client.response()
        second = await client.response()
    assert [(r.status, r.body, r.complete) for r in (first, second)] == [(200, b"ok", True)] * 2
    assert [(r.line, r.body) for r in shop.requests] == [
        (b"POST /static HTTP/1.1", body),
        (b"GET /next HTTP/1.1", b""),
    ]
    assert shop.requests[0].all("upgrade") + shop.requests[0].all("http2-settings") == []


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
async def test_another_visitors_request_is_not_taken_for_the_body(upgrade: list[bytes]) -> None:
    """field F1: visitors share connections to the shop; a body that never comes ties up none of them."""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as attacker:
        await attacker.send(post(*upgrade, b"Content-Length: 600"))
        async with Client(port) as victim:
            response = await victim.ask(NEXT)
    assert response.status == 200
    assert [r.line for r in shop.requests] == [b"GET /next HTTP/1.1"]


async def test_requests_behind_an_ignored_upgrade_are_answered_in_order() -> None:
    """field F1: `curl --http2` and JDK clients offer h2c on any request, also on those sent ahead."""
    offer = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"]
    ahead = post(*offer, method=b"GET") + post(*offer, b"Content-Length: 3") + b"abc" + post(method=b"GET")
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        await client.send(ahead + NEXT)
        statuses = [(await client.response()).status for _ in range(4)]
    assert statuses == [200] * 4
    assert [r.body for r in shop.requests] == [b"", b"abc", b"", b""]


async def test_an_upgrade_in_http_1_0_is_ignored() -> None:
    """field F1, and RFC 9110 §7.8: a server must ignore it there."""
    lines = [b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3"]
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        await client.send(post(*lines, version=b"1.0") + b"abc")
        assert (await client.response()).status == 200
    assert shop.requests[0].body == b"abc"


@pytest.mark.parametrize("ending", [b"", b"abc", b"abcdef"], ids=["none of it", "a part", "too much"])
async def test_a_client_that_leaves_within_the_body_costs_only_its_own_connection(ending: bytes) -> None:
    """field F1: what was announced and not sent never frees the shop's connection for others."""
    large = b"Content-Length: 200000"  # streamed: the head is at the shop before the body is here
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as victim:
        async with Client(port) as attacker:
            await attacker.send(post(b"Connection: Upgrade", b"Upgrade: h2c", large) + ending)
            await shop.until(lambda: shop.connections > 0)
        await victim.send(NEXT)
        assert (await victim.response()).status == 200
    assert [r.line for r in shop.requests] == [b"GET /next HTTP/1.1"]
