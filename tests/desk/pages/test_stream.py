"""The desk's stream brings the messages of the conversations that a page shows, and of its agent's own."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.chat.hub import Listener
from clew.desk.pages.live import DeskReader
from clew.referral.cookie import Known
from clew.stores.ledger.schema import messages as written
from desks import VISITOR, DeskServer, desk_server, events, hidden
from sqlalchemy import func, select

OTHER = "zzzzbbbbccccddddeeeeffff22"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


@pytest_asyncio.fixture
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as found:
        yield found


@asynccontextmanager
async def told(
    desk: DeskServer, address: str, *shown: str, mark: str | None = None, agent: str = "bo", **headers: str
) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """The events of an agent's stream on a page that shows these conversations."""
    client = await desk.agent(agent)
    query = httpx2.QueryParams([("conversation", one) for one in shown])
    query = query.set("mark", await marked(desk) if mark is None else mark)
    headers |= {"cookie": f"clew_desk={client.cookies['clew_desk']}", "host": "shop.test"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as live,
        live.stream("GET", f"{address}desk/stream", params=query) as response,
    ):
        assert response.status_code == 200
        yield events(response)


async def marked(desk: DeskServer) -> str:
    """The mark of a page that is made now."""
    async with desk.service.ledger.db.read() as connection:
        last = await connection.scalar(select(func.coalesce(func.max(written.c.id), 0)))
    return f"{last}.."


async def messages(live: AsyncIterator[dict[str, str]], count: int) -> list[dict[str, Any]]:
    """The next messages; what else is told is passed over."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            one = await anext(live)
            if one["event"] == "message":
                found.append(json.loads(one["data"]) | {"mark": one["id"]})
    return found


async def say(desk: DeskServer, text: str, visitor: str = VISITOR) -> None:
    sent = await desk.visitor(visitor).post("messages", json={"text": text, "client_id": f"widget-{text}"})
    assert sent.status_code == 201


async def test_messages_of_all_conversations_on_the_page_come_in_their_order(
    desk: DeskServer, address: str
) -> None:
    one, two = await desk.says("first"), await desk.says("second", OTHER)
    await desk.says("of nobody here", "q" * 26)
    async with told(desk, address, one, two) as live:
        for text in ("a-question", "b-question", "c-question"):
            await say(desk, text)
            await say(desk, f"{text}-2", OTHER)
        await say(desk, "not-shown", "q" * 26)
        found = await messages(live, 6)
    assert [(m["conversation"], m["text"]) for m in found] == [
        (talk, text)
        for letter in "abc"
        for talk, text in ((one, f"{letter}-question"), (two, f"{letter}-question-2"))
    ]
    assert [m["id"] for m in found] == sorted(m["id"] for m in found)
    assert {m["author"] for m in found} == {"visitor"}


async def test_messages_of_conversations_that_the_agent_takes_come_too(
    desk: DeskServer, address: str
) -> None:
    talk, foreign = await desk.says("first"), await desk.says("second", OTHER)
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    async with told(desk, address) as live:
        await client.post(f"desk/conversations/{talk}/take", data={"csrf": token})
        while (await anext(live))["event"] != "changed":
            pass
        await say(desk, "not-mine", OTHER)
        await say(desk, "and-this-is-mine")
        [mine] = await messages(live, 1)
    assert (mine["conversation"], mine["text"]) == (talk, "and-this-is-mine")
    assert foreign != talk


async def test_what_a_colleague_changes_beside_the_messages_is_told(desk: DeskServer, address: str) -> None:
    """Tags, an order, and an address for answers."""
    talk, client = await desk.says("first"), await desk.agent()
    path = f"desk/conversations/{talk}"
    sale = {"order_id": "1001", "total": "9.00", "currency": "EUR", "order_form": "order-form-0001"}
    known = Known(VISITOR, (), int(desk.clock.now()))
    for change in ("tags", "order", "mail"):
        page = (await client.get(path)).text
        (mark,) = re.findall(r'data-mark="([^"]+)"', page)
        async with told(desk, address, talk, mark=mark) as live, asyncio.timeout(30):
            if change == "mail":
                site = desk.service.sites["shop"]
                assert await desk.service.asking.reply_to(site, known, "k@a.example", None)
            else:
                fields = {"tag": "urgent"} if change == "tags" else sale
                answer = await client.post(f"{path}/{change}", data={"csrf": hidden(page), **fields})
                assert answer.status_code == 303, answer.text
            while (one := await anext(live))["event"] != "changed" or "page" not in one["data"]:
                pass


async def test_a_stream_that_comes_back_goes_on_where_it_was(desk: DeskServer, address: str) -> None:
    talk = await desk.says("first")
    begun = await marked(desk)
    async with told(desk, address, talk) as live:
        await say(desk, "question-one")
        [one] = await messages(live, 1)
    await say(desk, "question-two")
    # A browser repeats the address that it had at first; Last-Event-ID is newer.
    async with told(desk, address, talk, mark=begun, **{"last-event-id": one["mark"]}) as live:
        [two] = await messages(live, 1)
    assert two["text"] == "question-two"


async def test_the_mark_of_a_page_is_from_before_what_it_shows(desk: DeskServer, address: str) -> None:
    talk = await desk.says("first")
    page = (await (await desk.agent()).get(f"desk/conversations/{talk}")).text
    mark = page.partition('data-mark="')[2].partition('"')[0]
    await say(desk, "question-one")
    async with told(desk, address, talk, mark=mark) as live:
        [one] = await messages(live, 1)
    assert one["text"] == "question-one"


async def test_a_message_does_not_wait_for_a_look_at_what_else_has_changed(
    desk: DeskServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk, inbox = await desk.says("first"), desk.service.ledger.inbox
    begun, goes_on, version = asyncio.Event(), asyncio.Event(), inbox.shared_version

    async def slow(site: str) -> str:
        begun.set()
        await goes_on.wait()
        return await version(site)

    monkeypatch.setattr(inbox, "shared_version", slow)
    async with told(desk, address, talk) as live, asyncio.timeout(30):
        await begun.wait()
        for text in ("question-one", "question-two"):
            await say(desk, text)
            [one] = await messages(live, 1)
            assert one["text"] == text
        goes_on.set()
        assert json.loads((await anext(live))["data"]) == ["inbox", "page"]


async def test_a_stream_ends_where_a_look_finds_no_session(
    desk: DeskServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.desk.pages.live.LOOK_SECONDS", 0.1)
    talk = await desk.says("first")
    async with told(desk, address, talk) as live, asyncio.timeout(30):
        await anext(live)
        await desk.agents.end_sessions("bo")
        async for one in live:
            assert one["event"] == "changed"


async def test_a_stream_that_waits_for_its_turn_to_look_does_nothing(
    desk: DeskServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.desk.pages.live.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("clew.desk.pages.live.SPREAD_SECONDS", 0.1)
    looks, calls, enough = 0, 0, asyncio.Event()
    look, call = DeskReader._look, DeskReader.__call__

    async def looked(reader: DeskReader) -> Any:
        nonlocal looks
        looks += 1
        if looks == 10:
            enough.set()
        return await look(reader)

    async def called(reader: DeskReader, listener: Listener) -> Any:
        nonlocal calls
        calls += 1
        return await call(reader, listener)

    monkeypatch.setattr(DeskReader, "_look", looked)
    monkeypatch.setattr(DeskReader, "__call__", called)
    talk = await desk.says("first")
    async with told(desk, address, talk), asyncio.timeout(30):
        await enough.wait()
    # When it is due, when its turn has come, and when it has looked; and whatever else happened.
    assert calls <= 3 * looks + 20


async def test_a_conversation_of_another_site_is_not_told(desk: DeskServer, address: str) -> None:
    foreign = await desk.says("first", site="other")
    own = await desk.says("first")
    async with told(desk, address, foreign, own) as live:
        await desk.visitor(base="http://other.test").post(
            "messages", json={"text": "not for this site", "client_id": "widget-01"}
        )
        await say(desk, "for-this-site")
        [one] = await messages(live, 1)
    assert (one["conversation"], one["text"]) == (own, "for-this-site")


async def test_what_another_process_writes_is_told_at_once(desk: DeskServer, address: str) -> None:
    talk = await desk.says("first")
    async with told(desk, address, talk) as live:
        # Nothing in this process hears of it.
        await desk.says("from another process")
        [one] = await messages(live, 1)
    assert one["text"] == "from another process"


async def test_a_change_names_what_to_load_again(desk: DeskServer, address: str) -> None:
    talk = await desk.says("first")
    client = await desk.agent()
    page = (await client.get(f"desk/conversations/{talk}")).text
    mark = page.partition('data-mark="')[2].partition('"')[0]
    async with told(desk, address, talk, mark=mark) as live, asyncio.timeout(30):
        await say(desk, "of-somebody-else", OTHER)
        assert json.loads((await anext(live))["data"]) == ["inbox"]
        await client.post(f"desk/conversations/{talk}/take", data={"csrf": hidden(page)})
        assert json.loads((await anext(live))["data"]) == ["inbox", "page"]
    lines = (await client.get(f"desk/lines?current={talk}")).text
    assert "of-somebody-else" in lines
    assert f'href="/-/clew/desk/conversations/{talk}" aria-current="page"' in lines
