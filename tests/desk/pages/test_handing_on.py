"""Presence, transfers, notes, blocks and colleagues' conversations, on the desk's pages."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio
from clew.chat.model import Sender
from clew.stores.ledger.audit import WantedLines
from desks import VISITOR, DeskServer, desk_server, hidden


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    chat = {"assignment": "round_robin", "departments": ["sales", "billing"], "per_agent": 1}
    async with desk_server(tmp_path, chat) as built:
        yield built


async def post(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    csrf = hidden((await client.get("desk/account")).text)
    return await client.post(f"desk/{path}", data={"csrf": csrf, **fields})


async def audited(desk: DeskServer) -> list[tuple[str, str, str]]:
    found = await desk.service.ledger.audit.page(WantedLines(("shop",)), 50, None)
    return [(one.who, one.action, one.subject) for one in found if not one.action.startswith("login")]


async def page_of(client: httpx2.AsyncClient, talk: str) -> str:
    return (await client.get(f"desk/conversations/{talk}")).text


async def held(desk: DeskServer, talk: str) -> str | None:
    found = await desk.conversations.get("shop", talk)
    assert found is not None
    return found.agent


async def test_writing_in_a_colleagues_conversation_asks_first_and_is_logged(desk: DeskServer) -> None:
    """field G15"""
    anna, bo = await desk.agent("anna", role="agent"), await desk.agent("bo", role="agent")
    talk = await desk.says("is it blue?")
    await post(anna, f"conversations/{talk}/messages", text="yes", client_id="a1")
    asked = await post(bo, f"conversations/{talk}/messages", text="no, red", client_id="b1")
    assert asked.status_code == 409
    assert "anna has this conversation" in asked.text
    assert ">no, red</textarea>" in asked.text
    assert await held(desk, talk) == "anna"
    sent = await post(bo, f"conversations/{talk}/messages", text="no, red", client_id="b1", over="anna")
    assert sent.status_code == 303
    assert await held(desk, talk) == "bo"
    assert "bo took over from you" in await page_of(anna, talk)
    assert await audited(desk) == [("bo", "conversation.taken_over", talk)]


async def test_a_conversation_is_given_to_a_person_with_a_note(desk: DeskServer) -> None:
    """field G14"""
    anna, bo = await desk.agent("anna", role="agent"), await desk.agent("bo", role="agent")
    await anna.get("desk/")
    talk = await desk.says("where is my parcel?")
    await post(anna, f"conversations/{talk}/messages", text="one moment", client_id="a1")
    # Whoever has not opened the desk yet gets nothing.
    refused = await post(anna, f"conversations/{talk}/transfer", to="agent:cy")
    assert (refused.status_code, "cy has no desk open" in refused.text) == (422, True)
    await bo.get("desk/")
    assert 'value="agent:bo"' in await page_of(anna, talk)
    await post(anna, f"conversations/{talk}/transfer", to="agent:bo", note="A good customer <b>")
    assert await held(desk, talk) == "bo"
    shown = await page_of(bo, talk)
    assert "anna gave it to you" in shown
    assert "A good customer &lt;b&gt;" in shown
    for wrong in ("", "agent:", "department:nobody", "x"):
        refused = await post(anna, f"conversations/{talk}/transfer", to=wrong)
        assert refused.status_code == 422
    assert await held(desk, talk) == "bo"


async def test_a_transfer_to_a_department_reaches_its_people_at_once(desk: DeskServer) -> None:
    owner, bo = await desk.agent("owner"), await desk.agent("bo", role="agent")
    await post(owner, "people/bo/work", department="billing", language="de", capacity="2")
    await bo.get("desk/")
    talk = await desk.says("the invoice is wrong")
    await post(owner, f"conversations/{talk}/take")
    await post(owner, f"conversations/{talk}/transfer", to="department:billing")
    await desk.service.desk_work.assign("shop")
    assert await held(desk, talk) == "bo"
    shown = await page_of(owner, talk)
    assert "you gave it to department billing" in shown
    assert "assigned to bo" in shown


async def test_a_note_is_for_agents_alone(desk: DeskServer) -> None:
    anna = await desk.agent("anna", role="agent")
    talk = await desk.says("hello")
    await post(anna, f"conversations/{talk}/notes", note="has complained twice")
    assert "has complained twice" in await page_of(anna, talk)
    assert "has complained" not in (await desk.visitor().get("messages")).text
    _, messages = await desk.conversations.visitor_messages("shop", VISITOR)
    assert [one.text for one in messages] == ["hello"]


async def test_presence_decides_who_gets_what_waits(desk: DeskServer) -> None:
    anna = await desk.agent("anna", role="agent")
    await anna.get("desk/")
    assert (await post(anna, "presence", presence="away")).status_code == 303
    assert 'value="away" selected' in (await anna.get("desk/")).text
    talk = await desk.says("hello")
    await desk.service.desk_work.assign("shop")
    assert await held(desk, talk) is None
    await post(anna, "presence", presence="available")
    await desk.service.desk_work.assign("shop")
    assert await held(desk, talk) == "anna"
    assert (await post(anna, "presence", presence="lunch")).status_code == 422
    # One stays where one is, and is led nowhere else.
    for to, leads in ((f"/conversations/{talk}", f"/conversations/{talk}"), ("https://evil.test/", "/")):
        back = await post(anna, "presence", presence="available", to=to)
        assert back.headers["location"].endswith(f"/desk{leads}")


async def test_a_visitor_is_blocked_for_a_time_and_a_lead_ends_it(desk: DeskServer) -> None:
    anna, lea = await desk.agent("anna", role="agent"), await desk.agent("lea", role="lead")
    talk = await desk.says("spam")
    assert (await post(anna, f"conversations/{talk}/block", hours="9999")).status_code == 422
    await post(anna, f"conversations/{talk}/block", hours="24", why="spam")
    assert "The visitor is blocked until" in await page_of(anna, talk)
    send = {"text": "more spam", "client_id": "widget-id-9"}
    assert (await desk.visitor().post("messages", json=send)).status_code == 403
    assert (await anna.get("desk/blocks")).status_code == 403
    listed = (await lea.get("desk/blocks")).text
    assert "Visitor FF22" in listed
    number = listed.split("/blocks/")[1].split("/")[0]
    assert (await post(anna, f"blocks/{number}/lift")).status_code == 403
    assert (await post(lea, f"blocks/{number}/lift")).status_code == 303
    assert (await post(lea, f"blocks/{number}/lift")).status_code == 404
    assert (await desk.visitor().post("messages", json=send)).status_code == 201
    assert await audited(desk) == [
        ("lea", "visitor.unblocked", number),
        ("anna", "visitor.blocked", talk),
    ]


async def test_a_blocked_network_is_shown_at_its_visitors_and_others_of_it(desk: DeskServer) -> None:
    anna = await desk.agent("anna")
    talk = await desk.says("spam", sender=Sender(client="aa"))
    other = await desk.says("more", "ffffgggghhhhiiiijjjjkkkk33", sender=Sender(client="aa"))
    elsewhere = await desk.says("hello", "eeeegggghhhhiiiijjjjkkkk44", sender=Sender(client="bb"))
    await post(anna, f"conversations/{talk}/block", hours="24", network="1")
    words = "The network from which the visitor wrote is blocked until"
    assert [words in await page_of(anna, one) for one in (talk, other, elsewhere)] == [True, True, False]
    assert "The visitor is blocked until" not in await page_of(anna, other)


async def test_an_owner_says_what_a_person_takes(desk: DeskServer) -> None:
    owner = await desk.agent("owner")
    await desk.agent("bo", role="agent")
    sent = await post(owner, "people/bo/work", capacity="5", language="fi", department="sales")
    assert sent.status_code == 303
    work = await desk.service.ledger.desk_agents.of("bo")
    assert (work.capacity, work.languages, work.departments) == (5, ["fi"], ["sales"])
    for wrong in ("x", "0", "51", "-1"):
        refused = await post(owner, "people/bo/work", capacity=wrong)
        assert (refused.status_code, "Nothing changed" in refused.text) == (422, True)
    await post(owner, "people/bo/work", capacity="", language="xx", department="unknown")
    work = await desk.service.ledger.desk_agents.of("bo")
    assert (work.capacity, work.languages, work.departments) == (None, [], [])
