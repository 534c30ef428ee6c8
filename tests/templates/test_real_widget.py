"""The script that Rocket.Chat publishes, loaded and steered by its entry. Its frame, an application, is
a stand-in here: it keeps what the script tells it, and tells the script what the application would."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clew.chat.providers import providers
from fake_clew import HIDE, SHOW, FakeClew
from playwright.async_api import Frame, Page, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCRIPT = Path(__file__).parents[1] / "support" / "libraries" / "rocketchat-livechat-1.js"
BASE = "https://talk.shop.example"
REF = "clw1_abcdefghijklmnopqrstuvwx"
CHAT = {"load": "click", "blocked": False, "attributes": {"clew_ref": REF, "clew_partner": "blog"}}
FRAME = """<!doctype html><script>
const tell = (fn, args) => parent.postMessage({ src: "rocketchat", fn, args }, "*");
window.heard = [];
addEventListener("message", ({ data: { fn, args } }) => {
  heard.push([fn, ...[].concat(args ?? [])]);
  if (fn === "maximizeWidget") tell("openWidget");
});
tell("ready");
</script>"""


async def answered(route: Route) -> None:
    """What a Rocket.Chat on a host of its own answers."""
    path = urlsplit(route.request.url).path
    if path == "/livechat/rocketchat-livechat.min.js":
        await route.fulfill(content_type="text/javascript", body=SCRIPT.read_text(encoding="utf-8"))
    else:
        assert path == "/livechat"
        await route.fulfill(content_type="text/html", body=FRAME)


async def until_heard(frame: Frame, *call: object) -> None:
    """Wait until the frame was told this."""
    await frame.wait_for_function(
        "call => heard.some(one => JSON.stringify(one) === JSON.stringify(call))",
        arg=list(call),
        timeout=20_000,
    )


async def test_rocket_chats_own_script_does_what_its_entry_says(clew: FakeClew, page: Page) -> None:
    entry = providers()["rocketchat"]
    clew.provider = {"title": entry.title, **entry.filled({"base_url": BASE})}
    clew.answer = SHOW | {"chat": CHAT}
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.route(lambda url: url.startswith(BASE), answered)
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.locator(".rocketchat-widget[data-state=opened]")).to_be_visible(timeout=20_000)
    frame = next(one for one in page.frames if one.url == f"{BASE}/livechat")
    await until_heard(frame, "setGuestToken", REF)
    await until_heard(frame, "setCustomField", "clew_ref", REF, True)
    await until_heard(frame, "setCustomField", "clew_partner", "blog", True)
    heard = [one[0] for one in await frame.evaluate("heard")]
    assert heard.index("setGuestToken") < heard.index("maximizeWidget")

    async def tells(event: str) -> None:
        await clew.until(lambda: any(one.get("event") == event for one in clew.events))

    await tells("opened")
    for what, event in (("chat-started", "started"), ("no-agent-online", "offline"), ("chat-ended", "ended")):
        assert all(one.get("event") != event for one in clew.events)
        await frame.evaluate("what => tell('callback', what)", what)
        await tells(event)
    await frame.evaluate("tell('minimizeWindow')")
    await tells("closed")

    clew.answer = HIDE | {"chat": CHAT}
    await page.evaluate("history.pushState(null, '', '/other')")
    await until_heard(frame, "hideWidget")
    assert faults == []
