from typing import Any

import pytest
from clew.injector.page import read
from clew.orders.selector_watch import PAGES, SECONDS, SelectorWatch
from clew.settings.model import Site

SITE = Site.model_validate(
    {
        "name": "shop",
        "order": {"page": "/thanks", "id": "#number", "total": "jsonld", "currency": "EUR"},
        "cart": {"value": ".cart b", "items": ".count", "currency": "EUR"},
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
