"""The inbox under a flood, and closing many."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.referral.cookie import new_visitor_id
from clew.referral.visitor import Page, Viewed
from desks import VISITOR, DeskServer, desk_server, hidden

FLOOD = "198.51.100.9"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, limits={"conversations": {"client": 1000}}) as built:
        yield built


async def flood(desk: DeskServer, number: int, address: str = FLOOD) -> None:
    for each in range(number):
        client = desk.visitor(new_visitor_id())
        client.headers["x-test-client"] = address
        sent = await client.post("messages", json={"text": f"spam {each}", "client_id": "widget-id-1"})
        assert sent.status_code == 201


async def customer(desk: DeskServer) -> None:
    sent = await desk.visitor().post("messages", json={"text": "is it blue?", "client_id": "widget-id-1"})
    assert sent.status_code == 201


async def test_a_flood_from_one_network_is_one_line_and_is_closed_at_once(desk: DeskServer) -> None:
    """field E3, D11: customers stay visible; the flood's visitors are notified of the end too."""
    await customer(desk)
    await flood(desk, 80)
    agent = await desk.agent()
    page = (await agent.get("desk/")).text
    assert "is it blue?" in page
    assert "spam" not in page
    assert "80 conversations from one network" in page
    assert FLOOD not in page
    mark = hidden(page, "network")
    answer = await agent.post("desk/close", data={"csrf": hidden(page), "network": mark})
    assert answer.status_code == 303
    page = (await agent.get("desk/")).text
    assert "from one network" not in page
    assert await desk.service.ledger.inbox.numbers("shop") == (1, 1)


async def test_the_conversations_of_one_network_can_be_looked_at(desk: DeskServer) -> None:
    """Customers of a mobile network share an address, so grouped conversations must remain accessible."""
    await flood(desk, 8)
    await customer(desk)
    agent = await desk.agent()
    mark = hidden((await agent.get("desk/")).text, "network")
    page = (await agent.get(f"desk/?network={mark}")).text
    assert page.count("spam") == 8
    assert "is it blue?" not in page
    assert (await agent.get("desk/?network=' OR 1=1")).status_code == 200


async def test_a_few_from_one_network_are_listed_as_all_others(desk: DeskServer) -> None:
    await flood(desk, 5)
    page = (await (await desk.agent()).get("desk/")).text
    assert page.count("spam") == 5


async def test_chosen_conversations_are_closed_together(desk: DeskServer) -> None:
    await flood(desk, 3)
    agent = await desk.agent()
    page = (await agent.get("desk/")).text
    ids = [e.conversation.id for e in await desk.service.ledger.inbox.page("shop")]
    form = {"csrf": hidden(page), "id": ids[:2]}
    assert (await agent.post("desk/close", data=form)).status_code == 303
    assert [e.conversation.id for e in await desk.service.ledger.inbox.page("shop")] == ids[2:]
    assert (await agent.post("desk/close", data={"id": ids[2:], "csrf": "no"})).status_code == 403
    assert (await desk.client().post("desk/close", data={"id": ids[2:]})).status_code == 303
    assert await desk.service.ledger.inbox.numbers("shop") == (1, 1)


async def test_the_inbox_has_pages_of_fifty(desk: DeskServer) -> None:
    """field E3."""
    for number in range(60):
        await flood(desk, 1, f"198.51.100.{number}")
    agent = await desk.agent()
    first, second = (await agent.get("desk/")).text, (await agent.get("desk/?page=1")).text
    assert first.count('class="line"') == 50
    assert second.count('class="line"') == 10
    assert "?page=1" in first
    assert "Newer" in second
    assert "Older" not in second
    for strange in ("-1", "x", "99999999999", "%C2%B2"):
        assert (await agent.get(f"desk/?page={strange}")).status_code == 200


@pytest.mark.parametrize("way", ["one", "many"])
async def test_the_visitor_is_notified_that_the_conversation_is_closed(desk: DeskServer, way: str) -> None:
    """field D11: through the very stream that the open widget reads."""
    talk = await desk.says("hello")
    agent = await desk.agent()
    csrf = hidden((await agent.get("desk/")).text)
    if way == "one":
        await agent.post(f"desk/conversations/{talk}/close", data={"csrf": csrf})
    else:
        await agent.post("desk/close", data={"csrf": csrf, "id": talk})
    read = (await desk.visitor(VISITOR).get("messages")).json()
    assert read["state"] == "closed"
    assert (read["messages"][-1]["author"], read["messages"][-1]["text"]) == (
        "system",
        "Das Gespräch wurde beendet.",
    )


async def test_four_desks_and_a_message_a_second_cost_the_loop_milliseconds(desk: DeskServer) -> None:
    """field E5: 60 conversations of visitors with full trails; the loop stays free."""
    now = desk.service.clock.now()
    for number in range(60):
        visitor = new_visitor_id()
        pages = [
            Viewed(Page(f"view-{each}", now, f"http://shop.test/{'x' * 1900}?{each}", "t" * 300))
            for each in range(50)
        ]
        await desk.service.visits.change("shop", visitor, pages, now)
        client = desk.visitor(visitor)
        client.headers["x-test-client"] = f"198.51.100.{number}"
        await client.post("messages", json={"text": "hello", "client_id": "widget-id-1"})
    agents = [await desk.agent(name) for name in ("bo", "cy", "di", "ed")]
    await agents[0].get("desk/")
    stalls = []

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            stalls.append(time.thread_time() - before)

    watching = asyncio.create_task(watch())
    for number in range(4):
        await desk.says(f"more {number}")
        await asyncio.gather(*(agent.get("desk/") for agent in agents))
    watching.cancel()
    stalls.sort()
    # A garbage collection may fall into a few of them.
    assert stalls[-5] < 0.05


async def test_desks_that_ask_together_share_lines_but_not_what_is_their_own(desk: DeskServer) -> None:
    await customer(desk)
    other = desk.visitor(new_visitor_id())
    assert (
        await other.post("messages", json={"text": "too dear", "client_id": "widget-id-1"})
    ).status_code == 201
    talks = [entry.conversation.id for entry in await desk.service.ledger.inbox.page("shop")]
    agents = [await desk.agent(name) for name in ("bo", "cy")]
    mine = [*zip(talks, ("bo", "cy"), strict=True)]
    for talk, agent in mine:
        await desk.service.conversations.take("shop", talk, agent)
    asked = [
        agent.get("desk/lines", params={"current": talk}) for agent, talk in zip(agents, talks, strict=True)
    ]
    pages = [answer.text for answer in await asyncio.gather(*asked)]
    for place, page in enumerate(pages):
        assert page.count(">yours<") == 1
        assert page.count(f">{('cy', 'bo')[place]}<") == 1, "the colleague's"
        assert page.split(f'id="line-{talks[place]}"')[1].split("</li>")[0].count("aria-current") == 1
        assert page.split(f'id="line-{talks[1 - place]}"')[1].split("</li>")[0].count("aria-current") == 0


async def test_a_line_has_the_tags_of_its_conversation(desk: DeskServer) -> None:
    talk, agent = await desk.says("hello"), await desk.agent()
    await desk.says("hello", visitor="f" * 26)
    for tag in ("wine", "<b>"):
        await desk.service.ledger.tags.add("shop", talk, tag, "bo", desk.clock.now())
    page = (await agent.get("desk/")).text
    line = page.partition(f'id="line-{talk}"')[2].partition("</li>")[0]
    assert "#wine" in line
    assert "#&lt;b&gt;" in line
    assert page.count("#wine") == 1


async def test_the_inbox_leads_to_everything_that_a_role_may_open(desk: DeskServer) -> None:
    agent = (await (await desk.agent("bo", role="agent")).get("desk/")).text
    lead = (await (await desk.agent("di", role="lead")).get("desk/")).text
    for path in ("search", "canned", "orders"):
        assert f'href="/-/clew/desk/{path}"' in agent
    assert 'href="/-/clew/desk/team"' not in agent
    assert 'href="/-/clew/desk/team"' in lead
