"""A visitor as it is stored: its bytes, the same in every store, and how long they are kept."""

import json

import msgspec
from isal import isal_zlib

from ..referral.visitor import Visitor

# How long a visitor is kept after the last sign of life: one whom a partner sent, who talked or who ordered;
# another who looked around; and one of a single page view.
KEEP_SECONDS = 400 * 86400
KEEP_VISITOR_SECONDS = 30 * 86400
KEEP_PASSER_BY_SECONDS = 2 * 86400
# The time of expiry has an index, which costs as much to write as the record: it is moved once an hour.
EXPIRY_STEP = 3600.0
# Of ISA-L's deflate. The next one, as that of zlib, takes three times as long, and saves one byte in three.
LEVEL = 0
# What most visitors have in common. Changing a byte makes what is stored unreadable.
_DICTIONARY = (
    b'"dismissals":"dismissed":["accepted":["cart":{"value":"currency":"EUR","items":"1"}"ordered_at":17'
    b'"talked_at":17","language":"en-GB","visits":1,"visit_at":17,"talk":[0,false,[]]}'
    b'"cart_on":["order_seen_at":17"shopped_at":17"seen":["","k":"","d":"inside"}'
    b'"touches":[{"t":17,"c":[["google_ads","gclid","["awin","awc","",null]],"u":{"utm_campaign":"utm_medium":"'
    b'utm_source":""},"r":"https://www.google.com/","l":"/?"}],"trail":[["",17,"https://www.","]],["'
    b'{"id":"","first_at":17"seen_at":17"visits":1,"visit_at":17"pages":'
)


def keep_seconds(visitor: Visitor) -> float:
    """How long a visitor is kept from now on."""
    for touch in visitor.touches:
        for click in touch.clicks:
            if click.partner:
                return KEEP_SECONDS
    if visitor.forgotten or visitor.talked_at or visitor.ordered_at or (visitor.talk and visitor.talk.last):
        return KEEP_SECONDS
    return KEEP_PASSER_BY_SECONDS if visitor.visits <= 1 and visitor.pages <= 1 else KEEP_VISITOR_SECONDS


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Visitor).decode


def packed(visitor: Visitor) -> bytes:
    """A visitor as it is stored."""
    try:
        text = _encode(visitor)
    except UnicodeEncodeError:
        # Click ids may hold surrogates, which UTF-8 has no place for.
        plain = json.dumps(visitor.to_json(), ensure_ascii=False, separators=(",", ":"))
        text = plain.encode("utf-8", "surrogatepass")
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -15, zdict=_DICTIONARY)
    return packer.compress(text) + packer.flush()


def unpacked(data: bytes) -> Visitor:
    """The reverse of `packed`. What it does not know is left out, so that an older clew can read on."""
    text = isal_zlib.decompressobj(-15, _DICTIONARY).decompress(data)
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(json.loads(text.decode("utf-8", "surrogatepass")), Visitor)
