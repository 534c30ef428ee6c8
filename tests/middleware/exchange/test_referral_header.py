"""The shop gets clew's token of the visitor in X-Clew-Referral, where the site wants it."""

import time
from typing import Any

import pytest
from clew.injector.heads import Headers, RequestHead, values
from clew.middleware.exchange.exchange import Exchange
from clew.middleware.exchange.record import Forward
from clew.referral.cookie import Known
from clew.referral.networks_file import load
from clew.service.effects import JoinVisitor
from clew.service.site import SiteRuntime
from clew.settings.model import Settings

VISITOR = "aaaabbbbccccddddeeeeffff22"
NAVIGATION = [(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document"), (b"accept", b"text/html")]


def site(**changes: Any) -> SiteRuntime:
    given = {"secret": "s" * 40, "sites": [{"name": "shop", "hosts": ["shop.test"], **changes}]}
    settings = Settings.model_validate(given)
    return SiteRuntime(settings, settings.sites[0], load())


def cookie(of: SiteRuntime) -> tuple[bytes, bytes]:
    line = of.cookie.set_cookie(Known(VISITOR, (), int(time.time())), secure=False)
    return b"cookie", line.partition(b";")[0]


def forwarded(of: SiteRuntime, headers: Headers, method: str = "GET", query: bytes = b"") -> list[bytes]:
    head = RequestHead(
        method, b"/cart", query, [(b"host", b"shop.test"), *headers], "https", "shop.test", None
    )
    plan = Exchange(of, time.time()).request(head)
    assert isinstance(plan, Forward)
    return list(values(plan.headers, b"x-clew-referral"))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", NAVIGATION),
        ("POST", [(b"sec-fetch-dest", b"empty"), (b"sec-fetch-mode", b"cors")]),
        ("POST", [(b"content-type", b"application/x-www-form-urlencoded")]),
    ],
)
def test_pages_forms_and_calls_of_scripts_have_it(method: str, headers: Headers) -> None:
    shop = site(carry={"header": True})
    (token,) = forwarded(shop, [*headers, cookie(shop)], method)
    assert shop.carrier.open(token.decode()) == VISITOR


def test_what_a_client_sends_by_that_name_is_removed() -> None:
    shop = site(carry={"header": True})
    mine = (b"x-clew-referral", b"clw1_forged")
    assert forwarded(shop, [*NAVIGATION, mine]) == []
    assert forwarded(shop, [*NAVIGATION, mine, cookie(shop)]) != [b"clw1_forged"]
    assert forwarded(shop, [(b"sec-fetch-dest", b"image"), mine, cookie(shop)]) == []


def test_nobody_unknown_and_no_picture_has_it() -> None:
    shop = site(carry={"header": True})
    assert forwarded(shop, NAVIGATION) == []
    assert forwarded(shop, [(b"sec-fetch-dest", b"image"), cookie(shop)]) == []


@pytest.mark.parametrize("counts", [True, False])
def test_the_request_that_brings_a_token_from_another_host_names_its_visitor(counts: bool) -> None:
    """In place of whom the cookie of this host names, if the token counts."""
    shop, other = site(carry={"header": True}, checkout_hosts=["pay.test"]), "zzzzyyyyxxxxwwwwvvvvuuuu22"
    now = time.time()
    token = shop.handovers.token(Known(other, (), int(now)), "shop.test", "pay.test", now)
    given = [(b"host", b"pay.test"), (b"referer", b"https://shop.test/"), *NAVIGATION, cookie(shop)]
    query = f"clew_handover={token}".encode()
    exchange = Exchange(shop, now)
    plan = exchange.request(RequestHead("GET", b"/cart", query, given, "https", "pay.test", None))
    assert isinstance(plan, Forward)
    (join,) = [effect for effect in plan.effects if isinstance(effect, JoinVisitor)]
    join.joined = counts
    (sent,) = values(exchange.after_effects(plan.headers), b"x-clew-referral")
    assert shop.carrier.open(sent.decode()) == (other if counts else VISITOR)


def test_without_the_setting_nothing_is_sent() -> None:
    shop = site()
    assert forwarded(shop, [*NAVIGATION, cookie(shop)]) == []


def test_who_has_not_agreed_is_not_named_to_the_shop() -> None:
    shop = site(carry={"header": True}, consent={"mode": "ask"})
    assert forwarded(shop, [*NAVIGATION, cookie(shop)]) == []
