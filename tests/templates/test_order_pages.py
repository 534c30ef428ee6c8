"""Confirmation pages that no navigation brings: Turbo, htmx, a router of the shop's own, a frame."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from clew.middleware.asgi.mount import ClewMiddleware
from clew.postbacks.model import Postback
from clew.settings.model import Settings
from playwright.async_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIBRARIES = Path(__file__).parents[1] / "support" / "libraries"
ORDERED = '<div><p id="number">Order #1001</p><table><tr><td id="total">59.90 €</td></tr></table></div>'
ROUTER = """
  async function go(event) {
    event.preventDefault();
    history.pushState(null, "", "/thank-you/1001");
    document.querySelector("main").textContent = "One moment";
    const order = await (await fetch("/api/order")).json();
    await new Promise((done) => setTimeout(done, 700));
    const main = document.querySelector("main");
    main.replaceChildren();
    for (const [id, text] of Object.entries(order)) {
      const line = main.appendChild(document.createElement("p"));
      line.id = id;
      line.textContent = text;
    }
  }
  document.querySelector("a").addEventListener("click", go);
"""


def html(body: str, head: str = "") -> str:
    return f'<!doctype html><html lang="en"><head><title>T</title>{head}</head><body>{body}</body></html>'


class Shop:
    """A shop of a few pages behind clew, on a port of its own."""

    def __init__(self, folder: Path, order: dict[str, Any]) -> None:
        self.url = ""
        self.pages: dict[str, str] = {"/thank-you/1001": html(ORDERED)}
        database = f"sqlite:{folder / 'clew.db'}"
        partner = {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"}
        selectors = {"page": "/thank-you/*", "id": "#number", "total": "#total", "currency": "EUR"}
        site = {
            "name": "shop",
            "partners": [partner],
            "page_types": {"/checkout": "checkout"},
            "order": {**selectors, **order},
        }
        settings = {"secret": "s3cr3t-" * 6, "store": database, "ledger": database, "sites": [site]}
        routes = [
            Mount("/lib", StaticFiles(directory=LIBRARIES)),
            Route("/api/order", lambda _: JSONResponse({"number": "#1001", "total": "€59.90"})),
            Route("/{path:path}", self._page, methods=["GET", "POST"]),
        ]
        self.clew = ClewMiddleware(Starlette(routes=routes), Settings.model_validate(settings))

    async def _page(self, request: Request) -> Response:
        found = self.pages.get(request.url.path)
        return Response(status_code=404) if found is None else HTMLResponse(found)

    async def postback(self, browser: Page) -> Postback:
        """The one postback, as soon as there is one."""
        async with asyncio.timeout(20):
            while not (rows := await self.clew.service.ledger.outbox.list()):
                await browser.evaluate("new Promise(requestAnimationFrame)")
        (row,) = rows
        return row


@pytest_asyncio.fixture(loop_scope="session")
async def shops(tmp_path: Path) -> AsyncIterator[Any]:
    """Makes a shop; the settings of its order may be given."""
    running: list[tuple[Shop, uvicorn.Server, asyncio.Task[None], socket.socket]] = []

    async def make(**order: Any) -> Shop:
        shop = Shop(tmp_path, order)
        listener = socket.create_server(("127.0.0.1", 0))
        shop.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(shop.clew, lifespan="on", log_config=None, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        running.append((shop, server, asyncio.create_task(server.serve(sockets=[listener])), listener))
        return shop

    yield make
    for shop, server, task, listener in running:
        shop.clew.service.hub.close()
        server.should_exit = True
        await task
        listener.close()


async def checked_out(shop: Shop, browser: Page, checkout: str) -> None:
    """A visitor of the partner's at the checkout."""
    shop.pages |= {"/": html("home"), "/checkout": checkout}
    await browser.goto(f"{shop.url}/?ref=c1")
    await browser.goto(f"{shop.url}/checkout")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ('<script src="/lib/turbo-8.js"></script>', '<a href="/thank-you/1001">Pay</a>'),
        (
            '<script src="/lib/htmx-2.js"></script>',
            '<p hx-boost="true"><a href="/thank-you/1001">Pay</a></p>',
        ),
        ("", """<a onclick="fetch('/thank-you/1001').then(r => r.text()); return false" href="#">Pay</a>"""),
        (
            "",
            """<a onclick="f.src = '/thank-you/1001'; return false" href="#">Pay</a><iframe id=f></iframe>""",
        ),
    ],
    ids=["turbo", "htmx", "fetch", "iframe"],
)
async def test_an_order_on_a_fetched_or_framed_page_is_recorded(
    shops: Any, page: Page, head: str, body: str
) -> None:
    """field A14."""
    shop = await shops()
    await checked_out(shop, page, html(body, head))
    await page.get_by_role("link", name="Pay").click()
    row = await shop.postback(page)
    assert (row.report.order_id, row.report.amount, row.hold) == ("1001", "59.90", None)


@pytest.mark.parametrize(("browser", "hold"), [("hold", "browser"), ("send", None)])
async def test_an_order_that_a_script_draws_is_seen_and_held_unless_the_browser_is_believed(
    shops: Any, page: Page, browser: str, hold: str | None
) -> None:
    """field A14: a single-page router, JSON, the History API."""
    shop = await shops(browser=browser)
    checkout = html(f'<main><a href="/thank-you/1001">Pay</a></main><script>{ROUTER}</script>')
    await checked_out(shop, page, checkout)
    await page.get_by_role("link", name="Pay").click()
    row = await shop.postback(page)
    assert (row.report.order_id, row.report.amount, row.hold) == ("1001", "59.90", hold)


async def test_the_shops_page_confirms_a_browsers_report(shops: Any, page: Page) -> None:
    """field A14."""
    shop = await shops()
    checkout = html(f'<main><a href="/thank-you/1001">Pay</a></main><script>{ROUTER}</script>')
    await checked_out(shop, page, checkout)
    await page.get_by_role("link", name="Pay").click()
    assert (await shop.postback(page)).hold == "browser"
    await page.reload()
    await expect(page.locator("#number")).to_be_visible()
    async with asyncio.timeout(20):
        while (await shop.postback(page)).hold is not None:
            await page.evaluate("new Promise(requestAnimationFrame)")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "/elsewhere", "html": "<p id=number>1</p>"}, 422),
        ({"url": "/thank-you/1", "html": "x" * 70_000}, 422),
        ({"url": "/thank-you/1", "linked": ["{}"] * 6}, 422),
        ({"url": "/thank-you/1", "html": "<p id=number>1</p><p id=total>5 €</p>"}, 204),
    ],
)
async def test_a_browsers_report_is_limited_in_size(
    shops: Any, page: Page, body: dict[str, Any], status: int
) -> None:
    shop = await shops()
    shop.pages["/"] = html("home")
    await page.goto(shop.url)
    tell = """async (body) => (await fetch("/-/clew/order-page", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    })).status"""
    assert await page.evaluate(tell, body) == status
