"""A shop that shows every order at one address, once, and tells its pages apart by the query, like OpenCart.

A browser goes the whole way; what counts is that the partner hears of each order once, with the right amount,
and that the owner's figures are what the partner was told.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from clew.stores.ledger.reports import OrderFilter, Reports
from playwright.async_api import BrowserContext, Page
from raw_http import PATIENCE, serving
from receiver import Receiver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "t" * 24
CONFIRM = "/index.php?route=checkout/confirm"
CART = f'<b id="cart">119,00 €</b><form method="post" action="{CONFIRM}"><button>Buy</button></form>'


@dataclass
class OneAddress:
    """The shop: a buyer sees number and total once; `?order=` shows any order to any visitor."""

    orders: dict[str, str] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)

    async def answer(self, request: Request) -> Response:
        """One page."""
        route = request.query_params.get("route", "common/home")
        if route == "checkout/confirm":
            number = str(1001 + len(self.orders))
            self.orders[number] = "119,00 €"
            answer = RedirectResponse("/index.php?route=checkout/success", 303)
            answer.set_cookie("bought", number)
            return answer
        body = f"<h1>{route}</h1><a href='/index.php?route=checkout/cart'>Cart</a>"
        if route == "checkout/cart":
            body += CART
        if route == "checkout/success":
            number = request.query_params.get("order") or request.cookies.get("bought", "")
            if "order" in request.query_params or number not in self.shown:
                total = self.orders.get(number, "")
                body += f'<p id="number">Bestellnummer #{number}</p><p id="total">{total}</p>'
            self.shown.add(number)
        head = f"<head><title>{route}</title></head>"
        return HTMLResponse(f"<!doctype html><html lang=de>{head}<body>{body}</body></html>")


@dataclass
class World:
    """A shop behind clew, a partner's page that links there, and the partner's receiver."""

    shop: OneAddress
    address: str
    proxy: ReverseProxy
    receiver: Receiver

    async def buy(self, page: Page) -> None:
        """From the cart to the confirmation page."""
        await page.goto(f"{self.address}/index.php?route=checkout/cart")
        await page.get_by_role("button", name="Buy").click()
        await page.wait_for_url("**route=checkout/success*")

    async def reported(self, count: int) -> list[tuple[str, str, str]]:
        """Click, order and amount of all calls, once there are so many."""
        await self.settled()
        await self.receiver.waited(count)
        asked = [parse_qs(urlsplit(call.target).query) for call in self.receiver.calls]
        return [(one["c"][0], one["o"][0], one["a"][0]) for one in asked]

    async def settled(self) -> None:
        """Wait for the work after the pages were sent."""
        while self.proxy.service.tasks._work:
            for task in list(self.proxy.service.tasks._work):
                await task

    async def report(self, **order: str) -> httpx2.Response:
        """Report an order as the shop's server."""
        async with httpx2.AsyncClient() as server:
            headers = {"authorization": f"Bearer {TOKEN}"}
            return await server.post(f"{self.address}/-/clew/orders", json=order, headers=headers)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    shop = OneAddress()
    app = Starlette(routes=[Route("/{path:path}", shop.answer, methods=["GET", "POST"])])
    with Receiver() as receiver:
        async with serving(app) as port:
            postback = f"{receiver.address}/sale?c={{click_id}}&o={{order_id}}&a={{amount}}"
            page = "*?route=checkout/success"
            site = {
                "name": "shop",
                "upstream": f"http://127.0.0.1:{port}",
                "platform": "opencart",
                "api_token": TOKEN,
                "order": {"page": page, "id": "#number", "total": "#total", "currency": "EUR"},
                "cart": {"value": "#cart"},
                "partners": [{"id": "blog", "param": "ref", "postback": postback}],
            }
            database = f"sqlite:{folder / 'clew.db'}"
            settings = {"secret": "s3cr3t-" * 6, "store": database, "ledger": database, "sites": [site]}
            proxy = ReverseProxy(Settings.model_validate(settings))
            async with serving(proxy, lifespan="on") as front:
                yield World(shop, f"http://localhost:{front}", proxy, receiver)


async def land(page: Page, address: str, click: str) -> None:
    """By a link on a page elsewhere."""
    await page.route(
        "http://partner.test/",
        lambda route: route.fulfill(
            body=f'<a href="{address}/?ref={click}">shop</a>', content_type="text/html"
        ),
    )
    await page.goto("http://partner.test/")
    await page.get_by_role("link", name="shop").click()
    await page.wait_for_url(f"{address}/*")


async def test_each_order_is_reported_once_whatever_the_visitor_does(
    tmp_path: Path, context: BrowserContext
) -> None:
    async with world(tmp_path) as at:
        page = await context.new_page()
        await land(page, at.address, "c1")
        await at.buy(page)
        assert await at.reported(1) == [("c1", "1001", "119.00")]
        await page.reload()
        second = await context.new_page()
        await second.goto(f"{at.address}/index.php?route=checkout/success")
        await at.settled()
        # A reload, and the page in a second tab, show no order any more: nothing is missing.
        await at.proxy.service.write_notices()
        found = await at.proxy.service.ledger.notices.list(["shop"])
        assert [notice for notice in found if notice.event.startswith("order")] == []
        await at.buy(page)
        await page.go_back()
        await page.go_forward()
        assert await at.reported(2) == [("c1", "1001", "119.00"), ("c1", "1002", "119.00")]


async def test_the_servers_amount_of_a_strangers_order_is_reported_everywhere(
    tmp_path: Path, context: BrowserContext
) -> None:
    async with world(tmp_path) as at:
        page = await context.new_page()
        await land(page, at.address, "thief")
        at.shop.orders["2001"] = "119,00 €"
        await page.goto(f"{at.address}/index.php?route=checkout/success&order=2001")
        await at.settled()
        assert await at.proxy.service.ledger.outbox.holds("shop") == {"checkout": 1}
        await context.clear_cookies()
        await land(page, at.address, "right")
        value = next(c["value"] for c in await context.cookies() if c["name"] == "clew_visitor")
        answer = await at.report(id="2001", total="99.00", currency="EUR", visitor=value)
        assert (answer.status_code, answer.json()["total"]) == (200, "99.00")
        assert await at.reported(1) == [("right", "2001", "99.00")]
        async with asyncio.timeout(PATIENCE):
            while (await at.proxy.service.ledger.outbox.counts("shop"))["delivered"] == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        (row,) = await Reports(at.proxy.service.ledger.db).sums(OrderFilter())
        assert (row.reported, row.reported_total) == (1, Decimal("99.00"))
        assert (row.orders, row.total, row.waiting, row.refused) == (1, Decimal("99.00"), 0, 0)
