"""Keeps a landing's click through a redirect while the visitor has not chosen on consent yet.

Nothing may be stored then, so a click that the shop's redirect leaves out would be lost. It is put into the
fragment of the redirect's address. The browser keeps that with the address, sends it to no server, and takes
it along over further redirects (RFC 9110 §10.2.2). `decide` reads it like any landing with a fragment.
"""

from dataclasses import replace
from urllib.parse import quote_from_bytes, urlsplit

from ...injector.heads import RequestHead, ResponseHead, values
from ...service.site import SiteRuntime
from .caching import unshared
from .record import Record

REDIRECTS = frozenset({301, 302, 303, 307, 308})
LENGTH = 1024  # bytes of a fragment; more than that is no click id
# What may stand in a fragment (RFC 3986 §3.5), with what separates the parameters; a `?` would begin another
# query in the addresses of single-page applications.
_SAFE = "!$&'()*+,-./:;=@_~%"


def carried(site: SiteRuntime, head: RequestHead) -> bytes:
    """The parameters of a landing that tell where it came from, as a fragment; empty if they are too long."""
    pairs = site.landing.given(head.path, head.query, b"")
    text = "&".join(f"{quote_from_bytes(n, _SAFE)}={quote_from_bytes(v, _SAFE)}" for n, v in pairs)
    return text.encode("ascii") if len(text) <= LENGTH else b""


def keep_click(record: Record, head: ResponseHead) -> ResponseHead:
    """The response with the landing's parameters in its Location, if it leads to a page of the shop's own
    without them. A Location with a fragment of its own is the shop's."""
    request = record.request_head
    if not record.carried or request is None or head.status not in REDIRECTS:
        return head
    locations = values(head.headers, b"location")
    if len(locations) != 1 or b"#" in locations[0] or not _loses(record, request, locations[0]):
        return head
    location = b"%b#%b" % (locations[0], record.carried)
    headers = [(n, location if n == b"location" else v) for n, v in head.headers]
    return replace(head, headers=unshared(headers))


def _loses(record: Record, request: RequestHead, location: bytes) -> bool:
    try:
        parts = urlsplit(location.decode("latin-1"))
    except ValueError:
        return False
    if parts.scheme not in ("", "http", "https") or (parts.scheme and not parts.netloc):
        return False
    own = record.site.landing
    if parts.netloc and not own.is_own(parts.netloc, request.host):
        return False
    kept = own.given(parts.path.encode("latin-1"), parts.query.encode("latin-1"), b"")
    return not set(own.given(request.path, request.query, b"")) <= set(kept)
