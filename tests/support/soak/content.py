"""What the shop sends and the visitors expect: bodies made from a request's token alone."""

import random
import string

BLOCK = "".join(random.Random(0).choices(string.ascii_letters + " \n", k=2**18)).encode()

# How often each kind of request is made; the shop does as the first part of the path says.
GOOD = {
    "page": 20,
    "packed": 9,
    "hinted": 3,
    "slow": 3,
    "closing": 6,
    "json": 12,
    "image": 8,
    "head": 4,
    "unmodified": 4,
    "upload": 8,
    "redirect": 4,
    "events": 2,
    "endless": 2,
    "wide": 2,
    "long": 2,
    "hostile": 1,
}
FAULTS = {
    "silent": 2,
    "reset": 2,
    "short": 2,
    "chunks": 2,
    "nonsense": 1,
    "heavy": 1,
    "truncated": 2,
    "damaged": 2,
    "refused": 2,
    "early": 2,
}
PAGES = frozenset({"page", "packed", "hinted", "slow", "closing", "long", "hostile"})
# What no parser of whole pages should be given: one tag with more attributes than anybody can compare.
HOSTILE = b"<p " + b"".join(b"%x " % number for number in range(80_000)) + b">1</p>"


def dice(token: str) -> random.Random:
    """The same choices for shop and visitor."""
    return random.Random(token)


def filler(token: str, most: int = 60_000) -> bytes:
    """Text of a random length."""
    rng = dice(token)
    start, size = rng.randrange(2**17), int(rng.random() ** 3 * most)
    return BLOCK[start : start + size]


def page(token: str) -> bytes:
    """A page that names its token at both ends."""
    name = token.encode()
    return b"<!doctype html><html><head><title>%b</title></head><body>%b<p>%b</body></html>" % (
        name,
        filler(token),
        name,
    )


def hostile(token: str) -> bytes:
    """A page that would hold up who parses it."""
    return page(token) + HOSTILE


def text(token: str) -> bytes:
    """Anything but a page."""
    return b'{"token": "%b", "text": "%b"}' % (token.encode(), filler(token))
