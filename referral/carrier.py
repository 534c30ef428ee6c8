"""clew's token that the shop keeps with the cart and the order: it names the visitor, and nobody else can
read or make it.

AES-SIV (RFC 5297) under keys derived by HKDF (RFC 5869) from the settings' secrets; the site's name is
authenticated with it. It is deterministic: a visitor has the same token on all its pages, so that a cart
needs it once. It has only letters, digits, `-` and `_`, and at most 200 characters, as Stripe's
client_reference_id.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

import re2  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NAME: Final = "clew"
"""The name of the cart attribute or field that holds the token."""

HEADER: Final = b"x-clew-referral"
TEXT_READ: Final = 4096  # characters of a text in which a token is looked for
_TOKEN: Final = re2.compile(r"clw1_([A-Za-z0-9_-]{24,120})")


class Carrier:
    """Makes and reads the tokens of one site."""

    def __init__(self, secret: str, previous: Sequence[str], site: str) -> None:
        self._ciphers = [AESSIV(_key(one)) for one in (secret, *previous)]
        self._bound = [b"clew carrier 1", site.encode("utf-8")]

    def token(self, visitor: str) -> str:
        """The token of a visitor's id."""
        sealed = self._ciphers[0].encrypt(visitor.encode("utf-8"), self._bound)
        return "clw1_" + urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, text: str) -> str | None:
        """The visitor's id by a text that contains a token; None if it has none of this site."""
        found = _TOKEN.search(text[:TEXT_READ])
        if found is None:
            return None
        body = found.group(1)
        if len(body) % 4 == 1:
            return None
        sealed = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed, self._bound).decode("utf-8")
            except InvalidTag:
                continue
        return None


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), 64, None, b"clew carrier").derive(secret.encode("utf-8"))
