"""Facts that only a browser knows, as the loader tells them on real pages; and a visitor with two tabs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from clews import ClewFolder, ClewServe
from fact_shops import page_of
from playwright.async_api import BrowserContext, Page, Response
from shoppers import Answer, Asked, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SETTINGS = """
secret = "env:CLEW_SECRET"

[[sites]]
name = "shop"
upstream = "{shop}"
language = "en"

[[sites.rules]]
name = "told"
when = [
  'page.title == "Hand mill"', 'page.fragment == "reviews"', 'page.language == "fi"',
  'page.path == "/mill/1"', 'page.query.size == "m"',
  'page.referrer.endsWith("/?first=1")', 'page.referrer_host == page.host',
  'device.type == "desktop"', 'device.language == "en-GB"',
  'page.seconds >= 1', 'visit.pages == 2',
]
action = "hide"

[[sites.rules]]
name = "within-a-page"
when = ['page.path == "/mills"', 'page.previous == "/app"', 'visit.pages == 2']
action = "hide"

[[sites.rules]]
name = "first-tab"
when = [
  'page.path == "/tab/1"', 'page.previous == "/start"', 'page.title == "First"', 'page.times == 1',
]
on = ["event again"]
action = "hide"

[[sites.rules]]
name = "second-tab"
when = [
  'page.path == "/tab/2"', 'page.seconds < 2', 'page.previous == "/tab/1"', 'visit.pages == 3',
  'page.title == "Second"', 'visit.landing == "/start"',
]
action = "hide"
"""
AGAIN = "setInterval(() => dispatchEvent(new CustomEvent('clew:event', { detail: 'again' })), 100); 0"
TITLES = {"/mill/1": "Hand mill", "/tab/1": "First", "/tab/2": "Second"}


def pages(asked: Asked) -> Answer:
    body = page_of('<a id="go" href="/mill/1?size=m#reviews">Mill</a>')
    language = "fi" if asked.path == "/mill/1" else "en"
    title = TITLES.get(asked.path, "Shop")
    return Answer(body.replace("lang=en", f"lang={language}").replace("A page", title))


@pytest.fixture
def clew(tmp_path: Path) -> Iterator[ClewServe]:
    shop = Shop(pages)
    with ClewServe(ClewFolder(tmp_path / "clew", SETTINGS.format(shop=shop.address))) as served:
        yield served
    shop.close()


def hides(path: str) -> Any:
    """Whether a response says that the chat is hidden on this page."""

    async def found(response: Response) -> bool:
        if not response.url.endswith("/decide"):
            return False
        asked = response.request.post_data_json
        return urlsplit(asked["url"]).path == path and (await response.json())["action"] == "hide"

    return found


async def seen(page: Page, address: str) -> None:
    """Open a page, once clew has answered on it."""
    async with page.expect_response("**/decide"):
        await page.goto(address)


async def test_what_only_the_browser_knows_is_right(clew: ClewServe, context: BrowserContext) -> None:
    page = await context.new_page()
    await seen(page, f"{clew.address}/?first=1")
    async with page.expect_response(hides("/mill/1")):
        await page.locator("#go").click()


async def test_a_page_that_a_script_changes_is_another_page(clew: ClewServe, context: BrowserContext) -> None:
    page = await context.new_page()
    await seen(page, f"{clew.address}/app")
    async with page.expect_response(hides("/mills")):
        await page.evaluate("history.pushState({}, '', '/mills')")


async def test_each_of_two_tabs_has_its_own_page(clew: ClewServe, context: BrowserContext) -> None:
    """The first one asks again while the second one is the visitor's newest page."""
    first, second = await context.new_page(), await context.new_page()
    await seen(first, f"{clew.address}/start")
    await seen(first, f"{clew.address}/tab/1")
    async with second.expect_response(hides("/tab/2")):
        await second.goto(f"{clew.address}/tab/2")
    async with first.expect_response(hides("/tab/1")):
        # Until the script that watches for it has come.
        await first.evaluate(AGAIN)
