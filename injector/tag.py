"""The one tag that goes into a page: a constant, small, same-origin script element in ASCII."""

import re

LIMIT = 150
"""Longest tag, in bytes.

Browsers look for `<meta charset>` in the first 1,024 bytes only (HTML §13.2.3.2). The tag stands before it,
so a page whose HTTP header names no charset could lose its own: 150 bytes push it out on 1.6 % of the pages
that declare it within these bytes, 1,000 bytes on all. Accepted, since the other way, looking on for the
`<meta>` first, would hold the page back and make the place depend on what the page holds."""

NONCE_LIMIT = 58
"""Longest nonce that fits, in bytes, whatever the prefix (32 bytes at most, see settings). SHA-384 in base64
has 64, but nonces in the wild are of 16 to 32 random bytes, 22 to 44 characters."""

_NONCE = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")  # CSP3 §2.3.1, base64-value: safe within quotes

# What keeps others from treating the script their way, in the order in which it gives way to a long nonce:
# Turbo re-runs scripts of a swapped body, ours stands in the head; Cloudflare's Rocket Loader delays whatever
# is not marked.
_HINTS = (b' data-cfasync="false"', b' data-turbo-eval="false"')


def tag(prefix: str, nonce: bytes | None = None) -> bytes:
    """The script element that loads `<prefix>l.js`, at most `LIMIT` bytes.

    `prefix` is the site's path of ASCII characters with a slash at both ends; `nonce` a value that the
    response's own policy names. A long nonce costs the hints to other programs first. Raises ValueError where
    even that does not suffice, or where the nonce is none by CSP3's grammar: nothing that a response says is
    ever copied unchecked.
    """
    if nonce is not None and not _NONCE.fullmatch(nonce):
        raise ValueError(f"not a nonce by CSP3 §2.3.1: {nonce!r}")
    start = b'<script async src="%sl.js" data-clew="1"' % prefix.encode("ascii")
    end = (b' nonce="%s"' % nonce if nonce is not None else b"") + b"></script>"
    for kept in range(len(_HINTS), -1, -1):
        whole = start + b"".join(_HINTS[:kept]) + end
        if len(whole) <= LIMIT:
            return whole
    raise ValueError(
        f"the tag would take {len(whole)} bytes, {LIMIT} is the most; use a shorter prefix than {prefix!r}"
    )
