"""What is known of mitmproxy's flows between its hooks."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy import http

from ..exchange.exchange import Exchange
from .addresses import Addresses


@dataclass
class FlowState:
    """One flow. `started` is on the monotonic clock; `addresses` is None where the shop keeps its own."""

    started: float
    addresses: Addresses | None
    ticket: bytes = b""  # of a request for one of our own pages
    exchange: Exchange | None = None  # of a response that has to be fed to it
    location: bytes = b""


# By flow, for as long as mitmproxy holds it.
Flows = WeakKeyDictionary[http.HTTPFlow, FlowState]
