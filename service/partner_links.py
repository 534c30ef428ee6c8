"""Links to a partner's pages: opaque, sealed with the settings' secret, valid for a time and a generation.

AES-SIV (RFC 5297) under a key derived by HKDF (RFC 5869); the site's name is authenticated with it, so that
a link of one site is nothing at another.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..settings.model import Settings

DAYS: Final = 30
"""How long a link is valid, if nobody says otherwise."""

MOST_DAYS: Final = 400
LONGEST: Final = 600
"""Characters of a token that is looked at."""


@dataclass(frozen=True, slots=True)
class PartnerLink:
    """What a link says: the partner, the generation of its links, and the end in unix seconds."""

    partner: str
    generation: int
    until: int


class Sealed:
    """Makes and reads the tokens of one site and `purpose`. It reads those that were made with a previous
    secret, too."""

    def __init__(self, purpose: str, settings: Settings, site: str) -> None:
        secrets = [settings.secret, *settings.previous_secrets]
        self._ciphers = [AESSIV(_key(one.get_secret_value(), purpose)) for one in secrets]
        self._bound = [f"{purpose} 1".encode(), site.encode("utf-8")]

    def token(self, said: Sequence[object]) -> str:
        """A token with these plain values: letters, digits, `-` and `_`."""
        text = json.dumps(said, separators=(",", ":"))
        sealed = self._ciphers[0].encrypt(text.encode("utf-8"), self._bound)
        return urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, token: str) -> list[Any] | None:
        """The values in a token; None if it was not made by this site's secret."""
        if len(token) > LONGEST or not token.isascii():
            return None
        try:
            sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        # Base64 leaves bits over at the end, and skips what is none: there is one way to write a token.
        if len(sealed) <= 16 or urlsafe_b64encode(sealed).decode("ascii").rstrip("=") != token:
            return None
        for cipher in self._ciphers:
            try:
                found: list[Any] = json.loads(cipher.decrypt(sealed, self._bound))
            except InvalidTag:
                continue
            return found
        return None


def _key(secret: str, purpose: str) -> bytes:
    return HKDF(SHA256(), 64, None, purpose.encode()).derive(secret.encode("utf-8"))


class PartnerLinks:
    """Makes and reads the links of one site."""

    def __init__(self, settings: Settings, site: str) -> None:
        self._sealed = Sealed("clew partner link", settings, site)

    def token(self, link: PartnerLink) -> str:
        """What the link's address has in it: letters, digits, `-` and `_`."""
        return self._sealed.token([link.partner, link.generation, link.until])

    def open(self, token: str) -> PartnerLink | None:
        """The link of a token; None if it was not made by this site's secret. Its end is not looked at."""
        said = self._sealed.open(token)
        return None if said is None else PartnerLink(*said)


def link_address(settings: Settings, site: str, token: str, base: str | None = None) -> str:
    """The address of a link; see `desk_address`."""
    return desk_address(settings, site, f"partner/enter?key={token}", base)


def desk_address(settings: Settings, site: str, below: str, base: str | None = None) -> str:
    """The address of a page of a site's desk. `base` is the scheme and host of the desk; else it is that of
    `desk_host`, or of the site's first host. Raises ValueError if the site has no host that can be
    written."""
    own = next(one for one in settings.sites if one.name == site)
    host = settings.desk_host or next((one for one in own.hosts if "*" not in one), None)
    if base is None and host is None:
        raise ValueError(
            f"site {site} has no host without a *: name the desk's address, https://shop.example"
        )
    if settings.desk_host is None:
        path = own.prefix.rstrip("/")
    else:
        path = "/-/clew" if len(settings.sites) == 1 else f"/-/clew/site/{site}"
    start = (base or f"{scheme_of(host or '')}://{host}").rstrip("/")
    return f"{start}{path}/desk/{below}"


def scheme_of(host: str) -> str:
    """The scheme of a host's addresses, as far as its name says: `http` on this machine, else `https`."""
    local = host.partition(":")[0] in ("localhost", "127.0.0.1") or host.startswith("[::1]")
    return "http" if local else "https"
