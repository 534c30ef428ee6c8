"""Arrivals as a real browser makes them: through the shop's service worker, behind a hash, fetched ahead."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from clew.stores.visits_record import unpacked
from playwright.async_api import BrowserContext
from raw_http import PATIENCE, Request, Shop, read_request, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Shops tidy their addresses before anybody else's script has run.
TIDY = "<script>history.replaceState(null, '', location.pathname)</script>"
WORKER = b"""
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => event.respondWith(fetch(event.request)));
"""
REGISTER = """async () => {
  await navigator.serviceWorker.register("/worker.js");
  await navigator.serviceWorker.ready;
  while (!navigator.serviceWorker.controller) await new Promise((done) => setTimeout(done, 20));
}"""


def page(body: str = "", head: str = "") -> bytes:
    head = f"<head>{head}<title>Shop</title></head>"
    return f"<!doctype html><html lang=en>{head}<body>{body}</body></html>".encode()


def server(pages: dict[bytes, bytes]) -> Any:
    """A script for a `Shop`: these pages by path, an empty one for any other."""

    async def script(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            shop.requests.append(request)
            path = request.target.partition(b"?")[0]
            kind = b"text/javascript" if path.endswith(b".js") else b"text/html"
            body = pages.get(path, page())
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (kind, len(body), body)
            )
            await writer.drain()

    return script


@dataclass
class World:
    """A shop behind clew, and a partner's site."""

    shop: Shop
    address: str
    partner: str
    partner_pages: dict[bytes, bytes]
    database: Path

    def stored(self) -> str:
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute("SELECT data FROM visits")
            return " ".join(json.dumps(unpacked(data).to_json()) for (data,) in rows)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - another program's file has no event
                await asyncio.sleep(0.02)

    def asked(self, target: bytes) -> Request:
        return next(r for r in self.shop.requests if r.target == target)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    database = f"sqlite:{folder / 'clew.db'}"
    partner_pages: dict[bytes, bytes] = {}
    shop_pages = {b"/worker.js": WORKER, b"/tidy": page(head=TIDY)}
    async with Shop(server(shop_pages)) as shop, Shop(server(partner_pages)) as partner:
        partners = [{"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/?c={click_id}"}]
        sites = [{"name": "shop", "upstream": shop.url, "partners": partners}]
        proxy = ReverseProxy(
            Settings.model_validate(
                {"secret": "s" * 40, "store": database, "ledger": database, "sites": sites}
            )
        )
        async with serving(proxy, lifespan="on") as port:
            address = f"http://localhost:{port}"
            yield World(
                shop, address, f"http://partner.test:{partner.port}", partner_pages, folder / "clew.db"
            )


async def test_links_that_a_partners_page_loads_in_secret_are_no_clicks_and_are_reported(
    tmp_path: Path, context: BrowserContext
) -> None:
    """Cookie stuffing: by a picture, a frame, a script and a fetch that nobody sees."""
    with structlog.testing.capture_logs() as log:
        async with world(tmp_path) as at:
            at.partner_pages[b"/"] = page(
                f'<img hidden src="{at.address}/?ref=SECRET1"><iframe hidden src="{at.address}/?ref=SECRET2">'
                f'</iframe><script src="{at.address}/x.js?ref=SECRET3"></script><script>'
                f"fetch('{at.address}/?ref=SECRET4', {{mode: 'no-cors', credentials: 'include'}})</script>"
            )
            browser = await context.new_page()
            await browser.goto(at.partner)
            for number in range(1, 5):
                wanted = b"ref=SECRET%d" % number
                await at.until(lambda wanted=wanted: any(wanted in r.target for r in at.shop.requests))
            await browser.goto(f"{at.address}/mug")
            await at.until(lambda: at.asked(b"/mug"))
            await browser.goto(f"{at.address}/cup")
            await at.until(lambda: "/cup" in at.stored())
            assert "SECRET" not in at.stored()
    told = [line for line in log if line["event"] == "clicks_unusual"]
    assert {(line["partner"], line["key"]) for line in told} == {("blog", "blog embedded")}


async def test_a_click_through_a_shops_service_worker_is_a_landing(
    tmp_path: Path, context: BrowserContext
) -> None:
    """field B5"""
    async with world(tmp_path) as at:
        at.partner_pages[b"/"] = page(f'<a href="{at.address}/mug?ref=A1">mug</a>')
        browser = await context.new_page()
        await browser.goto(at.address)
        await browser.evaluate(REGISTER)
        await browser.goto(at.partner)
        await browser.click("a")
        await browser.wait_for_selector("script[data-clew]", state="attached")
        request = at.asked(b"/mug?ref=A1")
        assert request.all("sec-fetch-dest") == [b"empty"]  # it was the worker that asked
        await at.until(lambda: '"A1"' in at.stored())
        assert '"d"' not in at.stored()


@pytest.mark.parametrize("address", ["/mug#ref=A2", "/tidy#ref=A2", "/tidy?x=1#?ref=A2"])
async def test_a_click_behind_a_hash_is_read_even_if_the_shop_tidies_it_away(
    tmp_path: Path, context: BrowserContext, address: str
) -> None:
    """field B2"""
    async with world(tmp_path) as at:
        at.partner_pages[b"/"] = page(f'<a href="{at.address}{address}">mug</a>')
        browser = await context.new_page()
        await browser.goto(at.partner)
        async with browser.expect_response("**/-/clew/decide"):
            await browser.click("a")
        assert ("#" in browser.url) is address.startswith("/mug")
        await browser.goto(f"{at.address}/cup")  # the second sign of life
        await at.until(lambda: '"A2"' in at.stored())
        assert '"d"' not in at.stored()


async def test_a_page_prefetched_by_a_partner_is_not_a_landing(
    tmp_path: Path, context: BrowserContext
) -> None:
    """field E13"""
    async with world(tmp_path) as at:
        at.partner_pages[b"/"] = page(
            f'<a href="{at.address}/cup?ref=A4">cup</a>',
            f'<link rel="prefetch" href="{at.address}/mug?ref=A3">',
        )
        browser = await context.new_page()
        await browser.goto(at.partner)
        await at.until(lambda: any(r.target == b"/mug?ref=A3" for r in at.shop.requests))
        assert at.asked(b"/mug?ref=A3").all("sec-purpose") == [b"prefetch"]
        await browser.click("a")
        await at.until(lambda: '"A4"' in at.stored())
        assert '"A3"' not in at.stored()
