"""A shop that is an ASGI app with the middleware in front of it: `python -m soak.mounted SETTINGS PORT`.

It answers as `soak.shop` does, as far as an ASGI app can: where that one breaks off, this one raises.
"""

import gzip
import hashlib
import logging
import sys
from pathlib import Path

import uvicorn
from clew import ClewMiddleware
from starlette.types import Message, Receive, Scope, Send

from .content import FAULTS, dice, hostile, page, text
from .shop import packed

HTML = (b"content-type", b"text/html; charset=utf-8")
JSON = (b"content-type", b"application/json")


class ShopFaultError(Exception):
    """What the shop does badly on purpose."""


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ShopFaultError
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _content(kind: str, token: str, sent: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of a good answer."""
    match kind:
        case "packed":
            coding = dice(token).choice(("gzip", "br", "zstd", "deflate"))
            return 200, [HTML, (b"content-encoding", coding.encode())], packed(coding, page(token))
        case "json" | "endless":
            return 200, [JSON], text(token)
        case "wide":
            return 200, [JSON, *((b"x-%d" % n, b"x" * 4000) for n in range(14))], text(token)
        case "image":
            return 200, [(b"content-type", b"image/png")], text(token) * 4
        case "head":
            return 200, [HTML, (b"content-length", b"%d" % len(page(token)))], b""
        case "unmodified":
            return 304, [(b"etag", b'"%b"' % token.encode())], b""
        case "upload":
            return 200, [JSON], hashlib.sha256(sent).hexdigest().encode()
        case "redirect":
            return 302, [(b"location", b"/page/%b" % token.encode())], b""
        case "events":
            body = b"".join(b"data: %b %d\n\n" % (token.encode(), n) for n in range(3))
            return 200, [(b"content-type", b"text/event-stream")], body
        case "hostile":
            return 200, [HTML], hostile(token)
        case "refused":
            return 403, [JSON], b"no"
        case "early":
            return 413, [JSON], b"big"
        case "damaged" | "truncated":
            return 200, [HTML, (b"content-encoding", b"gzip")], gzip.compress(page(token), 1)
    return 200, [HTML, (b"etag", b'"%b"' % token.encode())], page(token)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    kind, token = scope["path"].strip("/").split("/")
    sent = b"" if kind == "early" else await _body(receive)
    bad = kind in FAULTS and kind not in ("refused", "early")
    if kind in ("silent", "nonsense", "heavy"):
        raise ShopFaultError
    rng = dice(token)
    status, headers, body = _content(kind, token, sent)
    if bad or rng.random() < 0.5:
        headers = [*headers, (b"x-coming", b"in pieces")]
    elif kind not in ("head", "unmodified"):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    headers = [(b"x-token", token.encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    at, end = 0, len(body) // 2 if bad else len(body)
    while at < end:
        size = rng.choice((1, 17, 1000, 30_000)) if at < 2000 else 30_000
        piece = body[at : min(at + size, end)]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        at += size
    if bad:
        raise ShopFaultError
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message: Message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


async def shop(scope: Scope, receive: Receive, send: Send) -> None:
    """The shop; it knows no lifespan."""
    if scope["type"] == "http":
        await _http(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websocket(receive, send)
    else:
        raise RuntimeError(f"no {scope['type']} here")


def _unwanted(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], ShopFaultError))


def main(settings: Path, port: int) -> None:
    """Serve until killed."""
    logging.getLogger("uvicorn.error").addFilter(_unwanted)
    app = ClewMiddleware(shop, settings, strict=True)
    uvicorn.run(
        app, port=port, http="httptools", loop="uvloop", log_level="error", log_config=None, lifespan="on"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
