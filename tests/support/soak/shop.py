"""A shop that answers as the path asks it to, well or badly: `python -m soak.shop PORT`.

`/page/TOKEN` is a page, `/short/TOKEN` an answer that breaks off, and so on (`content`).
"""

import asyncio
import base64
import gzip
import hashlib
import socket
import struct
import sys
from collections.abc import Awaitable, Callable

import uvloop
from clew.injector.codings import encoder
from raw_http import Request, read_request, split_head

from .content import dice, hostile, page, text

Writer = asyncio.StreamWriter
HTML = "Content-Type: text/html; charset=utf-8"
JSON = "Content-Type: application/json"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Ends(Exception):  # noqa: N818
    """The connection ends here; `reset` by RST."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


def head(token: str, *lines: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"X-Token: {token}", *lines, "", ""]).encode()


async def send(writer: Writer, token: str, body: bytes, *lines: str, status: str = "200 OK") -> None:
    """A whole answer: counted or in chunks, at once or in pieces."""
    rng = dice(token)
    if rng.random() < 0.5:
        writer.write(head(token, f"Content-Length: {len(body)}", *lines, status=status) + body)
    else:
        writer.write(head(token, "Transfer-Encoding: chunked", *lines, status=status))
        at = 0
        while at < len(body):
            size = rng.choice((1, 17, 1000, 30_000)) if at < 2000 else 30_000
            piece = body[at : at + size]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            at += size
            if rng.random() < 0.1:
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def packed(coding: str, body: bytes) -> bytes:
    """A body in a coding."""
    made = encoder(coding)
    return made.encode(body) + made.finish()


async def answer_page(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, page(token), HTML, f'ETag: "{token}"')


async def answer_packed(writer: Writer, token: str, request: Request) -> None:
    coding = dice(token).choice(("gzip", "br", "zstd", "deflate"))
    await send(writer, token, packed(coding, page(token)), HTML, f"Content-Encoding: {coding}")


async def answer_hinted(writer: Writer, token: str, request: Request) -> None:
    writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
    await answer_page(writer, token, request)


async def answer_slow(writer: Writer, token: str, request: Request) -> None:
    body = page(token)
    writer.write(head(token, HTML, f"Content-Length: {len(body)}"))
    for start, end in ((0, 5), (5, 40), (40, 41), (41, len(body))):
        await asyncio.sleep(0.02)
        writer.write(body[start:end])
    await writer.drain()


async def answer_closing(writer: Writer, token: str, request: Request) -> None:
    """Ends the connection behind a good answer, without having said so."""
    await answer_page(writer, token, request)
    await asyncio.sleep(dice(token).choice((0, 0, 0.005)))
    raise Ends(reset=dice(token).random() < 0.3)


async def answer_json(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, text(token), JSON)


async def answer_image(writer: Writer, token: str, request: Request) -> None:
    body = text(token) * 4
    writer.write(head(token, "Content-Type: image/png", f"Content-Length: {len(body)}") + body)
    await writer.drain()


async def answer_head(writer: Writer, token: str, request: Request) -> None:
    writer.write(head(token, HTML, f"Content-Length: {len(page(token))}"))


async def answer_unmodified(writer: Writer, token: str, request: Request) -> None:
    writer.write(head(token, f'ETag: "{token}"', status="304 Not Modified"))


async def answer_upload(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, hashlib.sha256(request.body).hexdigest().encode(), JSON)


async def answer_redirect(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, b"", f"Location: /page/{token}", status="302 Found")


async def answer_events(writer: Writer, token: str, request: Request) -> None:
    writer.write(head(token, "Content-Type: text/event-stream"))
    for number in range(3):
        writer.write(f"data: {token} {number}\n\n".encode())
        await writer.drain()
        await asyncio.sleep(0.01)
    raise Ends


async def answer_endless(writer: Writer, token: str, request: Request) -> None:
    """A body that ends with the connection."""
    writer.write(head(token, JSON, "Connection: close") + text(token))
    await writer.drain()
    raise Ends


async def answer_wide(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, text(token), JSON, *(f"X-{n}: {'x' * 4000}" for n in range(14)))


async def answer_long(writer: Writer, token: str, request: Request) -> None:
    """More bytes than were stated."""
    body = page(token)
    writer.write(head(token, HTML, f"Content-Length: {len(body)}") + body + b"HTTP/1.1 200 OK\r\n\r\nmine")


async def answer_silent(writer: Writer, token: str, request: Request) -> None:
    raise Ends(reset=dice(token).random() < 0.5)


async def answer_reset(writer: Writer, token: str, request: Request) -> None:
    writer.write(head(token, HTML, "Content-Length: 500000") + page(token))
    await writer.drain()
    await asyncio.sleep(0.005)
    raise Ends(reset=True)


async def answer_short(writer: Writer, token: str, request: Request) -> None:
    body = page(token)
    writer.write(head(token, HTML, f"Content-Length: {len(body) + 1}") + body)
    raise Ends


async def answer_chunks(writer: Writer, token: str, request: Request) -> None:
    end = dice(token).choice((b"zz\r\n", b"5\r\nabc", b"-1\r\n", b""))
    body = page(token)
    writer.write(head(token, HTML, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(body), body) + end)
    raise Ends


async def answer_nonsense(writer: Writer, token: str, request: Request) -> None:
    writer.write(
        dice(token).choice(
            (b"\x16\x03\x01\0\0", b"HTTP/1.1 99999\r\n\r\n", b"<html>", b"HTTP/1.1 200 OK\nA: b\n\n")
        )
    )
    raise Ends


async def answer_heavy(writer: Writer, token: str, request: Request) -> None:
    writer.write(head(token, *(f"X-{n}: {'x' * 8000}" for n in range(20))))
    raise Ends


async def answer_truncated(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, gzip.compress(page(token), 1)[:-9], HTML, "Content-Encoding: gzip")


async def answer_damaged(writer: Writer, token: str, request: Request) -> None:
    body = bytearray(gzip.compress(page(token), 1))
    body[len(body) // 2] ^= 0xFF
    await send(writer, token, bytes(body), HTML, "Content-Encoding: gzip")


async def answer_hostile(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, hostile(token), HTML)


async def answer_refused(writer: Writer, token: str, request: Request) -> None:
    await send(writer, token, b"no", JSON, status="403 Forbidden")


def refusal(target: str) -> bytes:
    """A 413 in bytes."""
    token = target.partition("?")[0].rpartition("/")[2]
    return head(token, "Content-Length: 3", status="413 Content Too Large") + b"big"


ANSWERS: dict[str, Callable[[Writer, str, Request], Awaitable[None]]] = {
    name.removeprefix("answer_"): answer
    for name, answer in list(globals().items())
    if name.startswith("answer_")
}


async def talk(reader: asyncio.StreamReader, writer: Writer, start: bytes) -> None:
    """An echoing WebSocket; messages are short."""
    _, fields = split_head(start)
    (key,) = [value for name, value in fields if name.lower() == b"sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    while True:
        first, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        payload = bytes(b ^ mask[n % 4] for n, b in enumerate(await reader.readexactly(length & 0x7F)))
        kind = first & 0x0F
        if kind in (1, 8, 9):
            writer.write(bytes([0x80 | (10 if kind == 9 else kind), len(payload)]) + payload)
        if kind == 8:
            raise Ends


async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
    """One connection."""
    reset = False
    try:
        while True:
            start = await reader.readuntil(b"\r\n\r\n")
            if b" /early/" in start:
                # By its head alone; what still comes of the body is not waited for.
                writer.write(refusal(start.split(b" ")[1].decode()))
                await asyncio.sleep(0.05)
                raise Ends
            if b" /websocket/" in start:
                await talk(reader, writer, start)
            request = await read_request(reader, start)
            kind, token = request.target.decode().partition("?")[0].strip("/").split("/")
            await ANSWERS[kind](writer, token, request)
    except Ends as end:
        reset = end.reset
    except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):  # uvloop's word for a closed one
        pass
    sock = writer.get_extra_info("socket")
    if reset and sock is not None:
        # With no time to linger, closing is a reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    async with await asyncio.start_server(serve, "127.0.0.1", port, limit=2**20, backlog=1000) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
