"""One look for all live streams: nothing while nothing happens, and only those concerned when it does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.chat.hub import Listener, desk_topic, visitor_topic
from clew.chat.model import Message, News
from clew.orders.doubt import Doubt
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.referral.cookie import new_visitor_id
from clew.referral.visitor import Page, Viewed
from clew.stores import presence
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.tail import Tail
from desks import VISITOR, DeskServer, desk_server, events, until
from recorded import Credit, put_order

BASE = "http://127.0.0.1"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    """A desk whose watch looks only when a test says so."""
    async with desk_server(tmp_path) as built:
        next(task for task in built.service.tasks._lasting if task.get_name() == "clew-watch").cancel()
        yield built


@pytest_asyncio.fixture
async def elsewhere(desk: DeskServer, tmp_path: Path) -> AsyncIterator[Conversations]:
    """The same ledger, as another process has it open."""
    db = database_at(f"sqlite:{tmp_path / 'ledger.db'}")
    await db.open()
    yield Conversations(db)
    await db.close()


class Counted:
    """Calls of a method of an object."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, thing: object, name: str) -> None:
        self.calls: list[tuple[Any, ...]] = []
        real: Callable[..., Awaitable[Any]] = getattr(thing, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls.append(arguments)
            return real(*arguments, **named)

        monkeypatch.setattr(thing, name, counted)


async def write(books: Conversations, text: str, visitor: str = VISITOR) -> str:
    added = await books.add_visitor_message(
        "shop", visitor, text, client_id=new_visitor_id(), language="de", rule=None, now=1_700_000_000
    )
    return added.conversation.id


async def streams(
    desk: DeskServer, tabs: AsyncExitStack, visitors: list[str]
) -> list[AsyncIterator[dict[str, str]]]:
    """An open stream of each visitor, from which the history has been read."""
    address = await tabs.enter_async_context(desk.served())
    found = []
    for visitor in visitors:
        await write(desk.conversations, "hello", visitor)
        client = await tabs.enter_async_context(httpx2.AsyncClient(headers={"cookie": desk.cookie(visitor)}))
        answer = await tabs.enter_async_context(client.stream("GET", f"{address}stream"))
        assert answer.status_code == 200
        found.append(events(answer))
        await anext(found[-1])
    return found


async def first_look(desk: DeskServer, monkeypatch: pytest.MonkeyPatch, listeners: int) -> None:
    """The first one wakes all: it cannot know what was written before."""
    with monkeypatch.context() as patched:
        read = Counted(patched, desk.conversations, "visitor_messages")
        await desk.service.watch.look()
        await until(lambda: len(read.calls) == listeners)


async def test_idle_streams_cause_no_queries(desk: DeskServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """field E6: without changes neither a stream nor the watch reads the ledger."""
    async with AsyncExitStack() as tabs:
        lives = await streams(desk, tabs, [new_visitor_id() for _ in range(40)])
        await first_look(desk, monkeypatch, len(lives))
        read = [Counted(monkeypatch, desk.conversations, "visitor_messages")]
        read.append(Counted(monkeypatch, Tail, "read"))
        read.append(Counted(monkeypatch, desk.service.ledger.inbox, "version"))
        await desk.service.watch.look()
        with pytest.raises(TimeoutError):
            # Longer than the two seconds after which each used to look.
            await until(lambda: any(each.calls for each in read), 2.5)


async def test_writes_of_another_process_wake_only_the_streams_concerned(
    desk: DeskServer, elsewhere: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field E6."""
    visitors = [new_visitor_id() for _ in range(10)]
    async with AsyncExitStack() as tabs:
        lives = await streams(desk, tabs, visitors)
        await first_look(desk, monkeypatch, 10)
        read = Counted(monkeypatch, desk.conversations, "visitor_messages")
        told = Counted(monkeypatch, Listener, "tell")
        await write(elsewhere, "from elsewhere", visitors[3])
        await desk.service.watch.look()
        assert json.loads((await anext(lives[3]))["data"])["text"] == "from elsewhere"
        assert {topic for _, topic, _ in told.calls} == {visitor_topic("shop", visitors[3])}
        # It has told the message before, so it need not read.
        assert read.calls == []


async def test_what_another_process_writes_is_told_while_visitors_records_are_brought_up(
    desk: DeskServer, elsewhere: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hundreds who write, that takes longer than a second."""
    begun, ends = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        begun.set()
        await ends.wait()

    monkeypatch.setattr(desk.service.talks, "bring_up_to", slow)
    running = asyncio.create_task(desk.service.watch.run())
    try:
        with desk.service.hub.listen(visitor_topic("shop", VISITOR)) as listener:
            await write(elsewhere, "hello")
            await asyncio.wait_for(begun.wait(), 60)
            await write(elsewhere, "later")
            heard: list[str] = []
            while "later" not in heard:
                assert await listener.wait(60)
                heard += [news.message.text for news in listener.told()]
            assert heard == ["hello", "later"]
    finally:
        ends.set()
        running.cancel()
        await asyncio.wait({running})


async def test_messages_from_before_the_first_check_are_not_missed(
    desk: DeskServer, elsewhere: Conversations
) -> None:
    async with AsyncExitStack() as tabs:
        (live,) = await streams(desk, tabs, [VISITOR])
        await write(elsewhere, "early")
        await desk.service.watch.look()
        assert json.loads((await anext(live))["data"])["text"] == "early"


async def test_a_conversation_taken_in_another_process_reaches_the_desks(
    desk: DeskServer, elsewhere: Conversations
) -> None:
    talk = await write(desk.conversations, "hello")
    async with desk.served() as address, AsyncExitStack() as tabs:
        agent = await desk.agent(base=address.removesuffix("/-/clew/"))
        client = await tabs.enter_async_context(httpx2.AsyncClient(cookies=agent.cookies))
        answer = await tabs.enter_async_context(client.stream("GET", f"{address}desk/stream?mark=x"))
        live = events(answer)
        first = (await anext(live))["id"]
        await desk.service.watch.look()
        await elsewhere.claim("shop", talk, "bo", 1_700_000_001)
        await desk.service.watch.look()
        assert (await anext(live))["id"] != first


async def test_an_order_held_in_another_process_reaches_the_desks(
    desk: DeskServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page said "live", and showed for ten seconds that nothing was held."""
    async with desk.served() as address, AsyncExitStack() as tabs:
        agent = await desk.agent(base=address.removesuffix("/-/clew/"))
        client = await tabs.enter_async_context(httpx2.AsyncClient(cookies=agent.cookies))
        answer = await tabs.enter_async_context(client.stream("GET", f"{address}desk/stream?mark=x"))
        live = events(answer)
        await anext(live)
        await desk.service.watch.look()
        told = Counted(monkeypatch, desk.service.hub, "notify")
        db = database_at(f"sqlite:{tmp_path / 'ledger.db'}")
        await db.open()
        report = Report("order", "anna", "c1", "1", "5.00", "EUR", "web", 1, 1)
        await put_order(
            db,
            OrderSeen("1", Decimal(5), "EUR", "page"),
            channel="web",
            credit=Credit("anna", None, None, "for the test", ()),
            reports=[report],
            doubt=Doubt("checkout", "for the test"),
            now=1_700_000_000,
        )
        await db.close()
        await desk.service.watch.look()
        assert told.calls == [(desk_topic("shop"),)]


async def test_a_desk_is_notified_only_of_the_visit_that_it_shows(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field E6: visits are read once for all desks, and only those that a desk shows."""
    talk, other = await write(desk.conversations, "hello"), new_visitor_id()
    async with desk.served() as address, AsyncExitStack() as tabs:
        agent = await desk.agent(base=address.removesuffix("/-/clew/"))
        for _ in range(3):
            client = await tabs.enter_async_context(httpx2.AsyncClient(cookies=agent.cookies))
            answer = await tabs.enter_async_context(
                client.stream("GET", f"{address}desk/stream?mark=x&conversation={talk}")
            )
            live = events(answer)
            await anext(live)
        await desk.service.watch.look()
        looked = Counted(monkeypatch, desk.service.visits, "get")
        desk.service.watch._visits_at = -10.0
        await desk.service.watch.look()
        assert looked.calls == [("shop", VISITOR)]
        now = desk.service.clock.now()
        for visitor in (other, VISITOR):
            page = Viewed(Page("view-1", now, "http://shop.test/basket", "Basket"))
            await desk.service.visits.change("shop", visitor, [page], now)
        desk.service.watch._visits_at = -10.0
        await desk.service.watch.look()
        assert (await anext(live))["event"] == "changed"


async def test_changes_within_a_second_are_sent_to_a_desk_together(desk: DeskServer) -> None:
    """field E5: each change makes the page fetch itself, so a flood must not become one of page views."""
    async with desk.served() as address, AsyncExitStack() as tabs:
        agent = await desk.agent(base=address.removesuffix("/-/clew/"))
        client = await tabs.enter_async_context(httpx2.AsyncClient(cookies=agent.cookies))
        answer = await tabs.enter_async_context(client.stream("GET", f"{address}desk/stream?mark=x"))
        live = events(answer)
        await anext(live)
        told = 0

        async def count() -> None:
            nonlocal told
            async for _ in live:
                told += 1

        counting = asyncio.create_task(count())
        for number in range(30):
            visitor = desk.visitor(new_visitor_id(), BASE)
            sent = {"text": f"hello {number}", "client_id": "widget-id-1"}
            visitor.headers["x-test-client"] = f"198.51.100.{number}"
            assert (await visitor.post("messages", json=sent)).status_code == 201
        await until(lambda: told > 0)
        assert told <= 3
        counting.cancel()


async def test_an_agent_is_offline_seconds_after_closing_its_last_desk(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D12."""
    monkeypatch.setattr(presence, "LEAVE_SECONDS", 0.1)

    async def online() -> int:
        return await desk.agents.online("shop", desk.service.clock.now())

    async with desk.served() as address:
        agent = await desk.agent(base=address.removesuffix("/-/clew/"))
        async with AsyncExitStack() as tabs:
            for _ in range(2):
                client = await tabs.enter_async_context(httpx2.AsyncClient(cookies=agent.cookies))
                answer = await tabs.enter_async_context(client.stream("GET", f"{address}desk/stream?mark=x"))
                await anext(events(answer))
            assert await online() == 1
        gone = Counted(monkeypatch, desk.agents, "left")
        await until(lambda: bool(gone.calls) and not desk.service.tasks._work)
        assert await online() == 0


async def test_changing_the_page_of_the_inbox_does_not_make_the_agent_offline(desk: DeskServer) -> None:
    """field D12."""
    with desk.service.presence.open("bo"):
        pass
    with desk.service.presence.open("bo"):
        await desk.agents.add("bo", "correct horse battery", site=None, now=0)
        await desk.service.presence.seen("bo")
        desk.service.presence._leave("bo")
        assert await desk.agents.online("shop", desk.service.clock.now()) == 1


async def test_two_desks_of_an_agent_write_once(desk: DeskServer, monkeypatch: pytest.MonkeyPatch) -> None:
    wrote = Counted(monkeypatch, desk.agents, "seen_all")
    for _ in range(5):
        await desk.service.presence.seen("bo")
    assert len(wrote.calls) == 1
    desk.clock.ahead += 10
    await desk.service.presence.seen("bo")
    assert len(wrote.calls) == 2


async def test_agents_whose_turn_comes_soon_are_written_together(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty desks wrote five times a second, and all processes looked at the ledger each time."""
    for name in ("al", "cy"):
        await desk.agents.add(name, "correct horse battery", site=None, now=0)
    wrote, presence = Counted(monkeypatch, desk.agents, "seen_all"), desk.service.presence
    with presence.open("al"), presence.open("cy"):
        for seconds in (0, 3, 3, 3):
            desk.clock.ahead += seconds
            await presence.seen("al")
            await presence.seen("cy")
    assert [sorted(names) for names, _ in wrote.calls] == [["al", "cy"], ["al", "cy"]]
    assert await desk.agents.online("shop", desk.service.clock.now()) == 2


async def test_commits_count_as_changes_and_reads_do_not(desk: DeskServer, elsewhere: Conversations) -> None:
    db = desk.service.ledger.db
    await db.changed()
    assert await db.changed() is False
    await desk.service.ledger.inbox.page("shop")
    assert await db.changed() is False
    await write(elsewhere, "there")
    assert await db.changed() is True
    await write(desk.conversations, "here")
    assert await db.changed() is True
    assert await db.changed() is False


async def test_a_stream_tells_what_it_is_told_and_reads_what_it_was_not_told(desk: DeskServer) -> None:
    """Once each, and in their order: also where a message is told before the one that came before it."""

    def message(number: int, text: str, previous: int) -> None:
        news = News("shop", VISITOR, talk, Message(number, "visitor", None, text, 1.0), previous)
        desk.service.hub.tell(news)

    async with AsyncExitStack() as tabs:
        (live,) = await streams(desk, tabs, [VISITOR])
        found, said = await desk.conversations.visitor_messages("shop", VISITOR)
        assert found is not None
        talk, first = found.id, said[0].id
        message(first, "again", 0)
        message(first + 1, "two", first)
        message(first + 1, "again", first)
        assert json.loads((await anext(live))["data"])["text"] == "two"
        # Nobody told of the third, which the ledger has.
        await write(desk.conversations, "two")
        await write(desk.conversations, "three")
        await write(desk.conversations, "four")
        message(first + 3, "four", first + 2)
        assert [json.loads((await anext(live))["data"])["text"] for _ in range(2)] == ["three", "four"]
