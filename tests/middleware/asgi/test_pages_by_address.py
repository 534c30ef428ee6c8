"""Which pages are which, by their addresses, seen through the proxy."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from clew.injector.tag import tag
from clew.middleware.proxy.mount import ReverseProxy
from clew.orders import selector_watch
from clew.settings.model import Settings
from raw_http import Client, Shop, answering, get, serving
from structlog.testing import capture_logs

PAGE = b"<!doctype html><html><head></head><body><p id=n>1001</p><p id=t>59.90 EUR</p></body></html>"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
NAVIGATION = b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html"


@asynccontextmanager
async def clew(folder: Path, **site: Any) -> AsyncIterator[Client]:
    """A client of clew in front of a shop whose every page shows an order."""
    async with clew_itself(folder, **site) as (client, _):
        yield client


@asynccontextmanager
async def clew_itself(folder: Path, **site: Any) -> AsyncIterator[tuple[Client, ReverseProxy]]:
    database = f"sqlite:{folder / 'clew.db'}"
    async with Shop(answering(HTML)) as shop:
        sites = [{"name": "shop", "hosts": ["shop.example"], "upstream": shop.url, **site}]
        proxy = ReverseProxy(
            Settings.model_validate(
                {"secret": "s" * 40, "store": database, "ledger": database, "sites": sites}
            )
        )
        async with serving(proxy, lifespan="on") as port, Client(port) as client:
            yield client, proxy


def orders(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "clew.db")) as database:
        return [row[0] for row in database.execute("SELECT order_id FROM orders")]


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"/index.php?route=checkout/success&language=en-gb", True),
        (b"/index.php?language=en-gb&route=checkout%2Fsuccess", True),
        (b"/index.php?route=product/product&product_id=42", False),
        (b"/index.php", False),
    ],
)
async def test_an_order_is_read_on_a_page_known_by_its_query(
    tmp_path: Path, target: bytes, seen: bool
) -> None:
    """field C1"""
    order = {"page": "/index.php?route=checkout/success", "id": "#n", "total": "#t", "currency": "EUR"}
    async with clew(tmp_path, order=order) as client:
        assert (await client.ask(get(target, *NAVIGATION))).status == 200
    assert orders(tmp_path) == (["1001"] if seen else [])


@pytest.mark.parametrize(
    ("target", "edited"),
    [
        (b"/index.php?route=extension/payment&x=1", False),
        (b"/index.php?x=1&route=extension%2Fpayment", False),
        (b"/index.php?route=product/product", True),
        (b"/pay/now", False),
        (b"/p%61y/now", False),
    ],
)
async def test_a_page_can_be_excluded_by_its_query(tmp_path: Path, target: bytes, edited: bool) -> None:
    """field C1"""
    async with clew(tmp_path, never=["/index.php?route=extension/*", "/pay/*"]) as client:
        body = (await client.ask(get(target, *NAVIGATION))).body
    assert body == (PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/")) if edited else PAGE)


async def test_order_selectors_that_never_match_are_reported_after_a_day(tmp_path: Path) -> None:
    """field C2"""
    order = {"page": "/thanks", "id": "#nowhere", "total": "#t", "currency": "EUR"}
    async with clew_itself(tmp_path, order=order) as (client, proxy):
        service = proxy.service
        for hours in (0, 1, 2, 3, 4, 25):
            service.selector_watch._clock = lambda hours=hours: hours * 3600.0
            await client.ask(get(b"/thanks", *NAVIGATION))
            while service.tasks._work:
                await asyncio.gather(*service.tasks._work)
        told = {"site": "shop", "event": "selector_unmatched"}
        assert service.registry.get_sample_value("clew_events_total", told) == 1


async def test_a_fact_that_no_page_shows_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector_watch, "FACT_PAGES", 3)
    site = {
        "facts": {"shown": {"selector": "#n"}, "stock": {"type": "int", "selector": "#stock"}},
        "rules": [{"name": "r", "when": ["custom.stock > 1", "has(custom.shown)"], "action": "hide"}],
    }
    async with clew_itself(tmp_path, **site) as (client, proxy):
        service, cookie = proxy.service, b""
        with capture_logs() as logs:
            for hours in (0, 1, 2, 3, 4, 25):
                service.selector_watch._clock = lambda hours=hours: hours * 3600.0
                fields = (*NAVIGATION, *([b"Cookie: " + cookie] if cookie else []))
                answer = await client.ask(get(b"/?utm_source=x", *fields))
                cookie = cookie or dict(answer.headers)[b"set-cookie"].partition(b";")[0]
                while service.tasks._work:
                    await asyncio.gather(*service.tasks._work)
    told = [(one["selector"], one["pages"]) for one in logs if one["event"] == "selector_unmatched"]
    assert told == [("#stock", 5)]


ADMIN = [
    b"/admin",
    b"/admin/",
    b"/admin/login/?next=/admin/",
    b"/shop/admin/index.php?route=common/login",
    b"/de/admin/orders",
    b"/en-GB/admin/",
    b"/%61dmin/",
    b"/Admin/Orders",
    b"/secret/index.php?route=sale/order&user_token=abc",
    b"/wp-admin/post.php?post=1",
    b"/blog/wp-login.php",
    b"/admin_1x2y3z/sales/order/index/key/abc/",
    b"/renamed/sales/order/view/order_id/1/key/0123456789abcdef0123456789abcdef/",
    b"/admin123abc/index.php?controller=AdminOrders&token=x",
    b"/backend/",
    b"/administration",
    b"/administrator/index.php",
    b"/dashboard/orders/",
    b"/typo3/module/web",
]


@pytest.mark.parametrize("target", ADMIN)
async def test_the_shops_administration_does_not_get_the_chat(tmp_path: Path, target: bytes) -> None:
    """field C5"""
    async with clew(tmp_path, debug=True) as client:
        answer = await client.ask(get(target, *NAVIGATION))
    assert (answer.body, answer.all("x-clew")) == (PAGE, [b"pass; admin"])


@pytest.mark.parametrize(
    ("target", "admin", "edited"),
    [
        (b"/administrative-supplies/", None, True),
        (b"/blog/admin-tips", None, True),
        (b"/index.php?route=account/login", None, True),
        (b"/backends/", None, True),
        (b"/admin/", [], True),
        (b"/verwaltung/orders", ["/verwaltung/*"], False),
        (b"/admin/", ["/verwaltung/*"], True),
    ],
)
async def test_other_pages_get_the_tag_and_settings_have_precedence(
    tmp_path: Path, target: bytes, admin: list[str] | None, edited: bool
) -> None:
    """field C5"""
    async with clew(tmp_path, **({} if admin is None else {"admin": admin})) as client:
        body = (await client.ask(get(target, *NAVIGATION))).body
    assert (body != PAGE) is edited
