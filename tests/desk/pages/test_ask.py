"""The form without JavaScript: in a browser that has none, in each direction, and for who misuses it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from accessibility import faults
from clew import templates
from clew.settings.model import Smtp
from desks import OTHER, SHOP, VISITOR, DeskServer, desk_server, hidden
from playwright.async_api import Browser, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


async def send(client: httpx2.AsyncClient, **fields: str) -> httpx2.Response:
    form = await client.get("ask")
    given = {
        "question": "Is it blue?",
        "mail": "kim@example.com",
        "client_id": hidden(form.text, "client_id"),
    }
    return await client.post("ask", data={**given, **fields})


async def talks(desk: DeskServer) -> list[Any]:
    return list(await desk.service.ledger.inbox.page("shop"))


async def test_a_question_is_a_conversation_to_be_answered_by_mail(desk: DeskServer) -> None:
    answer = await send(desk.visitor())
    assert (answer.status_code, "kim@example.com" in answer.text) == (200, True)
    assert "set-cookie" not in answer.headers
    (entry,) = await talks(desk)
    assert entry.conversation.visitor == VISITOR
    agent = await desk.agent()
    assert "by mail" in (await agent.get("desk/")).text
    page = (await agent.get(f"desk/conversations/{entry.conversation.id}")).text
    assert "Wants the answer by mail" in page
    assert "kim@example.com" in page
    assert "[smtp]" in page


async def test_a_browser_without_a_cookie_gets_one_for_this_and_no_longer(desk: DeskServer) -> None:
    client = desk.client()
    assert "set-cookie" not in (await client.get("ask")).headers
    answer = await send(client)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert "max-age" not in cookie.lower()
    await send(client, question="And green?")
    assert len(await talks(desk)) == 1


async def test_a_form_that_is_sent_twice_is_one_question(desk: DeskServer) -> None:
    client = desk.visitor()
    form = await client.get("ask")
    given = {"question": "Blue?", "mail": "kim@example.com", "client_id": hidden(form.text, "client_id")}
    for _ in range(2):
        assert (await client.post("ask", data=given)).status_code == 200
    (entry,) = await talks(desk)
    assert entry.count == 1


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("mail", "kim", "mail_wrong"),
        ("mail", "kim@example.com\r\nBcc: all@example.com", "mail_wrong"),
        ("mail", "k" * 300 + "@example.com", "mail_wrong"),
        ("question", " ", "question_missing"),
        ("question", "x" * 5000, "question_missing"),
    ],
)
async def test_what_is_wrong_is_said_and_what_was_written_stays(
    desk: DeskServer, field: str, value: str, text: str
) -> None:
    answer = await send(desk.visitor(), **{field: value})
    assert answer.status_code == 422
    assert templates.text("en", text) in answer.text
    assert ("Is it blue?" if field == "mail" else "kim@example.com") in answer.text
    assert await talks(desk) == []


async def test_a_visitor_who_is_blocked_reads_so_and_keeps_what_it_wrote(desk: DeskServer) -> None:
    talk = await desk.conversations.get("shop", await desk.says("hello"))
    assert talk is not None
    await desk.service.desk_work.block(talk, 1, network=False, by="bo", why="rude")
    answer = await send(desk.visitor())
    assert answer.status_code == 403
    assert templates.text("en", "blocked") in answer.text
    assert templates.text("en", "question_missing") not in answer.text
    assert "Is it blue?" in answer.text


async def test_programs_and_pages_of_others_leave_nothing(desk: DeskServer) -> None:
    client = desk.visitor()
    assert (await send(client, website="https://spam.example")).status_code == 200
    other = {"origin": OTHER, "sec-fetch-site": "cross-site"}
    refused = await client.post("ask", data={"question": "?", "mail": "kim@example.com"}, headers=other)
    assert refused.status_code == 403
    huge = await client.post("ask", data={"question": "x" * 40_000, "mail": "kim@example.com"})
    assert huge.status_code == 413
    assert await talks(desk) == []


async def test_a_client_and_a_site_are_bounded(tmp_path: Path) -> None:
    async with desk_server(tmp_path, limits={"forms": {"client": 2}}) as desk:
        client = desk.visitor()
        assert [(await send(client)).status_code for _ in range(3)] == [200, 200, 429]
        client.headers["x-test-client"] = "198.51.100.9"
        assert (await send(client)).status_code == 200


async def test_the_page_loads_and_leads_nowhere_else(desk: DeskServer) -> None:
    client = desk.client()
    page = await client.get("ask", params={"lang": "de", "next": "https://evil.example"})
    assert "evil" not in page.text
    assert set(re.findall(r'(?:href|action|src)="([^"]+)"', page.text)) == {
        "data:,",
        "/",
        "/-/clew/ask?lang=de",
        re.findall(r'href="(/-/clew/visitor.css[^"]+)"', page.text)[0],
    }
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    style = await client.get("visitor.css", params={"v": re.findall(r"css\?v=(\w+)", page.text)[0]})
    assert "immutable" in style.headers["cache-control"]


@pytest.mark.parametrize(("color", "ink"), [("#f7d154", "#000000"), ("#7a3e12", "#ffffff")])
async def test_the_button_has_the_sites_colour_and_can_be_read(tmp_path: Path, color: str, ink: str) -> None:
    async with desk_server(tmp_path, more={"widget": {"color": color}}) as desk:
        client = desk.client()
        page = await client.get("ask")
        style = await client.get("visitor.css", params={"v": re.findall(r"css\?v=(\w+)", page.text)[0]})
        assert style.text.endswith(f"button {{ background: {color}; color: {ink}; }}\n")
        assert "immutable" in style.headers["cache-control"]


async def test_the_widget_gives_an_address_for_the_open_conversation(desk: DeskServer) -> None:
    client = desk.visitor()
    assert (await client.post("reply-to", json={"mail": "kim@example.com"})).status_code == 409
    talk = await desk.says("Hello?")
    assert (await client.post("reply-to", json={"mail": "kim"})).status_code == 422
    assert (await client.post("reply-to", json={"mail": "kim@example.com"})).status_code == 204
    reply = await desk.service.ledger.mails.reply("shop", talk)
    assert reply is not None
    assert reply.mail == "kim@example.com"
    assert (await desk.client().post("reply-to", json={"mail": "kim@example.com"})).status_code == 403


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("language", "width"), [("en-GB", 320), ("ar", 320), ("de-DE", 1200)])
async def test_it_works_in_a_browser_without_javascript(
    desk: DeskServer, chromium: Browser, language: str, width: int, scheme: Any
) -> None:
    texts = templates.texts(templates.language(language))
    # axe-core runs in a page of its own with scripts; the page itself has none.
    for scripts in (False, True):
        context = await chromium.new_context(
            java_script_enabled=scripts,
            locale=language,
            color_scheme=scheme,
            viewport={"width": width, "height": 700},
        )
        try:
            async with desk.served() as address:
                page = await context.new_page()
                await page.goto(f"{address}ask")
                await expect(page.get_by_role("heading", name=str(texts["ask_title"]))).to_be_visible()
                if scripts:
                    assert await faults(page) == []
                    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                await page.get_by_label(str(texts["question"])).fill("بلو؟" if language == "ar" else "Blue?")
                await page.get_by_label(str(texts["mail"]), exact=True).fill("kim@example.com")
                await page.get_by_role("button", name=str(texts["send"])).click()
                noted = templates.text(templates.language(language), "mail_noted", mail="kim@example.com")
                await expect(page.get_by_role("status")).to_have_text(noted)
                if scripts:
                    assert await faults(page) == []
        finally:
            await context.close()
    assert len(await talks(desk)) == 2


async def test_the_widget_offers_the_answer_by_mail_while_nobody_is_there(
    desk: DeskServer, chromium: Browser
) -> None:
    """The real widget on the real desk."""
    smtp = Smtp(host="127.0.0.1", port=9, security="none", sender="chat@shop.test")
    desk.service.settings = desk.service.settings.model_copy(update={"smtp": smtp})
    context = await chromium.new_context(locale="en-GB")
    try:
        async with desk.served() as address:
            name, _, value = desk.cookie(base=address.removesuffix("/-/clew/")).partition("=")
            await context.add_cookies([{"name": name, "value": value, "url": address}])
            page = await context.new_page()
            await page.goto(f"{address}health")
            answer = {"action": "show", "language": "en", "online": False, "widget": {"mails": True}}
            await page.evaluate(
                "async ([base, answer]) => (await import(base + 'w.js')).update(base, 'view-1', answer)",
                [address, answer],
            )
            await page.get_by_role("button", name="Ask us").click()
            field = page.get_by_label("Your email address")
            await expect(field).to_be_hidden()
            await page.get_by_label("Write a message").fill("Is it blue?")
            await page.keyboard.press("Enter")
            await field.fill("kim")
            await page.get_by_role("button", name="Get the answer by email").click()
            await expect(page.get_by_text("Please check the email address.")).to_be_visible()
            await field.fill("kim@example.com")
            await page.keyboard.press("Enter")
            await expect(page.get_by_text("We will answer to kim@example.com.")).to_be_visible()
            # The rest is of the bare page around it.
            bare = {"document-title", "html-has-lang", "landmark-one-main", "page-has-heading-one", "region"}
            assert [fault for fault in await faults(page) if fault[0] not in bare] == []
            (entry,) = await talks(desk)
            reply = await desk.service.ledger.mails.reply("shop", entry.conversation.id)
            assert reply is not None
            assert reply.mail == "kim@example.com"
    finally:
        await context.close()


async def test_a_site_of_another_host_knows_nothing_of_it(desk: DeskServer) -> None:
    await send(desk.visitor())
    (entry,) = await talks(desk)
    assert await desk.service.ledger.mails.reply("other", entry.conversation.id) is None
    assert SHOP != OTHER
