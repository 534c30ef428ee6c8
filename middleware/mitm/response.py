"""Forwards a flow's response to the client, and records how the flow ended."""

from collections.abc import Callable

from mitmproxy import http

from ...injector.heads import Headers, ResponseHead
from ...service.service import Service
from ..exchange.exchange import Exchange
from .addresses import leaves_to, to_local
from .flows import Flows, FlowState
from .headers import end_to_end, framed
from .pages import OwnPages
from .stream import Relay, Relays
from .view import View


class Responses:
    """Feeds responses to their exchanges, and writes the resulting heads into the flows.

    `relays` are those of the streams. `failed` is called with a fault of clew's own; the response continues.
    """

    def __init__(
        self,
        service: Service,
        pages: OwnPages,
        flows: Flows,
        relays: Relays,
        view: View | None,
        failed: Callable[[Exception], None],
    ) -> None:
        self._service = service
        self._pages = pages
        self._flows = flows
        self._relays = relays
        self._view = view
        self._failed = failed

    def head(self, flow: http.HTTPFlow) -> None:
        """Take the shop's response head. It is sent now, or later by the stream."""
        state = self._flows.get(flow)
        if state is None or flow.response.status_code == 101:
            return
        fields: Headers = list(flow.response.headers.fields)
        state.location = flow.response.headers.get("location", "").encode("utf-8", "surrogateescape")
        try:
            if state.exchange is None:
                self._write_head(flow, state, ResponseHead(flow.response.status_code, fields))
            else:
                self._watch(flow, state, state.exchange)
        except Exception as error:
            self._relays.pop(flow, None)
            flow.response.headers = http.Headers(fields)
            self._failed(error)

    def close(self, flow: http.HTTPFlow, broken: str) -> None:
        """The flow has ended: count its outcome, once, and read the facts of its page. `broken` is the reason
        if it ended before it was complete, else empty."""
        state = self._flows.pop(flow, None)
        self._relays.pop(flow, None)
        if state is None:
            return
        if state.ticket:
            self._pages.forget(state.ticket)
        if state.exchange is not None:
            self._service.attribution.finish(state.exchange)
        if self._view is not None:
            seconds = self._service.clock.monotonic() - state.started
            _show(self._view, flow, state, seconds, broken)

    def _watch(self, flow: http.HTTPFlow, state: FlowState, exchange: Exchange) -> None:
        relay = Relay(
            exchange,
            lambda head: self._write_head(flow, state, head),
            lambda error: self.close(flow, str(error)),
        )
        headers = [(name.lower(), found) for name, found in flow.response.headers.fields]
        self._relays[flow] = relay
        relay.head(flow.response.status_code, end_to_end(headers))

    def _write_head(self, flow: http.HTTPFlow, state: FlowState, head: ResponseHead) -> None:
        """Put a head for the client into the flow."""
        headers = end_to_end(head.headers)
        if state.addresses is not None:
            try:
                headers = to_local(headers, state.addresses)
            except Exception as error:
                self._failed(error)
        sized = flow.response.is_http2 or "content-length" in flow.response.headers
        flow.response.status_code = head.status
        flow.response.headers = http.Headers(framed(headers, flow, sized=sized))


def _show(view: View, flow: http.HTTPFlow, state: FlowState, seconds: float, broken: str) -> None:
    if broken:
        view.broken(flow.request.method, flow.request.path, broken)
    elif state.exchange is not None:
        what, why = state.exchange.outcome
        view.answer(what, why, flow.request.method, flow.request.path, flow.response.status_code, seconds)
        away = leaves_to(state.location, state.addresses) if state.addresses and state.location else None
        if away:
            view.away(away.decode("latin-1"))
