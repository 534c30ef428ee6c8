"""The search page of the desk, and tags beside a conversation."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from accessibility import faults
from clew.desk.pages.search import pieces
from desks import PASSWORD, DeskServer, desk_server, hidden
from playwright.async_api import BrowserContext, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, chat={"tags": ["Delivery", "return"]}) as built:
        yield built


async def tag(client: httpx2.AsyncClient, talk: str, **fields: str) -> httpx2.Response:
    page = await client.get(f"desk/conversations/{talk}")
    return await client.post(f"desk/conversations/{talk}/tags", data={"csrf": hidden(page.text), **fields})


async def test_conversations_are_found_by_words_and_by_tag(desk: DeskServer) -> None:
    """field G14"""
    client = await desk.agent(role="agent")
    talk = await desk.says("Where is my <b>red</b> pot?")
    await desk.says("hello", "zzzzbbbbccccddddeeeeffff22")
    page = await client.get("desk/search")
    assert (page.status_code, "found" in page.text) == (200, False)
    page = await client.get("desk/search?q=RED")
    assert f"/conversations/{talk}" in page.text
    assert "my &lt;b&gt;<mark>red</mark>&lt;/b&gt; pot?" in page.text
    assert page.text.count('class="line-who"') == 1
    assert "Nothing found." in (await client.get("desk/search?q=blue")).text
    answer = await tag(client, talk, tag=" Delivery ")
    assert answer.headers["location"].endswith(f"/conversations/{talk}#tags")
    page = await client.get("desk/search", params={"tag": " #Delivery"})
    assert "#delivery" in page.text
    assert page.text.count('class="line-who"') == 1
    await tag(client, talk, remove="delivery")
    assert "Nothing found." in (await client.get("desk/search?tag=delivery")).text


async def test_an_address_or_an_order_that_nobody_has_is_found_nowhere(desk: DeskServer) -> None:
    client = await desk.agent()
    await desk.says("hello")
    for customer in ("eva@example.org", "1001"):
        page = await client.get("desk/search", params={"customer": customer})
        assert (page.status_code, "Nothing found." in page.text) == (200, True)
    assert (
        await client.get("desk/search", params={"customer": "x" * 300, "before": "nan"})
    ).status_code < 500


@pytest.mark.parametrize(
    ("fields", "why"), [({"tag": " "}, "is empty"), ({"tag": "x" * 31}, "30 characters")]
)
async def test_a_wrong_tag_is_explained(desk: DeskServer, fields: dict[str, str], why: str) -> None:
    client, talk = await desk.agent(), await desk.says("hello")
    answer = await tag(client, talk, **fields)
    page = await client.get(answer.headers["location"].removeprefix("/-/clew/"))
    assert why in page.text
    assert "Not tagged" not in (await client.get(f"desk/conversations/{talk}?tag=<b>")).text


async def test_a_site_may_allow_its_own_tags_alone(tmp_path: Path) -> None:
    async with desk_server(tmp_path, chat={"tags": ["Delivery"], "free_tags": False}) as desk:
        client, talk = await desk.agent(), await desk.says("hello")
        assert (await tag(client, talk, tag="mine")).headers["location"].endswith("?tag=unknown#tags")
        await tag(client, talk, tag="delivery")
        assert await desk.service.ledger.tags.of(talk) == ["delivery"]


async def test_a_long_message_is_cut_around_the_word() -> None:
    text = f"{'a ' * 100}Pot{' b' * 200}"
    parts = pieces(text, ["pot"])
    assert ("Pot", True) in parts
    assert (parts[0], parts[-1]) == (("… ", False), (" …", False))
    assert sum(len(part) for part, _ in parts) < 260
    assert pieces("(a+)+$", ["(a+)+"]) == [("(a+)+", True), ("$", False)]
    assert pieces("", []) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_search_is_accessible_on_a_phone(
    desk: DeskServer, context: BrowserContext, scheme: Any
) -> None:
    """field G17"""
    await desk.agents.add("bo", PASSWORD, site=None, now=desk.service.clock.now())
    talk = await desk.says("Where is my red pot?")
    await desk.service.ledger.tags.add("shop", talk, "delivery", "bo", 1.0)
    async with desk.served() as address:
        tab = await context.new_page()
        await tab.emulate_media(color_scheme=scheme)
        await tab.set_viewport_size({"width": 320, "height": 640})
        await tab.goto(f"{address}desk/")
        await tab.get_by_label("Name").fill("bo")
        await tab.get_by_label("Password").fill(PASSWORD)
        await tab.get_by_role("button", name="Log in").click()
        await tab.goto(f"{address}desk/search")
        await tab.get_by_label("Words").fill("pot")
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#found mark")).to_have_text("pot")
        assert await faults(tab) == []
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 320
        await tab.locator("#found a").click()
        await expect(tab.locator("#tag-list")).to_contain_text("#delivery")
        await tab.get_by_label("Another tag").fill("urgent")
        await tab.get_by_label("Another tag").press("Enter")
        await expect(tab.locator("#tag-list")).to_contain_text("#urgent")
        assert await faults(tab) == []
        await tab.get_by_role("button", name="Remove the tag delivery").click()
        await expect(tab.locator("#tag-list li")).to_have_count(1)
