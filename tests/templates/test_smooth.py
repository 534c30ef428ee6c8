"""The chat holds the page up nowhere: no long task of ours, and nothing of the page moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_clew import INVITE, FakeClew, shop_page
from playwright.async_api import Browser, CDPSession, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

ELEMENTS = 3000
MESSAGES = 200
LONG = 50  # ms, as a long task is defined (W3C Long Tasks)

LISTEN = """
window.shifts = [];
new PerformanceObserver((list) => shifts.push(...list.getEntries().map((one) => one.value)))
  .observe({ type: "layout-shift", buffered: true });
"""
# What runs scripts in the page; it has none but ours.
SCRIPTS = {"EvaluateScript", "EventDispatch", "FunctionCall", "RunMicrotasks", "TimerFire"}
TILE = (
    '<div class="tile"><a href="/{n}">Mug {n}</a><p class="price">{n},90 €</p>'
    "<button>Add to basket</button><span>in stock</span></div>"
)
BODY = "".join(TILE.format(n=n) for n in range(ELEMENTS // 5))
STYLE = "<style>.tile { display: inline-block; width: 180px; height: 120px; overflow: hidden }</style>"
REST = "() => new Promise((done) => requestIdleCallback(() => setTimeout(done, 300)))"


class Traced:
    """What the browser's threads computed, by what happened meanwhile."""

    def __init__(self, session: CDPSession) -> None:
        self.longest: dict[str, float] = {}
        self._session = session
        self._events: list[dict[str, Any]] = []
        session.on("Tracing.dataCollected", lambda told: self._events.extend(told["value"]))

    @asynccontextmanager
    async def during(self, what: str, page: Page) -> AsyncIterator[None]:
        """Take the CPU time of the longest script, in ms: it does not grow while the machine is busy."""
        self._events.clear()
        wanted = {"includedCategories": ["devtools.timeline"], "recordMode": "recordUntilFull"}
        await self._session.send("Tracing.start", {"traceConfig": wanted, "transferMode": "ReportEvents"})
        yield
        await page.evaluate(REST)
        ended = asyncio.Event()
        self._session.once("Tracing.tracingComplete", lambda told: ended.set())
        await self._session.send("Tracing.end")
        async with asyncio.timeout(60):
            await ended.wait()
        scripts = [one["tdur"] / 1000 for one in self._events if one["name"] in SCRIPTS and "tdur" in one]
        assert scripts, what
        self.longest[what] = max(scripts)


async def test_no_task_of_ours_is_long_and_nothing_moves(clew: FakeClew, chromium: Browser) -> None:
    for path in ("/", "/again"):
        clew.add_page(path, shop_page(BODY, STYLE))
    clew.answer = INVITE
    traced = Traced(await chromium.new_browser_cdp_session())
    page = await chromium.new_page(viewport={"width": 1280, "height": 720})
    await page.add_init_script(LISTEN)
    async with traced.during("the page is loaded and decided", page):
        await page.goto(clew.url)
        await expect(page.locator(".launcher")).to_be_visible()
    async with traced.during("it is scrolled", page):
        await page.evaluate("scrollTo(0, 2000)")
    async with traced.during("the chat is opened", page):
        await page.locator(".launcher").click()
        await expect(page.locator(".panel")).to_be_visible()
    await clew.until(lambda: clew.streams)
    async with traced.during("the talk gets long", page):
        for number in range(MESSAGES):
            await clew.say(f"Answer {number}: " + "in every shop " * 5)
        await expect(page.locator(".panel")).to_contain_text(f"Answer {MESSAGES - 1}:")
    async with traced.during("the page is scrolled under it", page):
        await page.evaluate("scrollTo(0, 4000)")
    assert await page.evaluate("shifts") == []
    async with traced.during("it is open on the next page", page):
        await page.goto(clew.url + "/again")
        await expect(page.locator(".panel")).to_contain_text(f"Answer {MESSAGES - 1}:")
    assert await page.evaluate("shifts") == []
    await page.close()
    assert {what: ms for what, ms in traced.longest.items() if ms > LONG} == {}
