"""Entity tags of edited pages: marked on the way out, mapped back on the way in (RFC 9110 §8.8 and §13.1).

An edited page is another representation than the shop's, so it goes out under a tag of its own, weak, which
ends in the site's mark: `"abc"` becomes `W/"abc-clew-<mark>"`, and `W/"abc"` becomes `W/"abc-clewW-<mark>"`,
so that the shop gets back byte for byte what it sent. The mark stands for all that the edit depends on (the
tag's text and version).

On the way in only a tag with the current mark may lead to a 304: whoever holds a copy that was edited
otherwise, or not at all, gets the page anew. A date never may, since edited pages go out without
Last-Modified: what a date names is a copy without the tag.
"""

import re
from typing import Final

from .heads import Headers

_SUFFIX: Final = {b"": b"-clew-", b"W/": b"-clewW-"}
_ENTITY_TAG = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_MARKED = re.compile(rb"(.*)-clew(W?)-([0-9A-Za-z]+)")
_DROPPED: Final = frozenset((b"if-modified-since", b"range", b"if-range"))
CONDITIONS: Final = _DROPPED | {b"if-none-match", b"if-match"}
"""The fields that `forward_conditionals` looks at."""


def mark_etag(headers: Headers, mark: bytes) -> Headers:
    """The headers of an edited page, or of the 304 that confirms one, with the entity tag weakened and
    marked.

    `mark` is of ASCII letters and digits. A value that is no entity tag could not be mapped back and is left
    out.
    """
    marked: Headers = []
    for name, value in headers:
        if name != b"etag":
            marked.append((name, value))
        elif tag := marked_tag(value, mark):
            marked.append((name, tag))
    return marked


def marked_tag(value: bytes, mark: bytes) -> bytes | None:
    """One entity tag, weakened and marked; None for what is none."""
    tag = _ENTITY_TAG.fullmatch(value.strip())
    return tag and b'W/"%s%s%s"' % (tag[2], _SUFFIX[tag[1] or b""], mark)


def forward_conditionals(headers: Headers, mark: bytes) -> Headers:
    """The headers of a navigation as the shop should see them.

    `If-None-Match` keeps `*` and the tags that bear this mark, as the shop wrote them, and goes if none is
    left. `If-Match` has every tag of ours mapped back, whatever its mark, and keeps the others: a
    precondition must not turn into none. `If-Modified-Since`, `Range` and `If-Range` go.
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
    """The headers of a request that changes something, with tags of ours in `If-Match` mapped back, whatever
    their mark: who saves a page names it by the tag that it was read with. The same list where there is none.
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
    """The shop's own tag in one of ours, None if it is none of ours or bears another mark than the given
    one."""
    ours = _MARKED.fullmatch(tag[2])
    if ours is None or mark not in (None, ours[3]):
        return None
    return b'%s"%s"' % (b"W/" if ours[2] else b"", ours[1])
