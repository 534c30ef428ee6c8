"""The head of an edited page: which of the shop's headers stay, change or are removed."""

import re
from typing import Final

from .codings import coding_of
from .heads import Headers, ResponseHead, tokens, values
from .validators import marked_tag

# Headers about the exact bytes of the shop's representation, which no longer hold for an edited page:
# RFC 9110 §8.8.2 and §14.3, RFC 9530 §2 and §3, RFC 3230 §4.3.2, RFC 1864.
_DROPPED: Final = frozenset(
    (
        b"accept-ranges",
        b"content-digest",
        b"content-md5",
        b"digest",
        b"last-modified",
        b"repr-digest",
    )
)

_UNCHANGED_BUT: Final = _DROPPED | {b"content-encoding", b"content-length", b"etag"}
_DIGITS: Final = 18  # what fits into 63 bits
_SHARED: Final = re.compile(rb"public|s-maxage=\"?0*[1-9].*")
_UNSHARED: Final = frozenset((b"private", b"no-store"))
_CDN: Final = (b"cdn-cache-control", b"surrogate-control")
_CACHING: Final = frozenset((b"cache-control", *_CDN))


def edited_head(response: ResponseHead, *, mark: bytes, coding_out: str, added: int | None) -> ResponseHead:
    """The head to send with an edited body, and for HEAD if the page would be edited.

    `coding_out` is the content coding of the body that is sent. `added` is the number of bytes added: if it
    is known and no coding is used on either side, Content-Length is increased by it; else Content-Length is
    removed. All other headers keep their order, spelling and duplicates.
    """
    names = dict(response.headers)
    in_play = coding_out != "identity" or (
        b"content-encoding" in names and coding_of(response.headers) != "identity"
    )
    exact = None if in_play or b"trailer" in names else added
    headers: Headers = []
    coded = False
    for pair in response.headers:
        name, value = pair
        if name in _UNCHANGED_BUT:
            if name in _DROPPED:
                continue
            if name == b"content-length":
                length = value.strip()
                if exact is None or len(length) > _DIGITS or not length.isdigit():
                    continue
                pair = (name, b"%d" % (int(length) + exact))
            elif name == b"etag":
                marked = marked_tag(value, mark)
                if marked is None:
                    continue
                pair = (name, marked)
            else:
                if coded or coding_out == "identity":
                    continue
                coded, pair = True, (name, coding_out.encode("ascii"))
        headers.append(pair)
    if coding_out != "identity" and not coded:
        headers.append((b"content-encoding", coding_out.encode("ascii")))
    cached = not _CACHING.isdisjoint(names)
    if in_play or cached:
        headers = _varied(headers, coded=in_play, shared=cached and _shared(headers))
    return ResponseHead(response.status, headers)


def _varied(headers: Headers, *, coded: bool, shared: bool) -> Headers:
    """The headers with Vary naming what the edit depended on (RFC 9110 §12.5.5).

    Accept-Encoding is added where a coding is used: a response without one suits every client. Sec-Fetch-Dest
    distinguishes a navigation from a script's fetch. It is added only where the shop allows shared caches to
    store the page: in a browser's own cache it would prevent the use of a prefetched page, and there a copy
    with the tag does no harm to a fetch.
    """
    wanted = [name for name, wants in ((b"Accept-Encoding", coded), (b"Sec-Fetch-Dest", shared)) if wants]
    named = tokens(headers, b"vary")
    missing = [name for name in wanted if name.lower() not in named]
    if not missing or b"*" in named:
        return headers
    for at in range(len(headers) - 1, -1, -1):
        if headers[at][0] == b"vary" and headers[at][1].strip():
            headers[at] = (b"vary", b", ".join((headers[at][1], *missing)))
            return headers
    return [*headers, (b"vary", b", ".join(missing))]


def _shared(headers: Headers) -> bool:
    directives = tokens(headers, b"cache-control")
    if not _UNSHARED.isdisjoint(directives):
        return False
    return any(_SHARED.fullmatch(directive) for directive in directives) or any(
        values(headers, n) for n in _CDN
    )
