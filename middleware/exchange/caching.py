"""Keeps responses for one visitor out of shared caches."""

from collections.abc import Sequence
from dataclasses import replace

from ...injector.heads import Headers, ResponseHead, tokens, without

# Headers that control a CDN's cache and override Cache-Control (RFC 9213 §2.2), besides all whose name ends
# in "cdn-cache-control".
CDN_FIELDS = frozenset({b"surrogate-control", b"x-accel-expires", b"edge-control"})
# Directives of Cache-Control for shared caches only.
_SHARED = (b"public", b"s-maxage", b"proxy-revalidate")


def unshared(headers: Headers) -> Headers:
    """The headers of a response for one visitor: no shared cache may store it (RFC 9111 §5.2.2)."""
    headers = [h for h in headers if h[0] not in CDN_FIELDS and not h[0].endswith(b"cdn-cache-control")]
    directives = tokens(headers, b"cache-control")
    if b"no-store" in directives or b"private" in directives:
        return headers
    kept = [d for d in directives if not d.startswith(_SHARED)]
    rest = without(headers, b"cache-control", b"expires") if not kept else without(headers, b"cache-control")
    return [*rest, (b"cache-control", b", ".join([b"private", *kept]))]


def with_cookies(head: ResponseHead, cookies: Sequence[bytes]) -> ResponseHead:
    """The head with clew's cookies after the shop's. With cookies the response is for this visitor only."""
    if not cookies:
        return head
    return replace(head, headers=[*unshared(head.headers), *((b"set-cookie", cookie) for cookie in cookies)])
