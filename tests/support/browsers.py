"""Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Shops name CDNs; a test needs nothing from outside, and a name not found must not cost a time-out. Names
    # below .test lead to this machine, so that a shop can be called by a name of its own.
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


# The first has no windows: the engine is the same, and a page costs a fifth of the CPU time.
SHELL, WHOLE = ("chromium-headless-shell", "chromium", "chromium-browser"), ("chromium", "chromium-browser")


def executable(names: Sequence[str] = SHELL) -> str:
    """The system's Chromium, WHOLE for what the shell cannot do; raises FileNotFoundError."""
    for name in names:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(f"no Chromium here: install Debian's package {names[0]}, or run `make test`")


@asynccontextmanager
async def chromium(names: Sequence[str] = SHELL) -> AsyncIterator[Browser]:
    """A headless browser, closed at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(names), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
