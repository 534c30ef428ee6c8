"""What axe-core finds on a page that is open in a browser."""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = Path(__file__).parent / "libraries" / "axe-4.js"

# All that axe has found fault-free goes nowhere: on a large page it is megabytes.
_FAULTS = """axe.run({resultTypes: ["violations"]}).then(({violations}) => violations.map((one) =>
  [one.id, one.nodes.map((node) => [node.html.slice(0, 300), node.failureSummary.slice(0, 300)])]))"""


@cache
def _source() -> str:
    return AXE.read_text(encoding="utf-8")


async def faults(page: Page) -> list[Any]:
    """Each fault: its rule, and the elements that have it. The page's policy does not hold for the script,
    which the browser's tools bring in."""
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(_source())
    found: list[Any] = await page.evaluate(_FAULTS)
    return found
