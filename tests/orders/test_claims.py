"""What agents claim of an order, by the rules of their protocols."""

import json
from typing import Any

import pytest
from clew.orders.claims import ClaimError
from clew.orders.intake import parse_order

ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}
# rfcs/rfc.affiliate_attribution.md, section 4.2.1.
CLAIM: dict[str, Any] = {
    "provider": "impact.com",
    "token": "atp_01J8Z3WXYZ9ABC",
    "publisher_id": "pub_123",
    "campaign_id": "cmp_456",
    "creative_id": "cr_789",
    "sub_id": "u1=abc&u2=def",
    "source": {"type": "url", "url": "https://publisher.example/reviews/best-espresso-machines"},
    "issued_at": "2025-12-17T10:30:00Z",
    "expires_at": "2025-12-24T10:30:00Z",
    "metadata": {"content_type": "article", "placement": "top_pick", "rank": 1, "score": 0.5, "new": True},
}


def parsed(**more: Any) -> Any:
    return parse_order(json.dumps({**ORDER, **more}).encode())


def test_the_example_of_the_protocol_is_understood() -> None:
    found = parsed(affiliate_attribution=CLAIM)
    (claim,) = found.claims
    assert (claim.provider, claim.token, claim.touchpoint) == ("impact.com", "atp_01J8Z3WXYZ9ABC", "last")
    both = parsed(affiliate_attribution=[{**CLAIM, "touchpoint": "first"}, {**CLAIM, "touchpoint": "last"}])
    assert [claim.touchpoint for claim in both.claims] == ["first", "last"]


def test_fields_of_a_later_version_are_ignored() -> None:
    assert len(parsed(affiliate_attribution={**CLAIM, "new_field": {"a": 1}}).claims) == 1


def test_an_order_with_another_claim_is_another_report() -> None:
    one, other = parsed(affiliate_attribution=CLAIM), parsed(affiliate_attribution={**CLAIM, "token": "x"})
    assert len({parsed().order.claimed, one.order.claimed, other.order.claimed}) == 3
    assert one.order.claimed == parsed(affiliate_attribution=CLAIM).order.claimed


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"metadata": {"user_email": "x"}}, "metadata.user_email"),
        ({"metadata": {"customerPhone": "x"}}, "metadata.customerPhone"),
        ({"metadata": {"first_name": "Jo"}}, "metadata.first_name"),
        ({"metadata": {"ssn": 1}}, "metadata.ssn"),
        ({"metadata": {"note": "write to jo@shop.example"}}, "metadata.note"),
        ({"sub_id": "u=jo%40shop.example"}, "sub_id"),
        ({"campaign_id": "+49 30 901820"}, "campaign_id"),
        ({"publisher_id": "jo@shop.example"}, "publisher_id"),
        ({"metadata": {"note": "call 0171 555 12 34"}}, "metadata.note"),
        ({"metadata": {"note": "555-123-4567"}}, "metadata.note"),
        ({"source": {"type": "url", "url": "https://p.example/?m=jo@shop.example"}}, "source.url"),
    ],
)
def test_personal_data_is_refused_in_the_protocols_words(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ClaimError) as refused:
        parsed(affiliate_attribution={**CLAIM, **change})
    assert (refused.value.code, refused.value.param) == (
        "pii_not_allowed",
        f"$.affiliate_attribution.{param}",
    )
    assert "jo@" not in str(refused.value)


@pytest.mark.parametrize(
    "value", ["1234567890", "1001_1700000000_5f9d3b0c8A7e6d5c", "2025-12-17", "a-b-c-1-2"]
)
def test_ids_of_publishers_are_no_phone_numbers(value: str) -> None:
    assert parsed(affiliate_attribution={**CLAIM, "publisher_id": value, "token": value}).claims


@pytest.mark.parametrize(
    "change",
    [
        {"provider": None},
        {"token": None, "publisher_id": None},
        {"metadata": {"nested": {"a": 1}}},
        {"metadata": {"list": [1]}},
        {"metadata": {f"k{n}": n for n in range(21)}},
        {"metadata": {"long": "x" * 5000}},
        {"source": {"type": "other"}},
        {"touchpoint": "middle"},
    ],
)
def test_what_the_protocol_does_not_allow_is_refused(change: dict[str, Any]) -> None:
    claim = {name: value for name, value in {**CLAIM, **change}.items() if value is not None}
    with pytest.raises(ClaimError) as refused:
        parsed(affiliate_attribution=claim)
    assert refused.value.code == "invalid_type"
    assert refused.value.param.startswith("$.affiliate_attribution")


def test_the_map_of_the_other_protocol_is_text_only() -> None:
    assert parsed(attribution={"awc": "1001_1", "utm_source": "chat"}).attribution["awc"] == "1001_1"
    with pytest.raises(ClaimError) as refused:
        parsed(attribution={"awc": 1})
    assert refused.value.code == "invalid_type"
    with pytest.raises(ClaimError) as personal:
        parsed(attribution={"utm_term": "jo@shop.example"})
    assert (personal.value.code, personal.value.param) == ("pii_not_allowed", "$.attribution.utm_term")
