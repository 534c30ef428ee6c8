"""Canned answers at the desk: edited, filled in for a conversation, and never sent with a gap."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from accessibility import faults
from clew.referral.touches import Click, Touch
from clew.referral.visitor import CartSeen, Page, Touched, Viewed
from clew.service.canned_answers import first_answers
from clew.settings.model import LANGUAGES
from desks import PASSWORD, VISITOR, DeskServer, desk_server, hidden
from playwright.async_api import BrowserContext, expect
from playwright.async_api import Page as Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHOP_PAGES = {"page_types": {"/p/*": "product"}}


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more=SHOP_PAGES) as built:
        yield built


async def save(client: httpx2.AsyncClient, path: str = "canned", **fields: str) -> httpx2.Response:
    page = await client.get("desk/canned")
    answer = {"row": "", "shortcut": "offer", "language": "en", "text": "Hello", **fields}
    return await client.post(f"desk/{path}", data={"csrf": hidden(page.text), **answer})


async def looked(desk: DeskServer) -> None:
    """The visitor came by a partner, looked at a product and has a cart."""
    now = desk.service.clock.now()
    changes: list[Any] = [Touched(Touch(int(now - 60), (Click("", "aff", "c1", "anna"),)))]
    for number, (path, title) in enumerate(
        [("/", "Home"), ("/p/7", "Red boots | Shop"), ("/cart", "Cart | Shop")]
    ):
        page = Page(f"view-{number}", now - 30 + number, f"http://shop.test{path}", title)
        changes.append(Viewed(page))
    changes.append(CartSeen({"value": "59.90", "currency": "EUR"}, "/cart"))
    await desk.service.visits.change("shop", VISITOR, changes, now)


async def test_a_new_site_begins_with_answers_in_several_languages(desk: DeskServer) -> None:
    client = await desk.agent()
    page = await client.get("desk/canned")
    assert page.status_code == 200
    for shortcut, texts in first_answers():
        assert f"/{shortcut}" in page.text
        assert {"en", "de"} <= texts.keys() <= set(LANGUAGES)


async def test_agents_write_their_own_and_leads_those_of_the_site(desk: DeskServer) -> None:
    agent, lead = await desk.agent("bo", role="agent"), await desk.agent("eva", role="lead")
    assert (await save(agent, text="My own {cart}")).status_code == 303
    assert (await save(agent, "canned/site", text="Of the site")).status_code == 403
    assert (await save(lead, "canned/site", text="Of the site")).status_code == 303
    assert "My own {cart}" in (await agent.get("desk/canned")).text
    assert "My own {cart}" not in (await lead.get("desk/canned")).text
    assert "Of the site" in (await agent.get("desk/canned")).text
    audit = await (await desk.agent("olga")).get("desk/audit")
    assert "canned.saved" in audit.text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"shortcut": "with blank"}, "a shortcut is up to"),
        ({"text": " \n"}, "the text is empty"),
        ({"text": "x" * 2001}, "2001 characters"),
        ({"text": "Hello {name}"}, "{name} is no placeholder; there are {product}"),
    ],
)
async def test_what_cannot_be_kept_is_said_and_stays_in_the_form(
    desk: DeskServer, fields: dict[str, str], why: str
) -> None:
    answer = await save(await desk.agent(), **fields)
    assert answer.status_code == 422
    assert why in answer.text
    assert fields.get("shortcut", "offer") in answer.text
    assert (await save(await desk.agent(), language="xx")).status_code == 422


async def test_placeholders_are_filled_in_and_gaps_are_not_sent(desk: DeskServer) -> None:
    client = await desk.agent()
    await desk.agents.rename("bo", "Anna B.")
    await save(client, text="{visitor}: {product} for {cart} by {partner}, {agent}")
    await looked(desk)
    talk = await desk.says("hello", language="de")
    page = await client.get(f"desk/conversations/{talk}")
    said = "{visitor}: Red boots for 59,90 € by anna, Anna B."
    assert f'data-canned="{said}"' in page.text
    assert 'data-canned="Guten Tag! Wie kann ich Ihnen helfen?"' in page.text
    form = {"csrf": hidden(page.text), "client_id": "client-id-1", "text": said}
    refused = await client.post(f"desk/conversations/{talk}/messages", data=form)
    assert refused.status_code == 422
    assert "Not sent: replace {visitor} first" in refused.text
    assert said in refused.text
    assert len((await desk.visitor().get("messages")).json()["messages"]) == 1


async def test_without_a_script_a_link_puts_an_answer_into_the_field(desk: DeskServer) -> None:
    client = await desk.agent()
    talk = await desk.says("hallo", language="de")
    page = await client.get(f"desk/conversations/{talk}")
    link = page.text.partition("?canned=")[2].partition('"')[0]
    page = await client.get(f"desk/conversations/{talk}?canned={link}")
    field = page.text.partition("<textarea")[2].partition("</textarea>")[0].partition(">")[2]
    assert field in dict(line for answer in first_answers() for line in [(answer[1]["de"], 1)])


# -- in the browser


@pytest_asyncio.fixture(loop_scope="session")
async def tab(desk: DeskServer, context: BrowserContext) -> AsyncIterator[Tab]:
    """A conversation in German, at the desk of bo."""
    await desk.agents.add("bo", PASSWORD, site=None, now=desk.service.clock.now())
    talk = await desk.says("hallo", language="de")
    async with desk.served() as address:
        tab = await context.new_page()
        await tab.goto(f"{address}desk/conversations/{talk}")
        await tab.get_by_label("Name").fill("bo")
        await tab.get_by_label("Password").fill(PASSWORD)
        await tab.get_by_role("button", name="Log in").click()
        await expect(tab.locator("#pulse-text")).to_have_text("live")
        yield tab


async def test_an_answer_is_chosen_by_its_shortcut_with_the_keyboard(tab: Tab) -> None:
    """field G14"""
    field, offers = tab.get_by_label("Your answer"), tab.get_by_role("listbox")
    await field.press_sequentially("Ja. /mo")
    await expect(offers.get_by_role("option")).to_have_count(1)
    assert await faults(tab) == []
    await field.press("Enter")
    await expect(field).to_have_value("Ja. Einen Moment bitte, ich sehe gleich für Sie nach.")
    await expect(offers).to_be_hidden()
    await field.fill("")
    await field.press("/")
    await expect(offers.get_by_role("option")).to_have_count(len(first_answers()))
    await field.press("ArrowDown")
    await field.press("ArrowDown")
    await field.press("ArrowUp")
    chosen = offers.get_by_role("option", selected=True)
    shortcut = sorted(shortcut for shortcut, _ in first_answers())[1]
    await expect(chosen).to_contain_text(f"/{shortcut}")
    await field.press("Escape")
    await expect(offers).to_be_hidden()
    await expect(field).to_have_value("/")
    await field.fill("on 1/2 and http://x/ho")
    await expect(offers).to_be_hidden()


async def test_a_gap_is_shown_and_keeps_the_answer_from_being_sent(desk: DeskServer, tab: Tab) -> None:
    await desk.service.ledger.canned.save("shop", "bo", "name", "de", "Guten Tag {visitor}!", 1.0)
    await tab.reload()
    field = tab.get_by_label("Your answer")
    await field.press_sequentially("/name")
    await field.press("Tab")
    await expect(field).to_have_value("Guten Tag {visitor}!")
    await expect(tab.locator(".unfilled")).to_contain_text("Replace {visitor}")
    await field.press("Enter")
    # The gap is chosen, so that what is typed takes its place.
    await field.press_sequentially("Frau Alba")
    await expect(tab.locator(".unfilled")).to_be_empty()
    await field.press("Enter")
    await expect(tab.locator(".by-agent .text")).to_have_text("Guten Tag Frau Alba!")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_of_answers_is_accessible_on_a_phone(tab: Tab, scheme: Any) -> None:
    """field G17"""
    await tab.emulate_media(color_scheme=scheme)
    await tab.set_viewport_size({"width": 320, "height": 640})
    await tab.goto(tab.url.partition("/conversations")[0] + "/canned")
    await expect(tab.get_by_role("heading", name="Canned answers")).to_be_visible()
    assert await faults(tab) == []
    assert await tab.evaluate("document.documentElement.scrollWidth") <= 320
    await tab.get_by_role("link", name="Edit /hello, German").click()
    await expect(tab.get_by_label("Text")).to_have_value("Guten Tag! Wie kann ich Ihnen helfen?")
    await tab.get_by_label("Text").fill("Hallo!")
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_text("The answer is saved.")).to_be_visible()
    await expect(tab.locator("#canned-site")).to_contain_text("Hallo!")
