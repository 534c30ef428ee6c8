"""The tag that is inserted into a page: a constant, small, same-origin script element in ASCII."""

import re

LIMIT = 150
"""Maximum length of the tag, in bytes.

Browsers look for `<meta charset>` in the first 1,024 bytes only (HTML §13.2.3.2). The tag stands before it,
so a page whose HTTP header names no charset could lose its own: 150 bytes push it out on 1.6 % of the pages
that declare it within these bytes, 1,000 bytes on all. Accepted: searching for the `<meta>` first would delay
the page and make the position depend on the page's content."""

NONCE_LIMIT = 58
"""Maximum length of a nonce, in bytes, for any prefix (32 bytes at most, see settings). SHA-384 in base64
has 64, but nonces in use are 16 to 32 random bytes: 22 to 44 characters."""

_NONCE = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")  # CSP3 §2.3.1, base64-value: safe within quotes

# Hints that stop other programs from delaying or re-running the script. A long nonce displaces the last one
# first. Cloudflare's Rocket Loader delays every script that is not marked; Turbo runs the scripts of a
# replaced body again, while this one stands in the head.
_HINTS = (b' data-cfasync="false"', b' data-turbo-eval="false"')


def tag(prefix: str, nonce: bytes | None = None) -> bytes:
    """The script element that loads `<prefix>l.js`, at most `LIMIT` bytes.

    `prefix` is the site's path in ASCII, with a slash at both ends. `nonce` is a value from the response's
    own policy. Where a nonce is long, the hints to other programs are left out. Raises ValueError if the tag
    is too long without them, or if the nonce does not match CSP3's grammar (it is copied from the response,
    so it is never trusted).
    """
    if nonce is not None and not _NONCE.fullmatch(nonce):
        raise ValueError(f"not a nonce (CSP3 §2.3.1): {nonce!r}")
    start = b'<script async src="%sl.js" data-clew="1"' % prefix.encode("ascii")
    end = (b' nonce="%s"' % nonce if nonce is not None else b"") + b"></script>"
    for kept in range(len(_HINTS), -1, -1):
        whole = start + b"".join(_HINTS[:kept]) + end
        if len(whole) <= LIMIT:
            return whole
    raise ValueError(
        f"the tag would have {len(whole)} bytes, at most {LIMIT} are allowed; "
        f"use a shorter prefix than {prefix!r}"
    )
