"""What axe-core finds on a page that is open in a browser."""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = Path(__file__).parent / "libraries" / "axe-4.js"


@cache
def _source() -> str:
    return AXE.read_text(encoding="utf-8")


async def faults(page: Page) -> list[Any]:
    """Each fault: its rule, and the elements that have it. The page's policy does not hold for the script,
    which the browser's tools bring in."""
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(_source())
    found = await page.evaluate("axe.run()")
    return [
        (one["id"], [(node["html"][:300], node["failureSummary"][:300]) for node in one["nodes"]])
        for one in found["violations"]
    ]
