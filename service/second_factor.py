"""Codes of authenticators (TOTP, RFC 6238) and recovery codes: how they are made, encrypted and compared."""

import hmac
import os
import secrets
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import pyotp
import segno
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..settings.model import Settings

PERIOD: Final = 30
DRIFT: Final = 1
"""Steps of 30 seconds by which a phone's clock may be off."""

RECOVERY_CODES: Final = 10
_NONCE = 12
_ISSUER = "clew"


class FactorCipher:
    """Encrypts the secrets of authenticators for the ledger: who reads its file makes no codes by it. They
    stay readable with `previous_secrets`."""

    def __init__(self, settings: Settings) -> None:
        keys = [settings.secret, *settings.previous_secrets]
        self._ciphers = [
            AESGCM(HKDF(SHA256(), 32, None, b"clew second factor").derive(key.get_secret_value().encode()))
            for key in keys
        ]

    def seal(self, secret: str, agent: str) -> str:
        """The secret as the ledger keeps it, for this agent alone."""
        nonce = os.urandom(_NONCE)
        return urlsafe_b64encode(
            nonce + self._ciphers[0].encrypt(nonce, secret.encode(), agent.encode())
        ).decode()

    def open(self, sealed: str, agent: str) -> str | None:
        """The secret; None if it was encrypted under another secret of the settings, or for another agent."""
        try:
            data = urlsafe_b64decode(sealed)
        except ValueError:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(data[:_NONCE], data[_NONCE:], agent.encode()).decode()
            except (InvalidTag, ValueError):
                continue
        return None


def new_secret() -> str:
    """A new secret for an authenticator, in base 32."""
    return pyotp.random_base32()


def right_step(secret: str, code: str, now: float) -> int | None:
    """The step of time for which the code is right, of the present one and those beside it; None for none."""
    code = "".join(code.split())
    if not (code.isascii() and code.isdigit() and len(code) == 6):
        return None
    totp, present = pyotp.TOTP(secret), int(now // PERIOD)
    steps = range(present - DRIFT, present + DRIFT + 1)
    equal = [step for step in steps if hmac.compare_digest(totp.at(step * PERIOD), code)]
    # Two steps have the same code once in a million: the later one, or the code would be good for two logins.
    return max(equal, default=None)


def picture(secret: str, agent: str, where: str) -> str:
    """A QR code of the secret for authenticators, as a data: address of an SVG image, black on white."""
    address = pyotp.TOTP(secret).provisioning_uri(name=f"{agent}@{where}", issuer_name=_ISSUER)
    return segno.make(address, error="m").svg_data_uri(scale=4, border=4, light="#fff")


def new_recovery_codes() -> Sequence[str]:
    """New recovery codes, of 80 bits each."""
    made = (b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES))
    return ["-".join(code[i : i + 4] for i in range(0, 16, 4)) for code in made]


def digest(code: str, agent: str) -> str:
    """What the ledger keeps of an agent's recovery code, however it was typed."""
    plain = "".join(char for char in code.lower() if char.isalnum())[:64]
    return sha256(f"{agent}\0{plain}".encode("utf-8", "surrogatepass")).hexdigest()
