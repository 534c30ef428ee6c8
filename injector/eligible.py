"""Which answers are pages that may be edited, by their heads. Everything else passes as the very same bytes.

Two questions, each answered with None for yes, or with a word or two that say why not. Whether the body then
is a page is decided by its first bytes, in `scanner`.

Nothing here depends on the visitor. It does depend on what kind of request it is, and a shared cache in front
of us may hand the answer of one kind to the other: a page with the tag to a fetch, where it is as good as
without, or one without it to a visitor, who then sees no chat until the copy expires (`rewrite` names the
field in Vary).
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from .codings import coding_of
from .heads import RequestHead, ResponseHead, tokens

_METHODS: Final = frozenset(("GET", "HEAD", "POST"))  # what a browser navigates with

# Sent by programs that put the answer into a page themselves, by caches that assemble one from parts (Edge
# Architecture Specification), and by whoever goes on with half a download.
_PROGRAMS: Final = {
    b"hx-request": "fetch",
    b"range": "range",
    b"surrogate-capability": "esi",
    b"turbo-frame": "fetch",
    b"x-fetch": "fetch",
    b"x-pjax": "fetch",
}

_FRAMES: Final = frozenset((b"embed", b"fencedframe", b"frame", b"iframe", b"object"))
# Fetched before anybody asked for it: Sec-Purpose is the standard's; older are Chrome's, Firefox's, Safari's.
_PURPOSE: Final = frozenset((b"purpose", b"sec-purpose", b"x-moz", b"x-purpose"))
_AHEAD: Final = (b"prefetch", b"prerender", b"preview", b"instant")
_SELDOM: Final = _PURPOSE.union(_PROGRAMS, (b"upgrade", b"x-requested-with"))
_TELLING: Final = _SELDOM | {b"sec-fetch-dest"}

# Android's WebView names the app that it belongs to, on navigations too: `com.example.app`.
_APP: Final = re.compile(rb"\s*[A-Za-z]\w*(?:\.\w+)+\s*")


def request_reason(head: RequestHead) -> str | None:
    """None where the answer to this request would be shown as a document of its own, else why it would not.

    `Sec-Fetch-Dest` tells where the browser sends it; without it (older browsers, plain http) the other
    fields and the content decide. A prefetch of a document is shown later, so it counts as a navigation
    (Sec-Purpose). A service worker that answers a navigation by fetching it asks with an empty destination:
    its mode tells, which no other script can set (Fetch §5.4), or that it is to be upgraded (Upgrade Insecure
    Requests §3.2.1).
    """
    if head.method not in _METHODS:
        return "method"
    if head.plain.get(b"sec-fetch-dest") == b"document" and _SELDOM.isdisjoint(head.plain):
        return None
    destination, prefetch = b"document", False
    for name, value in head.headers:
        if name not in _TELLING:
            continue
        if name == b"sec-fetch-dest":
            destination = value.strip().lower()
        elif name in _PROGRAMS:
            return _PROGRAMS[name]
        elif name == b"upgrade":
            # Any other protocol is not changed to, so the answer is the usual one (RFC 9110 §7.8).
            if value.strip().lower() == b"websocket":
                return "upgrade"
        elif name in _PURPOSE:
            prefetch = prefetch or _says_ahead(value)
        elif not _APP.fullmatch(value):
            return "fetch"
    if destination == b"document" or (destination == b"empty" and (prefetch or _from_worker(head))):
        return None
    return "frame" if destination in _FRAMES else "fetch"


def _says_ahead(value: bytes) -> bool:
    value = value.lower()
    return any(word in value for word in _AHEAD)


def _from_worker(head: RequestHead) -> bool:
    mode, upgrade, html = b"", b"", False
    for name, value in head.headers:
        if name == b"sec-fetch-mode":
            mode = value.strip().lower()
        elif name == b"upgrade-insecure-requests":
            upgrade = value.strip()
        elif name == b"accept":
            html = html or b"text/html" in value.lower()
    return mode == b"navigate" or (upgrade == b"1" and html)


def is_ahead(head: RequestHead) -> bool:
    """Whether a browser fetches a page before its user asks for it, and perhaps never will."""
    if head.plain and _PURPOSE.isdisjoint(head.plain):
        return False
    return any(name in _PURPOSE and _says_ahead(value) for name, value in head.headers)


def is_same_origin(head: RequestHead) -> bool:
    """Whether the browser says that a page of this very origin led here, by all redirects on the way. What a
    service worker fetches is always of its origin."""
    fields = head.plain or dict(head.headers)
    return fields.get(b"sec-fetch-site") == b"same-origin" and fields.get(b"sec-fetch-dest") == b"document"


def asks_for_page(head: RequestHead) -> bool:
    """Whether a request that `request_reason` let through says itself that it is for a page.

    Browsers tell so by `Sec-Fetch-Dest`, and all of them by `Accept`. On plain http the first is missing, and
    a script or a picture looks like a navigation: its validators, and the codings it takes, are its own.
    """
    if b"sec-fetch-dest" in head.plain:
        return True
    for name, value in head.headers:
        if name == b"sec-fetch-dest" or (name == b"accept" and b"text/html" in value.lower()):
            return True
    return False


# Those that mark the end of something: 401 and 407 belong to a dialogue of the browser's own, 5xx to somebody
# who has to look into it. What else is refused with a page (404 above all) may be talked about.
_STATUS: Final = frozenset((200, 201, 202, 203, *range(400, 500))) - {401, 407}

_TEXT_HTML: Final = re.compile(rb"\s*text/html\s*(?:;[^,]*)?", re.IGNORECASE)
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?\s*([^\s\";]+)", re.IGNORECASE)

# Charsets in which the bytes of "<" and ">" need not mean that, or do not stand for it alone: UTF-16 and its
# labels (Encoding §4.2), UTF-32, UTF-7, the ISO-2022 family and HZ, which switch sets in mid-text.
_NOT_ASCII: Final = re.compile(
    rb"(?:cs)?(?:utf-?(?:7|16|32)|unicode|ucs|iso-?10646-ucs|iso-?2022|hz|x-utf-(?:16|32)).*", re.IGNORECASE
)


def _disposition(value: bytes) -> str | None:
    # RFC 6266 §4.2: what is not inline is treated as an attachment.
    return None if value.split(b";", 1)[0].strip().lower() in (b"", b"inline") else "download"


def _empty(value: bytes) -> str | None:
    return "empty" if value.strip() == b"0" else None


def _says(reason: str) -> Callable[[bytes], str]:
    return lambda _: reason


# A body that is elsewhere, is part of another, is signed as it stands (RFC 9421), or is to be saved. Digests
# alone do not stand in the way: `rewrite` leaves them out.
_REFUSALS: Final[dict[bytes, Callable[[bytes], str | None]]] = {
    b"content-disposition": _disposition,
    b"content-length": _empty,
    b"content-range": _says("partial"),
    b"signature": _says("signed"),
    b"signature-input": _says("signed"),
    b"x-accel-redirect": _says("sendfile"),
    b"x-lighttpd-send-file": _says("sendfile"),
    b"x-litespeed-location": _says("sendfile"),
    b"x-reproxy-file": _says("sendfile"),
    b"x-reproxy-url": _says("sendfile"),
    b"x-sendfile": _says("sendfile"),
}
_DECIDING: Final = frozenset(_REFUSALS).union(
    (b"cache-control", b"content-encoding", b"content-type", b"transfer-encoding")
)


def response_reason(request: RequestHead, response: ResponseHead) -> str | None:
    """None where the body may be edited if it turns out to be a page, else why not.

    The policies of the response are judged apart (`csp.judge`), and `request_reason` speaks for the request.
    """
    if response.status not in _STATUS:
        return "status"
    headers = response.headers
    kinds, untransformed = 0, False
    for name, value in headers:
        if name not in _DECIDING:
            continue
        if name == b"content-type":
            kinds += 1
            if kinds > 1 or (reason := _kind_reason(value)):
                return "content type" if kinds > 1 else reason
        elif name in _REFUSALS:
            reason = _REFUSALS[name](value)
            if reason and not (reason == "empty" and request.method == "HEAD"):
                return reason
        elif name == b"cache-control":
            if b"no-transform" in value.lower() and b"no-transform" in tokens(headers, name):
                untransformed = True
        elif name == b"content-encoding":
            if coding_of(headers) is None:
                return "coding"
        elif any(coding != b"chunked" for coding in tokens(headers, name)):
            return "coding"
    if not kinds:
        return "content type"
    # RFC 9110 §7.7, a MUST NOT. It comes last: the owner of the shop may say that it is not meant for us.
    return "no-transform" if untransformed else None


@lru_cache(maxsize=64)
def _kind_reason(content_type: bytes) -> str | None:
    if not _TEXT_HTML.fullmatch(content_type):
        return "content type"
    charset = _CHARSET.search(content_type)
    return "charset" if charset and _NOT_ASCII.fullmatch(charset[1]) else None
