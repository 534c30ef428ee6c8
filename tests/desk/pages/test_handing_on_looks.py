"""The pages of presence, transfers, notes and blocks, on a phone."""

from pathlib import Path

import pytest
from accessibility import faults
from desks import PASSWORD, DeskServer, desk_server
from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_pages_fit_a_phone_and_have_no_faults_in_either_scheme(
    tmp_path: Path, chromium: Browser
) -> None:
    """field G17"""
    async with desk_server(tmp_path, {"departments": ["billing"]}) as desk:
        await _looked_at(desk, chromium)


async def _looked_at(desk: DeskServer, chromium: Browser) -> None:
    await desk.agents.add("lea", PASSWORD, site=None, role="lead", now=desk.service.clock.now())
    talk = await desk.says("hello")
    found = await desk.conversations.get("shop", talk)
    assert found is not None
    work = desk.service.desk_work
    await work.note(found, "A note " + "x" * 200, "lea")
    await work.block(found, 24, network=True, by="lea", why="y" * 200)
    async with desk.served() as address:
        for scheme in ("light", "dark"):
            context = await chromium.new_context(color_scheme=scheme, viewport={"width": 320, "height": 700})  # type: ignore[arg-type]
            tab = await context.new_page()
            await tab.goto(f"{address}desk/")
            await tab.get_by_label("Name").fill("lea")
            await tab.get_by_label("Password").fill(PASSWORD)
            await tab.get_by_role("button", name="Log in").click()
            for path in ("", f"conversations/{talk}", "blocks"):
                await tab.goto(f"{address}desk/{path}")
                for one in await tab.locator("#work summary").all():
                    await one.click()
                assert await faults(tab) == [], path
                wide = await tab.evaluate("document.documentElement.scrollWidth")
                assert wide <= 320, (path, wide)
            await context.close()
