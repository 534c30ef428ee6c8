"""From an invitation to a refused page, in Debian's Chromium without JavaScript; and how the pages look."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
import pytest_asyncio
from accessibility import faults
from desks import PASSWORD, DeskServer
from playwright.async_api import Browser, BrowserContext, expect
from playwright.async_api import Page as Tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
NEW = "another long password"


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path)
    await built.service.open()
    await built.agents.add("root", PASSWORD, site=None, now=built.service.clock.now())
    yield built
    await built.service.close()


@pytest_asyncio.fixture(loop_scope="session")
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as address:
        yield address


async def log_in(tab: Tab, address: str, name: str, password: str) -> None:
    await tab.goto(f"{address}desk/")
    await tab.get_by_label("Name").fill(name)
    await tab.get_by_label("Password").fill(password)
    await tab.get_by_role("button", name="Log in").click()


async def key_of(tab: Tab, desk: DeskServer, password: str) -> str:
    """Set the second factor up, and the key that was shown."""
    await tab.get_by_label("Your password").fill(password)
    await tab.get_by_role("button", name="Set it up").click()
    picture = tab.get_by_role("img", name="The key for authenticators")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("image => image.naturalWidth") > 100
    key = await tab.locator("code.key").inner_text()
    await tab.get_by_label("Code", exact=True).fill(pyotp.TOTP(key).at(desk.service.clock.now()))
    await tab.get_by_role("button", name="Turn it on").click()
    return key


async def test_from_the_invitation_to_a_refused_page(
    chromium: Browser, desk: DeskServer, address: str
) -> None:
    asking = desk.service.settings.desk.model_copy(update={"second_factor": "all"})
    plain = desk.service.settings
    owner = await (await chromium.new_context(java_script_enabled=False, locale="en-GB")).new_page()
    await log_in(owner, address, "root", PASSWORD)
    await owner.goto(f"{address}desk/people")
    await owner.get_by_role("combobox", name="Role").select_option("agent")
    await owner.get_by_label("For whom").fill("Cy of the night shift")
    await owner.get_by_role("button", name="Make a link").click()
    link = await owner.get_by_label("Link", exact=True).input_value()
    await expect(owner.get_by_text("Cy of the night shift")).to_be_visible()

    desk.service.swap(plain.model_copy(update={"desk": asking}))
    person = await (await chromium.new_context(java_script_enabled=False, locale="en-GB")).new_page()
    await person.goto(link)
    assert "key=" not in person.url
    await person.get_by_label("Name to log in with").fill("cy")
    await person.get_by_label(re.compile("^Password")).fill(NEW)
    await person.get_by_label("The same password again").fill(NEW)
    await person.get_by_role("button", name="Make the account").click()
    await expect(person.get_by_text("Your account is there.")).to_be_visible()
    await log_in(person, address, "cy", NEW)

    # The settings ask for a second factor first.
    await expect(person.get_by_text("This desk asks for a second factor.")).to_be_visible()
    key = await key_of(person, desk, NEW)
    await expect(person.get_by_role("heading", name="Recovery codes")).to_be_visible()
    assert await person.locator(".codes li").count() == 10
    await person.get_by_role("button", name="Log out").click()

    desk.clock.ahead += 60
    await log_in(person, address, "cy", NEW)
    await person.get_by_label("Code of your authenticator").fill("000000")
    await person.get_by_role("button", name="Log in").click()
    await expect(person.get_by_role("alert")).to_contain_text("The code is wrong")
    await person.get_by_label("Code of your authenticator").fill(pyotp.TOTP(key).at(desk.service.clock.now()))
    await person.get_by_role("button", name="Log in").click()
    await expect(person.locator("#main")).to_be_visible()
    for path in ("waiting", "revenue", "people", "audit"):
        answer = await person.goto(f"{address}desk/{path}")
        assert answer is not None
        assert answer.status == 403, path
        await expect(person.get_by_role("alert")).to_contain_text("Your role here is “agent”")

    desk.service.swap(plain)
    await owner.goto(f"{address}desk/people/cy")
    await owner.get_by_role("combobox", name="Role").select_option("lead")
    await owner.get_by_role("button", name="Change the role").click()
    answer = await person.goto(f"{address}desk/waiting")
    assert answer is not None
    assert answer.status == 200
    await owner.get_by_role("button", name="Remove this person").click()
    await person.goto(f"{address}desk/")
    assert person.url.endswith("/desk/login")
    await owner.goto(f"{address}desk/audit")
    for action in ("invitation.made", "invitation.accepted", "login.failed", "person.role", "person.removed"):
        await expect(owner.get_by_role("cell", name=action, exact=True).first).to_be_visible()
    for tab in (owner, person):
        await tab.context.close()


async def test_axe_finds_nothing_on_a_phone_and_a_desk_by_day_and_night(
    context: BrowserContext, desk: DeskServer, address: str
) -> None:
    """field G17"""
    now = desk.service.clock.now()
    await desk.agents.add("cy-with-a-very-long-name-0123456789@shop.example", NEW, site=None, now=now)
    invite = await desk.service.ledger.desk_links.invite("lead", ["shop"], now, by="root", note="Cy")
    reset = await desk.service.ledger.desk_links.reset("root", now, by="root")
    tab = await context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    found: dict[str, Any] = {}

    async def look(name: str) -> None:
        for width in (320, 1280):
            await tab.set_viewport_size({"width": width, "height": 800})
            beyond = await tab.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert beyond <= 0, (name, width, beyond)
            for scheme in ("light", "dark"):
                await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                if one := await faults(tab):
                    found[f"{name} {width} {scheme}"] = one

    for path in (f"join?key={invite}", f"reset?key={reset}"):
        await tab.goto(f"{address}desk/{path}")
        await look(path.partition("?")[0])
    await log_in(tab, address, "root", PASSWORD)
    await expect(tab.locator("#main")).to_be_visible()
    for path in (
        "account",
        "account/factor",
        "people",
        "people/cy-with-a-very-long-name-0123456789@shop.example",
    ):
        await tab.goto(f"{address}desk/{path}")
        await look(path)
    await tab.goto(f"{address}desk/people")
    await tab.get_by_role("button", name="Make a link").click()
    await look("people, with a link")
    await tab.goto(f"{address}desk/account/factor")
    await tab.get_by_label("Your password").fill(PASSWORD)
    await tab.get_by_role("button", name="Set it up").click()
    await look("factor, with a key")
    key = await tab.locator("code.key").inner_text()
    await tab.get_by_label("Code", exact=True).fill(pyotp.TOTP(key).at(desk.service.clock.now()))
    await tab.get_by_role("button", name="Turn it on").click()
    await look("factor, with codes")
    await tab.goto(f"{address}desk/account/factor")
    await look("factor, on")
    await tab.goto(f"{address}desk/audit")
    await look("audit")
    await tab.get_by_role("button", name="Log out").click()
    await log_in(tab, address, "root", PASSWORD)
    await look("code")
    assert found == {}, "\n".join(f"{place}: {one}" for place, one in found.items())
    # Nothing that the pages' own policy forbids stands in them.
    assert said == []
