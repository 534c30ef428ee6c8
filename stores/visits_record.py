"""A visitor as it is stored: its bytes, the same in every store, and how long they are kept."""

import json
import zlib

import msgspec

from ..referral.visitor import Visitor

# How long a visitor is kept after the last sign of life: one whom a partner sent, who talked or who ordered;
# another who looked around; and one of a single page view.
KEEP_SECONDS = 400 * 86400
KEEP_VISITOR_SECONDS = 30 * 86400
KEEP_PASSER_BY_SECONDS = 2 * 86400
# Of deflate. The higher ones take half as long again, and save one byte in twenty.
LEVEL = 1
# What most visitors have in common. Changing a byte makes what is stored unreadable.
_DICTIONARY = (
    b'"dismissals":"dismissed":["accepted":["cart":{"value":"currency":"EUR","items":"1"}"ordered_at":17'
    b'"talked_at":17","language":"en-GB","visits":1,"visit_at":17,"talk":[0,false,[]]}'
    b'"touches":[{"at":17,"clicks":[{"network":"google_ads","param":"gclid","value":"awin","awc","partner":null}],'
    b'"campaign":{"utm_source":"utm_medium":"utm_campaign":"},"referrer":"https://www.google.com/","landing":"/?'
    b'","doubt":""}],"seen":["{"id":"","first_at":17"seen_at":17"pages":"trail":[["",17,"https://www.","]],["'
)


def keep_seconds(visitor: Visitor) -> float:
    """How long a visitor is kept from now on."""
    if visitor.forgotten:
        return KEEP_SECONDS
    sent = any(click.partner for touch in visitor.touches for click in touch.clicks)
    if sent or visitor.talked_at or visitor.ordered_at or (visitor.talk and visitor.talk.last):
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
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -15, zdict=_DICTIONARY)
    return packer.compress(text) + packer.flush()


def unpacked(data: bytes) -> Visitor:
    """The reverse of `packed`. What it does not know is left out, so that an older clew can read on."""
    text = zlib.decompressobj(-15, _DICTIONARY).decompress(data)
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(json.loads(text.decode("utf-8", "surrogatepass")), Visitor)
