"""What invites offer besides a talk, in Chromium on a real clew: from the rule to what the desk has."""

from pathlib import Path

import pytest
from desks import DeskServer
from playwright.async_api import Browser, Page, Route, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
TAG = '<script async src="/-/clew/l.js" data-clew="1"></script>'
PAGE = f'<!doctype html><html lang="en"><title>Mugs</title>{TAG}<main><h1>Mugs</h1></main>'
RULES = [
    {"name": "call", "action": "callback", "text": "Shall we call?", "when": ["page.path == '/call'"]},
    {
        "name": "code",
        "action": "invite",
        "offer": "summer",
        "text": "Hello",
        "when": ["page.path == '/code'"],
    },
    {
        "name": "hello",
        "action": "open",
        "text": "I am {agent}.",
        "persona": "anna",
        "when": ["page.path == '/'"],
    },
]
SHOP = {
    "rules": RULES,
    "invites": {"holdout": 0, "pause": 0},
    "callback": {"country": "DE"},
    "personas": {"anna": {"name": "Anna"}},
    "offers": {"coupons": [{"name": "summer", "label": "10 % off"}], "coupon_url": "/cart?coupon={code}"},
}


async def go(tab: Page, address: str, path: str) -> None:
    base = address.removesuffix("-/clew/")

    async def fulfill(route: Route) -> None:
        await route.fulfill(body=PAGE, content_type="text/html")

    await tab.route(f"{base}{path}", fulfill)
    async with tab.expect_response("**/decide"):
        await tab.goto(f"{base}{path}")


async def test_what_invites_offer_reaches_the_desk(chromium: Browser, tmp_path: Path) -> None:
    desk = DeskServer(tmp_path, more=SHOP)
    await desk.service.start()
    try:
        await desk.service.ledger.offers.add_codes("shop", "summer", ["A1", "A2"], 1.0)
        async with desk.served() as address:
            context = await chromium.new_context(locale="en-GB")
            tab = await context.new_page()
            await go(tab, address, "")
            # Of its own accord, with who speaks.
            log = tab.get_by_role("dialog", name="Chat with us").get_by_role("log")
            await expect(log).to_contain_text("I am Anna.")
            await tab.get_by_role("button", name="Minimise chat").click()
            desk.clock.ahead += 3600  # another visit: an invite that was put away ends them for one

            await go(tab, address, "call")
            bubble = tab.get_by_role("region", name="Invitation to chat")
            await bubble.get_by_label("Your phone number").fill("030 12345678")
            await bubble.get_by_role("button", name="We call you back").click()
            await expect(bubble).to_contain_text("We will call you")
            (call,) = await desk.service.ledger.callbacks.waiting("shop")
            assert call.phone == "+493012345678"

            await go(tab, address, "code")
            await bubble.get_by_role("button", name="Show the code").click()
            await expect(bubble).to_contain_text("A1")
            await bubble.get_by_label("Your question").fill("For all?")
            await tab.keyboard.press("Enter")
            await expect(log).to_contain_text("10 % off: A1")
            await expect(log).to_contain_text("Sent")
            await context.close()
            agent = await desk.agent()
            assert call.visitor is not None
            talk = await desk.conversations.own("shop", call.visitor)
            assert talk is not None
            page = (await agent.get(f"desk/conversations/{talk.id}")).text
            assert "the rule code, with the code <b>A1</b>" in page
    finally:
        await desk.service.stop()
