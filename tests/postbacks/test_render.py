import json
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import pytest
from clew.postbacks.call import RenderError, split_address
from clew.postbacks.model import Report
from clew.postbacks.render import render, repeats_are_safe
from clew.referral.calls import Answer, CallEntry, Repeat, Success
from clew.referral.catalogue import Network
from clew.settings.model import Partner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

TEMPLATE = (
    "https://partner.example/pb?c={click_id}&o={order_id}&a={amount}&cur={currency}&ch={channel}&e={event}"
)
MakeReport = Callable[..., Report]
NOW = 1763860001.7


def plain(postback: str = TEMPLATE, **more: Any) -> Partner:
    return Partner(id="blog", param="ref", postback=postback, **more)


def test_a_template_is_filled_with_the_values_of_the_report(report: MakeReport) -> None:
    call = render(plain(), report(), None, NOW, postback_id="pb_1")
    assert call.method == "GET"
    assert call.url == (
        "https://partner.example/pb?c=1001_1763859600_0123456789abcdef&o=100001&a=59.90&cur=EUR&ch=chat&e=order"
    )


def test_each_value_is_percent_encoded_and_nothing_else_is_touched(report: MakeReport) -> None:
    template = (
        "https://p.example/a;b/%7e//x.php?x[]=%zz&c={click_id}|{order_id}&k={channel}{channel}&y={}#frag"
    )
    partner = Partner.model_construct(id="p", param="r", postback=template)
    url = render(partner, report(click_id="a&b=c%2F +ü", order_id="#1/2"), None, NOW, postback_id="pb_1").url
    assert url == (
        "https://p.example/a;b/%7e//x.php?x[]=%zz&c=a%26b%3Dc%252F%20%2B%C3%BC|%231%2F2&k=chatchat&y={}#frag"
    )


def test_a_value_that_looks_like_a_placeholder_stays_a_value(report: MakeReport) -> None:
    url = render(plain(), report(click_id="{amount}"), None, NOW, postback_id="pb_1").url
    assert dict(parse_qsl(urlsplit(url).query))["c"] == "{amount}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(min_size=1, max_size=60))
def test_any_click_id_survives_the_parsing_of_the_address_byte_for_byte(
    raw: bytes, report: MakeReport
) -> None:
    click_id = raw.decode("utf-8", "surrogateescape")
    url = render(plain(), report(click_id=click_id), None, NOW, postback_id="pb_1").url
    assert url.isascii()
    query = urlsplit(url).query.encode()
    value = next(pair.partition(b"=")[2] for pair in query.split(b"&") if pair.startswith(b"c="))
    assert unquote_to_bytes(value) == raw
    assert set(value) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://p.example", "https://p.example", "/"),
        ("https://p.example?x=1#f", "https://p.example", "/?x=1"),
        ("http://p.example:81/a/../b?x=|", "http://p.example:81", "/a/../b?x=|"),
        ("https://größe.example/größe?a b", "https://größe.example", "/gr%C3%B6%C3%9Fe?a%20b"),
        ("https://[::1]:8/x", "https://[::1]:8", "/x"),
    ],
)
def test_an_address_is_split_into_host_and_target_without_other_changes(
    url: str, origin: str, target: str
) -> None:
    assert split_address(url) == (origin, target)


def test_the_user_of_an_address_becomes_a_header_and_is_not_shown(report: MakeReport) -> None:
    call = render(plain("https://me:p%40ss@p.example/?c={click_id}"), report(), None, NOW, postback_id="pb_1")
    assert call.url.startswith("https://p.example/?c=")
    assert call.headers["Authorization"] == "Basic " + b64encode(b"me:p@ss").decode()
    assert "p%40ss" not in call.masked


def test_the_log_shows_no_secret_and_little_of_the_click_id(report: MakeReport) -> None:
    partner = plain(TEMPLATE + "&security_token=hush-hush&Key=k3y")
    call = render(partner, report(), None, NOW, postback_id="pb_1")
    assert "c=1001..." in call.masked
    assert "o=100001" in call.masked
    for hidden in ("1763859600", "0123456789abcdef", "hush-hush", "k3y"):
        assert hidden not in call.masked
        assert hidden not in repr(call)
    assert "hush-hush" in call.url


def test_a_short_click_id_is_hidden_as_a_whole(report: MakeReport) -> None:
    call = render(plain(), report(click_id="demo-12"), None, NOW, postback_id="pb_1")
    assert "c=...&" in call.masked


def test_a_webhook_says_when_the_event_happened_not_when_the_order_was_placed(report: MakeReport) -> None:
    partner, later = plain("https://p.example/hook", secret="any text of a partner"), NOW + 86400
    call = render(partner, report(event="cancel"), None, later + 5, postback_id="pb_1", at=later)
    told = json.loads(call.body or b"")
    assert datetime.fromisoformat(told["timestamp"]).timestamp() == int(later)
    assert told["data"]["order_time"] == "2025-11-23T01:06:40Z"


WHSEC = "whsec_" + b64encode(b"kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB").decode()


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (WHSEC, b"kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"),
        (WHSEC.rstrip("="), b"kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"),
        ("any text, auch größer", "any text, auch größer".encode()),
    ],
)
def test_a_partner_with_a_secret_gets_a_signed_webhook(report: MakeReport, secret: str, key: bytes) -> None:
    now = time.time()
    call = render(plain("https://p.example/hook", secret=secret), report(), None, now, postback_id="pb_1")
    assert call.method == "POST"
    assert call.url == "https://p.example/hook"
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["webhook-id"] == "pb_1"
    assert call.headers["webhook-timestamp"] == str(int(now))
    payload = Webhook(key).verify(call.body, dict(call.headers))
    assert payload == {
        "type": "order.created",
        "timestamp": "2025-11-23T01:06:40Z",
        "data": {
            "order_id": "100001",
            "amount": "59.90",
            "currency": "EUR",
            "channel": "chat",
            "state": "placed",
            "click_id": "1001_1763859600_0123456789abcdef",
            "order_time": "2025-11-23T01:06:40Z",
            "landing_time": "2025-11-23T01:00:00Z",
        },
    }
    assert secret not in call.masked
    assert "0123456789abcdef" not in call.masked


def test_a_voucher_is_in_the_webhook_when_there_was_one(report: MakeReport) -> None:
    call = render(plain(secret="s"), report(voucher="CHAT10"), None, NOW, postback_id="pb_1")
    assert json.loads(call.body)["data"]["voucher"] == "CHAT10"


def test_bytes_outside_utf8_are_percent_encoded_in_a_webhook_because_json_has_no_bytes(
    report: MakeReport,
) -> None:
    click_id = b"a\xffb\xc3\xa4".decode("utf-8", "surrogateescape")
    call = render(plain(secret="s"), report(click_id=click_id), None, NOW, postback_id="pb_1")
    assert json.loads(call.body)["data"]["click_id"] == "a%FFbä"


def test_a_wrong_secret_is_an_error_that_names_the_key(report: MakeReport) -> None:
    with pytest.raises(RenderError, match="partner blog: secret: "):
        render(plain(secret="whsec_not base64"), report(), None, NOW, postback_id="pb_1")


def test_repeats_are_safe_by_partner_network_or_standard() -> None:
    def repeating(repeat: Repeat) -> Network:
        success = Success(Answer((200, 299)))
        entry = CallEntry(
            "c",
            frozenset({"conversion"}),
            "GET",
            "https://n.example/",
            "query",
            success,
            (),
            {},
            repeat=repeat,
        )
        return Network("n", "N", "affiliate_network", "verified", calls=(entry,))

    network, safe = repeating("unknown"), repeating("ignored")
    member = Partner(id="p", network="n")
    assert not repeats_are_safe(plain(), None, "order")
    assert repeats_are_safe(plain(secret="s"), None, "order")
    assert not repeats_are_safe(plain(secret="s", retry_unknown=False), None, "order")
    assert repeats_are_safe(plain(retry_unknown=True), None, "order")
    assert not repeats_are_safe(member, network, "order")
    assert repeats_are_safe(member, safe, "order")
    assert repeats_are_safe(member, repeating("overwrites"), "order")
    assert not repeats_are_safe(member, repeating("counts"), "order")
    assert not repeats_are_safe(member, safe, "cancel")
    assert not repeats_are_safe(Partner(id="p", network="n", retry_unknown=False), safe, "order")


def test_a_network_that_the_catalogue_does_not_know_is_an_error(report: MakeReport) -> None:
    with pytest.raises(RenderError, match="no network 'nowhere'"):
        render(Partner(id="p", network="nowhere"), report(), None, NOW, postback_id="pb_1")
