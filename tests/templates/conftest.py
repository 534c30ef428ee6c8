"""A fake clew behind a shop's pages, and a page that may not meet an exception."""

from collections.abc import AsyncIterator

import pytest_asyncio
from fake_clew import FakeClew, serving
from playwright.async_api import BrowserContext, Page

# Hears what a page's policy forbade, from the first byte on; `violations()` reads it.
LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


@pytest_asyncio.fixture(loop_scope="session")
async def clew() -> AsyncIterator[FakeClew]:
    """The server that answers the scripts, on a host of its own."""
    async with serving(FakeClew()) as clew:
        yield clew


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A page of a fresh profile. No script on it may throw: not into the page, not into a lost promise."""
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.add_init_script(LISTEN)
    yield page
    assert errors == []
