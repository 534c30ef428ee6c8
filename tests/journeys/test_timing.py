"""When an invite comes, in a real browser: after a time, at a signal of the browser, or not any more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from playwright.async_api import BrowserContext, Error, Page, Request, expect
from raw_http import PATIENCE, serving
from small_shops import Page as Answer
from small_shops import SmallShop, html

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = html("<p id=top>top</p><div style='height:6000px'></div><p id=price>9.90</p><p id=end>end</p>")
TELL = "dispatchEvent(new CustomEvent('clew:event', {{detail: '{}'}}))"
FORMS = html(
    "<button id=coupon onclick='fetch(`/coupon`)'>Use</button>"
    "<button id=other onclick='fetch(`/counts`)'>Count</button>"
)
JSON = (("Content-Type", "application/json"),)
REFUSED, COUNTS = Answer(b'{"error": "not valid"}', 200, JSON), Answer(b'{"count": 1}', 200, JSON)
SHORT = html("<p id=top>top</p><button id=buy>Buy</button>")


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """A page of a fresh profile."""
    return await context.new_page()


@asynccontextmanager
async def shop(folder: Path, *rules: dict[str, Any], **more: Any) -> AsyncIterator[str]:
    """The address of a shop behind clew, with invites by these rules."""
    database = f"sqlite:{folder / 'clew.db'}"
    pages = {"/": LONG, "/short": SHORT, "/forms": FORMS, "/coupon": REFUSED, "/counts": COUNTS}
    with SmallShop(pages) as small:
        named = [
            {"name": f"r{n}", "action": "invite", "text": f"Invite {n}", "priority": -n, **rule}
            for n, rule in enumerate(rules)
        ]
        site = {"name": "shop", "upstream": small.address, "rules": named, **more}
        # What limits invites is tried elsewhere.
        site["invites"] = {"pause": 0, "per_page": 9, "per_visit": 9, "holdout": 0, "throttle": 0}
        settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]}
        async with serving(ReverseProxy(Settings.model_validate(settings)), lifespan="on") as port:
            yield f"http://127.0.0.1:{port}"


class Watched:
    """A page and the decisions that it has asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[dict[str, Any]] = []
        self.loaded: list[str] = []
        self._changed = asyncio.Condition()
        page.on("request", self._heard)
        page.on(
            "requestfinished",
            lambda request: self._tasks.append(asyncio.ensure_future(self._finished(request))),
        )
        self.answers: list[dict[str, Any]] = []
        self._tasks: list[asyncio.Future[None]] = []

    def _heard(self, request: Request) -> None:
        if request.url.endswith("/decide"):
            self.asked.append(request.post_data_json)
        elif request.url.endswith(".js"):
            self.loaded.append(request.url.rpartition("/")[2])

    def _finish(self, request: Request) -> None:
        self._tasks.append(asyncio.ensure_future(self._finished(request)))

    async def _finished(self, request: Request) -> None:
        if request.url.endswith("/decide"):
            response = await request.response()
            assert response is not None
            with contextlib.suppress(Error):  # the page has gone on
                self.answers.append(await response.json())
        async with self._changed:
            self._changed.notify_all()

    async def until(self, count: int) -> None:
        """Wait for as many answers, and for what was loaded after them."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.answers) >= count)

    async def watching(self, count: int = 1) -> None:
        """Wait until the page watches for signals."""
        await self.until(count)
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: "t.js" in self.loaded)
        await self.page.wait_for_load_state("networkidle")

    def invite(self, number: int = 0) -> Any:
        return self.page.get_by_role("region").get_by_text(f"Invite {number}")


async def test_an_invite_comes_after_its_time_on_the_page_and_another_is_not_held_up(
    tmp_path: Path, page: Page
) -> None:
    async with shop(tmp_path, {"wait_page": "3s", "wait": "2s"}, {"wait_page": "1s"}) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.until(1)
        assert watched.answers[0]["rule"] is None
        assert watched.answers[0]["retry_after"] == 1
        await expect(watched.invite(1)).to_be_visible()
        await watched.until(3)
        assert [answer["rule"] for answer in watched.answers] == [None, "r1", "r0"]
        assert watched.asked[2]["seconds"] >= 3
        # An invite that is shown stays, on this page.
        await expect(watched.invite(1)).to_be_visible()
        assert "t.js" not in watched.loaded


async def test_the_pointer_that_leaves_the_page_by_its_upper_edge(tmp_path: Path, page: Page) -> None:
    async with shop(tmp_path, {"on": ["exit"]}) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.watching()
        assert (watched.answers[0]["watch"], watched.answers[0]["rule"]) == (["exit"], None)
        await page.mouse.move(200, 200)
        await page.evaluate("dispatchEvent(new Event('scroll'))")
        await expect(watched.invite()).to_have_count(0)
        # Chromium without a window has no edge: this is the event that it sends.
        leave = (
            "document.documentElement.dispatchEvent(new MouseEvent('mouseout', {bubbles: true, clientY: -1}))"
        )
        await page.evaluate(leave)
        await expect(watched.invite()).to_be_visible()
        assert watched.asked[-1]["told"] == ["exit"]
        await page.evaluate(leave)
        await page.wait_for_load_state("networkidle")
        assert [asked["told"] for asked in watched.asked] == [[], ["exit"]]


async def test_a_page_that_is_scrolled_far_enough(tmp_path: Path, page: Page) -> None:
    rules = ({"on": ["visible #price"], "priority": 1}, {"on": ["scroll 50%"]})
    async with shop(tmp_path, *rules) as address:
        watched = Watched(page)
        await page.goto(address)
        await watched.watching()
        await page.mouse.wheel(0, 1500)
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert len(watched.asked) == 1
        await page.mouse.wheel(0, 1800)
        await expect(watched.invite(1)).to_be_visible()
        await page.mouse.wheel(0, 9000)
        await watched.until(3)
        assert watched.answers[2]["rule"] == "r0"
        assert watched.asked[-1]["told"] == ["scroll 50%", "visible #price"]


async def test_a_visitor_who_does_nothing(tmp_path: Path, page: Page) -> None:
    async with shop(tmp_path, {"on": ["idle 2s"]}) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.watching()
        for x in range(10):
            await page.mouse.move(100 + x, 100)
        await expect(watched.invite()).to_be_visible()
        assert watched.asked[-1]["told"] == ["idle 2s"]


async def test_quick_clicks_at_one_place(tmp_path: Path, page: Page) -> None:
    async with shop(tmp_path, {"on": ["rage", "back"]}) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.watching()
        for _ in range(2):
            await page.locator("#buy").click()
        assert len(watched.asked) == 1
        await page.locator("#buy").click(click_count=3)
        await expect(watched.invite()).to_be_visible()


async def test_a_signal_alone_shows_nothing_where_a_condition_is_false(tmp_path: Path, page: Page) -> None:
    """Scripts can tell what they like."""
    rules = ({"on": ["exit"], "when": ["cart.value > 1.0"]}, {"on": ["rage"]})
    async with shop(tmp_path, *rules) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.watching()
        assert watched.answers[0]["watch"] == ["rage"]
        told = await page.evaluate(
            """async () => {
              const body = {view: "view-12345678", url: location.href, told: ["exit", "nonsense"]};
              const answer = await fetch("/-/clew/decide", {method: "POST", body: JSON.stringify(body),
                headers: {"Content-Type": "application/json"}});
              return answer.json();
            }"""
        )
        assert told["rule"] is None


@pytest.mark.parametrize("how", ["clew", "dataLayer", "gtag"])
async def test_an_event_withdraws_an_invite_for_the_rest_of_the_visit(
    tmp_path: Path, page: Page, how: str
) -> None:
    told = {
        "clew": TELL.format("add_to_cart"),
        "dataLayer": "dataLayer.push({event: 'add_to_cart'})",
        "gtag": "(function () { dataLayer.push(arguments) })('event', 'add_to_cart', {})",
    }
    rules = ({"wait_page": "1s", "cancel_on": ["add_to_cart"]}, {"on": ["event open_sizes"]})
    async with shop(tmp_path, *rules) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await expect(watched.invite(0)).to_be_visible()
        await watched.watching(2)
        await page.evaluate(told[how])
        await expect(watched.invite(0)).to_have_count(0)
        await page.evaluate(TELL.format("open_sizes"))
        await expect(watched.invite(1)).to_be_visible()
        again = Watched(page)
        await page.goto(address)
        await again.until(1)
        assert (again.answers[0]["rule"], again.answers[0]["retry_after"]) == (None, None)


async def test_an_event_withdraws_an_invite_that_still_waits(tmp_path: Path, page: Page) -> None:
    async with shop(tmp_path, {"wait_page": "60s", "cancel_on": ["order"]}) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.watching()
        assert watched.answers[0]["retry_after"] == 60
        await page.evaluate(TELL.format("order"))
        await watched.until(2)
        assert watched.answers[1]["retry_after"] is None
        assert "watch" not in watched.answers[1]


async def test_each_tab_has_its_own_time_on_its_page(tmp_path: Path, page: Page) -> None:
    async with shop(tmp_path, {"wait_page": "4s"}) as address:
        first = Watched(page)
        await page.goto(f"{address}/short")
        await expect(first.invite()).to_be_visible()
        tab = await page.context.new_page()
        second = Watched(tab)
        await tab.goto(f"{address}/short")
        await second.until(1)
        assert (second.answers[0]["rule"], second.answers[0]["retry_after"]) == (None, 4)
        await tab.close()


async def test_a_clock_that_jumps_makes_nobody_wait_or_ask_without_end(tmp_path: Path, page: Page) -> None:
    """That of the visitor's machine, set a day ahead, then back."""
    await page.add_init_script(
        """let jump = 0; const now = Date.now; Date.now = () => now() + jump;
        window.jump = (seconds) => { jump = seconds * 1000; };"""
    )
    async with shop(tmp_path, {"wait_page": "3s"}) as address:
        watched = Watched(page)
        await page.goto(f"{address}/short")
        await watched.until(1)
        await page.evaluate("jump(-86400)")
        await expect(watched.invite()).to_be_visible()
        assert len(watched.asked) <= 3
        await page.evaluate("jump(86400)")
        await page.wait_for_load_state("networkidle")
        assert 3 <= watched.asked[-1]["seconds"] < 60


async def test_what_a_script_of_the_page_is_answered_invites_at_once(tmp_path: Path, page: Page) -> None:
    signal = {"event": "coupon_refused", "path": ["/coupon"], "method": "any", "json_path": "error"}
    async with shop(tmp_path, {"when": ["events.coupon_refused >= 2"]}, signals=[signal]) as address:
        watched = Watched(page)
        await page.goto(f"{address}/forms")
        await watched.watching()
        assert watched.answers[0]["watch"] == ["call"]
        # What no person has caused is not told.
        await page.evaluate("fetch('/counts')")
        await page.locator("#coupon").click()
        await watched.until(2)
        assert watched.answers[1]["rule"] is None
        await page.locator("#coupon").click()
        await expect(watched.invite()).to_be_visible()
        assert watched.asked[-1]["told"] == ["call", "call"]


async def test_calls_of_scripts_are_told_eight_times_for_an_address(tmp_path: Path, page: Page) -> None:
    signal = {"event": "coupon_refused", "path": ["/coupon"], "method": "any", "json_path": "error"}
    async with shop(tmp_path, {"when": ["events.coupon_refused >= 20"]}, signals=[signal]) as address:
        watched = Watched(page)
        await page.goto(f"{address}/forms")
        await watched.watching()
        for number in range(2, 10):
            await page.locator("#other").click()
            await watched.until(number)
        await page.locator("#other").click()
        await page.wait_for_load_state("networkidle")
        assert len(watched.asked) == 9
