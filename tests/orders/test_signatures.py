"""Only who knows the secret can report an order by webhook."""

import base64
import json

import pytest
from clew.chat.providers import providers
from clew.chat.told import Told, parsed, told
from clew.orders.signatures import SignatureError, check_signature
from clew.orders.sources_schema import webhook_sources
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hooks import SECRETS, jwks, jws, signed
from hypothesis import given
from hypothesis import strategies as st
from provider_hooks import SECRETS as CHATS
from provider_hooks import signed as sent_signed

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


def test_a_jws_whose_header_nests_deep_is_refused() -> None:
    signature = webhook_sources()["saleor"].signature
    header = base64.urlsafe_b64encode(b"[" * 2900).decode().rstrip("=")
    with pytest.raises(SignatureError, match="no JWS"):
        check_signature(signature, [jwks(KEY)], {"saleor-signature": f"{header}..AAAA"}, BODY, NOW)


@given(name=st.sampled_from(NAMES), text=st.text(max_size=300), at=st.text(max_size=20))
def test_whatever_a_header_says_is_refused_with_a_reason(name: str, text: str, at: str) -> None:
    signature = webhook_sources()[name].signature
    headers = {signature.header.lower(): text, "webhook-timestamp": at, "webhook-id": at}
    for secret in (SECRETS[name], jwks(KEY)):
        with pytest.raises(SignatureError):
            check_signature(signature, [secret], headers, BODY, NOW)


FRESHCHAT = (
    "-----BEGIN RSA PUBLIC KEY----- MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuGJLF4hTTtxWogT"
    "6dNkGf3CEgLAR2mGJzlds5cNbrHFoJNFnmVhkRYGzLYxx4EtDiezNCZVHfyMI2AKuNSQW2fEdDatVIG+q3Zr/X9eeD"
    "l8kQOGy804J/fgCYDrN8RQu0n5Dh1inv4puca0wb29SCvoAwrWb33ehDBIvv6+rUKBdjtv2xTV65kNiVDo5VRCaYRV"
    "eE10osxeONgw55HVY4nczuxnR+dmc2282de6WHe5LXtr0ZBdJ8yttFOLIluZ/sNM5DIWZBkIWQhyT581tbA7bTpsIb"
    "rT/IMBlmioIILw8WGtI7zcmNkjU5dnq5HnlVKEDhj/Ug/dLiyno8+Vp7QIDAQAB -----END RSA PUBLIC KEY---"
    "--"
)


def test_a_real_signature_of_freshchat_is_accepted() -> None:
    """The delivery in github:nyaruka/courier handlers/freshchat: a key as Freshchat shows it, in one line."""
    signature = (
        "AhrmypOSWoewHG6LmIRuWjxyokuMDmPklrSU9p0gpUNjdSRCJzvpL6rjuTi5poV/ZLzWRWNM7X9yWjT5m9YFPshYrvigcd1ph4Ot2x"
        "maJGYoUNJHijQccE6oDtDIp6i/8oLRafHgObQnGukZWPbP9OE5EiKz/VcsMP0Wv7hawI/sfIviM0w+6fNOKXWi0jDBH9ap1mj5CqOU"
        "Oojni7OD5iYmIrjV/h33dyNmbvAta9E+trzcEhYqxfHIN4Z8R2FsatfRHWicoQ4PE5cQ8+UONVya8qr85nQ9w8N7Ql7yNg9fEViYG4"
        "/W/JnGEbPPEf8WrYtKzoVyuupDz4mVHdfKWg=="
    )
    body = (
        b'{"actor":{"actor_type":"user","actor_id":"882f3926-b292-414b-a411-96380db373cd"},"action":"message_cre'
        b'ate","action_time":"2019-06-21T17:43:20.875Z","data":{"message":{"message_parts":[{"text":{"content":"'
        b'Test 2"}}],"app_id":"55b190fa-5d3c-45c4-bc49-74ddcfcf53d7","actor_id":"882f3926-b292-414b-a411-96'
        b'380db373cd","id":"7a454fde-c720-4c97-a61d-0ffe70449eb6","channel_id":"c8fddfaf-622a-4a0e-b060-4f3ccbeab606"'
        b',"conversation_id":"c327498e-f713-481e-8d83-0603e03d2521","message_type":"normal","actor_type":"user",'
        b'"created_time":"2019-06-21T17:43:20.866Z"}}}'
    )
    hook = providers()["freshchat"].webhook
    assert hook is not None
    headers = {"x-freshchat-signature": signature}
    check_signature(hook.signature, [FRESHCHAT], headers, body, NOW)
    for wrong in (body + b" ", body.replace(b"Test 2", b"Test 3")):
        with pytest.raises(SignatureError, match="wrong"):
            check_signature(hook.signature, [FRESHCHAT], headers, wrong, NOW)
    (found,) = told(hook, {}, parsed(hook, body)).parts
    assert isinstance(found, Told)
    assert found.conversation == "c327498e-f713-481e-8d83-0603e03d2521"
    assert [(line.author, line.text, line.at) for line in found.lines] == [
        ("visitor", "Test 2", 1561139000.866)
    ]


@pytest.mark.parametrize("late", [0, 299, 301])
@pytest.mark.parametrize("name", ["crisp", "chatwoot", "trengo", "zendesk_messaging", "hubspot"])
def test_signed_times_of_chats_are_seconds_milliseconds_or_iso(name: str, late: int) -> None:
    hook = providers()[name].webhook
    assert hook is not None
    one = sent_signed(name, BODY, NOW)
    secrets, url = [CHATS[name]], "http://shop.test/-/clew/hooks/hubspot"
    if late > 300:
        with pytest.raises(SignatureError, match="seconds off"):
            check_signature(hook.signature, secrets, lower(one.headers), BODY, NOW + late, url=url)
        return
    check_signature(hook.signature, secrets, lower(one.headers), BODY, NOW + late, url=url)
    with pytest.raises(SignatureError, match="wrong"):
        check_signature(hook.signature, secrets, lower(one.headers), BODY + b" ", NOW, url=url)


def test_the_address_is_signed_too_where_a_provider_does_so() -> None:
    hook = providers()["hubspot"].webhook
    assert hook is not None
    one = sent_signed("hubspot", BODY, NOW)
    other = "http://other.test/-/clew/hooks/hubspot"
    with pytest.raises(SignatureError, match="wrong"):
        check_signature(hook.signature, [CHATS["hubspot"]], lower(one.headers), BODY, NOW, url=other)


@given(name=st.sampled_from(sorted(CHATS)), text=st.text(max_size=300), at=st.text(max_size=20))
def test_whatever_a_chat_sends_is_refused_with_a_reason(name: str, text: str, at: str) -> None:
    hook = providers()[name].webhook
    assert hook is not None
    signature = hook.signature
    headers = {signature.header.lower(): text, signature.time.lower(): at}
    with pytest.raises(SignatureError):
        check_signature(signature, [CHATS[name]], headers, BODY, NOW, sent=text if signature.path else "")
