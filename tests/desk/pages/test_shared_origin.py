"""The desk on the shop's own origin, in Debian's Chromium: what a script of the shop can do to it there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from clew.middleware.asgi.mount import ClewMiddleware
from clew.settings.model import Settings
from clew.stores.ledger.agents import Agents
from desks import PASSWORD
from playwright.async_api import BrowserContext
from playwright.async_api import Page as Tab
from raw_http import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORKER = """
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(
  Promise.all([self.clients.claim(), PRELOAD ? self.registration.navigationPreload.enable() : null])));
self.addEventListener("fetch", (event) => {
  if (!event.request.url.includes("/-/clew/desk")) return;
  const ahead = PRELOAD ? event.preloadResponse : Promise.resolve();
  event.respondWith(ahead.then((response) => response || fetch(event.request)));
});
"""


async def page(request: Request) -> Response:
    return HTMLResponse("<!doctype html><html><head><title>Shop</title></head><body>Tea</body></html>")


async def worker(request: Request) -> Response:
    preload = "true" if request.query_params.get("preload") else "false"
    return Response(WORKER.replace("PRELOAD", preload), media_type="text/javascript")


@pytest_asyncio.fixture(loop_scope="session")
async def shop(tmp_path: Path) -> AsyncIterator[str]:
    database = f"sqlite:{tmp_path / 'clew.db'}"
    values = {"secret": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB", "sites": [{"name": "shop"}]}
    app = Starlette(routes=[Route("/", page), Route("/sw.js", worker)])
    mount = ClewMiddleware(app, Settings.model_validate({**values, "store": database, "ledger": database}))
    light = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    agents = mount.service.ledger.agents = Agents(mount.service.ledger.db, light)
    async with serving(mount, lifespan="on") as port:
        await agents.add("bo", PASSWORD, site=None, now=0.0)
        yield f"http://127.0.0.1:{port}"


async def signed_in(context: BrowserContext, shop: str) -> Tab:
    tab = await context.new_page()
    await tab.goto(f"{shop}/-/clew/desk/")
    await tab.get_by_label("Name").fill("bo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await tab.get_by_text("Nobody is waiting").wait_for()
    return tab


ATTEMPTS = [
    pytest.param("fetch('/-/clew/desk/').then((r) => r.text())", id="fetch"),
    pytest.param(
        "fetch('/-/clew/desk/', {referrer: '/-/clew/desk/', "
        "headers: {Accept: 'text/html', 'X-Clew-Csrf': 'x'}})"
        ".then((r) => r.text())",
        id="fetch as the desk's own",
    ),
    pytest.param(
        "new Promise((done) => { const f = document.createElement('iframe'); f.src = '/-/clew/desk/';"
        "f.onload = () => {"
        "try { done(f.contentDocument.documentElement.outerHTML) } catch (e) { done('') } };"
        "document.body.append(f) })",
        id="frame",
    ),
    pytest.param(
        "new Promise((done) => { const w = window.open('/-/clew/desk/'); let n = 0;"
        "const look = () => { try { const t = w.document.documentElement.outerHTML;"
        "if (t.includes('Log out')) return done(t) } catch (e) {}"
        "n++ < 40 ? setTimeout(look, 50) : done('') };"
        "look() })",
        id="window",
    ),
]


@pytest.mark.parametrize("script", ATTEMPTS)
async def test_a_script_of_the_shop_cannot_read_the_agents_desk(
    context: BrowserContext, shop: str, script: str
) -> None:
    """field E2: a reflected script runs with the agent's cookies"""
    await signed_in(context, shop)
    tab = await context.new_page()
    await tab.goto(shop)
    read = await tab.evaluate(script)
    assert "csrf" not in read
    assert "Log out" not in read


STREAM = """new Promise((done) => {
  const stream = new EventSource(`/-/clew/desk/stream?${QUERY}`);
  stream.onopen = () => done("open");
  stream.onerror = () => done("refused");
})"""


async def test_a_script_of_the_shop_cannot_listen_at_the_agents_desk(
    context: BrowserContext, shop: str
) -> None:
    """field E2: when a message is written, and an agent who is online as long as the stream is open"""
    desk = await signed_in(context, shop)
    await desk.locator("#pulse-text", has_text="live").wait_for()
    key = await desk.locator("header.top").get_attribute("data-key")
    mark = await desk.locator("header.top").get_attribute("data-mark")
    tab = await context.new_page()
    await tab.goto(shop)
    for query in ("", f"mark={mark}", "mark=x&key=", f"mark=x&key={'0' * 32}"):
        assert await tab.evaluate(STREAM.replace("${QUERY}", query)) == "refused", query
    assert await tab.evaluate(STREAM.replace("${QUERY}", f"mark=x&key={key}")) == "open", "it is the key"


@pytest.mark.parametrize("query", ["", "?preload=1"])
async def test_no_login_comes_through_a_service_worker_of_the_shop(
    context: BrowserContext, shop: str, query: str
) -> None:
    """field E2: a worker that passes requests on, and one that has the browser load ahead"""
    tab = await context.new_page()
    await tab.goto(shop)
    await tab.evaluate(
        f"navigator.serviceWorker.register('/sw.js{query}').then(() => navigator.serviceWorker.ready)"
        ".then(() => navigator.serviceWorker.controller || new Promise("
        "(done) => navigator.serviceWorker.addEventListener('controllerchange', done))).then(() => true)"
    )
    answer = await tab.goto(f"{shop}/-/clew/desk/login")
    assert answer is not None
    assert answer.from_service_worker
    assert answer.status == 403
    assert await tab.get_by_label("Password").count() == 0
