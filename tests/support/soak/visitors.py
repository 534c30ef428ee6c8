"""Visitors in bytes: each asks for a kind of answer, and knows what may come back."""

import asyncio
import gzip
import hashlib
import random
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import raw_http
from clew.injector.codings import CodingError, decoder
from raw_http import Client, Response

from .content import FAULTS, GOOD, PAGES, filler, hostile, page, text

KINDS = GOOD | FAULTS
_TAG = re.compile(rb'<script async src="/-/clew/l\.js" data-clew="1"[^>]*></script>')
ACCEPTED = (b"gzip", b"br", b"zstd", b"gzip, br, zstd", b"identity", b"")
# Fields that ask for another protocol, which clew ignores for all but WebSockets.
UPGRADES = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    b"Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket",
    b"Connection: Upgrade\r\nUpgrade: x",
)
HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)
# What is sent again on a new connection if the kept one was closed; an upload is not.
NOT_REPEATED = frozenset({"upload", "refused", "early"})


@dataclass
class Tally:
    """What happened. `wrong` holds what must never."""

    kinds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Requests made so far."""
        return sum(self.kinds.values())


def plain(response: Response) -> bytes:
    """The body without its coding. Raises CodingError, also where it is not whole."""
    codings = response.all("content-encoding")
    if not codings:
        return response.body
    made = decoder(codings[0].decode())
    body = b"".join(made.decode(response.body))
    if not made.complete:
        raise CodingError("not whole")
    return body


def fault_of(kind: str, token: str, method: str, sent: bytes, response: Response) -> str | None:
    """The problem of a response, or None."""
    tokens = response.all("x-token")
    if tokens not in ([], [token.encode()]):
        return f"another's answer: {tokens}"
    if kind in FAULTS and kind not in NOT_REPEATED:
        return _fault_of_bad(kind, token, response)
    if kind in NOT_REPEATED and response.status == 502:
        return None
    if not tokens:
        return f"status {response.status} of our own"
    if not response.complete:
        return "broken off"
    return _fault_of_good(kind, token, method, sent, response)


def _fault_of_bad(kind: str, token: str, response: Response) -> str | None:
    if response.status in (500, 502, 504) and not response.all("x-token"):
        return None if response.complete else "our own page broken off"
    if not response.complete:
        return None
    if kind in ("truncated", "damaged") and response.all("content-encoding") == [b"gzip"]:
        # Broken before the first bytes could go: as it came.
        with suppress(CodingError):
            plain(response)
            return "a broken coding became a whole one"
        return None if response.body[:3] == gzip.compress(b"", 1)[:3] else "not the shop's bytes"
    return "a broken answer ended cleanly"


def _fault_of_good(kind: str, token: str, method: str, sent: bytes, response: Response) -> str | None:
    expected = {"unmodified": 304, "redirect": 302, "refused": 403, "early": 413}.get(kind, 200)
    if response.status != expected:
        return f"status {response.status}"
    if method == "HEAD" or kind in ("unmodified", "redirect"):
        return f"a body of {len(response.body)} bytes" if response.body else None
    if kind in PAGES or kind == "packed":
        body = plain(response)
        tags = _TAG.findall(body)
        if len(tags) != 1:
            return f"{len(tags)} tags"
        shops = hostile(token) if kind == "hostile" else page(token)
        return None if _TAG.sub(b"", body) == shops else "not the page"
    wanted = {
        "upload": hashlib.sha256(sent).hexdigest().encode(),
        "image": text(token) * 4,
        "events": b"".join(b"data: %b %d\n\n" % (token.encode(), n) for n in range(3)),
        "refused": b"no",
        "early": b"big",
    }.get(kind, text(token))
    return None if response.body == wanted else "not the shop's bytes"


class Visitor:
    """Makes requests on one connection after the other, in a manner that changes with each. A `plain` one
    sends nothing that a server before the middleware may read in its own way: upgrades that are ignored,
    blanks behind a value. Each request is for one of the `hosts`."""

    def __init__(
        self,
        name: str,
        port: int,
        seed: int,
        tally: Tally,
        *,
        plain: bool = False,
        hosts: Sequence[str] = ("shop.example",),
    ) -> None:
        self._name = name
        self._port = port
        self._rng = random.Random(f"{seed} {name}")
        self._tally = tally
        self._plain = plain
        self._hosts = hosts
        self._asked = 0
        self._manner = ""

    async def run(self, requests: int) -> None:
        """Make that many requests, or a few more."""
        manners = (
            *(self._usual, self._usual, self._usual, self._ahead, self._slowly, self._leaving, self._old),
            *(self._dripping, self._talking),
        )
        while self._asked < requests:
            manner = self._rng.choice(manners)
            self._manner = manner.__name__.strip("_")
            try:
                async with Client(self._port) as client:
                    await manner(client)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self._tally.ends[f"{self._manner}: {type(error).__name__}"] += 1

    def _host(self) -> bytes:
        return self._rng.choice(self._hosts).encode()

    def _request(
        self, kind: str | None = None, version: bytes = b"1.1"
    ) -> tuple[str, str, str, bytes, bytes]:
        """Kind, token, method, body and the whole request in bytes."""
        rng = self._rng
        kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
        token = f"{self._name}-{self._asked}"
        self._asked += 1
        self._tally.kinds[kind] += 1
        method = "HEAD" if kind == "head" else "POST" if kind in NOT_REPEATED else "GET"
        query = rng.choice(("", "", "", f"?ref={token}", "?utm_source=soak"))
        lines = [
            b"%b /%b/%b%b HTTP/%b"
            % (method.encode(), kind.encode(), token.encode(), query.encode(), version),
            b"Host: " + self._host() + self._blank(),
            b"Accept-Encoding: " + rng.choice(ACCEPTED),
        ]
        if not self._plain and rng.random() < 0.2:
            lines.append(rng.choice(UPGRADES))
        body = framed = b""
        if method == "POST":
            body = framed = filler(token, 300_000)
            if version == b"1.1" and rng.random() < 0.5:
                lines.append(b"Transfer-Encoding: chunked")
                framed = b"".join(
                    b"%x\r\n%b\r\n" % (len(piece), piece)
                    for piece in (body[at : at + 9000] for at in range(0, len(body), 9000))
                )
                framed += b"0\r\n\r\n"
            else:
                lines.append(b"Content-Length: %d" % len(body) + self._blank())
        return kind, token, method, body, b"\r\n".join([*lines, b"", framed])

    def _blank(self) -> bytes:
        return b"" if self._plain else self._rng.choice((b"", b"", b" ", b"\t "))

    def _judge(self, kind: str, token: str, method: str, body: bytes, response: Response) -> None:
        try:
            fault = fault_of(kind, token, method, body, response)
        except CodingError as error:
            fault = f"a coding that is broken: {error}"
        if fault is not None:
            self._tally.wrong.append(f"{kind} {token} ({self._manner}): {fault}")
        self._tally.ends["complete" if response.complete else "broken off"] += 1

    async def _usual(self, client: Client) -> None:
        for _ in range(self._rng.randint(1, 20)):
            kind, token, method, body, request = self._request()
            response = await client.ask(request, method)
            self._judge(kind, token, method, body, response)
            if not response.complete or response.all("connection"):
                return

    async def _ahead(self, client: Client) -> None:
        asked = [self._request() for _ in range(self._rng.randint(2, 6))]
        client.writer.write(b"".join(request for *_, request in asked))
        for kind, token, method, body, _ in asked:
            response = await client.response(method)
            self._judge(kind, token, method, body, response)
            if not response.complete or response.all("connection"):
                return

    async def _slowly(self, client: Client) -> None:
        kind, token, method, body, request = self._request("image")
        client.writer.write(request)
        client.reader._limit = 4096  # type: ignore[attr-defined]
        await asyncio.sleep(self._rng.random() * 0.2)
        client.reader._limit = 2**20  # type: ignore[attr-defined]
        self._judge(kind, token, method, body, await client.response(method))

    async def _dripping(self, client: Client) -> None:
        """An upload that comes slowly, with its end or without."""
        kind, token, method, body, request = self._request("upload")
        at, leaves = 0, self._rng.random() < 0.3
        while at < len(request):
            size = self._rng.choice((1, 50, 5_000, 60_000))
            await client.send(request[at : at + size])
            at += size
            await asyncio.sleep(0.02)
            if leaves and at > len(request) // 2:
                self._tally.ends["left"] += 1
                return
        self._judge(kind, token, method, body, await client.response(method))

    async def _talking(self, client: Client) -> None:
        """A WebSocket: what comes back is what was said."""
        token = f"{self._name}-{self._asked}"
        self._asked += 1
        self._tally.kinds["websocket"] += 1
        await client.send(
            b"GET /websocket/%b HTTP/1.1\r\nHost: %b\r\n%b\r\n\r\n"
            % (token.encode(), self._host(), HANDSHAKE)
        )
        head = await client.head()
        if head.status != 101:
            self._tally.wrong.append(f"websocket {token}: status {head.status}")
            return
        for number in range(self._rng.randint(1, 4)):
            said = f"{token} {number}".encode()
            await client.send(b"\x81" + bytes([0x80 | len(said)]) + bytes(4) + said)
            async with asyncio.timeout(raw_http.PATIENCE):
                heard = await client.reader.readexactly(2 + len(said))
            if heard != bytes([0x81, len(said)]) + said:
                self._tally.wrong.append(f"websocket {token}: heard {heard[:60]!r}")
        if self._rng.random() < 0.5:
            await client.send(b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big"))
            async with asyncio.timeout(raw_http.PATIENCE):
                await client.reader.read(100)
        self._tally.ends["talked"] += 1

    async def _leaving(self, client: Client) -> None:
        *_, request = self._request()
        client.writer.write(request[: self._rng.choice((10, len(request) // 2, len(request)))])
        if self._rng.random() < 0.5:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rng.random() * 0.05):
                    await client.reader.read(self._rng.choice((1, 100, 10_000)))
        if self._rng.random() < 0.5:
            client.writer.transport.abort()
        self._tally.ends["left"] += 1

    async def _old(self, client: Client) -> None:
        kind, token, method, body, request = self._request(version=b"1.0")
        self._judge(kind, token, method, body, await client.ask(request, method))
        assert await client.reader.read() == b""
