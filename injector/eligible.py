"""Which responses may be edited, by the heads of request and response. All others pass unchanged.

Two functions, each of which returns None if the page may be edited, else the reason.
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
from .reasons import Reason

_METHODS: Final = frozenset(("GET", "HEAD", "POST"))  # the methods of navigations

# Sent by scripts that insert the response into a page themselves, by caches that assemble a page from parts
# (Edge Architecture Specification), and by clients that resume a download.
_PROGRAMS: Final = {
    b"hx-request": Reason.FETCH,
    b"range": Reason.RANGE,
    b"surrogate-capability": Reason.ESI,
    b"turbo-frame": Reason.FETCH,
    b"x-fetch": Reason.FETCH,
    b"x-pjax": Reason.FETCH,
}

_FRAMES: Final = frozenset((b"embed", b"fencedframe", b"frame", b"iframe", b"object"))
# Prefetching: Sec-Purpose is the standard; the others are older ones of Chrome, Firefox and Safari.
_PURPOSE: Final = frozenset((b"purpose", b"sec-purpose", b"x-moz", b"x-purpose"))
_AHEAD: Final = (b"prefetch", b"prerender", b"preview", b"instant")
_RARE: Final = _PURPOSE.union(_PROGRAMS, (b"upgrade", b"x-requested-with"))
_RELEVANT: Final = _RARE | {b"sec-fetch-dest"}

# In X-Requested-With, Android's WebView sends the name of its app, on navigations too: `com.example.app`.
_APP: Final = re.compile(rb"\s*[A-Za-z]\w*(?:\.\w+)+\s*")


def request_reason(head: RequestHead) -> Reason | None:
    """None if the response to this request would be shown as a top-level document, else why not.

    `Sec-Fetch-Dest` names the destination; without it (older browsers, plain http) the other headers and the
    content decide. A prefetched document is shown later, so it counts as a navigation (Sec-Purpose). A
    service worker that answers a navigation by fetching it sends an empty destination; it is recognized by
    its mode, which no other script can set (Fetch §5.4), or by Upgrade-Insecure-Requests (Upgrade Insecure
    Requests §3.2.1).
    """
    if head.method not in _METHODS:
        return Reason.METHOD
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
                return Reason.UPGRADE
        elif name in _PURPOSE:
            prefetch = prefetch or _names_prefetch(value)
        elif not _APP.fullmatch(value):
            return Reason.FETCH
    if destination == b"document" or (destination == b"empty" and (prefetch or _from_worker(head))):
        return None
    return Reason.FRAME if destination in _FRAMES else Reason.FETCH


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


def _disposition(value: bytes) -> Reason | None:
    # RFC 6266 §4.2: what is not inline is treated as an attachment.
    return None if value.split(b";", 1)[0].strip().lower() in (b"", b"inline") else Reason.DOWNLOAD


def _empty(value: bytes) -> Reason | None:
    return Reason.EMPTY if value.strip() == b"0" else None


def _always(reason: Reason) -> Callable[[bytes], Reason]:
    return lambda _: reason


# The body is in a file that a server in front sends, is part of another body, is signed (RFC 9421), or is a
# download. Digests do not prevent an edit: `rewrite` removes them.
_REFUSALS: Final[dict[bytes, Callable[[bytes], Reason | None]]] = {
    b"content-disposition": _disposition,
    b"content-length": _empty,
    b"content-range": _always(Reason.PARTIAL),
    b"signature": _always(Reason.SIGNED),
    b"signature-input": _always(Reason.SIGNED),
    b"x-accel-redirect": _always(Reason.SENDFILE),
    b"x-lighttpd-send-file": _always(Reason.SENDFILE),
    b"x-litespeed-location": _always(Reason.SENDFILE),
    b"x-reproxy-file": _always(Reason.SENDFILE),
    b"x-reproxy-url": _always(Reason.SENDFILE),
    b"x-sendfile": _always(Reason.SENDFILE),
}
_DECIDING: Final = frozenset(_REFUSALS).union(
    (b"cache-control", b"content-encoding", b"content-type", b"transfer-encoding")
)


def response_reason(request: RequestHead, response: ResponseHead) -> Reason | None:
    """None if the body may be edited if it is a page; else why not.

    `csp.evaluate` checks the policies of the response, and `request_reason` the request.
    """
    if response.status not in _STATUS:
        return Reason.STATUS
    headers = response.headers
    kinds, untransformed = 0, False
    for name, value in headers:
        if name not in _DECIDING:
            continue
        if name == b"content-type":
            kinds += 1
            if kinds > 1 or (reason := _kind_reason(value)):
                return Reason.CONTENT_TYPE if kinds > 1 else reason
        elif name in _REFUSALS:
            reason = _REFUSALS[name](value)
            if reason and not (reason == Reason.EMPTY and request.method == "HEAD"):
                return reason
        elif name == b"cache-control":
            if b"no-transform" in value.lower() and b"no-transform" in tokens(headers, name):
                untransformed = True
        elif name == b"content-encoding":
            if coding_of(headers) is None:
                return Reason.CODING
        elif any(coding != b"chunked" for coding in tokens(headers, name)):
            return Reason.CODING
    if not kinds:
        return Reason.CONTENT_TYPE
    # RFC 9110 §7.7, a MUST NOT. Checked last, because the shop's owner may allow it (`ignore_no_transform`).
    return Reason.NO_TRANSFORM if untransformed else None


@lru_cache(maxsize=64)
def _kind_reason(content_type: bytes) -> Reason | None:
    if not _TEXT_HTML.fullmatch(content_type):
        return Reason.CONTENT_TYPE
    charset = _CHARSET.search(content_type)
    return Reason.CHARSET if charset and _NOT_ASCII.fullmatch(charset[1]) else None
