"""One request to the shop and its response, in callbacks, without tasks, queues or copies where possible. It
drives an exchange if there is one, and contains no policy itself.

| called by         | method                             | what happens                              |
|-------------------|------------------------------------|-------------------------------------------|
| client connection | `start`, `body_received`, `body_complete` | the request is sent as the shop reads |
| shop connection   | `shop_ready`                       | the shop accepts more                     |
|                   | `answer_ready`, `exchange_over`    | the response is sent as the client reads  |
| client connection | `client_ready`                     | the client accepts more                   |
|                   | `client_gone`, `body_malformed`    | the exchange with the shop ends at once   |

`RequestHalf` handles the request, `AnswerHalf` the response. A failure before the head of the response was
sent is answered with an error page (`pages`). After that the client's connection is cut, so that the client
sees an incomplete message instead of a clean end after a broken body.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ...injector.heads import Headers
from ...service.effects import Before
from ...service.limits import Hold, network_of
from ...service.origin import Origin
from ...service.service import Service
from ..exchange.exchange import Exchange, ResponseBrokenError
from ..http.connection import Connection
from ..http.faults import ClientGoneError, RequestError, StaleError, UpstreamError
from ..http.handler import ClientConnection, RequestHandler
from ..http.pages import failure, page
from ..http.slots import Slots, Use
from ..http.upstream import Upstream
from ..http.wire import ResponseReader
from .answer_half import AnswerHalf, AnswerState
from .forwarding import ALLOW, REFUSED_METHODS, Forwarding
from .request_half import RequestHalf, RequestState

_LOG = logging.getLogger("clew.proxy")
# After these it is not certain where the next request begins (RFC 9112 §9.3).
_LAST_ON_CONNECTION = frozenset({400, 408, 429})


class Shop(Protocol):
    """Where a request goes."""

    upstream: Upstream
    forwarding: Forwarding


class Watch:
    """The exchange of a request, and its effects before the request is forwarded."""

    __slots__ = ("effects", "exchange", "service")

    def __init__(self, service: Service, exchange: Exchange, effects: Sequence[Before]) -> None:
        self.service = service
        self.exchange = exchange
        self.effects = effects


class ProxiedRequest(RequestHandler):
    """See the module's text. `headers` are the request's, as the exchange returned them; `hold_upload` counts
    an upload, `notify` is called with the response's status at the end (0: there was none)."""

    # Class attributes are the defaults that most requests keep: creating one sets few fields.
    _service: Service | None = None
    _effects: Sequence[Before] = ()
    _task: asyncio.Task[None] | None = None
    _connection: Connection | None = None
    _kept = False  # the connection carried another exchange before
    _fresh = False  # a kept connection turned out closed
    _reader: ResponseReader | None = None
    _error: Exception | None = None

    def __init__(
        self,
        client: ClientConnection,
        shop: Shop,
        scope: Mapping[str, Any],
        headers: Headers,
        origin: Origin,
        *,
        keep_alive: bool,
        watch: Watch | None = None,
        hold_upload: Callable[[], Hold] | None = None,
        notify: Callable[[int], None] | None = None,
    ) -> None:
        self.client = client
        self._shop = shop
        self._scope = scope
        self._headers = headers
        self._origin = origin
        self._hold_upload = hold_upload
        self._notify = notify
        method = scope["method"]
        self._method: str = method
        self._request = RequestHalf(self, method)
        modern = scope["http_version"] == "1.1"
        self._answer = AnswerHalf(
            client, method, shop.forwarding, origin, modern=modern, keep_alive=keep_alive
        )
        if watch is not None:
            self._service, self._answer.exchange, self._effects = watch.service, watch.exchange, watch.effects

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the answer."""
        return self._answer.keep_alive

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self._answer.keep_alive = value

    @property
    def more_body(self) -> bool:
        """Whether some of the request's body has not come yet."""
        return self._request.more_body

    @property
    def slots(self) -> Slots:
        """The slots of the shop's connections."""
        return self._shop.upstream.slots

    # -- called by the client's connection

    def start(self) -> None:
        """Start. Never raises: a request that cannot be forwarded is refused."""
        if self.disconnected:
            return
        if self._method in REFUSED_METHODS:
            self._send_own(*page(405, (b"allow", ALLOW)))
            return
        try:
            self._request.prepare(self._scope, self._headers, self._origin, self._shop.forwarding)
        except RequestError as error:
            self.fail(error)
            return
        if self._request.accepts_trailers:
            self._answer.accept_trailers()
        self._request.start()

    def body_received(self, data: bytes) -> None:
        """A piece of the request's body."""
        try:
            self._request.piece(data)
        except RequestError as error:
            self.fail(error)

    def body_complete(self) -> None:
        """The request's body is complete."""
        try:
            self._request.complete()
        except RequestError as error:
            self.fail(error)

    def body_malformed(self) -> None:
        """The request's body is malformed: no more of it will be read."""
        self.fail(RequestError("the chunks of the body are malformed"))

    def client_ready(self) -> None:
        """The client has read what was written, and accepts more."""
        if self._reader is None or self.response_complete or self.disconnected:
            return
        if self._connection is not None:
            self._connection.taken()
        self._pull()
        self._hold_shop()

    def client_gone(self) -> None:
        """The client has left."""
        if self.disconnected or self.response_complete:
            return
        self.disconnected = True
        self._give_up(ClientGoneError("the client closed the connection"))
        _LOG.info("499 %s", self._method)
        self._close()

    # -- called by the connection to the shop

    def shop_ready(self) -> None:
        """The shop accepts more of the request's body."""
        if not self.response_complete:
            self._request.shop_ready()

    def answer_ready(self) -> None:
        """The reader has more of the response."""
        if not self.client.flow.write_paused:
            self._pull()
        self._hold_shop()

    def exchange_over(self, error: Exception | None) -> None:
        """The exchange on the shop's connection is over."""
        if self._connection is None:  # abandoned by us
            return
        self._connection = None
        if isinstance(error, StaleError) and self._kept and self._request.replayable:
            # Once, on a new connection: an idle one may be closed the moment it is used.
            self._reader, self._fresh = None, True
            self._request.retry()
            return
        if self._request.state is not RequestState.SENT:
            self._request.drop()
        self._error = error
        if not self.client.flow.write_paused:
            self._pull()

    def has_unsent(self) -> bool:
        """Whether the client has not read all that was written."""
        return self.client.transport.get_write_buffer_size() > 0

    # -- called by the request's half

    def hold_upload(self) -> Hold | None:
        """Count an upload of the client; None if uploads are not counted. Raises LimitedError."""
        return self._hold_upload() if self._hold_upload is not None else None

    def connect(self) -> None:
        """Get a connection: at once if one is idle, else in a task."""
        use = Use(network_of(self._origin.client), self._request.uploading)
        if not self._effects and not self._fresh:
            connection = self._shop.upstream.take(self._request.replayable, use)
            if connection is not None:
                self._begin(connection, kept=True)
                return
        self._task = self.client.loop.create_task(self._acquire(use))

    async def _acquire(self, use: Use) -> None:
        try:
            if self._effects and self._service and self._answer.exchange:
                effects, self._effects = self._effects, ()
                exchange = self._answer.exchange
                await self._service.attribution.perform(exchange.site, effects)
                if (headers := exchange.after_effects(self._headers)) is not self._headers:
                    self._request.prepare(self._scope, headers, self._origin, self._shop.forwarding)
            connection, kept = await self._shop.upstream.acquire(
                self._request.replayable, use, fresh=self._fresh
            )
        except UpstreamError as error:
            self.fail(error)
        except Exception as error:
            _LOG.exception("%s %r", self._method, self._scope["raw_path"][:200])
            self.fail(error)
        else:
            self._begin(connection, kept)
        finally:
            self._task = None

    def _begin(self, connection: Connection, kept: bool) -> None:
        self._connection, self._kept = connection, kept
        reader = self._reader = ResponseReader(self._method)
        self._request.connected(connection, reader)

    # -- the answer

    def _pull(self) -> None:
        """Take what the shop sent, and send what may be sent."""
        assert self._reader is not None
        answer = self._answer
        if self._answer.state is AnswerState.WAITING:
            return
        try:
            taken = answer.pull(self._reader)
        except ResponseBrokenError as error:
            self.fail(error)
            return
        except Exception as error:
            # A bug must not leave the client waiting, nor end the shop's connection without a log line.
            _LOG.exception("%s %r", self._method, self._scope["raw_path"][:200])
            if answer.exchange is not None:
                answer.exchange.fault = error
            self.fail(error)
            return
        if answer.state is AnswerState.COMPLETE:
            self._answered()
        elif answer.state is AnswerState.WAITING:
            self._secure_order()
        elif self._error is not None:
            self.fail(self._error)
        elif taken and self._connection is not None:
            self._connection.taken()

    def _secure_order(self) -> None:
        """Have the order of the page on the disk before its last byte leaves."""
        safe = None
        if self._service is not None and self._answer.exchange is not None:
            safe = self._service.attribution.secure(self._answer.exchange)
        if safe is None:
            self._order_secured()
        else:
            safe.add_done_callback(lambda _: self._order_secured())

    def _order_secured(self) -> None:
        if self._answer.state is AnswerState.WAITING and not self.disconnected:
            self._answer.release()
            self._answered()

    def _hold_shop(self) -> None:
        if self._connection is not None and self.client.flow.write_paused:
            self._connection.hold()

    def _send_own(self, status: int, headers: Headers, text: bytes) -> None:
        self._answer.own(status, headers, text)
        self._answered()

    # -- the end

    def fail(self, error: Exception) -> None:
        """The request or its response cannot be completed: send an error page, or cut the connection."""
        self._give_up(error)
        if isinstance(error, UpstreamError):
            path = self._scope["raw_path"][:200]
            address = self._shop.upstream.address
            _LOG.warning("%d %s %r at %s: %s", error.status, self._method, path, address, error)
        elif isinstance(error, RequestError):
            _LOG.info("refused: %s", error)
            if error.status in _LAST_ON_CONNECTION:
                self.keep_alive = False
        if isinstance(error, UpstreamError | RequestError) and not self._answer.started:
            self._send_own(*failure(error))
            return
        self.disconnected = True
        self._answer.cut(gently=not isinstance(error, ClientGoneError))
        self._close()

    def _give_up(self, error: Exception) -> None:
        """End what still runs for this request."""
        self._request.drop()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.fail(error)

    def _answered(self) -> None:
        self.response_complete = True
        if (
            self._connection is not None
            or self._task is not None
            or self._request.state is not RequestState.SENT
        ):
            self._give_up(ClientGoneError("answered"))
        if not self._answer.keep_alive:
            self.client.end()
        self._close()
        self.client.on_response_complete()

    def _close(self) -> None:
        self._request.release()
        exchange, self._answer.exchange = self._answer.exchange, None
        if exchange is not None and self._service is not None:
            self._service.attribution.finish(exchange)
        if self._notify is not None:
            notify, self._notify = self._notify, None
            notify(self._answer.status)
