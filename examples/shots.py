"""`make shots` takes pictures of the widget and of the desk's pages, for people to look at.

It starts the demo, drives a visitor and an agent in Chromium, and writes one PNG for each page, width and
colour scheme into a folder.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from clew.desk.roles import RULES
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from services import AGENT, Services

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDTHS = (320, 1280)
HEIGHT = 800
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser")
# What is no page that one opens: files, streams, links that are for one person once.
_OTHER = (".css", ".js", ".csv", ".ndjson", "/stream", "/lines", "/join", "/reset", "/enter", "/code")
_MS = 60_000  # for a page and for the demo's invite, which comes after eight seconds


def main() -> None:
    """Take them all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, nargs="?", default=Path("shots"))
    options.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with Services(role="owner") as services, _chromium() as browser:
        taken = Shots(browser, services, given.folder, given.widths).take()
    print(f"{taken} pictures in {given.folder}")


@contextmanager
def _chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise SystemExit("no Chromium here: install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def desk_pages() -> list[str]:
    """Paths of the desk's pages for agents, leads and owners that need no id, below the desk's own."""
    paths = [name.removeprefix("GET /") for name in RULES if name.startswith("GET /")]
    return [
        path
        for path in paths
        if "{" not in path and not path.startswith(("partner/", "login", "chat-order"))
        if not f"/{path}".endswith(_OTHER)
    ]


class Shots:
    """One visitor and one agent, and what they see."""

    def __init__(self, browser: Browser, services: Services, folder: Path, widths: Sequence[int]) -> None:
        self.browser, self.services = browser, services
        self.folder, self.widths = folder, widths
        self.taken = 0

    def take(self) -> int:
        """All pictures; returns how many."""
        visitor, agent = self._context(), self._context()
        desk = self._log_in(agent)
        shop = visitor.new_page()
        shop.goto(self.services.addresses.partner_link)
        self._shop(shop, desk)
        self._desk(desk)
        return self.taken

    def _context(self) -> BrowserContext:
        # Nothing is taken half on its way.
        context = self.browser.new_context(
            locale="en-GB", viewport={"width": 1280, "height": HEIGHT}, reduced_motion="reduce"
        )
        context.set_default_timeout(_MS)
        return context

    def _log_in(self, context: BrowserContext) -> Page:
        desk = context.new_page()
        desk.goto(self.services.addresses.desk)
        self._shoot(desk, "desk-login")
        desk.get_by_label("Name").fill(AGENT)
        desk.get_by_label("Password").fill(self.services.password)
        desk.get_by_role("button", name="Log in").click()
        desk.locator("#main").wait_for()
        return desk

    def _shop(self, shop: Page, desk: Page) -> None:
        invite = shop.get_by_role("region", name="Invitation to chat")
        expect(invite).to_be_visible(timeout=_MS)
        self._shoot(shop, "widget-invite")
        invite.get_by_role("textbox").fill("Does the Aurora fit under a shelf of 40 cm?")
        invite.get_by_role("button", name="Send").click()
        self._shoot(shop, "widget-sent")
        desk.goto(self.services.addresses.desk)
        desk.get_by_role("link", name="Does the Aurora fit").first.click()
        self._shoot(desk, "desk-conversation-new")
        desk.get_by_role("textbox", name="Your answer").fill("It does: 37 cm, and the tank slides out.")
        desk.get_by_role("button", name="Send").click()
        expect(shop.get_by_text("the tank slides out")).to_be_visible(timeout=_MS)
        self._shoot(shop, "widget-answered")
        self._shoot(desk, "desk-conversation")
        desk.get_by_text("Record an order closed here").click()
        desk.get_by_label("Order number").fill("K-1001")
        desk.get_by_label("Total").fill("749.00")
        desk.get_by_label("Currency").fill("EUR")
        desk.get_by_role("button", name="Record").click()
        desk.get_by_text("The order is recorded.").wait_for()
        self._shoot(desk, "desk-conversation-order")

    def _desk(self, desk: Page) -> None:
        for path in desk_pages():
            desk.goto(self.services.addresses.desk + path)
            # Figures that are counted meanwhile: the page loads itself again.
            expect(desk.get_by_text("The figures are being counted.")).to_have_count(0, timeout=_MS)
            self._shoot(desk, "desk-" + (path.replace("/", "-") or "inbox"))

    def _shoot(self, page: Page, name: str) -> None:
        for width in self.widths:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                whole = name.startswith("desk-")
                page.screenshot(path=self.folder / f"{name}-{width}-{scheme}.png", full_page=whole)
                self.taken += 1


if __name__ == "__main__":
    main()
