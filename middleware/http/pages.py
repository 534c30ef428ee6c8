"""Short error pages of clew: they reveal nothing of the request or the shop, and are not cached."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache

from ...injector.heads import Header, Headers
from .faults import BusyError, LastHopError, RequestError, TooManyError, UpstreamError

RETRY_AFTER_SECONDS = 5

ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

_TEXTS: Mapping[int, bytes] = {
    200: b"",
    400: b"This request cannot be forwarded.\n",
    404: b"There is nothing at this address.\n",
    405: b"This method is not allowed here.\n",
    408: b"The request took too long to arrive.\n",
    421: b"There is no shop of this name here.\n",
    429: b"Too many uploads or connections at once. Please try again in a little while.\n",
    502: b"The shop does not answer at the moment. Please try again in a little while.\n",
    503: b"The shop is very busy at the moment. Please try again in a little while.\n",
    504: b"The shop takes too long to answer. Please try again in a little while.\n",
    508: b"This request loops between proxies.\n",
}


def date() -> Header:
    """The Date field of clew's own responses (RFC 9110 §6.6.1). Those of the shop keep the shop's."""
    return _date(int(time.monotonic()))


@lru_cache(maxsize=1)
def _date(second: int) -> Header:
    """Computed once a second: it takes as long as a small response."""
    return b"date", formatdate(usegmt=True).encode("ascii")


def closing(start: bytes) -> bytes:
    """A response without a body, after which the connection closes; `start` is its status line, and more
    fields if there are any."""
    return b"%bdate: %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % (start, date()[1])


def page(status: int, *more: tuple[bytes, bytes]) -> tuple[int, Headers, bytes]:
    """Status, headers and body; plain text, so that nothing edits it as a page."""
    text = _TEXTS[status]
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *more,
    ]
    return status, headers, text


def failure(error: UpstreamError | RequestError) -> tuple[int, Headers, bytes]:
    """The page for a failure; with Retry-After where waiting helps (RFC 9110 §10.2.3)."""
    if isinstance(error, BusyError):
        return page(error.status, (b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    if isinstance(error, TooManyError):
        return page(error.status, (b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, LastHopError):
        return page(error.status, (b"allow", ALLOW))
    return page(error.status)
