"""Only who knows the secret can report an order by webhook."""

import base64
import json

import pytest
from clew.orders.signatures import SignatureError, check_signature
from clew.orders.sources_schema import webhook_sources
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hooks import SECRETS, jwks, jws, signed
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_795_770_000.0
BODY = b'{"id": 1, "total": "59.90"}'
NAMES = sorted(webhook_sources())
KEY = generate_private_key(65537, 2048)


def lower(headers: object) -> dict[str, str]:
    return {name.lower(): value for name, value in dict(headers).items()}  # type: ignore[call-overload]


@pytest.mark.parametrize("name", NAMES)
def test_each_systems_own_signature_is_accepted_and_any_other_refused(name: str) -> None:
    signature = webhook_sources()[name].signature
    hook = signed(name, BODY, "t", now=NOW)
    check_signature(signature, [SECRETS[name]], lower(hook.headers), BODY, NOW)
    with pytest.raises(SignatureError, match="wrong"):
        check_signature(signature, [SECRETS[name]], lower(hook.headers), BODY + b" ", NOW)
    with pytest.raises(SignatureError, match="wrong"):
        check_signature(signature, ["another" * 5], lower(hook.headers), BODY, NOW)
    with pytest.raises(SignatureError, match="missing"):
        check_signature(signature, [SECRETS[name]], {}, BODY, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_while_a_secret_is_replaced_both_count(name: str) -> None:
    signature = webhook_sources()[name].signature
    for secret in ("the-newer-one-of-two", SECRETS[name]):
        hook = signed(name, BODY, "t", now=NOW, secret=secret)
        check_signature(signature, ["the-newer-one-of-two", SECRETS[name]], lower(hook.headers), BODY, NOW)


@pytest.mark.parametrize("name", ["stripe", "bigcommerce", "opencart"])
@pytest.mark.parametrize(("late", "taken"), [(299, True), (301, False), (-301, False)])
def test_a_signed_time_that_is_far_from_ours_is_refused(name: str, late: int, taken: bool) -> None:
    signature = webhook_sources()[name].signature
    hook = signed(name, BODY, now=NOW)
    if taken:
        check_signature(signature, [SECRETS[name]], lower(hook.headers), BODY, NOW + late)
        return
    with pytest.raises(SignatureError, match="301 seconds"):
        check_signature(signature, [SECRETS[name]], lower(hook.headers), BODY, NOW + late)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("form", ["jwks", "pem"])
def test_a_detached_jws_is_checked_with_the_shops_public_key(plain: bool, form: str) -> None:
    """RFC 7515 appendix F, RFC 7797; https://docs.saleor.io/developer/extending/webhooks/payload-signature"""
    signature = webhook_sources()["saleor"].signature
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    secret = jwks(KEY) if form == "jwks" else pem
    headers = {"saleor-signature": jws(KEY, BODY, plain=plain)}
    check_signature(signature, [secret], headers, BODY, NOW)
    with pytest.raises(SignatureError, match=r"jwks\.json"):
        check_signature(signature, [secret], headers, BODY + b" ", NOW)
    with pytest.raises(SignatureError, match=r"jwks\.json"):
        check_signature(signature, [SECRETS["saleor"]], headers, BODY, NOW)


def test_a_jws_cannot_choose_another_algorithm() -> None:
    signature = webhook_sources()["saleor"].signature
    _, _, mac = jws(KEY, BODY, plain=True).split(".")
    for algorithm in ("none", "HS256"):
        fields = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "b64": False}).encode())
        given_header = {"saleor-signature": f"{fields.rstrip(b'=').decode()}..{mac}"}
        with pytest.raises(SignatureError, match="RS256"):
            check_signature(signature, [jwks(KEY)], given_header, BODY, NOW)


@given(name=st.sampled_from(NAMES), text=st.text(max_size=300), at=st.text(max_size=20))
def test_whatever_a_header_says_is_refused_with_a_reason(name: str, text: str, at: str) -> None:
    signature = webhook_sources()[name].signature
    headers = {signature.header.lower(): text, "webhook-timestamp": at, "webhook-id": at}
    for secret in (SECRETS[name], jwks(KEY)):
        with pytest.raises(SignatureError):
            check_signature(signature, [secret], headers, BODY, NOW)
