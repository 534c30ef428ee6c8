"""Entity tags of edited pages: marked in responses, restored in requests (RFC 9110 §8.8 and §13.1).

An edited page is a different representation from the shop's, so it is sent with a weak entity tag of its own
that ends in the site's mark: `"abc"` becomes `W/"abc-clew-<mark>"`, and `W/"abc"` becomes
`W/"abc-clewW-<mark>"`. From it the shop's own tag can be restored byte for byte. The mark identifies all that
the edit depends on (the tag's text and version).

In a request only a tag with the current mark may lead to a 304: a client whose copy was edited differently,
or not at all, gets the page again. A date never leads to a 304: edited pages are sent without Last-Modified,
so a date belongs to a copy without the tag.
"""

import re
from typing import Final

from .heads import Headers

_SUFFIX: Final = {b"": b"-clew-", b"W/": b"-clewW-"}
_ENTITY_TAG = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_MARKED = re.compile(rb"(.*)-clew(W?)-([0-9A-Za-z]+)")
_DROPPED: Final = frozenset((b"if-modified-since", b"range", b"if-range"))
CONDITIONS: Final = _DROPPED | {b"if-none-match", b"if-match"}
"""The headers that `forward_conditionals` changes."""


def mark_etag(headers: Headers, mark: bytes) -> Headers:
    """The headers of an edited page, or of the 304 that confirms one, with the entity tag made weak and
    marked.

    `mark` consists of ASCII letters and digits. A value that is not an entity tag is left out, because it
    could not be restored.
    """
    marked: Headers = []
    for name, value in headers:
        if name != b"etag":
            marked.append((name, value))
        elif tag := marked_tag(value, mark):
            marked.append((name, tag))
    return marked


def marked_tag(value: bytes, mark: bytes) -> bytes | None:
    """One entity tag, made weak and marked; None if `value` is not an entity tag."""
    tag = _ENTITY_TAG.fullmatch(value.strip())
    return tag and b'W/"%s%s%s"' % (tag[2], _SUFFIX[tag[1] or b""], mark)


def forward_conditionals(headers: Headers, mark: bytes) -> Headers:
    """The headers of a navigation as they are sent to the shop.

    `If-None-Match` keeps `*` and the tags with this mark, restored; it is removed if none is left.
    In `If-Match` every marked tag is restored, whatever its mark, and all others stay: a precondition must
    not disappear. `If-Modified-Since`, `Range` and `If-Range` are removed.
    """
    if CONDITIONS.isdisjoint([name for name, _ in headers]):
        return headers
    forwarded: Headers = []
    for name, value in headers:
        if name == b"if-none-match":
            fresh = _fresh(value, mark)
            if fresh:
                forwarded.append((name, fresh))
        elif name == b"if-match":
            forwarded.append((name, _restored(value)))
        elif name not in _DROPPED:
            forwarded.append((name, value))
    return forwarded


def restore_preconditions(headers: Headers) -> Headers:
    """The headers of a request that changes something, with marked tags in `If-Match` restored, whatever
    their mark: a client that saves a page sends the tag it received. The same list if there is none.
    """
    if not any(name == b"if-match" and b"-clew" in value for name, value in headers):
        return headers
    return [(name, _restored(value) if name == b"if-match" else value) for name, value in headers]


def _restored(value: bytes) -> bytes:
    return _ENTITY_TAG.sub(lambda tag: _unmarked(tag) or tag[0], value)


def _fresh(value: bytes, mark: bytes) -> bytes:
    if value.strip() == b"*":
        return value
    return b", ".join(tag for found in _ENTITY_TAG.finditer(value) if (tag := _unmarked(found, mark)))


def _unmarked(tag: re.Match[bytes], mark: bytes | None = None) -> bytes | None:
    """The shop's own tag in a marked one; None if the tag is not marked, or has another mark than `mark`."""
    marked = _MARKED.fullmatch(tag[2])
    if marked is None or mark not in (None, marked[3]):
        return None
    return b'%s"%s"' % (b"W/" if marked[2] else b"", marked[1])
