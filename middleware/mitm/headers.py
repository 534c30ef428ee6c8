"""Converts headers between mitmproxy's messages and clew's lists."""

from mitmproxy import http

from ...injector.heads import Headers, tokens, value, without
from ...service.origin import Origin
from ..exchange.origin import forwarded_headers
from ..http.hops import HOP_BY_HOP, connection_options

_ENDS_HERE = HOP_BY_HOP - {b"transfer-encoding"}


def request_headers(request: http.Request) -> Headers:
    """The client's headers, names in lower case, with the target's authority as Host (RFC 9112 §3.2.2)."""
    headers = [(name.lower(), found) for name, found in request.headers.fields]
    authority = request.data.authority
    return [(b"host", authority), *without(headers, b"host")] if authority else headers


def write_request(request: http.Request, headers: Headers, *, as_path: bool) -> None:
    """Put the headers for the shop into the request. `as_path` is whether its target is sent as a path."""
    if request.is_http2:
        request.data.authority = value(headers, b"host") or b""
        headers = without(headers, b"host")
    elif as_path:
        request.data.authority = b""
    request.headers = http.Headers(headers)


def onward(headers: Headers, origin_seen: Origin, trusted: bool, peer: str | None) -> Headers:
    """The headers that the reverse proxy would send, and those that mitmproxy needs for framing."""
    kept = [pair for pair in headers if pair[0] in (b"transfer-encoding", b"expect")]
    if b"close" in tokens(headers, b"connection"):
        kept.append((b"connection", b"close"))
    if (value(headers, b"upgrade") or b"").lower() == b"websocket":
        kept += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    return [*forwarded_headers(headers, origin_seen, trusted, peer), *kept]


def end_to_end(headers: Headers) -> Headers:
    """A response's headers without hop-by-hop ones (RFC 9110 §7.6.1). Names may have any spelling."""
    connection = [found for name, found in headers if name.lower() == b"connection"]
    named = connection_options(connection)
    kept = [(name, found) for name, found in headers if name.lower() not in _ENDS_HERE | named]
    if any(b"close" in found.lower() for found in connection):
        kept.append((b"connection", b"close"))
    return kept


def framed(headers: Headers, flow: http.HTTPFlow, *, sized: bool) -> Headers:
    """The headers, with chunked framing added if the shop's response showed where its body ends (`sized`) and
    these headers no longer do: its length has changed, or it came over HTTP/2."""
    status = flow.response.status_code
    bodiless = flow.request.method == "HEAD" or status < 200 or status in (204, 304)
    has_framing = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)
    if not sized or bodiless or has_framing or flow.request.http_version != "HTTP/1.1":
        return headers
    return [*headers, (b"transfer-encoding", b"chunked")]
