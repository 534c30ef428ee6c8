"""Shops made with React, Turbo and htmx, behind the real clew, in a real browser.

The libraries themselves are in `tests/support/libraries`. A policy that only reports listens on every page:
the browser has nothing to say of us.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from clew.injector.tag import tag
from clew.middleware.asgi.mount import ClewMiddleware
from clew.settings.model import Settings
from playwright.async_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIBRARIES = Path(__file__).parents[1] / "support" / "libraries"
POLICY = (
    "script-src 'nonce-abc' 'strict-dynamic'; connect-src 'self'; style-src 'none'; font-src 'none'; "
    "frame-src 'none'; worker-src 'none'; img-src 'self'; object-src 'none'; base-uri 'none'"
)


class Shop:
    """Pages behind clew, as a test writes them down."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.asked: list[tuple[str, str]] = []  # paths, and what for
        database = f"sqlite:{folder / 'clew.db'}"
        settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [{"name": "shop"}]}
        routes = [Mount("/lib", StaticFiles(directory=LIBRARIES)), Route("/{path:path}", self._page)]
        self.clew = ClewMiddleware(Starlette(routes=routes), Settings.model_validate(settings))

    def add(self, path: str, html: str, **headers: str) -> None:
        """A page; without a policy of its own it has `POLICY`, which only reports."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = html, named or {"content-security-policy-report-only": POLICY}

    @property
    def views(self) -> float:
        """The page views reported by the browser."""
        labels = {"site": "shop", "event": "decision"}
        return self.clew.service.registry.get_sample_value("clew_events_total", labels) or 0

    async def _page(self, request: Request) -> Response:
        self.asked.append((request.url.path, request.headers.get("sec-purpose", "")))
        if request.url.path not in self.pages:
            return Response(status_code=404)
        html, headers = self.pages[request.url.path]
        return HTMLResponse(html, headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop on a port of its own."""
    shop = Shop(tmp_path)
    config = uvicorn.Config(shop.clew, lifespan="on", log_config=None, timeout_graceful_shutdown=5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shop.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        yield shop
        shop.clew.service.hub.close()
        server.should_exit = True
        await running


def library(name: str) -> str:
    return f'<script nonce="abc" src="/lib/{name}.js"></script>'


def script(text: str) -> str:
    return f'<script nonce="abc">{text}</script>'


async def violations(page: Page) -> list[str]:
    """The policy's reports, which arrive in separate tasks."""
    found: list[str] = await page.evaluate(
        "new Promise(done => setTimeout(() => done(window.violations), 100))"
    )
    return found


def launcher(page: Page) -> Any:
    return page.get_by_role("button", name="Ask us")


async def until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait for what requests bring about; each look is a way to the browser and back."""
    async with asyncio.timeout(30):
        while not holds():
            await page.evaluate("new Promise(requestAnimationFrame)")


BASKET = """
  const h = React.createElement;
  function Basket() {
    const [count, setCount] = React.useState(0);
    return h("button", { onClick: () => setCount(count + 1) }, `In the basket: ${count}`);
  }
  window.recovered = [];
  const options = { onRecoverableError: (error) => recovered.push(String(error)) };
  window.sent = document.querySelector("button");
"""
WHOLE = """
  const Shop = () => h("html", { lang: "en" },
    h("head", null, h("title", null, "Shop")),
    h("body", null, h("main", null, h(Basket))));
  ReactDOM.hydrateRoot(document, h(Shop), options);
"""
PART = 'ReactDOM.hydrateRoot(document.getElementById("root"), h(Basket), options);'
BUTTON = "<button>In the basket: 0</button>"


async def buy(page: Page) -> None:
    await page.get_by_role("button", name="In the basket: 0").click()
    await expect(page.get_by_role("button", name="In the basket: 1")).to_be_visible()


@pytest.mark.parametrize("version", ["react-18", "react-19"])
async def test_react_takes_over_its_part_of_a_page_as_the_server_sent_it(
    shop: Shop, page: Page, version: str
) -> None:
    """injection 7.2, 7.3, 7.5: the root has no child of clew's, before and after."""
    shop.add(
        "/",
        '<!doctype html><html lang="en"><head><title>Shop</title></head><body>'
        f'<div id="root">{BUTTON}</div>{library(version)}{script(BASKET + PART)}</body></html>',
    )
    await page.goto(shop.url)
    await expect(launcher(page)).to_be_visible()
    await buy(page)
    assert await page.evaluate("recovered") == []
    assert await page.evaluate("sent === document.querySelector('#root > button')")
    assert await page.evaluate("document.getElementById('root').childNodes.length") == 1
    assert await violations(page) == []


async def whole_document(shop: Shop, page: Page, version: str) -> None:
    shop.add(
        "/",
        '<!DOCTYPE html><html lang="en"><head><title>Shop</title></head><body>'
        f"<main>{BUTTON}</main>{library(version)}{script(BASKET + WHOLE)}</body></html>",
    )
    await page.goto(shop.url)
    await buy(page)
    await expect(launcher(page)).to_be_visible()
    await buy_more(page)
    assert await page.locator("clew-chat").count() == 1
    assert shop.views == 1
    assert await violations(page) == []


async def buy_more(page: Page) -> None:
    await page.get_by_role("button", name="In the basket: 1").click()
    await expect(page.get_by_role("button", name="In the basket: 2")).to_be_visible()


async def test_react_19_takes_over_a_whole_document_with_the_tag_in_it(shop: Shop, page: Page) -> None:
    """injection 7.2: it passes over what it does not know in the head."""
    await whole_document(shop, page, "react-19")
    assert await page.evaluate("recovered") == []
    assert await page.evaluate("sent === document.querySelector('main > button')")


async def test_react_18_renders_a_whole_document_and_the_chat_is_there(shop: Shop, page: Page) -> None:
    """injection 7.2: it renders changed parts again, whatever changed them; nothing else is lost."""
    await whole_document(shop, page, "react-18")


async def test_the_chat_is_kept_from_page_to_page_with_turbo(shop: Shop, page: Page) -> None:
    """injection 3.3, 7.6: pages fetched by Turbo have no tag and need none; the page is never reloaded."""
    for name, other in (("one", "two"), ("two", "one")):
        shop.add(
            f"/{name}",
            f'<!doctype html><html lang="en"><head><title>{name}</title>'
            f'<meta name="csp-nonce" content="abc">{library("turbo-8")}</head>'
            f'<body><h1>Page {name}</h1><a href="/{other}">to {other}</a></body></html>',
            content_security_policy_report_only=POLICY.replace("style-src 'none'; ", ""),
        )
    await page.goto(shop.url + "/one")
    await launcher(page).click()
    await page.get_by_label("Write a message").fill("Is the pot blue?")
    await page.evaluate("window.stays = true")
    fetched: list[Any] = []
    page.on("response", lambda response: fetched.append(response))
    for number, name in enumerate(("two", "one", "two"), 2):
        await page.get_by_role("link", name=f"to {name}").click()
        await expect(page.get_by_role("heading", name=f"Page {name}")).to_be_visible()
        await until(page, lambda number=number: shop.views == number)
    await expect(page.get_by_label("Write a message")).to_have_value("Is the pot blue?")
    assert await page.evaluate("window.stays")
    assert await page.locator("clew-chat").count() == 1
    assert await page.locator("script[data-clew]").count() == 1
    bodies = [await response.text() for response in fetched if response.url.endswith(("/one", "/two"))]
    assert len(bodies) >= 2
    assert [body for body in bodies if "data-clew" in body] == []
    assert await violations(page) == []


async def test_parts_that_htmx_loads_come_as_the_shop_sent_them(shop: Shop, page: Page) -> None:
    """injection 3.1, 7.6: a row stays a row, and a boosted link keeps the chat."""
    part = "<tr><td>Teapot</td></tr>"
    shop.add("/part", part)
    for name, other in (("one", "two"), ("two", "one")):
        shop.add(
            f"/{name}",
            f'<!doctype html><html lang="en"><head><title>{name}</title>'
            '<meta name="htmx-config" content=\'{"includeIndicatorStyles":false,"allowEval":false}\'>'
            f'{library("htmx-2")}</head><body hx-boost="true"><h1>Page {name}</h1>'
            '<table><tbody id="rows"></tbody></table>'
            '<button hx-get="/part" hx-target="#rows">Show</button>'
            f'<a href="/{other}">to {other}</a></body></html>',
        )
    await page.goto(shop.url + "/one")
    await expect(launcher(page)).to_be_visible()
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("cell", name="Teapot")).to_be_visible()
    assert await page.evaluate("[...document.querySelectorAll('#rows *')].map(e => e.localName)") == [
        "tr",
        "td",
    ]
    await page.evaluate("window.stays = true")
    await page.get_by_role("link", name="to two").click()
    await expect(page.get_by_role("heading", name="Page two")).to_be_visible()
    await until(page, lambda: shop.views == 2)
    await expect(launcher(page)).to_be_visible()
    assert await page.evaluate("window.stays")
    assert await page.locator("clew-chat").count() == 1
    assert await violations(page) == []


async def test_scripts_of_the_shop_that_look_for_scripts_find_their_way(shop: Shop, page: Page) -> None:
    """injection 1.18, 1.19: the classic snippet inserts itself before the first script there is."""
    shop.add(
        "/",
        '<!doctype html><html lang="en"><head><title>Shop</title></head><body class="shop">'
        + script("""
          window.own = document.currentScript.parentNode.className;
          const first = document.getElementsByTagName("script")[0];
          const added = document.createElement("script");
          added.src = "/lib/htmx-2.js";
          first.parentNode.insertBefore(added, first);
          window.attributes = [...document.documentElement.attributes, ...document.head.attributes].length;
        """)
        + "</body></html>",
    )
    await page.goto(shop.url)
    await expect(launcher(page)).to_be_visible()
    await page.wait_for_function("window.htmx")
    assert await page.evaluate("[own, attributes]") == ["shop", 1]
    assert await page.evaluate("document.head.querySelectorAll('script[data-clew]').length") == 1


async def test_a_page_shut_off_from_other_origins_has_the_chat(shop: Shop, page: Page) -> None:
    """injection 6.15, 6.16: all of it comes from the shop's own origin, and it asks for no permission."""
    shop.add(
        "/",
        "<!doctype html><title>Shop</title><h1>Shop</h1>",
        cross_origin_embedder_policy="require-corp",
        cross_origin_opener_policy="same-origin",
        cross_origin_resource_policy="same-origin",
        permissions_policy="microphone=(), camera=(), clipboard-read=(), clipboard-write=(), autoplay=()",
        content_security_policy="script-src 'self'",
    )
    await page.goto(shop.url)
    assert await page.evaluate("crossOriginIsolated")
    await launcher(page).click()
    await page.get_by_label("Write a message").fill("Is the pot blue?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log")).to_contain_text("Is the pot blue?")
    assert await violations(page) == []


async def test_a_sandboxed_page_is_not_edited(shop: Shop, page: Page) -> None:
    """injection 6.11."""
    shop.add("/", "<!doctype html><head><h1>Shop</h1>", content_security_policy="sandbox")
    answer = await page.goto(shop.url)
    assert answer is not None
    assert await answer.text() == "<!doctype html><head><h1>Shop</h1>"


async def test_without_javascript_the_page_looks_as_without_clew(shop: Shop, chromium: Browser) -> None:
    """injection 7.11."""
    html = '<!doctype html><html lang="en"><head><title>Shop</title></head><body><h1>Tea</h1></body></html>'
    shop.add("/", html)
    shop.add("/left-alone", html, cache_control="no-transform")
    context = await chromium.new_context(java_script_enabled=False)
    page = await context.new_page()
    answer = await page.goto(shop.url)
    assert answer is not None
    assert tag("/-/clew/", b"abc").decode() in await answer.text()
    seen = await page.screenshot()
    await page.goto(shop.url + "/left-alone")
    assert await page.screenshot() == seen
    await context.close()


async def test_a_prefetched_page_has_the_tag_when_it_is_shown(shop: Shop, page: Page) -> None:
    """injection 3.17: and is not fetched again."""
    rules = '{"prefetch": [{"source": "list", "urls": ["/two"], "eagerness": "immediate"}]}'
    html = '<!doctype html><html lang="en"><head><title>Shop</title></head><body>{}</body></html>'
    link = f'<script type="speculationrules">{rules}</script><a href="/two">on</a>'
    shop.add("/one", html.format(link), x_shop="tea")
    shop.add("/two", html.format("<h1>Two</h1>"), x_shop="tea")
    async with page.expect_event("requestfinished", lambda request: request.url.endswith("/two")):
        await page.goto(shop.url + "/one")
    await expect(launcher(page)).to_be_visible()
    assert shop.views == 1
    await page.get_by_role("link", name="on").click()
    await expect(page.get_by_role("heading", name="Two")).to_be_visible()
    await expect(launcher(page)).to_be_visible()
    await until(page, lambda: shop.views == 2)
    assert [purpose for path, purpose in shop.asked if path == "/two"] == ["prefetch"]
