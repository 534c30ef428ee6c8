"""Confirmation pages behind the proxy, and the resulting orders in the ledger."""

from pathlib import Path
from typing import Any

import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from desks import until
from raw_http import Client, Shop, answering, get, serving

NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html")


class Behind:
    """A shop behind clew that answers everything with `page`; its confirmation page is requested once."""

    def __init__(self, folder: Path, page: str, order: dict[str, Any]) -> None:
        self._folder, self._page, self._order = folder, page.encode(), order

    async def seen(self) -> tuple[Any, dict[str, float]]:
        """The order in the ledger, None if it could not be read, and the counts of its events."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
        database = f"sqlite:{self._folder / 'clew.db'}"
        async with Shop(answering(head % len(self._page) + self._page)) as shop:
            site = {
                "name": "shop",
                "hosts": ["shop.example"],
                "upstream": shop.url,
                "order": {"page": "/thanks", **self._order},
            }
            proxy = ReverseProxy(
                Settings.model_validate(
                    {
                        "secret": "0123456789abcdefghijklmnopqrstuvwxyz-XYZ",
                        "store": database,
                        "ledger": database,
                        "sites": [site],
                    }
                )
            )
            async with serving(proxy, lifespan="on") as port, Client(port) as client:
                answer = await client.ask(get(b"/thanks", *NAVIGATION))
                assert answer.status == 200
                service = proxy.service
                told = service.registry.get_sample_value

                def events() -> dict[str, float]:
                    names = ("order", "order_unreadable", "page_unread")
                    counted = ((n, told("clew_events_total", {"site": "shop", "event": n})) for n in names)
                    return {n: count for n, count in counted if count}

                await until(lambda: bool(events()))
                (order, *_) = (*await service.ledger.orders.list("shop"), None)
                return order, events()


async def test_a_page_with_many_attributes_is_not_parsed_and_is_reported(tmp_path: Path) -> None:
    """field E4"""
    page = "<html><head></head><p id=id>1</p><p " + " ".join(f"a{n}" for n in range(70_000)) + ">"
    order, events = await Behind(tmp_path, page, {"id": "#id", "total": "#total"}).seen()
    assert order is None
    assert events == {"page_unread": 1}


async def test_a_click_id_that_is_too_long_is_reported(tmp_path: Path) -> None:
    """field E4"""
    page = f"<html><head></head><p id=id>{'Order ' * 2000}</p>"
    order, events = await Behind(tmp_path, page, {"id": "#id", "total": "#total"}).seen()
    assert order is None
    assert events == {"order_unreadable": 1}


SELECTORS = {"id": "#id", "total": "#total"}


def shown(total: str, lang: str = "en") -> str:
    return f"<html lang={lang}><head></head><p id=id>Order #1001</p><b id=total>{total}</b>"


@pytest.mark.parametrize(
    ("total", "currency", "amount"),
    [
        pytest.param("€12<sup>99</sup>", "EUR", "12.99", id="field A1"),
        pytest.param("<span>35</span><span>00</span>", "EUR", "35.00", id="field A1 two elements"),
        pytest.param("173<sup>34</sup> Lei", "RON", "173.34", id="field A1 lei"),
        pytest.param("Rs.500", "INR", "500.00", id="field A2"),
        pytest.param("$1.299.99", "USD", "1299.99", id="field A3"),
        pytest.param("12,500 IQD", "IQD", "12500.000", id="field A4"),
        pytest.param("1,250 KWD", "KWD", None, id="field A4 two readings"),
        pytest.param("(59.90)", "EUR", None, id="field A5"),
        pytest.param("$100.00", "EUR", None, id="field A6"),
        pytest.param("<div>2</div><div>99</div>", "EUR", None, id="field A1 cannot be told"),
    ],
)
async def test_the_page_shows_the_values_of_the_ledger(
    tmp_path: Path, total: str, currency: str, amount: str | None
) -> None:
    order, events = await Behind(tmp_path, shown(total), SELECTORS | {"currency": currency}).seen()
    if amount is None:
        assert order is None
        assert events == {"order_unreadable": 1}
    else:
        assert (order.order_id, str(order.total), order.currency) == ("1001", amount, currency)


@pytest.mark.parametrize(
    ("script", "amount"),
    [
        pytest.param('"price":1,299.00,"priceCurrency":"EUR",', "1299.00", id="field A10"),
        pytest.param(
            '"priceCurrency":"EUR","acceptedOffer":[{"price":"10","quantity":3},{"price":"5"}]',
            "35.00",
            id="field A9",
        ),
        pytest.param('"price":', None, id="field A10 no reading"),
    ],
)
async def test_an_order_in_malformed_jsonld_is_read_or_reported(
    tmp_path: Path, script: str, amount: str | None
) -> None:
    order_text = f'{{"@type":"Order","orderNumber":"#1001",{script}}}'
    page = f'<head><script type="application/ld+json">{order_text}</script></head>'
    order, events = await Behind(tmp_path, f"<html>{page}", {}).seen()
    assert (str(order.total) if order else None) == amount
    assert events == ({"order": 1} if amount else {"order_unreadable": 1})
