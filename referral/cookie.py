"""The visitor cookie: the visitor's id and touches, encrypted and authenticated.

AES-256-GCM (NIST SP 800-38D) under keys derived by HKDF (RFC 5869) from the settings' secrets; the site's
name is authenticated with it, so that a cookie of one shop is nothing at another. The value is base64url of

    version, key id (1 byte each), nonce (12), ciphertext of: length of the visitor id (1), the id,
    time of issue (4), touches and the first page view as deflated JSON

The id is not in the compressed part: next to text that a link can choose, its bytes could be guessed one by
one from the cookie's length (the CRIME attack).
"""

import json
import os
import re
import secrets
import struct
import zlib
from base64 import b32encode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from isal import isal_zlib

from .domains import CookieDomains
from .touches import Touch, earning_click
from .visitor import Page, Restored

NAME = b"clew_visitor"
MAX_AGE = 400 * 86400  # what browsers allow at most (RFC 6265bis §5.5)
LIMIT = 3072  # bytes of name, value and attributes together; browsers drop a cookie of more than 4096
READ_LIMIT = 4096  # maximum bytes of a value that is read
PAGE_URL, PAGE_TITLE = 200, 80  # characters of a page view's URL and title in the cookie
COPIES = 8  # cookies of this name in one request that are read
TOUCHES_LIMIT = 64 * 1024  # bytes of touches when decompressed

_SESSION = b"; Path=/; HttpOnly; SameSite=Lax"
_LASTING = b"; Max-Age=%d" % MAX_AGE + _SESSION
# Among the packed items; a rule's name has no space.
_AGREED, _NECESSARY, _INVITED = "agreed", "necessary", "invited "
_VERSION = 1
_NONCE, _TAG = 12, 16
_DEFLATE_ERROR = cast("type[Exception]", isal_zlib.error)  # an instance by isal's stubs
_OURS = re.compile(rb"(?:^|;)[ \t]*" + NAME + rb"=([^;]*)")
_VALUE = re.compile(rb"[A-Za-z0-9_-]+")
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")
# Common parts of touches, for compression. Part of version 1: any change makes issued cookies unreadable.
_DICTIONARY = (
    b'"utm_id""utm_term""utm_content""utm_campaign""utm_medium":"cpc","affiliate","email""utm_source":"google"'
    b"msclkid=wbraid=gbraid=gclid=fbclid=&utm_term=&utm_content=&utm_campaign=&utm_medium=&utm_source="
    b'"r":"https://www.google.com/","l":"/?[["google_ads","gclid","[["awin","awc",",null]]'
    b'[{"t":17,"c":[["","","]],"u":{"},"r":"https://www.","l":"/"},{"t":18'
)


@dataclass(slots=True)
class Known:
    """The content of a cookie: the visitor's id, its touches, and when it was first issued (unix seconds).

    `page` is the page view with which it was issued, if any: a visitor is stored only when its cookie has
    come back. `invited` is the rule whose invite that page view got. `agreed`: it was issued to a visitor who
    was asked for consent and gave it. `necessary`: it was issued without, and all its touches are clicks that
    their networks count as strictly necessary. At a site that asks, any other cookie serves the chat alone.
    `stale`: the cookie was encrypted with a previous secret, and must be set again before that secret is
    removed.
    """

    visitor: str
    touches: tuple[Touch, ...]
    issued: int
    page: Page | None = None
    agreed: bool = False
    necessary: bool = False
    stale: bool = field(default=False, compare=False)
    invited: str = ""

    @property
    def restored(self) -> Restored:
        """What it has to tell the store."""
        return Restored(self.touches, self.page, self.invited)


def new_visitor_id() -> str:
    """A random id of 128 bits: 26 characters of base32 in lower case."""
    return b32encode(secrets.token_bytes(16)).decode("ascii").rstrip("=").lower()


class VisitorCookie:
    """Writes the cookie under the newest secret, reads it under that and the previous ones.

    `domains` tells the Domain attribute for each host.
    """

    def __init__(self, secret: str, previous: Sequence[str], site_name: str, domains: CookieDomains) -> None:
        keys = [_key(s) for s in (secret, *previous)]
        self._id, self._cipher = keys[0]
        self.rotated = len(keys) > 1
        self._ciphers: dict[int, list[AESGCM]] = {}
        for key_id, cipher in keys:
            self._ciphers.setdefault(key_id, []).append(cipher)
        self._bound = NAME + bytes((0, _VERSION)) + site_name.encode("utf-8")
        self._domains = domains

    def read(self, cookie_headers: Sequence[bytes]) -> Known | None:
        """The visitor in raw Cookie headers, or None.

        Of several cookies (one of the host and one of the domain) the one with the latest touch counts.
        """
        values = [value.strip() for header in cookie_headers for value in _OURS.findall(header)]
        if len(values) == 1:
            return self.open(values[0])
        found = [known for value in values[:COPIES] if (known := self.open(value)) is not None]
        return max(found, key=lambda k: (max((t.at for t in k.touches), default=0), k.issued), default=None)

    def open(self, value: bytes | str) -> Known | None:
        """The content of a value; None if it is not clew's, belongs to another site, or is damaged."""
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        if len(raw) > READ_LIMIT or not _VALUE.fullmatch(raw) or len(raw) % 4 == 1:
            return None
        sealed = a2b_base64(raw.translate(_FROM_URLSAFE) + b"==")  # more padding than needed is ignored
        if len(sealed) < 2 + _NONCE + _TAG or sealed[0] != _VERSION:
            return None
        for cipher in self._ciphers.get(sealed[1], ()):
            try:
                plain = cipher.decrypt(sealed[2 : 2 + _NONCE], sealed[2 + _NONCE :], self._bound)
            except InvalidTag:
                continue
            known = unpack(plain)
            stale = cipher is not self._cipher
            return replace(known, stale=True) if known is not None and stale else known
        return None

    def unset_cookie(self, secure: bool, host: str = "") -> bytes:
        """The value of a Set-Cookie header that deletes the cookie."""
        return NAME + b"=" + self._with_domain(b"; Max-Age=0; Path=/; HttpOnly; SameSite=Lax", secure, host)

    def _with_domain(self, attributes: bytes, secure: bool, host: str) -> bytes:
        domain = self._domains.of(host)
        attributes += b"; Domain=" + domain.encode("ascii") if domain else b""
        return attributes + (b"; Secure" if secure else b"")

    def set_cookie(self, known: Known, secure: bool, host: str = "", *, session: bool = False) -> bytes:
        """The value of a Set-Cookie header, at most 3 KB, for a response from `host`. `session`: it lasts
        until the browser is closed.

        If not everything fits, the page view is left out first, then the oldest touches without a partner's
        click, then the oldest with one. The newest with one stays, if necessary with only the earning click.
        """
        attributes = self._with_domain(_SESSION if session else _LASTING, secure, host)
        packed = pack(known, (LIMIT - len(NAME) - 1 - len(attributes)) // 4 * 3 - (2 + _NONCE + _TAG))
        nonce = os.urandom(_NONCE)
        sealed = bytes((_VERSION, self._id)) + nonce + self._cipher.encrypt(nonce, packed, self._bound)
        return NAME + b"=" + urlsafe_b64encode(sealed).rstrip(b"=") + attributes


@lru_cache(maxsize=16)
def _key(secret: str) -> tuple[int, AESGCM]:
    """The key derived from a secret, and a key id of one byte that reveals nothing of it."""
    derived = HKDF(SHA256(), 33, salt=None, info=b"clew visitor cookie").derive(secret.encode("utf-8"))
    return derived[32], AESGCM(derived[:32])


def pack(known: Known, room: int) -> bytes:
    """What is known as bytes, to be encrypted. If it does not fit into `room`, parts of it are left out; see
    `VisitorCookie.set_cookie`."""
    touches = sorted(known.touches, key=lambda t: t.at)
    packed = _packed(known, touches, known.page)
    if len(packed) > room:
        packed = _packed(known, touches, None)
    while len(packed) > room and touches:
        touches = _fewer(touches)
        packed = _packed(known, touches, None)
    return packed


def _packed(known: Known, touches: list[Touch], page: Page | None) -> bytes:
    visitor = known.visitor.encode("ascii")
    items: list[object] = [t.to_json() for t in touches]
    if page is not None:
        items.append([page.view, int(page.at), page.url[:PAGE_URL], page.title[:PAGE_TITLE]])
        if known.invited:
            items.append(f"{_INVITED}{known.invited}")
    if known.agreed:
        items.append(_AGREED)
    if known.necessary:
        items.append(_NECESSARY)
    text = json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_DICTIONARY)
    # Click ids have bytes outside UTF-8 as surrogate escapes, which are written as these bytes.
    deflated = packer.compress(text.encode("utf-8", "surrogateescape")) + packer.flush()
    return struct.pack(">B", len(visitor)) + visitor + struct.pack(">I", known.issued) + deflated


def unpack(plain: bytes) -> Known | None:
    """The reverse of `pack`; None if it is damaged."""
    try:
        end = 1 + plain[0]
        visitor = plain[1:end].decode("ascii")
        issued = int.from_bytes(plain[end : end + 4], "big")
        items = _items(isal_zlib.decompressobj(-15, _DICTIONARY).decompress(plain[end + 4 :], TOUCHES_LIMIT))
        touches = tuple([item for item in items if type(item) is Touch])
        if len(touches) == len(items):
            return Known(visitor, touches, issued)
        pages = [Page(*item) for item in items if type(item) is list]
        page = pages[0] if pages else None
        told = (item for item in items if isinstance(item, str) and item.startswith(_INVITED))
        agreed, necessary = _AGREED in items, _NECESSARY in items
        return Known(
            visitor, touches, issued, page, agreed, necessary, invited=next(told, "").removeprefix(_INVITED)
        )
    except (IndexError, TypeError, ValueError, msgspec.ValidationError, _DEFLATE_ERROR):
        return None


_Item = Touch | list[Any] | str
_decode = msgspec.json.Decoder(list[_Item]).decode


def _items(text: bytes) -> list[_Item]:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Click ids may have bytes outside UTF-8.
        return msgspec.convert(json.loads(text.decode("utf-8", "surrogateescape")), list[_Item])


def _fewer(touches: list[Touch]) -> list[Touch]:
    """The touches without the one that is left out first, or reduced to the earning click."""
    idle = next((t for t in touches if earning_click(t) is None), None)
    if idle is not None or len(touches) > 1:
        gone = idle or touches[0]
        return [t for t in touches if t is not gone]
    touch = touches[0]
    bare = Touch(touch.at, touch.clicks)
    if bare != touch:
        return [bare]
    click = earning_click(touch)
    return [Touch(touch.at, (click,))] if click is not None and touch.clicks != (click,) else []
