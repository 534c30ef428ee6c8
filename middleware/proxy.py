"""The reverse proxy as an ASGI app: requests go to the shop byte for byte, and answers come back so."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from ..injector.heads import Headers
from ..settings import model
from .connection import UpstreamResponse
from .faults import ClientGoneError, RequestError, RequestTimeoutError, UpstreamError
from .forwarding import ALLOW, REFUSED_METHODS, Forwarding
from .origin import Networks, Origin, origin_of
from .pages import failure, page
from .upstream import Upstream
from .websocket import deny, relay

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A request body up to this long is gathered and sent at once; a longer one, or one in chunks, is streamed.
GATHERED_BODY = 64 * 1024
# How long a short body may take (nginx's client_body_timeout); a long one must go on at least every 300 s.
BODY_SECONDS = 60.0

_LOG = logging.getLogger("clew.proxy")
_TRAILERS = "http.response.trailers"


class Proxy:
    """Forwards `http` and `websocket` scopes to the shop at `address`.

    `trusted` are the networks of proxies whose word on the client counts. The target goes out as `raw_path`,
    `?` and `query_string`; headers keep their bytes, order and duplicates (see `forwarded_headers` for what
    is taken out and added); Host stays the client's. A failure before the answer has begun is a short text
    of ours, 502, 503 or 504; after that it is raised, so that the server cuts the connection and the client
    sees an incomplete message.

    Interim responses are not passed on. Trailers are if the server has the ASGI extension for them and the
    shop announced them; otherwise they are dropped. Alt-Svc is dropped: it would lead browsers past us.
    """

    def __init__(self, address: str, limits: model.Upstream, trusted: Networks = ()) -> None:
        self.upstream = Upstream(address, limits)
        self._trusted = tuple(trusted)
        self._forwarding = Forwarding(self.upstream.authority, trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or one WebSocket."""
        http = scope["type"] == "http"
        try:
            origin = origin_of(scope, self._trusted)
            target, headers = self._forwarding.request(scope, scope["headers"], origin)
        except RequestError as error:
            _LOG.info("refused: %s", error)
            await (answer(send, *failure(error)) if http else deny(scope, send, *failure(error)))
            return
        if not http:
            await relay(scope, receive, send, self.upstream, target, headers)
        elif scope["method"] in REFUSED_METHODS:
            await answer(send, *page(405, (b"allow", ALLOW)))
        else:
            await self._forward(scope, receive, send, target, headers, origin)

    async def close(self) -> None:
        """Close all connections to the shop."""
        await self.upstream.close()

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, target: bytes, headers: Headers, origin: Origin
    ) -> None:
        trailing = _TRAILERS in (scope.get("extensions") or ())
        if trailing and _wants_trailers(scope["headers"]):
            headers.append((b"te", b"trailers"))
        try:
            body = await _body(scope["headers"], receive)
            response = await self.upstream.send(
                scope["method"], target, headers, body, lambda: _disconnected(receive)
            )
        except ClientGoneError as error:
            _LOG.info("499 %s: %s", scope["method"], error)
            return
        except RequestError as error:
            _LOG.info("refused: %s", error)
            await answer(send, *failure(error))
            return
        except UpstreamError as error:
            self._note(scope, error)
            await answer(send, *failure(error))
            return
        try:
            await self._pass_on(response, send, trailing, origin)
        except ClientGoneError as error:
            _LOG.info("499 %s: %s", scope["method"], error)
        except UpstreamError as error:
            self._note(scope, error)
            raise
        finally:
            response.close()

    async def _pass_on(self, response: UpstreamResponse, send: Send, trailing: bool, origin: Origin) -> None:
        """The answer as it comes: the head at once, each piece of the body when it is there."""
        status = response.status
        headers = self._forwarding.response(status, response.headers, origin)
        announced = trailing and response.reader.announces_trailers
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        if announced:
            start["trailers"] = True
        await send(start)
        more = True
        while more:
            data = await response.read()
            more = not response.ended
            await send({"type": "http.response.body", "body": data, "more_body": more})
        if announced:
            await send({"type": _TRAILERS, "headers": response.trailers, "more_trailers": False})

    def _note(self, scope: Scope, error: UpstreamError) -> None:
        path = scope["raw_path"][:200]
        _LOG.warning("%d %s %r at %s: %s", error.status, scope["method"], path, self.upstream.address, error)


async def _body(headers: Headers, receive: Receive) -> bytes | AsyncIterator[bytes] | None:
    """The request's body: none, gathered if it is short, else as it comes. Raises ClientGoneError."""
    length, chunked = b"", False
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name == b"transfer-encoding":
            chunked = True
    if chunked and length:
        raise RequestError("a body with Content-Length and Transfer-Encoding")
    if chunked:
        return _stream(receive)
    if length in (b"", b"0"):
        return None
    if not length.isdigit():
        raise RequestError("a Content-Length that is no number")
    if int(length) > GATHERED_BODY:
        return _stream(receive)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return b"".join([piece async for piece in _stream(receive)])
    except TimeoutError:
        raise RequestTimeoutError(
            f"a body of {int(length)} bytes not there after {BODY_SECONDS:g} s"
        ) from None


async def _stream(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client left within its request")
        if piece := message.get("body", b""):
            yield piece
        more = message.get("more_body", False)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _wants_trailers(headers: Headers) -> bool:
    return any(name == b"te" and b"trailers" in value.lower() for name, value in headers)


async def answer(send: Send, status: int, headers: Headers, text: bytes) -> None:
    """A whole answer of our own."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
