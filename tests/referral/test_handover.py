"""The token with which a visitor goes on to another host of the shop: who can read it, and when it counts."""

from typing import Any

import pytest
from clew.referral.cookie import Known
from clew.referral.handover import LIFETIME, LONGEST, HandoverError, Handovers
from clew.referral.touches import Click, Touch
from clew.settings.model import Site
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
SHOP, PAY = b"https://shop.example/cart", "pay.example"
CLICK = Click("awin", "awc", "1001_1700000000_AbC", "awin")
KNOWN = Known("aaaabbbbccccddddeeeeffff22", (Touch(1_799_000_000, (CLICK,)),), 1_799_000_000, agreed=True)


def handovers(name: str = "shop", secret: str = "s" * 40, *previous: str, **changes: Any) -> Handovers:
    given = {"name": name, "hosts": ["shop.example", PAY], "checkout_hosts": [PAY], **changes}
    return Handovers(Site.model_validate(given), secret, previous)


def query(token: str) -> bytes:
    return b"step=1&clew_handover=" + token.encode() + b"&lang=de"


def why(of: Handovers, token: str, host: str = PAY, referrer: bytes = SHOP, now: float = NOW) -> str:
    with pytest.raises(HandoverError) as refused:
        of.read(query(token), host, referrer, now)
    return refused.value.why


def test_it_brings_what_the_cookie_has() -> None:
    one = handovers()
    token = one.token(KNOWN, "shop.example", PAY, NOW)
    found = one.read(query(token), "PAY.example:443", SHOP, NOW + LIFETIME)
    assert found is not None
    assert found.known == KNOWN
    assert found.until == NOW + LIFETIME


def test_nobody_reads_a_click_or_a_visitor_in_it_and_no_two_are_alike() -> None:
    one = handovers()
    token = one.token(KNOWN, "shop.example", PAY, NOW)
    assert token.replace("-", "").replace("_", "").isalnum()
    assert CLICK.value not in token
    assert KNOWN.visitor not in token
    other = one.token(KNOWN, "shop.example", PAY, NOW)
    uses = {f.use for t in (token, other) if (f := one.read(query(t), PAY, SHOP, NOW)) is not None}
    assert len(uses) == 2


def test_it_counts_on_the_host_it_was_made_for_from_the_host_it_was_made_on() -> None:
    one = handovers()
    token = one.token(KNOWN, "shop.example", PAY, NOW)
    assert why(one, token, host="shop.example") == "invalid"
    assert why(one, token, host="pay.example.evil.example") == "invalid"
    assert why(one, token, referrer=b"https://evil.example/shop.example") == "elsewhere"
    assert why(one, token, referrer=b"https://shop.example@evil.example/") == "elsewhere"
    assert why(one, token, referrer=b"") == "elsewhere"
    assert why(one, token, referrer=b"https://[") == "elsewhere"


def test_it_counts_for_minutes() -> None:
    one = handovers()
    token = one.token(KNOWN, "shop.example", PAY, NOW)
    assert why(one, token, now=NOW + LIFETIME + 1) == "expired"
    assert LIFETIME <= 600


def test_only_the_same_site_reads_it_unless_both_share_a_secret() -> None:
    token = handovers().token(KNOWN, "shop.example", PAY, NOW)
    assert why(handovers("other"), token) == "invalid"
    assert why(handovers(secret="n" * 40), token) == "invalid"
    renewed = handovers("shop", "n" * 40, "s" * 40)
    assert renewed.read(query(token), PAY, SHOP, NOW) is not None
    shared = {"checkout_secret": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}
    mine = handovers(**shared)
    theirs = handovers("checkout", "another" * 8, checkout_hosts=[], **shared)
    found = theirs.read(query(mine.token(KNOWN, "shop.example", PAY, NOW)), PAY, SHOP, NOW)
    assert found is not None
    assert found.known.touches == KNOWN.touches
    assert why(theirs, token) == "invalid"


def test_many_arrivals_do_not_make_it_longer_than_an_address_may_be() -> None:
    clicks = tuple(
        Touch(1_700_000_000 + n, (Click("awin", "awc", f"{n}_" + "x" * 300, "a"),)) for n in range(20)
    )
    one = handovers()
    token = one.token(Known("v" * 26, clicks, 1), "shop.example", PAY, NOW)
    assert len(token) <= LONGEST
    found = one.read(query(token), PAY, SHOP, NOW)
    assert found is not None
    assert found.known.touches[-1] == clicks[-1]


def test_only_hosts_of_the_settings_get_one() -> None:
    one = handovers(checkout_hosts=["pay.example", "shop.example", "pay.test:8443"])
    assert one.leads_to("pay.example", "shop.example")
    assert one.leads_to("PAY.EXAMPLE", "shop.example")
    assert one.leads_to("pay.test:8443", "shop.example")
    for host in (
        "a.pay.example",
        "pay.example.evil.example",
        "pay.test",
        "evil.example",
        "",
        "shop.example:443",
    ):
        assert not one.leads_to(host, "shop.example")


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_bytes_are_no_token(given: bytes, referrer: bytes) -> None:
    one, why = handovers(), "invalid"
    try:
        assert one.read(b"clew_handover=" + given, PAY, referrer, NOW) is None
    except HandoverError as refused:
        why = refused.why
    assert why == "invalid"
