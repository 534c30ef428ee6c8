"""Checks the signatures of webhooks."""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import re2  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from .sources_schema import Signature

HEADER_LENGTH: Final = 4096  # characters of a signature header
CANDIDATES: Final = 10  # signatures in one header: several secrets are in use while one is replaced

RSA_HASHES: Final[Mapping[str, HashAlgorithm]] = {"sha256": SHA256(), "sha512": SHA512()}
_PEM: Final = re.compile(
    r"-----BEGIN (?:RSA )?PUBLIC KEY-----([^-]{1,8192})-----END (?:RSA )?PUBLIC KEY-----"
)


class SignatureError(ValueError):
    """A delivery is not signed as it should be; the text says what is wrong."""


def check_signature(
    signature: Signature,
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    *,
    url: str = "",
    sent: str = "",
) -> None:
    """Raise SignatureError unless `body` is signed with one of the secrets.

    The names of `headers` are in lower case. `now` is in unix seconds. `url` is the address that was called;
    `sent` is the secret that came in the address, or in the body's field.
    """
    if sent and (signature.path or signature.field is not None):
        if not _is_one(sent, secrets):
            raise SignatureError("the secret that came with it is wrong")
        return
    given = headers.get(signature.header.lower(), "") if signature.header else ""
    if not given:
        where = f"the header {signature.header}" if signature.header else "the secret"
        raise SignatureError(f"{where} is missing")
    if len(given) > HEADER_LENGTH:
        raise SignatureError(f"the header {signature.header} is too long")
    if signature.scheme == "secret":
        if not _is_one(given, secrets):
            raise SignatureError(f"the secret in the header {signature.header} is wrong")
        return
    if signature.scheme == "jws" and given.count(".") == 2:
        _check_jws(secrets, given, body)
        return
    signed, candidates, at = _parts(signature, given, headers, body, url)
    signed_at = None if at is None else _seconds(at)
    macs = {_decoded(text, signature.encoding) for text in candidates[:CANDIDATES]} - {None}
    if not any(_is_signed(signature, secret, signed, macs) for secret in secrets):
        raise SignatureError("the signature is wrong: is it the secret of this webhook?")
    # After the signature, so that only who knows the secret learns about our clock.
    if signed_at is not None and abs(now - signed_at) > signature.tolerance:
        raise SignatureError(
            f"it was signed {abs(now - signed_at):.0f} seconds off our time; at most {signature.tolerance} "
            "are allowed: check both clocks"
        )


def _is_one(sent: str, secrets: Iterable[str]) -> bool:
    found = [hmac.compare_digest(sent.encode("utf-8", "replace"), secret.encode()) for secret in secrets]
    return any(found)


def _is_signed(signature: Signature, secret: str, signed: bytes, macs: Iterable[bytes | None]) -> bool:
    if signature.scheme == "rsa":
        keys = list(_public_keys(secret))
        return any(
            _verifies(key, mac, signed, RSA_HASHES[signature.hash]) for key in keys for mac in macs if mac
        )
    own = hmac.digest(_key(signature, secret), signed, signature.hash)
    return any(mac is not None and hmac.compare_digest(mac, own) for mac in macs)


def _parts(
    signature: Signature, given: str, headers: Mapping[str, str], body: bytes, url: str
) -> tuple[bytes, list[str], str | None]:
    """The bytes that are signed, the signatures, and the time that is signed with them."""
    if signature.scheme == "standard":
        # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        at, name = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
        found = [part.partition(",") for part in given.split()]
        return f"{name}.{at}.".encode() + body, [value for kind, _, value in found if kind == "v1"], at
    macs, time = [given], headers.get(signature.time.lower()) if signature.time else None
    if signature.form:
        matches = list(re2.compile(signature.form).finditer(given))
        macs = [match["mac"] for match in matches if match["mac"] is not None]
        if "(?P<time>" in signature.form:
            time = next((match["time"] for match in matches if match["time"] is not None), "")
    if "{time}" in signature.signed:
        time = time or ""
    macs = [mac.removeprefix(signature.prefix) for mac in macs if mac.startswith(signature.prefix)]
    values = {"{body}": body, "{time}": (time or "").encode(), "{url}": url.encode("utf-8", "replace")}
    pieces = re.split(r"(\{(?:body|time|url)\})", signature.signed)
    return b"".join(values.get(piece, piece.encode()) for piece in pieces), macs, time


def _seconds(text: str) -> float:
    """Unix seconds of a signed time. Raises SignatureError."""
    if text.isascii() and text.isdigit() and len(text) < 15:
        # No vendor signs times before 1973 in milliseconds.
        return int(text) / 1000 if len(text) > 11 else float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SignatureError("its time is neither unix seconds nor ISO 8601") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


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


def _verifies(key: RSAPublicKey, mac: bytes, signed: bytes, algorithm: HashAlgorithm) -> bool:
    try:
        key.verify(mac, signed, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def _check_jws(secrets: Iterable[str], given: str, body: bytes) -> None:
    """A detached JWS (RFC 7515 appendix F) with RS256, its payload as it is (RFC 7797) or in base64url."""
    header, _, mac = given.split(".")
    try:
        fields = json.loads(_unpadded(header))
        signature = _unpadded(mac)
    except (ValueError, RecursionError):
        raise SignatureError("the signature is no JWS") from None
    if not isinstance(fields, dict) or fields.get("alg") != "RS256":
        raise SignatureError("the signature is no JWS with RS256")
    plain = fields.get("b64") is False
    payload = body if plain else base64.urlsafe_b64encode(body).rstrip(b"=")
    signed = header.encode("ascii") + b"." + payload
    if any(_verifies(key, signature, signed, SHA256()) for s in secrets for key in _public_keys(s)):
        return
    raise SignatureError("the signature is wrong: is `secret` the content of the shop's jwks.json?")


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _public_keys(secret: str) -> Iterator[RSAPublicKey]:
    """The RSA keys in a JWK set (RFC 7517) or a PEM text; none in any other secret."""
    if (pem := _PEM.fullmatch(secret.strip())) is not None:
        # Some vendors show a PEM text in one line, or an SPKI key under the label of a PKCS #1 key: both
        # kinds are told apart by the key itself.
        try:
            key = load_der_public_key(base64.b64decode("".join(pem[1].split())))
        except ValueError:
            return
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
