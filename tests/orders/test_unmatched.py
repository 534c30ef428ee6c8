from typing import Any

import pytest
from clew.injector.page import read
from clew.orders.unmatched import PAGES, SECONDS, Unmatched
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


class Told:
    def __init__(self) -> None:
        self.time = 0.0
        self.keys: list[str] = []
        self.watch = Unmatched(self, lambda: self.time)

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        assert (name, site) == ("selector_unmatched", "shop")
        self.keys.append(key)
        return True

    def pages(self, kind: Any, page: Any, number: int) -> list[str]:
        self.keys.clear()
        for _ in range(number):
            asked = self.watch.asked(SITE, kind)
            matched = {key for key, selector in asked.items() if page.text(selector)}
            self.watch.page(SITE, kind, asked, matched)
        return list(dict.fromkeys(self.keys))


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_selector_that_found_nothing_for_a_day_on_pages_of_its_kind_is_told_of(told: Told) -> None:
    """field C2"""
    assert told.pages("cart", BARE, 5 * PAGES["cart"]) == []
    told.time = SECONDS
    assert told.pages("product", BARE, 50) == []
    assert told.pages("cart", BARE, 1) == ["cart.value", "cart.items"]
    assert told.pages("confirmation", BARE, PAGES["confirmation"] - 1) == []
    told.time = 3 * SECONDS
    assert told.pages("confirmation", BARE, 1) == ["order.id"]


def test_few_pages_tell_nothing(told: Told) -> None:
    told.pages("cart", BARE, 1)
    told.time = 30 * SECONDS
    assert told.pages("cart", BARE, PAGES["cart"] - 2) == []


def test_what_is_found_once_begins_anew_also_when_a_theme_changes_later(told: Told) -> None:
    """field C2"""
    told.pages("cart", BARE, 30)
    told.pages("product", FULL, 1)  # in the header of every page
    told.time = SECONDS
    assert told.pages("cart", BARE, 30) == ["cart.value", "cart.items"]
    told.pages("cart", FULL, 1)
    assert told.pages("cart", BARE, 30) == []
