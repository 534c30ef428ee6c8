"""Heads of requests and responses as the exchange sees them: raw bytes, header pairs in order.

The two classes are not frozen, although nothing changes them: they are created for each request, and a frozen
dataclass takes seven times as long to create.
"""

from dataclasses import dataclass, field
from typing import Literal

Header = tuple[bytes, bytes]
Headers = list[Header]


@dataclass(slots=True)
class RequestHead:
    """The head of a request. Header names are lower case; `path` is raw, as received, without the query."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    scheme: Literal["http", "https"]
    host: str
    client: str | None
    host_forwarded: bool = False  # from X-Forwarded-Host, which is not part of a cache key
    _plain: dict[bytes, bytes] | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def plain(self) -> dict[bytes, bytes]:
        """The headers by name. Empty if a header occurs more than once."""
        if self._plain is None:
            fields = dict(self.headers)
            self._plain = fields if len(fields) == len(self.headers) else {}
        return self._plain


@dataclass(slots=True)
class ResponseHead:
    """The head of a response. Header names are lower case."""

    status: int
    headers: Headers


def value(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header, or None. `name` in lower case."""
    for key, found in headers:
        if key == name:
            return found
    return None


def values(headers: Headers, name: bytes) -> list[bytes]:
    """All values of a header, in order. `name` in lower case."""
    return [found for key, found in headers if key == name]


def tokens(headers: Headers, name: bytes) -> list[bytes]:
    """The comma-separated members of all values of a list header, lower case, trimmed (RFC 9110 §5.6.1)."""
    return [t for v in values(headers, name) for part in v.split(b",") if (t := part.strip().lower())]


def without(headers: Headers, *names: bytes) -> Headers:
    """The headers except those named in `names`."""
    return [pair for pair in headers if pair[0] not in names]
