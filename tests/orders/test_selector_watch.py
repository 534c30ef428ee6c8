from typing import Any

import pytest
from clew.injector.page import read
from clew.orders.selector_watch import FACT_PAGES, FLAG_DAYS, PAGES, SECONDS, SelectorWatch
from clew.settings.model import CustomFact, Site

SITE = Site.model_validate(
    {
        "name": "shop",
        "order": {"page": "/thanks", "id": "#number", "total": "jsonld", "currency": "EUR"},
        "cart": {"value": ".cart b", "items": ".count", "currency": "EUR"},
        "product": {"name": "h1"},
    }
)
BARE = read(b"<p>Cart</p>", None)
FULL = read(b"<p class=cart><b>9.90</b> <i class=count>1</i><b id=number>1001</b></p>", None)


class Notices:
    def __init__(self) -> None:
        self.time = 0.0
        self.keys: list[str] = []
        self.watch = SelectorWatch(self, lambda: self.time)

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        assert (name, site) == ("selector_unmatched", "shop")
        self.keys.append(key)
        return True

    def pages(self, kind: Any, page: Any, number: int) -> list[str]:
        self.keys.clear()
        for _ in range(number):
            tried = self.watch.selectors_for(SITE, kind)
            matched = {key for key, selector in tried.items() if page.text(selector)}
            self.watch.record(SITE, kind, tried, matched)
        return list(dict.fromkeys(self.keys))


@pytest.fixture
def notices() -> Notices:
    return Notices()


def test_a_selector_that_matches_nothing_for_a_day_on_pages_of_its_type_is_reported(notices: Notices) -> None:
    """field C2"""
    assert notices.pages("cart", BARE, 5 * PAGES["cart"]) == []
    notices.time = SECONDS
    assert notices.pages("product", BARE, 50) == []
    assert notices.pages("cart", BARE, 1) == ["cart.value", "cart.items"]
    assert notices.pages("confirmation", BARE, PAGES["confirmation"] - 1) == []
    notices.time = 3 * SECONDS
    assert notices.pages("confirmation", BARE, 1) == ["order.id"]


def test_nothing_is_reported_after_a_few_pages(notices: Notices) -> None:
    notices.pages("cart", BARE, 1)
    notices.time = 30 * SECONDS
    assert notices.pages("cart", BARE, PAGES["cart"] - 2) == []


def test_a_match_resets_the_count_and_a_later_change_of_the_theme_is_found(notices: Notices) -> None:
    """field C2"""
    notices.pages("cart", BARE, 30)
    notices.pages("product", FULL, 1)  # in the header of every page
    notices.time = SECONDS
    assert notices.pages("cart", BARE, 30) == ["cart.value", "cart.items"]
    notices.pages("cart", FULL, 1)
    assert notices.pages("cart", BARE, 30) == []


def test_selectors_of_products_are_tried_where_a_rule_asks_for_the_product(notices: Notices) -> None:
    assert notices.watch.selectors_for(SITE, "product") == {}
    assert notices.watch.selectors_for(SITE, "product", product=True) == {"product.name": "h1"}
    for days in (0, 1):
        notices.time = days * SECONDS
        for _ in range(PAGES["product"]):
            notices.watch.record(SITE, "product", {"product.name": "h1"}, ())
    assert set(notices.keys) == {"product.name"}


def test_a_fact_that_no_page_shows_is_reported_after_a_day_and_a_flag_after_a_week(notices: Notices) -> None:
    read = {
        "custom.stock": CustomFact(type="int", script="state", json_path="stock"),
        "customer.logged_in": CustomFact(type="bool", selector="#logout"),
    }
    for days, expected in ((0, set()), (1, {"custom.stock"}), (FLAG_DAYS, {*read})):
        notices.keys.clear()
        notices.time = days * SECONDS
        for _ in range(FACT_PAGES):
            notices.watch.record_facts(SITE, read, ())
        assert {key.removeprefix("facts.") for key in notices.keys} == expected
    notices.keys.clear()
    notices.watch.record_facts(SITE, read, ("custom.stock",))
    for _ in range(FACT_PAGES):
        notices.watch.record_facts(SITE, {"custom.stock": read["custom.stock"]}, ())
    assert notices.keys == ["facts.customer.logged_in"]
