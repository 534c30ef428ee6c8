"""The loader: when it asks, what it says, and when it keeps still."""

import re
from typing import Any

import browsers
import pytest
from fake_clew import HIDE, PREFIX, SHOW, TAG, FakeClew, look_away, pass_time, settled, shop_page
from playwright.async_api import Browser, Page, Route, async_playwright, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDGET = f"GET {PREFIX}w.js"


async def test_a_page_view_is_sent_with_address_title_and_language(clew: FakeClew, page: Page) -> None:
    clew.add_page("/tea", shop_page(title="Tea"))
    await page.goto(clew.url + "/tea?awc=1_2_3#leaf", referer="https://partner.example/")
    await clew.until(lambda: clew.asked)
    (asked,) = clew.asked
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", asked["view"])
    assert asked | {"view": ""} == {
        "view": "",
        "url": clew.url + "/tea?awc=1_2_3#leaf",
        "title": "Tea",
        "referrer": "https://partner.example/",
        "language": "en",
        "seconds": asked["seconds"],
        "told": [],
    }
    assert isinstance(asked["seconds"], int)


async def test_the_browsers_language_counts_if_the_page_has_none(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page().replace(' lang="en"', ""))
    await page.goto(clew.url)
    await clew.until(lambda: clew.asked)
    assert clew.asked[0]["language"] == "en-GB"


async def test_the_widget_is_not_loaded_if_nothing_is_shown(clew: FakeClew, page: Page) -> None:
    clew.answer = HIDE
    await page.goto(clew.url)
    await clew.until(lambda: clew.asked)
    await settled(page)
    assert WIDGET not in clew.requests
    assert await page.locator("clew-chat").count() == 0


async def test_an_answer_can_hide_what_an_earlier_one_showed(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await expect(page.locator(".launcher")).to_be_visible()
    clew.answer = HIDE
    await page.evaluate("history.pushState(null, '', '/checkout')")
    await expect(page.locator("clew-chat")).to_have_count(0)


async def test_a_waiting_rule_is_requested_again_with_the_same_page_view(clew: FakeClew, page: Page) -> None:
    clew.answer = HIDE | {"retry_after": 20}
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: len(clew.asked) == 2)
    clew.answer = SHOW
    await pass_time(page, lambda: len(clew.asked) == 3)
    first, second, third = clew.asked
    assert first["view"] == second["view"] == third["view"]
    # Not before its time; and up to some seconds of the clock go by between two looks.
    assert 20 <= second["seconds"] - first["seconds"] <= 25
    assert 20 <= third["seconds"] - second["seconds"] <= 25
    await expect(page.locator(".launcher")).to_be_visible()


async def test_a_hidden_page_requests_its_decision_when_it_becomes_visible(
    clew: FakeClew, page: Page
) -> None:
    clew.answer = HIDE | {"retry_after": 20}
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: len(clew.asked) == 1)
    await page.clock.run_for(10_000)
    await look_away(page)
    await page.clock.fast_forward(60_000)
    await settled(page)
    assert len(clew.asked) == 1
    await look_away(page, away=False)
    await pass_time(page, lambda: len(clew.asked) == 2)
    assert clew.asked[1]["view"] == clew.asked[0]["view"]


async def test_a_page_in_a_background_tab_is_not_a_page_view_until_it_is_shown(
    clew: FakeClew, page: Page
) -> None:
    await page.clock.install()
    await page.add_init_script(
        "Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })"
    )
    await page.goto(clew.url)
    await page.clock.run_for(3000)
    await page.clock.fast_forward(600_000)
    await settled(page)
    assert clew.asked == []
    await look_away(page, away=False)
    await clew.until(lambda: clew.asked)
    assert clew.asked[0]["seconds"] == 0


async def test_a_prerendered_page_is_not_a_page_view_until_it_is_shown(clew: FakeClew, page: Page) -> None:
    """injection 3.17."""
    await page.clock.install()
    await page.add_init_script(
        "Object.defineProperty(document, 'prerendering', { value: true, configurable: true })"
    )
    await page.goto(clew.url)
    await page.clock.run_for(30_000)
    await settled(page)
    assert clew.asked == []
    await page.evaluate("""() => {
      delete document.prerendering;
      document.dispatchEvent(new Event("prerenderingchange"));
    }""")
    await pass_time(page, lambda: clew.asked)
    assert clew.asked[0]["seconds"] < 30


@pytest.mark.parametrize("status", [500, 404, 0])
async def test_a_failing_service_is_retried_once(clew: FakeClew, page: Page, status: int) -> None:
    clew.failures["POST decide"] = [status, status, status]
    decide = f"POST {PREFIX}decide"
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: clew.requests.count(decide) == 2)
    await page.clock.run_for(120_000)
    await settled(page)
    assert clew.requests.count(decide) == 2
    assert await page.locator("clew-chat").count() == 0


async def test_the_widget_is_shown_after_the_service_recovers(clew: FakeClew, page: Page) -> None:
    clew.failures["POST decide"] = [503]
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: clew.asked)
    await expect(page.locator(".launcher")).to_be_visible()


@pytest.mark.parametrize(
    "answer",
    [None, [], "show", {"action": "dance", "retry_after": "soon"}, {"action": "invite", "invite": 7}],
    ids=str,
)
async def test_an_invalid_answer_is_harmless(clew: FakeClew, page: Page, answer: Any) -> None:
    clew.answer = answer
    await page.goto(clew.url)
    await clew.until(lambda: clew.asked)
    await settled(page)
    await expect(page.locator("h1")).to_be_visible()


@pytest.mark.parametrize("navigation", [True, False], ids=["navigation-api", "older-browser"])
async def test_a_new_address_inside_an_application_is_a_new_page_view(
    clew: FakeClew, page: Page, navigation: bool
) -> None:
    if not navigation:
        await page.add_init_script("delete window.navigation")
    await page.goto(clew.url + "/one")
    await clew.until(lambda: clew.asked)
    await page.evaluate("history.pushState(null, '', '/two?sort=price'); document.title = 'Two'")
    await clew.until(lambda: len(clew.asked) == 2)
    await page.go_back()
    await clew.until(lambda: len(clew.asked) == 3)
    assert [asked["url"].removeprefix(clew.url) for asked in clew.asked] == [
        "/one",
        "/two?sort=price",
        "/one",
    ]
    assert clew.asked[1]["title"] == "Two"
    assert clew.asked[1]["referrer"] == clew.url + "/one"
    assert clew.asked[1]["seconds"] == 0
    assert len({asked["view"] for asked in clew.asked}) == 3


async def test_a_query_tidied_in_place_is_no_new_page_view(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url + "/one?utm_source=letter")
    await clew.until(lambda: clew.asked)
    await page.evaluate("history.replaceState(null, '', '/one')")
    await page.evaluate("history.replaceState(null, '', '/one#top')")
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: len(clew.asked) == 2)
    assert clew.asked[1]["url"] == clew.url + "/two"
    assert clew.asked[1]["referrer"] == clew.url + "/one?utm_source=letter"


async def test_a_turbo_visit_is_reported_when_the_new_page_is_shown(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url + "/one")
    await clew.until(lambda: clew.asked)
    await page.clock.install()
    await page.evaluate(
        "document.documentElement.setAttribute('aria-busy', 'true'); history.pushState(null, '', '/two')"
    )
    await page.clock.run_for(2000)
    await settled(page)
    assert len(clew.asked) == 1
    await page.evaluate("""() => {
      document.title = "Two";
      document.documentElement.removeAttribute("aria-busy");
      document.dispatchEvent(new Event("turbo:load"));
    }""")
    await page.clock.run_for(2000)
    await clew.until(lambda: len(clew.asked) == 2)
    assert clew.asked[1]["title"] == "Two"


async def test_a_second_tag_on_the_page_causes_no_second_request(clew: FakeClew, page: Page) -> None:
    """injection 1.13, 7.1."""
    clew.add_page("/", shop_page(head=TAG + TAG, body=TAG))
    await page.goto(clew.url)
    await expect(page.locator(".launcher")).to_be_visible()
    await settled(page)
    assert len(clew.asked) == 1
    assert await page.locator("clew-chat").count() == 1


async def test_a_base_element_with_another_host_does_not_change_clews_addresses(
    clew: FakeClew, page: Page
) -> None:
    """injection 7.8."""
    clew.add_page("/", shop_page(head='<base href="https://cdn.example/assets/">'))
    await page.goto(clew.url)
    await expect(page.locator(".launcher")).to_be_visible()
    assert WIDGET in clew.requests


async def test_a_tag_that_an_optimiser_runs_late_still_finds_its_way(clew: FakeClew, page: Page) -> None:
    """injection 6.18."""
    clew.add_page("/", shop_page().replace("<script async", '<script type="text/late"'))
    await page.goto(clew.url)
    await page.evaluate(f"fetch('{PREFIX}l.js').then(r => r.text()).then(text => (0, eval)(text))")
    await expect(page.locator(".launcher")).to_be_visible()


async def test_nothing_is_shown_in_a_frameset(clew: FakeClew, page: Page) -> None:
    """injection 1.15."""
    clew.add_page("/", f'<html><head>{TAG}</head><frameset cols="50%,50%"><frame src="/a"></frameset></html>')
    clew.add_page("/a", "<p>framed</p>")
    await page.goto(clew.url)
    await settled(page)
    assert await page.evaluate("window.__clew") is True
    assert clew.asked == []


async def test_a_page_inside_a_frame_is_not_edited(clew: FakeClew, page: Page) -> None:
    """injection 3.10: without any header that shows it."""
    clew.add_page("/", '<!doctype html><iframe src="/inner"></iframe>')
    clew.add_page("/inner", shop_page(title="Inner"))
    await page.goto(clew.url)
    await expect(page.frame_locator("iframe").get_by_text("Inner")).to_be_visible()
    await settled(page)
    assert f"GET {PREFIX}l.js" in clew.requests
    assert clew.asked == []


async def test_a_slow_resource_delays_the_loader_only_briefly(clew: FakeClew, page: Page) -> None:
    """injection 7.3."""
    held: list[Route] = []
    await page.route("**/slow.png", lambda route: held.append(route))
    clew.add_page("/", shop_page('<img src="/slow.png" alt="">'))
    await page.clock.install()
    await page.goto(clew.url, wait_until="domcontentloaded")
    await page.wait_for_function("window.__clew")
    await page.clock.run_for(4000)
    await settled(page)
    assert clew.asked == []
    await page.clock.run_for(4000)
    await clew.until(lambda: clew.asked)
    for route in held:
        await route.abort()


async def test_a_page_from_the_back_button_cache_is_a_new_page_view(clew: FakeClew) -> None:
    """injection 5.14: it is kept although the chat was open, and takes up its stream again."""
    # Playwright turns that cache off, and the shell has none; it stands in a profile of its own here.
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(
            executable_path=browsers.executable(browsers.WHOLE),
            args=list(browsers.ARGUMENTS),
            ignore_default_args=["--disable-back-forward-cache"],
        )
        page = await browser.new_page()
        told = "addEventListener('pageshow', event => fetch('/kept/' + event.persisted))"
        clew.add_page("/one", shop_page(f"<script>{told}</script>"))
        await clew.say("Good morning")
        clew.answer = SHOW | {"conversation": True}
        await page.goto(clew.url + "/one")
        await clew.until(lambda: clew.streams)
        await page.goto(clew.url + "/two")
        await clew.until(lambda: len(clew.resumed) == 2)
        await page.evaluate("setTimeout(() => history.back())")
        # Three requests of one moment, in any order.
        await clew.until(lambda: (len(clew.resumed), len(clew.asked)) == (3, 3))
        await clew.until(lambda: "GET /kept/true" in clew.requests)
        assert [asked["url"].removeprefix(clew.url) for asked in clew.asked] == ["/one", "/two", "/one"]
        assert len({asked["view"] for asked in clew.asked}) == 3
        await browser.close()
