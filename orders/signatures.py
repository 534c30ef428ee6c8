"""Checks the signatures of webhooks."""

import base64
import binascii
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .sources_schema import Signature

HEADER_LENGTH: Final = 4096  # characters of a signature header
CANDIDATES: Final = 10  # signatures in one header: several secrets are in use while one is replaced


class SignatureError(ValueError):
    """A delivery is not signed as it should be; the text says what is wrong."""


def check_signature(
    signature: Signature, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float
) -> None:
    """Raise SignatureError unless `body` is signed with one of the secrets.

    The names of `headers` are in lower case. `now` is in unix seconds.
    """
    given = headers.get(signature.header.lower(), "")
    if not given:
        raise SignatureError(f"the header {signature.header} is missing")
    if len(given) > HEADER_LENGTH:
        raise SignatureError(f"the header {signature.header} is too long")
    if signature.scheme == "jws" and given.count(".") == 2:
        _check_jws(secrets, given, body)
        return
    signed, candidates, at = _parts(signature, given, headers, body)
    if at is not None and not (at.isascii() and at.isdigit() and len(at) < 12):
        raise SignatureError("its time is not in unix seconds")
    macs = {_decoded(text, signature.encoding) for text in candidates[:CANDIDATES]}
    keys = [_key(signature, secret) for secret in secrets]
    expected = [hmac.digest(key, signed, sha256) for key in keys]
    if not any(mac is not None and hmac.compare_digest(mac, own) for mac in macs for own in expected):
        raise SignatureError("the signature is wrong: is it the secret of this webhook?")
    # After the signature, so that only who knows the secret learns about our clock.
    if at is not None and abs(now - int(at)) > signature.tolerance:
        raise SignatureError(
            f"it was signed {abs(now - int(at)):.0f} seconds off our time; at most {signature.tolerance} are "
            "allowed: check both clocks"
        )


def _parts(
    signature: Signature, given: str, headers: Mapping[str, str], body: bytes
) -> tuple[bytes, list[str], str | None]:
    """The bytes that are signed, the signatures, and the time that is signed with them."""
    if signature.scheme == "stripe":
        # https://docs.stripe.com/webhooks#verify-manually
        pairs = [part.strip().partition("=") for part in given.split(",")]
        at = next((value for name, _, value in pairs if name == "t"), "")
        return f"{at}.".encode() + body, [value for name, _, value in pairs if name == "v1"], at
    if signature.scheme == "standard":
        # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        at, name = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
        found = [part.partition(",") for part in given.split()]
        return f"{name}.{at}.".encode() + body, [value for kind, _, value in found if kind == "v1"], at
    return body, [given], None


def _key(signature: Signature, secret: str) -> bytes:
    if signature.scheme == "standard" and secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass  # a secret of one's own that begins so
    return secret.encode("utf-8")


def _decoded(text: str, encoding: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _check_jws(secrets: Iterable[str], given: str, body: bytes) -> None:
    """A detached JWS (RFC 7515 appendix F) with RS256, its payload as it is (RFC 7797) or in base64url."""
    header, _, mac = given.split(".")
    try:
        fields = json.loads(_unpadded(header))
        signature = _unpadded(mac)
    except ValueError:
        raise SignatureError("the signature is no JWS") from None
    if not isinstance(fields, dict) or fields.get("alg") != "RS256":
        raise SignatureError("the signature is no JWS with RS256")
    plain = fields.get("b64") is False
    payload = body if plain else base64.urlsafe_b64encode(body).rstrip(b"=")
    for key in (key for secret in secrets for key in _public_keys(secret)):
        try:
            key.verify(signature, header.encode("ascii") + b"." + payload, PKCS1v15(), SHA256())
        except InvalidSignature:
            continue
        return
    raise SignatureError("the signature is wrong: is `secret` the content of the shop's jwks.json?")


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _public_keys(secret: str) -> Iterator[RSAPublicKey]:
    """The RSA keys in a JWK set (RFC 7517) or a PEM text; none in any other secret."""
    if secret.lstrip().startswith("-----BEGIN"):
        key = load_pem_public_key(secret.strip().encode("utf-8"))
        if isinstance(key, RSAPublicKey):
            yield key
        return
    try:
        data: Any = json.loads(secret)
    except ValueError:
        return
    keys = data.get("keys", [data]) if isinstance(data, dict) else []
    for one in keys:
        if isinstance(one, dict) and one.get("kty") == "RSA":
            numbers = [int.from_bytes(_unpadded(str(one[name])), "big") for name in ("e", "n")]
            yield RSAPublicNumbers(*numbers).public_key()
