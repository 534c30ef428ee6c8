"""The steps of a visitor and an agent through the chat, in the browser."""

import re

from clews import AGENT, PASSWORD
from playwright.async_api import Browser, Page, expect


async def ask_in_the_invite(page: Page, invite: str, question: str) -> None:
    """Wait for an invite with this text, and ask in it."""
    region = page.get_by_role("region", name="Invitation to chat")
    await expect(region.get_by_text(invite)).to_be_visible(timeout=30_000)
    field = region.get_by_label("Your question")
    await field.fill(question)
    await field.press("Enter")
    await expect(page.get_by_role("dialog").get_by_text(question)).to_be_visible(timeout=60_000)


async def answer_at_the_desk(
    chromium: Browser, address: str, question: str, answer: str, *, seen: str = ""
) -> None:
    """As AGENT, in a profile of its own: answer the visitor who asked this, of whom the desk shows `seen`."""
    context = await chromium.new_context()
    context.set_default_timeout(60_000)
    desk = await context.new_page()
    await desk.goto(f"{address}/-/clew/desk/")
    await desk.get_by_label("Name").fill(AGENT)
    await desk.get_by_label("Password").fill(PASSWORD)
    await desk.get_by_role("button", name="Log in").click()
    await desk.get_by_role("link", name=re.compile("Visitor")).click()
    await expect(desk.locator("#messages")).to_contain_text(question, timeout=60_000)
    await expect(desk.locator("#visitor")).to_contain_text(seen, timeout=60_000)
    await desk.get_by_label("Your answer").fill(answer)
    await desk.get_by_role("button", name="Send").click()
    await expect(desk.locator("#messages")).to_contain_text(answer, timeout=60_000)
    await context.close()


async def read_the_answer(page: Page, answer: str) -> None:
    """See the answer in the chat, and make the chat small."""
    chat = page.get_by_role("dialog")
    await expect(chat.get_by_text(answer)).to_be_visible(timeout=60_000)
    await chat.get_by_role("button", name="Minimise chat").click()
