"""Which responses may be edited, by the heads of request and response. All others pass unchanged.

Two functions, each of which returns None if the page may be edited, else the reason in one or two words.
Whether the body is a page at all is decided by its first bytes, in `scanner`.

Nothing here depends on the visitor, but it depends on the kind of request. A shared cache in front of clew
may serve the response to one kind for the other: a page with the tag to a script's fetch, which does no harm,
or a page without the tag to a visitor, who then has no chat until the copy expires (`rewrite` therefore adds
the header to Vary).
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from .codings import coding_of
from .heads import RequestHead, ResponseHead, tokens

_METHODS: Final = frozenset(("GET", "HEAD", "POST"))  # the methods of navigations

# Sent by scripts that insert the response into a page themselves, by caches that assemble a page from parts
# (Edge Architecture Specification), and by clients that resume a download.
_PROGRAMS: Final = {
    b"hx-request": "fetch",
    b"range": "range",
    b"surrogate-capability": "esi",
    b"turbo-frame": "fetch",
    b"x-fetch": "fetch",
    b"x-pjax": "fetch",
}

_FRAMES: Final = frozenset((b"embed", b"fencedframe", b"frame", b"iframe", b"object"))
# Prefetching: Sec-Purpose is the standard; the others are older ones of Chrome, Firefox and Safari.
_PURPOSE: Final = frozenset((b"purpose", b"sec-purpose", b"x-moz", b"x-purpose"))
_AHEAD: Final = (b"prefetch", b"prerender", b"preview", b"instant")
_RARE: Final = _PURPOSE.union(_PROGRAMS, (b"upgrade", b"x-requested-with"))
_RELEVANT: Final = _RARE | {b"sec-fetch-dest"}

# In X-Requested-With, Android's WebView sends the name of its app, on navigations too: `com.example.app`.
_APP: Final = re.compile(rb"\s*[A-Za-z]\w*(?:\.\w+)+\s*")


def request_reason(head: RequestHead) -> str | None:
    """None if the response to this request would be shown as a top-level document, else why not.

    `Sec-Fetch-Dest` names the destination; without it (older browsers, plain http) the other headers and the
    content decide. A prefetched document is shown later, so it counts as a navigation (Sec-Purpose). A
    service worker that answers a navigation by fetching it sends an empty destination; it is recognized by
    its mode, which no other script can set (Fetch §5.4), or by Upgrade-Insecure-Requests (Upgrade Insecure
    Requests §3.2.1).
    """
    if head.method not in _METHODS:
        return "method"
    if head.plain.get(b"sec-fetch-dest") == b"document" and _RARE.isdisjoint(head.plain):
        return None
    destination, prefetch = b"document", False
    for name, value in head.headers:
        if name not in _RELEVANT:
            continue
        if name == b"sec-fetch-dest":
            destination = value.strip().lower()
        elif name in _PROGRAMS:
            return _PROGRAMS[name]
        elif name == b"upgrade":
            # clew upgrades to no other protocol, so the response is an ordinary one (RFC 9110 §7.8).
            if value.strip().lower() == b"websocket":
                return "upgrade"
        elif name in _PURPOSE:
            prefetch = prefetch or _names_prefetch(value)
        elif not _APP.fullmatch(value):
            return "fetch"
    if destination == b"document" or (destination == b"empty" and (prefetch or _from_worker(head))):
        return None
    return "frame" if destination in _FRAMES else "fetch"


def _names_prefetch(value: bytes) -> bool:
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


def is_prefetch(head: RequestHead) -> bool:
    """Whether a browser fetches a page before its user opens it; the user may never do so."""
    if head.plain and _PURPOSE.isdisjoint(head.plain):
        return False
    return any(name in _PURPOSE and _names_prefetch(value) for name, value in head.headers)


def is_same_origin(head: RequestHead) -> bool:
    """Whether the navigation came from a page of the same origin, and so did all redirects (Sec-Fetch-Site).
    Requests of a service worker do not count: they are always same-origin."""
    fields = head.plain or dict(head.headers)
    return fields.get(b"sec-fetch-site") == b"same-origin" and fields.get(b"sec-fetch-dest") == b"document"


def asks_for_page(head: RequestHead) -> bool:
    """Whether a request that passed `request_reason` names a page in its headers.

    All browsers send `Accept`, newer ones `Sec-Fetch-Dest` too. On plain http the latter is missing, and a
    request for a script or an image looks like a navigation: its validators and Accept-Encoding must not be
    changed.
    """
    if b"sec-fetch-dest" in head.plain:
        return True
    for name, value in head.headers:
        if name == b"sec-fetch-dest" or (name == b"accept" and b"text/html" in value.lower()):
            return True
    return False


# 401 and 407 belong to the browser's own login dialogue, and 5xx pages are for the shop's operator. On other
# error pages, above all 404, a chat helps.
_STATUS: Final = frozenset((200, 201, 202, 203, *range(400, 500))) - {401, 407}

_TEXT_HTML: Final = re.compile(rb"\s*text/html\s*(?:;[^,]*)?", re.IGNORECASE)
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?\s*([^\s\";]+)", re.IGNORECASE)

# Charsets in which the bytes of "<" and ">" may be part of other characters: UTF-16 and its labels
# (Encoding §4.2), UTF-32, UTF-7, and the ISO-2022 family and HZ, which switch character sets within the text.
_NOT_ASCII: Final = re.compile(
    rb"(?:cs)?(?:utf-?(?:7|16|32)|unicode|ucs|iso-?10646-ucs|iso-?2022|hz|x-utf-(?:16|32)).*", re.IGNORECASE
)


def _disposition(value: bytes) -> str | None:
    # RFC 6266 §4.2: what is not inline is treated as an attachment.
    return None if value.split(b";", 1)[0].strip().lower() in (b"", b"inline") else "download"


def _empty(value: bytes) -> str | None:
    return "empty" if value.strip() == b"0" else None


def _always(reason: str) -> Callable[[bytes], str]:
    return lambda _: reason


# The body is in a file that a server in front sends, is a part of another, is signed (RFC 9421), or is a
# download. Digests alone are no obstacle: `rewrite` removes them.
_REFUSALS: Final[dict[bytes, Callable[[bytes], str | None]]] = {
    b"content-disposition": _disposition,
    b"content-length": _empty,
    b"content-range": _always("partial"),
    b"signature": _always("signed"),
    b"signature-input": _always("signed"),
    b"x-accel-redirect": _always("sendfile"),
    b"x-lighttpd-send-file": _always("sendfile"),
    b"x-litespeed-location": _always("sendfile"),
    b"x-reproxy-file": _always("sendfile"),
    b"x-reproxy-url": _always("sendfile"),
    b"x-sendfile": _always("sendfile"),
}
_DECIDING: Final = frozenset(_REFUSALS).union(
    (b"cache-control", b"content-encoding", b"content-type", b"transfer-encoding")
)


def response_reason(request: RequestHead, response: ResponseHead) -> str | None:
    """None if the body may be edited, provided that it is a page; else why not.

    `csp.evaluate` checks the policies of the response, and `request_reason` the request.
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
    # RFC 9110 §7.7, a MUST NOT. Checked last, because the shop's owner may allow it (`ignore_no_transform`).
    return "no-transform" if untransformed else None


@lru_cache(maxsize=64)
def _kind_reason(content_type: bytes) -> str | None:
    if not _TEXT_HTML.fullmatch(content_type):
        return "content type"
    charset = _CHARSET.search(content_type)
    return "charset" if charset and _NOT_ASCII.fullmatch(charset[1]) else None
