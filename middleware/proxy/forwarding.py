"""The heads of forwarded requests and responses. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...injector.heads import Headers, without
from ...service.origin import is_host
from ..exchange.hostrewrite import HostRewrite
from ..exchange.origin import Networks, Origin, forwarded_headers, is_trusted
from ..http.faults import LastHopError, LoopError, RequestError
from ..http.pages import ALLOW

__all__ = ["ALLOW", "REFUSED_METHODS", "Forwarding"]

_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
# A length that fits into 63 bits; a longer one would overflow in some shops.
_LENGTH_DIGITS = 18
# TRACE would show cookies to a page's scripts (XST); CONNECT would open a tunnel.
REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
# Our name in CDN-Loop (RFC 8586). A few clews in a row make sense (a host's, a shop's own); after four of
# them a request is in a loop. Via would say the same, but many servers do not compress where it is set.
PSEUDONYM = b"clew"
MOST_PASSES = 3

_LOOKED_AT = frozenset({b"cdn-loop", b"content-length", b"max-forwards", b"transfer-encoding", b"via"})
_ONCE = frozenset({b"cookie", b"host"})
_CDN_LOOP = (b"cdn-loop", PSEUDONYM)


class Forwarding:
    """The rules for one shop. `authority` is the Host of requests that have none; `trusted` are the networks
    of trusted proxies; `rewrite` is for a shop with another Host than the client's; `via` is the name to add
    to Via, empty for none.

    The target is `raw_path`, `?` and `query_string`; headers keep their bytes, order and duplicates (see
    `forwarded_headers` for what is removed and added); Host stays the client's.
    """

    def __init__(
        self,
        authority: bytes,
        trusted: Networks = (),
        rewrite: HostRewrite | None = None,
        via: str = "",
    ) -> None:
        self._authority = authority
        self._trusted = tuple(trusted)
        self._rewrite = rewrite
        self._via = via.encode("ascii")

    def request(self, scope: Mapping[str, Any], headers: Headers, origin: Origin) -> tuple[bytes, Headers]:
        """The target and the headers for the shop; `headers` are the request's own. Raises RequestError."""
        raw: bytes | None = scope.get("raw_path")
        method = scope.get("method")
        # raw_path is optional in ASGI; `path` alone does not preserve the client's bytes (%2F, %2e).
        if raw is None or not (raw.startswith(b"/") or (raw == b"*" and method == "OPTIONS")):
            raise RequestError("the target is not a path")
        version: str = scope["http_version"]
        if version not in _VERSIONS:
            raise RequestError("the HTTP version is unknown")
        fields = dict(headers)
        found: dict[bytes, list[bytes]] = {}
        # Fast path: most requests have no field twice, and none that needs checks.
        if len(fields) < len(headers) or not _LOOKED_AT.isdisjoint(fields):
            for name, value in headers:
                if name in _LOOKED_AT or name in _ONCE:
                    found.setdefault(name, []).append(value)
            _check_framing(found, version, body=method is not None)
            self._check_loop(found)
        hosts = found.get(b"host") or ([fields[b"host"]] if b"host" in fields else [])
        if len(hosts) != 1 and (hosts or version == "1.1"):
            raise RequestError(f"{len(hosts)} Host headers")
        if hosts and not is_host(hosts[0]):
            raise RequestError("the Host header contains characters that are not valid in a host")
        query: bytes = scope["query_string"]
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = forwarded_headers(headers, origin, is_trusted(peer, self._trusted), peer)
        if not hosts:
            forwarded.insert(0, (b"host", self._authority))
        if method == "OPTIONS" and b"max-forwards" in found:
            forwarded = _one_hop_less(forwarded, found[b"max-forwards"])
        if not version.startswith("1.") and len(found.get(b"cookie", ())) > 1:
            forwarded = _joined_cookies(forwarded, found[b"cookie"])
        if self._rewrite is not None:
            forwarded = self._rewrite.request(forwarded, origin)
        forwarded.append(_CDN_LOOP)
        if self._via:
            forwarded.append((b"via", b"%b %b" % (version.encode("latin-1"), self._via)))
        return (b"%b?%b" % (raw, query) if query else raw), forwarded

    def response(self, status: int, headers: Headers, origin: Origin) -> Headers:
        """The headers for the client. Alt-Svc is dropped: browsers would bypass clew (RFC 7838)."""
        for name, _ in headers:
            if name == b"alt-svc":
                headers = without(headers, b"alt-svc")
                break
        if self._rewrite is not None:
            headers = self._rewrite.response(headers, origin)
        # The server would wait for a body of that length, and these have none (RFC 9110 §8.6).
        return without(headers, b"content-length") if status in (204, 304) else headers

    def _check_loop(self, found: Mapping[bytes, list[bytes]]) -> None:
        passes = 0
        for element in _elements(found.get(b"cdn-loop", ())):
            passes += element.partition(b";")[0].strip(b" \t") == PSEUDONYM
        if passes > MOST_PASSES:
            raise LoopError(f"this request has passed through a clew {passes} times")
        if self._via:
            passes = sum(element.split()[1:2] == [self._via] for element in _elements(found.get(b"via", ())))
            if passes > MOST_PASSES:
                raise LoopError(f"this request has passed through {self._via!r} {passes} times")


def _elements(values: Sequence[bytes]) -> list[bytes]:
    return b",".join(values).split(b",") if values else []


def _check_framing(found: Mapping[bytes, list[bytes]], version: str, *, body: bool) -> None:
    """RFC 9112 §6: at most one field may say where the body ends. Strict servers refuse anything else by
    themselves, lenient ones do not. A WebSocket's handshake (no `body`) has no body at all."""
    lengths, codings = found.get(b"content-length", []), found.get(b"transfer-encoding", [])
    if not lengths and not codings:
        return
    if codings and (lengths or version != "1.1"):
        raise RequestError("the body has a transfer coding and a length, or a transfer coding in HTTP/1.0")
    if codings and [coding.strip(b" \t").lower() for coding in codings] != [b"chunked"]:
        raise RequestError("the transfer coding is not chunked alone")
    if lengths and (len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS):
        raise RequestError("Content-Length is not a single number")
    if not body and (codings or lengths[0].strip(b"0")):
        raise RequestError("the WebSocket handshake has a body")


def _one_hop_less(headers: Headers, values: Sequence[bytes]) -> Headers:
    """Count Max-Forwards down (RFC 9110 §7.6.2). A value that is not a number is passed on."""
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > 9:
        return headers
    left = int(values[0])
    if left == 0:
        raise LastHopError("Max-Forwards: 0")
    less = b"%d" % (left - 1)
    return [(name, less if name == b"max-forwards" else value) for name, value in headers]


def _joined_cookies(headers: Headers, crumbs: Sequence[bytes]) -> Headers:
    """HTTP/2 clients send one field for each cookie, HTTP/1.1 has one for all (RFC 9113 §8.2.3)."""
    place = next(n for n, (name, _) in enumerate(headers) if name == b"cookie")
    joined = without(headers, b"cookie")
    joined.insert(place, (b"cookie", b"; ".join(crumbs)))
    return joined
