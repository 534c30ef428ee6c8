"""The `send` of a watched response, which goes through the exchange."""

from collections.abc import Awaitable, Callable

from starlette.types import Message, Send

from ...injector.heads import ResponseHead
from ..exchange.exchange import Exchange, Out

# Messages that are sent before the head, even if the head is held: a 103 cannot be sent later.
AHEAD_OF_HEAD = frozenset({"http.response.debug", "http.response.early_hint", "http.response.push"})


class Sender:
    """Feeds the app's messages to the exchange and sends what it releases. `secure` writes a page's order to
    disk before the page's last byte is sent."""

    def __init__(
        self, exchange: Exchange, send: Send, secure: Callable[[Exchange], Awaitable[None] | None]
    ) -> None:
        self._exchange = exchange
        self._send = send
        self._secure = secure
        self._start: Message = {}
        self._last = Out()  # of an order page: the newest piece, which may be the last one

    async def __call__(self, message: Message) -> None:
        """One message from the app."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
            # ASGI requires names in lower case, but Django keeps the app's spelling.
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            await self._release(self._exchange.response(ResponseHead(message["status"], headers)))
        elif kind == "http.response.body":
            await self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            # Trailers, files, and messages of later ASGI versions: in order, unchanged.
            if kind not in AHEAD_OF_HEAD:
                held, self._last = self._last, Out()
                await self._release(held)
                await self._release(self._exchange.other())
            await self._send(message)

    async def _body(self, chunk: bytes, *, more: bool) -> None:
        # Starlette allows a memoryview here.
        out = self._exchange.body(bytes(chunk)) if chunk else Out()
        if more:
            if self._exchange.is_order_page:
                out, self._last = self._last, out
            await self._release(out)
            return
        end = self._exchange.end()
        pieces = (self._last, out, end)
        await self._release(Out(next((piece.head for piece in pieces if piece.head), None), b""))
        if (safe := self._secure(self._exchange)) is not None:
            await safe
        body = b"".join(piece.data for piece in pieces)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _release(self, out: Out) -> None:
        if out.head is not None:
            await self._send({**self._start, "status": out.head.status, "headers": out.head.headers})
        if out.body:
            await self._send({"type": "http.response.body", "body": out.data, "more_body": True})
