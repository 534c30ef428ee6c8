"""What the shop gets of a request, and the client of an answer, besides the bodies. No I/O."""

import re
from collections.abc import Mapping
from typing import Any

from ..injector.heads import Headers, without
from .faults import RequestError
from .origin import Networks, Origin, forwarded_headers, is_trusted

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]{1,261}")
# TRACE shows a page's script the cookies it must not see (XST); CONNECT would make a tunnel of us.
REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class Forwarding:
    """The rules for one shop. `authority` is the Host of requests that have none; `trusted` are the networks
    of proxies whose word on the client counts.

    The target goes out as `raw_path`, `?` and `query_string`; headers keep their bytes, order and duplicates
    (see `forwarded_headers` for what is taken out and added); Host stays the client's.
    """

    def __init__(self, authority: bytes, trusted: Networks = ()) -> None:
        self._authority = authority
        self._trusted = tuple(trusted)

    def request(self, scope: Mapping[str, Any], headers: Headers, origin: Origin) -> tuple[bytes, Headers]:
        """The target and the headers for the shop; `headers` are the request's own. Raises RequestError."""
        raw: bytes | None = scope.get("raw_path")
        # ASGI makes raw_path optional; from `path` alone the client's bytes cannot be told (%2F, %2e).
        if raw is None or not (raw.startswith(b"/") or (raw == b"*" and scope.get("method") == "OPTIONS")):
            raise RequestError("the target is no path")
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 and (hosts or scope["http_version"] == "1.1"):
            raise RequestError(f"{len(hosts)} Host headers")
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise RequestError("a Host header with characters that no host has")
        query: bytes = scope["query_string"]
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = forwarded_headers(headers, origin, is_trusted(peer, self._trusted), peer)
        if not hosts:
            forwarded.insert(0, (b"host", self._authority))
        return (b"%b?%b" % (raw, query) if query else raw), forwarded

    def response(self, status: int, headers: Headers, origin: Origin) -> Headers:
        """The headers for the client. Alt-Svc is dropped: it would lead browsers past us (RFC 7838)."""
        for name, _ in headers:
            if name == b"alt-svc":
                headers = without(headers, b"alt-svc")
                break
        # A server takes Content-Length as a promise of a body, which these have not (RFC 9110 §8.6).
        return without(headers, b"content-length") if status in (204, 304) else headers
