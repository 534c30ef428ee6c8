"""WebSockets through the proxy: the shop's answer to the handshake, then messages both ways.

Each side has its own frames, pings and compression; what passes is messages, close codes and reasons.
"""

import asyncio
import base64
import hashlib
import logging
import os

from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers as WebSocketHeaders
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from ...injector.heads import Headers, value, without
from ..asgi.denial import deny
from ..http.connection import UpstreamResponse
from ..http.faults import BrokenError, RequestError, ResponseError, UpstreamError
from ..http.pages import failure
from ..http.upstream import Upstream

# One message, either way; uvicorn's own limit towards the client is the same.
MAX_MESSAGE = 16 * 1024 * 1024
# Frames of the shop that may wait for the client before reading from the shop stops.
MAX_QUEUE = 4
# Bytes of the shop's page that are passed on when it refuses a handshake.
MAX_REFUSAL = 64 * 1024
PING_EVERY, PONG_WITHIN, CLOSE_WITHIN = 20.0, 60.0, 10.0

_LOG = logging.getLogger("clew.proxy")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OURS = (b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions")
_THEIRS = (b"sec-websocket-accept", b"sec-websocket-protocol", b"content-length")
# "No code" and "no close frame" may not be sent (RFC 6455 §7.4.1).
_NO_CODE, _NO_FRAME = 1005, 1006
_NORMAL, _GOING_AWAY, _UNEXPECTED = 1000, 1001, 1011


async def relay(
    scope: Scope,
    receive: Receive,
    send: Send,
    upstream: Upstream,
    target: bytes,
    headers: Headers,
    idle_seconds: float | None = None,
) -> None:
    """Open the same WebSocket at the shop, and pass messages until one side closes.

    Origin, cookies and subprotocols go to the shop as they came: who may connect is the shop's decision. A
    refusal goes back with its status if the server knows the ASGI denial response, else as 403. One on which
    no message passes for `idle_seconds` is closed with 1001; pings are no messages. Raises
    BrokenError when the shop's side breaks without a close frame, so that the client's breaks too.
    """
    await receive()
    key = base64.b64encode(os.urandom(16))
    handshake = [
        *without(headers, *_OURS),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", key),
    ]
    accepted = False
    try:
        async with upstream.upgrade(target, handshake) as response:
            if response.status != 101:
                await _pass_refusal(scope, send, response)
                return
            _verify(response, key)
            shop = _connection(*response.detach())
            accepted = True
            client = _Client(receive, send, idle_seconds)
            with upstream.count_websocket(client):
                await _converse(client, shop, _acceptance(response.headers), send)
    except (UpstreamError, RequestError) as error:
        _LOG.warning("%d WebSocket %r at %s: %s", error.status, target[:200], upstream.address, error)
        if accepted:
            raise
        await deny(scope, send, *failure(error))


async def _pass_refusal(scope: Scope, send: Send, response: UpstreamResponse) -> None:
    pieces, size = [], 0
    async for piece in response:
        pieces.append(piece)
        size += len(piece)
        if size >= MAX_REFUSAL:
            break
    body = b"".join(pieces)[:MAX_REFUSAL]
    headers = [*without(response.headers, b"content-length"), (b"content-length", b"%d" % len(body))]
    await deny(scope, send, response.status, headers, body)


def _verify(response: UpstreamResponse, key: bytes) -> None:
    """RFC 6455 §4.1: only this proves that the shop understood this WebSocket handshake."""
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    if value(response.headers, b"sec-websocket-accept") != proof:
        raise ResponseError("the shop's 101 has no valid Sec-WebSocket-Accept")
    if value(response.headers, b"sec-websocket-extensions"):
        raise ResponseError("the shop's 101 names an extension that was not offered")


def _acceptance(headers: Headers) -> Message:
    subprotocol = value(headers, b"sec-websocket-protocol")
    return {
        "type": "websocket.accept",
        "subprotocol": None if subprotocol is None else subprotocol.decode("latin-1"),
        "headers": without(headers, *_THEIRS),
    }


class _ShopConnection(ClientConnection):
    """Closes at once where the shop breaks the protocol; the library would wait until the shop closes."""

    def data_received(self, data: bytes) -> None:
        """Bytes from the shop."""
        super().data_received(data)
        if self.protocol.parser_exc is not None:
            self.transport.close()


def _connection(transport: asyncio.Transport, received: bytes) -> ClientConnection:
    """The shop's side after the handshake: the library's connection takes the transport over."""
    protocol = ClientProtocol(parse_uri("ws://shop/"), state=State.OPEN, max_size=MAX_MESSAGE)
    shop = _ShopConnection(
        protocol,
        ping_interval=PING_EVERY,
        ping_timeout=PONG_WITHIN,
        close_timeout=CLOSE_WITHIN,
        max_queue=MAX_QUEUE,
    )
    shop.response = Response(101, "", WebSocketHeaders())
    transport.set_protocol(shop)
    shop.connection_made(transport)
    if received:
        shop.data_received(received)
    transport.resume_reading()
    shop.start_keepalive()
    return shop


async def _converse(client: "_Client", shop: ClientConnection, acceptance: Message, send: Send) -> None:
    up = asyncio.create_task(client.up(shop))
    try:
        await send(acceptance)
        async with asyncio.timeout(client.idle_seconds) as client.idle:
            await client.down(shop)
    except TimeoutError:
        # Going away: an idle WebSocket must not hold a connection to the shop (RFC 6455 §7.4.1).
        await shop.close(_GOING_AWAY, client.over)
        await send({"type": "websocket.close", "code": _GOING_AWAY, "reason": client.over})
    finally:
        up.cancel()
        shop.transport.abort()
        await asyncio.wait([up])
    if not up.cancelled() and (error := up.exception()) is not None:
        raise error


class _Client:
    """The client's side of one conversation, through ASGI."""

    def __init__(self, receive: Receive, send: Send, idle_seconds: float | None) -> None:
        self.idle: asyncio.Timeout | None = None
        self.idle_seconds = idle_seconds
        self.over = "no message for too long"
        self._cut = False
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._left = asyncio.Event()

    async def up(self, shop: ClientConnection) -> None:
        """Messages to the shop, until the client closes; waits while the shop does not read."""
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                self._passed()
                text = message.get("text")
                await shop.send(message["bytes"] if text is None else text)
            self._left.set()
            code = message.get("code", _NO_CODE)
            if code == _NO_FRAME:
                shop.transport.abort()
            else:
                await shop.close(_NORMAL if code == _NO_CODE else code, message.get("reason") or "")
        except ConnectionClosed:
            # `down` sees the same, and closes the client's side.
            return
        except BaseException:
            shop.transport.abort()
            raise

    def cut(self) -> None:
        """End the conversation: its site was removed."""
        if self.idle is not None and not self.idle.expired():
            self._cut, self.over = True, "this site is served no more"
            self.idle.reschedule(self._loop.time())

    def _passed(self) -> None:
        if self.idle_seconds is None or self.idle is None or self.idle.expired() or self._cut:
            return
        self.idle.reschedule(self._loop.time() + self.idle_seconds)

    async def down(self, shop: ClientConnection) -> None:
        """Messages to the client, until the shop closes; waits while the client does not read."""
        try:
            while True:
                message = await shop.recv()
                self._passed()
                kind = "text" if isinstance(message, str) else "bytes"
                await self._send({"type": "websocket.send", kind: message})
        except ConnectionClosed as closed:
            if self._left.is_set():
                return
            if closed.rcvd is not None:
                code = _NORMAL if closed.rcvd.code == _NO_CODE else closed.rcvd.code
                await self._send({"type": "websocket.close", "code": code, "reason": closed.rcvd.reason})
            elif closed.sent is not None:
                # The shop broke the protocol, or did not answer pings.
                await self._send({"type": "websocket.close", "code": _UNEXPECTED})
            else:
                raise BrokenError("the shop broke the WebSocket off") from closed
        except OSError:
            # The server raises this once the client has gone; its close code comes through `receive`.
            await self._left.wait()
            await shop.wait_closed()
