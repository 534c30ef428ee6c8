"""The token with which a visitor goes on to another host of the shop, such as that of its checkout.

Cookies stay on their host, so the browser brings the visitor along in the query of the link or form. The
token is what the visitor's cookie has, with its consent, encrypted (AES-256-GCM) under a key derived by HKDF
(RFC 5869) from the settings' secrets, or from `checkout_secret`. Its host, and without `checkout_secret` its
site, are authenticated with it. The value is base64url of

    version, key id (1 byte each), nonce (12), ciphertext of: end of its time (4), length of the host on which
    it was made (1), that host, the content as in the cookie

It counts for some minutes, once (the nonce names it), and only if the browser says that it comes from a page
of the host on which it was made. A token that somebody else puts into a link therefore joins nobody to
another visitor: the browser that follows it names another page, or none.
"""

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..settings.hosts import host_key
from ..settings.model import Site
from .cookie import Known, pack, unpack

PARAM: Final = b"clew_handover"
LIFETIME: Final = 300
"""Seconds for which a token counts."""
LONGEST: Final = 1400  # characters of a token: more would make addresses that some servers refuse
_VERSION: Final = 1
_NONCE, _TAG = 12, 16
_GIVEN: Final = re.compile(rb"(?:^|&)" + PARAM + rb"=([A-Za-z0-9_-]{1,2000})(?=&|$)")


@dataclass(frozen=True, slots=True)
class Handover:
    """What a token brings. `use` names the token, which counts until `until` (unix seconds)."""

    known: Known
    use: str
    until: int


class HandoverError(ValueError):
    """A token does not count; `why` is "invalid", "expired" or "elsewhere"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Handovers:
    """Makes the tokens of one site, and reads those that come to it."""

    def __init__(self, site: Site, secret: str, previous: Sequence[str]) -> None:
        self.hosts = tuple(dict.fromkeys(host_key(host) for host in site.checkout_hosts))
        shared = site.checkout_secret
        secrets = (secret, *previous) if shared is None else (shared.get_secret_value(),)
        self._keys = [_key(one) for one in secrets] if self.hosts or shared is not None else []
        self._bound = b"clew handover 1\0" + (b"" if shared is not None else site.name.encode("utf-8"))

    def leads_to(self, host: str, from_host: str) -> bool:
        """Whether a link from a page of one host to another one gets a token."""
        return host_key(host) in self.hosts and host_key(host) != host_key(from_host)

    def token(self, known: Known, from_host: str, host: str, now: float) -> str:
        """The token for one way from a host to another."""
        key_id, cipher = self._keys[0]
        source = host_key(from_host).encode("ascii", "replace")
        head = (int(now) + LIFETIME).to_bytes(4, "big") + bytes((len(source),)) + source
        room = LONGEST // 4 * 3 - (2 + _NONCE + _TAG) - len(head)
        plain = head + pack(replace(known, page=None), room)
        nonce = os.urandom(_NONCE)
        sealed = bytes((_VERSION, key_id)) + nonce + cipher.encrypt(nonce, plain, self._for(host))
        return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    def read(self, query: bytes, host: str, referrer: bytes, now: float) -> Handover | None:
        """The token in a raw query, at a request for this host; None if there is none.

        Raises HandoverError if it does not count.
        """
        if not self._keys or PARAM not in query:
            return None
        found = _GIVEN.findall(query)
        if not found:
            return None
        raw = urlsafe_b64decode(found[-1] + b"=" * (-len(found[-1]) % 4)) if len(found[-1]) % 4 != 1 else b""
        plain = self._opened(raw, host)
        if plain is None or len(plain) < 5:
            raise HandoverError("invalid")
        until, end = int.from_bytes(plain[:4], "big"), 5 + plain[4]
        source, known = plain[5:end].decode("ascii", "replace"), unpack(plain[end:])
        if known is None:
            raise HandoverError("invalid")
        if not now <= until:
            raise HandoverError("expired")
        if _host_of(referrer) != source:
            raise HandoverError("elsewhere")
        return Handover(known, urlsafe_b64encode(raw[2 : 2 + _NONCE]).decode("ascii"), until)

    def _opened(self, raw: bytes, host: str) -> bytes | None:
        if len(raw) < 2 + _NONCE + _TAG or raw[0] != _VERSION:
            return None
        for key_id, cipher in self._keys:
            if key_id == raw[1]:
                try:
                    return cipher.decrypt(raw[2 : 2 + _NONCE], raw[2 + _NONCE :], self._for(host))
                except InvalidTag:
                    continue
        return None

    def _for(self, host: str) -> bytes:
        return self._bound + b"\0" + host_key(host).encode("ascii", "replace")


def _host_of(referrer: bytes) -> str:
    try:
        return host_key(urlsplit(referrer[:4096].decode("latin-1")).netloc.rpartition("@")[2])
    except ValueError:
        return ""


def _key(secret: str) -> tuple[int, AESGCM]:
    derived = HKDF(SHA256(), 33, None, b"clew handover").derive(secret.encode("utf-8"))
    return derived[32], AESGCM(derived[:32])
