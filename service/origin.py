"""The client's address, and the scheme and host that the visitor uses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal

# RFC 3986 allows commas and quotes, but they would split X-Forwarded-Host, Forwarded and a policy.
LONGEST_HOST = 261  # a DNS name of 253 characters, a dot, a colon and a port
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


def is_host(value: bytes) -> bool:
    """Whether this is a valid Host header."""
    return len(value) <= LONGEST_HOST and _fits(value)


@lru_cache(maxsize=1024)
def _fits(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Origin:
    """`client` is None for a peer without an address (a unix socket). `host` is the Host header, or the
    X-Forwarded-Host of a trusted proxy. In that case `host_forwarded` is set, and no shared cache may store a
    response that depends on it, because the cache key contains only the Host header."""

    client: str | None
    scheme: Literal["http", "https"]
    host: str
    host_forwarded: bool = field(default=False, compare=False)


_PROXY_FIELDS = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


def is_this_machine(headers: Iterable[tuple[bytes, bytes]], client: str | None) -> bool:
    """Whether a request comes from this machine: its address is local, and it has no proxy's header, since
    behind a proxy every peer may look local."""
    if any(name.lower() in _PROXY_FIELDS for name, _ in headers):
        return False
    try:
        return ip_address(client or "").is_loopback
    except ValueError:
        return False
