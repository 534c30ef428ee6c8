"""The state of mitmproxy's flows between its hooks."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy import http

from ..exchange.exchange import Exchange
from .addresses import Addresses


@dataclass
class FlowState:
    """One flow. `started` is on the monotonic clock; `addresses` is None if the shop keeps its own."""

    started: float
    addresses: Addresses | None
    ticket: bytes = b""  # of a request for one of clew's own pages
    exchange: Exchange | None = None  # to which the response must be fed
    location: bytes = b""


# By flow, as long as mitmproxy holds the flow.
Flows = WeakKeyDictionary[http.HTTPFlow, FlowState]
