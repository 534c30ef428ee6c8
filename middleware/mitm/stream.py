"""mitmproxy's HTTP stream, with the response's head held until the exchange releases it.

mitmproxy sends a response's head before the first byte of the body arrives, while the exchange needs the
first bytes to know whether the page can be edited. Hooks cannot hold a head. So the hook that chooses a
connection's layers replaces the stream, with the states overridden that forward a response.
"""

from collections.abc import Callable, Generator
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import http
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpLayer,
    HttpStream,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
)

from ...injector.heads import Headers, ResponseHead
from ..exchange.exchange import Exchange, Out

Commands = Generator[Any, Any, None]


class Relay:
    """One response between mitmproxy and the exchange.

    `write_head` puts a released head into the flow. `broken` is called when a response is aborted.
    """

    def __init__(
        self,
        exchange: Exchange,
        write_head: Callable[[ResponseHead], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self.exchange = exchange
        self.broken = broken
        self.holding = False
        self._write_head = write_head

    def head(self, status: int, headers: Headers) -> None:
        """The shop's head, names in lower case."""
        out = self.exchange.response(ResponseHead(status, headers))
        self.holding = True
        self._release(out)

    def body(self, chunk: bytes) -> bytes:
        """The bytes to send now. A head that is released is put into the flow. Raises the errors of
        `Exchange.body`."""
        return self._release(self.exchange.body(chunk))

    def end(self) -> bytes:
        """The bytes left to send. Raises the errors of `Exchange.end`."""
        return self._release(self.exchange.end())

    def _release(self, out: Out) -> bytes:
        if out.head is not None:
            self._write_head(out.head)
            self.holding = False
        return out.data


# By flow, as long as mitmproxy holds the flow.
Relays = WeakKeyDictionary[http.HTTPFlow, Relay]


class Stream(HttpStream):  # type: ignore[misc]
    """A stream whose response goes through the flow's relay if there is one."""

    def __init__(self, context: Any, stream_id: int, relays: Relays) -> None:
        super().__init__(context, stream_id)
        self._relays = relays
        self._uploads = False

    def start_request_stream(self) -> Commands:
        """The client's head has arrived, and a body follows."""
        self._uploads = True
        yield from super().start_request_stream()

    def make_server_connection(self) -> Generator[Any, Any, bool]:
        """Connect; returns whether that succeeded. A body without a length that came over HTTP/2 must be
        chunked in HTTP/1.1; mitmproxy itself sends it without any framing."""
        connected: bool = yield from super().make_server_connection()
        request = self.flow.request
        downgraded = request.is_http2 and self.context.server.alpn != b"h2"
        if self._uploads and downgraded and "content-length" not in request.headers:
            request.headers["transfer-encoding"] = "chunked"
        return connected

    def start_response_stream(self) -> Commands:
        """The shop's head has arrived, and a body follows."""
        relay = self._relays.get(self.flow)
        if relay is None or not relay.holding:
            yield from super().start_response_stream()
        else:
            self.server_state = self.state_stream_response_body

    def state_stream_response_body(self, event: Any) -> Commands:
        """A part of the body, or its end."""
        relay = self._relays.get(self.flow)
        if relay is None or isinstance(event, ResponseTrailers):
            yield from super().state_stream_response_body(event)
            return
        ended = isinstance(event, ResponseEndOfMessage)
        held = relay.holding
        try:
            data = relay.end() if ended else relay.body(event.data)
        except Exception as error:
            yield from self._break_off(relay, error, complete=ended)
            return
        if held and not relay.holding:
            head = ResponseHeaders(self.stream_id, self.flow.response, end_stream=False)
            yield SendHttp(head, self.context.client)
        if data:
            # An empty chunk would end the message.
            yield SendHttp(ResponseData(self.stream_id, data), self.context.client)
        if ended:
            yield from self.send_response(already_streamed=True)

    def send_response(self, already_streamed: bool = False) -> Commands:
        """The response is complete. If it was not streamed (no body, or made by another addon), its whole
        body is here."""
        relay = self._relays.get(self.flow)
        if relay is not None and not already_streamed:
            content = self.flow.response.data.content or b""
            try:
                self.flow.response.data.content = (relay.body(content) if content else b"") + relay.end()
            except Exception as error:
                yield from self._break_off(relay, error, complete=True)
                return
        yield from super().send_response(already_streamed)

    def _break_off(self, relay: Relay, error: Exception, *, complete: bool) -> Commands:
        """Close the client's side at once, so that it sees an incomplete message, and the shop's side too if
        its message is not `complete`."""
        message, code = f"response aborted: {error}", status_codes.NO_RESPONSE
        yield SendHttp(ResponseProtocolError(self.stream_id, message, code), self.context.client)
        if not complete:
            yield SendHttp(RequestProtocolError(self.stream_id, message, code), self.context.server)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        relay.broken(error)
        yield DropStream(self.stream_id)


def take_over(layers: list[Any], relays: Relays) -> None:
    """Make the HTTP layers among a connection's layers create `Stream` objects."""

    def make_stream(layer: Any, stream_id: int) -> Commands:
        layer.streams[stream_id] = Stream(layer.context.fork(), stream_id, relays)
        yield from layer.event_to_child(layer.streams[stream_id], events.Start())

    for layer in layers:
        if isinstance(layer, HttpLayer):
            layer.make_stream = MethodType(make_stream, layer)
