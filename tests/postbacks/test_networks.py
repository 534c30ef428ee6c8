"""The calls of the first networks, as the catalogue's own entries make them."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from clew.orders.model import Item
from clew.postbacks.call import Call, RenderError
from clew.postbacks.model import Report
from clew.postbacks.network_call import PURPOSE, network_call
from clew.postbacks.render import missing_settings, render
from clew.postbacks.verdict import Answered, judge
from clew.referral.calls import CallEntry
from clew.referral.catalogue import Network
from clew.referral.networks_file import load
from clew.settings.model import Partner

MakeReport = Callable[..., Report]
NETWORKS = load().networks
CLICK = "1001_1763859600_0123456789abcdef"


def member(network: str, endpoint: str | None = None, **settings: Any) -> Partner:
    return Partner(id="p", network=network, settings=settings, endpoint=endpoint)


def call(partner: Partner, report: Report) -> Call:
    return render(partner, report, NETWORKS[str(partner.network)], 1763860001.0, postback_id="pb_1")


AWIN_API = member("awin", advertiser_id=1001, api_key="top-secret-key")
AWIN_GET = member("awin", advertiser_id=1001)
TUNE = member("tune", network_domain="demo.go2jump.org", offer_id="7", security_token="top-secret-key")
EVERFLOW = member(
    "everflow", tracking_domain="www.track.example", network_id="12", verification_token="top-secret-key"
)


def test_awin_gets_the_conversion_api_where_the_partner_has_a_key(report: MakeReport) -> None:
    made = call(AWIN_API, report(voucher="CHAT10"))
    assert (made.method, made.url) == ("POST", "https://api.awin.com/s2s/advertiser/1001/orders")
    assert made.headers["x-api-key"] == "top-secret-key"
    assert made.headers["Content-Type"] == "application/json"
    assert json.loads(made.body, parse_float=Decimal) == {
        "orders": [
            {
                "orderReference": "100001",
                "amount": Decimal("59.90"),
                "currency": "EUR",
                "channel": "aw",
                "commissionGroups": [{"code": "DEFAULT", "amount": Decimal("59.90")}],
                "awc": CLICK,
                "voucher": "CHAT10",
                "transactionTime": 1763860000,
                "custom": {"1": "chat"},
            }
        ]
    }


def test_awin_gets_the_server_to_server_address_where_it_has_none(report: MakeReport) -> None:
    made = call(AWIN_GET, report())
    assert made.method == "GET"
    assert made.url == (
        "https://www.awin1.com/sread.php?tt=ss&tv=2&merchant=1001&amount=59.90&ch=aw&parts=DEFAULT%3A59.90"
        f"&cr=EUR&ref=100001&testmode=0&cks={CLICK}&p1=chat"
    )


def test_awins_commission_group_and_test_mode_are_settings(report: MakeReport) -> None:
    url = call(member("awin", advertiser_id=1, commission_group="CHAT", test=True), report()).url
    assert "parts=CHAT%3A59.90" in url
    assert "testmode=1" in url
    made = call(member("awin", advertiser_id=1, api_key="k", test=True), report())
    assert json.loads(made.body)["orders"][0]["isTest"] is True


def test_awins_order_reference_is_cut_where_awin_would_cut_it(report: MakeReport) -> None:
    made = call(AWIN_API, report(order_id="x" * 60))
    assert json.loads(made.body)["orders"][0]["orderReference"] == "x" * 50


def test_tune_is_called_at_the_advertisers_own_domain(report: MakeReport) -> None:
    made = call(TUNE, report())
    assert (made.method, made.body) == ("GET", b"")
    assert made.url == (
        f"https://demo.go2jump.org/aff_lsr?offer_id=7&transaction_id={CLICK}&amount=59.90&adv_sub=100001"
        "&adv_sub2=chat&security_token=top-secret-key&datetime=2025-11-23%2001%3A06%3A40"
    )


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"success=true;", "delivered"),
        (b"success=false; err_msg=Invalid transaction ID;", "dead"),
        (b"success=false; err_msg=Duplicate conversion;", "delivered"),
    ],
)
def test_tunes_answer_is_read_because_its_status_is_always_200(
    report: MakeReport, body: bytes, outcome: str
) -> None:
    made = call(TUNE, report())
    assert judge(made, Answered(200, body), 0.0, repeats=True).outcome == outcome


def test_everflow_is_called_at_the_tracking_domain(report: MakeReport) -> None:
    made = call(EVERFLOW, report(voucher="CHAT10"))
    assert made.method == "GET"
    assert made.url == (
        f"https://www.track.example/?nid=12&transaction_id={CLICK}&amount=59.90&order_id=100001"
        "&coupon_code=CHAT10&adv1=chat&verification_token=top-secret-key"
    )


@pytest.mark.parametrize("partner", [AWIN_API, AWIN_GET, TUNE, EVERFLOW])
def test_secrets_and_click_ids_stay_out_of_the_log(report: MakeReport, partner: Partner) -> None:
    made = call(partner, report())
    assert "top-secret" not in made.masked
    assert "0123456789abcdef" not in made.masked
    assert "100001" in made.masked


@pytest.mark.parametrize("partner", [AWIN_API, AWIN_GET, TUNE, EVERFLOW])
def test_an_endpoint_replaces_the_networks_host_only(report: MakeReport, partner: Partner) -> None:
    there = call(partner, report())
    moved = partner.model_copy(update={"endpoint": "http://127.0.0.1:8099"})
    path = there.url.removeprefix("https://").partition("/")[2]
    assert call(moved, report()).url == f"http://127.0.0.1:8099/{path}"


@pytest.mark.parametrize(
    ("partner", "keys"),
    [
        (member("awin"), ["advertiser_id"]),
        (member("awin", api_key="k"), ["advertiser_id"]),
        (member("awin", conversion="conversion_api", advertiser_id=1), ["api_key"]),
        (member("tune"), ["network_domain"]),
        (member("tune", endpoint="https://relay.example"), []),
        (member("everflow"), ["tracking_domain", "network_id"]),
    ],
)
def test_the_settings_that_a_network_still_needs_are_named(
    report: MakeReport, partner: Partner, keys: list[str]
) -> None:
    network = NETWORKS[str(partner.network)]
    assert sorted(missing_settings(partner, network)) == sorted(keys)
    if keys:
        with pytest.raises(RenderError, match=f"settings.{keys[0]}"):
            call(partner, report())


@pytest.mark.parametrize(
    ("network", "given", "secret", "signature"),
    [
        ("tradedoubler", {"organization_id": 1, "event_id": 2}, "checksum_secret", "&checksum=v04"),
        ("ascend", {"program_id": 1}, "private_key", "&SIGNATURE="),
    ],
)
def test_a_call_is_signed_where_the_partner_has_the_secret(
    report: MakeReport, network: str, given: dict[str, Any], secret: str, signature: str
) -> None:
    assert signature not in call(member(network, **given), report()).url
    made = call(member(network, **given, **{secret: "s3cret"}), report())
    assert signature in made.url
    assert "s3cret" not in made.url


ITEMS = (Item(id="SKU-1", name="Socks", category="Sports", quantity=Decimal(2), price=Decimal("29.95")),)


def test_every_call_of_the_catalogue_can_be_rendered_or_says_what_it_needs(report: MakeReport) -> None:
    rendered = 0
    for network in NETWORKS.values():
        for entry in network.calls:
            given = {name: "71" for name, spec in entry.settings.items() if spec.required}
            named = {"conversion": entry.id} if "conversion" in entry.purposes else {}
            only = replace(network, calls=(entry,))
            for purpose in entry.purposes & set(PURPOSE.values()):
                event = next(event for event, found in PURPOSE.items() if found == purpose)
                click_id = entry.examples[0].reports[0]["click_id"] if entry.examples else "click-1"
                made = report(event=event, items=ITEMS, before="80.00", click_id=click_id)
                partner = member(network.id, **named, **given)
                if entry.needs:
                    with pytest.raises(RenderError, match="it needs"):
                        render(partner, made, only, 1763860001.0, postback_id="pb_1")
                else:
                    sent = network_call(partner, [made], only, 1763860001.0, kept=["kept-1"])
                    assert sent.url.isascii()
                    rendered += 1
    assert rendered >= 30


@pytest.mark.parametrize(
    ("network", "entry"),
    [
        pytest.param(network, entry, id=f"{network.id}-{entry.id}")
        for network in NETWORKS.values()
        for entry in network.calls
        if not entry.needs and any(param.source == "email_sha256" for param in entry.params)
    ],
)
def test_the_hash_of_the_address_is_sent_only_with_consent(
    report: MakeReport, network: Network, entry: CallEntry
) -> None:
    given = {name: "71" for name, spec in entry.settings.items() if spec.required and spec.default is None}
    partner = member(network.id, conversion=entry.id, **given)
    sent = {}
    for consent in ("granted", "denied", "unknown"):
        made = report(email_sha256="0123abcd" * 8, consent=consent)
        made_call = network_call(partner, [made], network, 1763860001.0)
        sent[consent] = "0123abcd" * 8 in f"{made_call.url} {made_call.body!r}"
    assert sent == {"granted": True, "denied": False, "unknown": False}


# The discount of the whole order leaves parts that no price of one piece times a quantity can be.
ODD = (
    Item(id="A", category="Shoes", quantity=Decimal(3), price=Decimal("3.40")),
    Item(id="B", category="Laces", quantity=Decimal(7), price=Decimal("1.10"), discount=Decimal("0.30")),
)


def _values(url: str, name: str) -> list[str]:
    return [value for key, value in parse_qsl(urlsplit(url).query) if re.fullmatch(name, key)]


def test_the_items_of_a_call_add_up_to_the_amount_where_the_network_pays_by_them(report: MakeReport) -> None:
    order = report(amount="16.97", items=ODD)
    ascend = call(member("ascend", program_id=1), order).url
    assert set(_values(ascend, r"QUANTITY\d")) == {"1"}
    assert sum(map(Decimal, _values(ascend, r"ITEM_PRICE\d"))) == Decimal("16.97")
    rakuten = call(member("rakuten", mid="1"), order).url
    assert sum(map(int, _values(rakuten, "amtlist")[0].split("|"))) == 1697
    partnerize = call(member("partnerize", campaign_id="1"), order).url
    assert sum(map(Decimal, re.findall(r"/value:([\d.]+)/quantity:1\]", partnerize))) == Decimal("16.97")
    webgains = json.loads(call(member("webgains", program_id=1), order).body, parse_float=Decimal)
    assert sum(item["price"] for item in webgains["items"]) == webgains["value"] == Decimal("16.97")


def test_rakutens_corrections_leave_nothing_of_a_cancelled_order(report: MakeReport) -> None:
    partner = member("rakuten", mid="1")
    told = [
        report(amount="16.97", items=ODD),
        report(event="adjust", amount="9.99", before="16.97", state="part_refunded", items=ODD),
        report(event="cancel", amount="0.00", before="9.99", state="refunded", items=ODD),
    ]
    amounts = [_values(call(partner, one).url, "amtlist")[0].split("|") for one in told]
    assert [sum(map(int, of_item)) for of_item in zip(*amounts, strict=True)] == [0, 0]
