"""Pages are read off the loop, a site at a time, and what waits is bounded."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from clew.events.events import Events
from clew.injector.page import read
from clew.referral.networks_file import load
from clew.service.effects import ReadPage
from clew.service.ordering import reading
from clew.service.ordering.reading import PageRead, PageReader, read_page
from clew.service.site import SiteRuntime
from clew.settings.model import Cart, Order, Settings
from desks import until
from prometheus_client import CollectorRegistry

ORDER = Order(page="/thanks", id="#id", total="#total", currency="EUR")
THANKS = b"<p id=id>#1001</p><p id=total>59,90</p><p id=cart>12,00</p>"


def page(body: bytes = THANKS, *, order: bool = True) -> ReadPage:
    return ReadPage("v", (), "/thanks", b"text/html; charset=utf-8", body, order, True, None)


def site(name: str, **more: Any) -> SiteRuntime:
    shop = {"name": name, "hosts": [f"{name}.example"], "order": ORDER.model_dump(), **more}
    settings = Settings.model_validate(
        {"secret": "0123456789abcdefghijklmnopqrstuvwxyz-XYZ", "sites": [shop]}
    )
    return SiteRuntime(settings, settings.sites[0], load())


def test_an_order_has_precedence_over_the_cart() -> None:
    found = read_page(page(), ORDER, Cart(value="#cart"))
    assert found.order is not None
    assert found.order.id == "1001"
    assert found.cart is None


def test_a_page_that_is_too_costly_to_parse_is_refused_with_the_reason() -> None:
    """field E4"""
    body = b"<p " + b" ".join(b"a%d" % n for n in range(120_000)) + b">"
    assert "256 attributes" in (read_page(page(body), ORDER, None).refused or "")


@pytest.mark.parametrize(("shown", "told"), [("$12.00", 1), ("12.00 EUR", None), ("empty", None)])
async def test_a_cart_that_does_not_tell_its_currency_is_told(shown: str, told: int | None) -> None:
    registry = CollectorRegistry()
    reader = PageReader(Events(registry))
    found = await reader.read(site("shop", cart={"value": "#cart"}), page(f"<p id=cart>{shown}</p>".encode()))
    assert (found.cart or {}).get("value") == ("12.00" if shown != "empty" else None)
    labels = {"site": "shop", "event": "currency_unknown"}
    assert registry.get_sample_value("clew_events_total", labels) == told
    reader.close()


class Gate:
    """Readings that wait in their threads until `open` is set."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.running: list[str] = []

    def __call__(self, page: ReadPage, order: Any, cart: Any, asked: Any, *_: Any) -> PageRead:
        self.running.append(page.path)
        assert self.open.wait(30)
        return PageRead()


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    made = Gate()
    monkeypatch.setattr(reading, "read_page", made)
    yield made
    made.open.set()


async def test_reading_pages_does_not_block_the_loop_and_a_site_uses_one_thread(gate: Gate) -> None:
    """field E4: pages of another site are read while a hostile one takes its time."""
    reader = PageReader(Events(CollectorRegistry()))
    one, other = site("one"), site("other")
    tasks = [asyncio.create_task(reader.read(one, page())) for _ in range(5)]
    await until(lambda: len(gate.running) == 1)
    tasks.append(asyncio.create_task(reader.read(other, page())))
    await until(lambda: len(gate.running) == 2)
    gate.open.set()
    assert await asyncio.gather(*tasks) == [PageRead()] * 6
    assert len(gate.running) == 6
    reader.close()


async def test_the_queue_is_limited_and_orders_have_precedence_over_carts(gate: Gate) -> None:
    """field E4"""
    registry = CollectorRegistry()
    reader = PageReader(Events(registry))
    shop = site("shop")
    pages = [page(order=False)] * 20 + [page()] * 20
    tasks = [asyncio.create_task(reader.read(shop, p)) for p in pages]
    await until(lambda: sum(t.done() for t in tasks) == 8)
    assert all(t.done() for t in tasks[16:20])
    assert all(t.done() for t in tasks[36:40])
    gate.open.set()
    await asyncio.gather(*tasks)
    labels = {"site": "shop", "event": "page_unread"}
    assert registry.get_sample_value("clew_events_total", labels) == 8
    reader.close()


async def test_browser_reports_and_one_networks_pages_do_not_displace_orders(gate: Gate) -> None:
    """field E3, E12: a flood of `order-page`, or of confirmation pages by one network."""
    reader = PageReader(Events(CollectorRegistry()))
    shop = site("shop")
    flood = [replace(page(), by_browser=True, client=f"198.51.100.{n}") for n in range(60)]
    flood += [replace(page(), client="203.0.113.1")] * 60
    tasks = [asyncio.create_task(reader.read(shop, p)) for p in flood]
    await until(lambda: sum(t.done() for t in tasks) >= 88)
    real = asyncio.create_task(reader.read(shop, replace(page(), client="192.0.2.7")))
    gate.open.set()
    assert (await real).refused is None
    await asyncio.gather(*tasks)
    assert not reader._of_client
    reader.close()


DEEP = b"<div>" * 1500 + b"<i>1001</i>" + b"</div>" * 1500
WIDE = b"<p>1001</p>" * 3000


@pytest.mark.parametrize(
    ("body", "selector"),
    [
        (DEEP, "u div div i"),
        (DEEP, "b, u div div div div i"),
        (WIDE, "u ~ p"),
        (WIDE, "u ~ p ~ p"),
        (WIDE, ":is(u ~ p ~ p)"),
        (DEEP, "*:has(*:has(*:has(u)))"),
        (DEEP, "*:has(* * u)"),
    ],
)
def test_a_selector_that_would_hold_up_all_threads_for_long_is_not_tried(body: bytes, selector: str) -> None:
    """A visitor may send elements that are nested as it likes, where a script draws the order."""
    order = Order(page="/thanks", id=selector, total=selector, currency="EUR")
    found = read_page(page(body), order, None)
    assert found.refused is not None
    assert "takes too long on this page" in found.refused
    assert selector in found.refused


@pytest.mark.parametrize(
    "selector",
    [
        "#basket_formset ~ .row #basket_totals th.total.text-right",
        "body .page main > .order table tr td.total",
        '[itemtype*="schema.org/Order"] td[class~="total"]',
        "h1 + form ~ .row .total, #none",
        "tr:has(th.total) td.total",
    ],
)
def test_usual_selectors_are_tried_on_usual_pages(selector: str) -> None:
    row = "<tr><td class='total'>59.90</td><th class='total text-right'>59.90</th></tr>"
    table = f"<table id='basket_totals' itemtype='https://schema.org/Order'>{row * 20}</table>"
    inner = f"<h1>x</h1><form id='basket_formset'></form>{'<p></p>' * 50}<div class='row order'>{table}</div>"
    shown = f"<body>{'<div class=page>' * 12}<main>{inner}</main>{'</div>' * 12}</body>"
    document = read(shown.encode(), "utf-8")
    assert (document.text(selector), document.costly) == ("59.90", None)
