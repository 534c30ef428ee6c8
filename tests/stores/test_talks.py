"""What a visitor's record says of its conversation is right, and a decision asks the ledger nothing else."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.referral.cookie import new_visitor_id
from clew.referral.visitor import Talk
from clew.stores.ledger.connection import Connection
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.visits import VisitsError
from desks import VISITOR, DeskServer, desk_server, hidden
from talks import open_conversation

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with quiet(tmp_path) as built:
        yield built


@asynccontextmanager
async def quiet(folder: Path) -> AsyncIterator[DeskServer]:
    """A desk whose watch runs only on demand, and where nothing else queries the ledger."""
    async with desk_server(folder) as built:
        for task in built.service.tasks._lasting:
            task.cancel()
        await asyncio.gather(*built.service.tasks._lasting, return_exceptions=True)
        yield built


@contextmanager
def counted(db: Database) -> Iterator[list[None]]:
    """The questions to the ledger while the block runs."""
    asked: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        read, query = db.read, db.query

        @asynccontextmanager
        async def counting() -> AsyncIterator[Connection]:
            asked.append(None)
            async with read() as connection:
                yield connection

        async def counting_query(work: Any, seconds: float | None = None, *, quick: bool = False) -> Any:
            asked.append(None)
            return await query(work, seconds, quick=quick)

        patch.setattr(db, "read", counting)
        patch.setattr(db, "query", counting_query)
        yield asked


async def decide(desk: DeskServer, view: str, visitor: str = VISITOR) -> dict[str, Any]:
    page = {"view": f"view-{view}", "url": "http://shop.test/mug", "title": "Mug"}
    async with desk.visitor(visitor) as browser:
        answer = await browser.post("decide", json=page)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def talk_of(answer: dict[str, Any]) -> tuple[bool, int, str]:
    return answer["conversation"], answer["unread"], answer["action"]


async def say(desk: DeskServer, text: str = "hello", visitor: str = VISITOR) -> None:
    async with desk.visitor(visitor) as browser:
        body = {"text": text, "client_id": new_visitor_id()}
        assert (await browser.post("messages", json=body)).status_code == 201


async def reply(desk: DeskServer, text: str = "hi") -> None:
    """An agent answers the visitor's conversation at its desk."""
    agent = await desk.agent()
    found = await open_conversation(desk.conversations, "shop", VISITOR)
    assert found is not None
    page = await agent.get(f"desk/conversations/{found.id}")
    fields = {"csrf": hidden(page.text), "text": text, "client_id": new_visitor_id()}
    assert (await agent.post(f"desk/conversations/{found.id}/messages", data=fields)).status_code == 303


async def close(desk: DeskServer) -> None:
    agent = await desk.agent()
    found = await open_conversation(desk.conversations, "shop", VISITOR)
    assert found is not None
    page = await agent.get(f"desk/conversations/{found.id}")
    done = await agent.post(f"desk/conversations/{found.id}/close", data={"csrf": hidden(page.text)})
    assert done.status_code == 303


async def test_a_decision_queries_the_ledger_only_once_for_a_new_visitor(desk: DeskServer) -> None:
    with counted(desk.service.ledger.db) as asked:
        await decide(desk, "0001")
        assert len(asked) == 1, "whether it wrote before the store knew it"
        for number in range(2, 7):
            assert talk_of(await decide(desk, f"000{number}"))[:2] == (False, 0)
        assert len(asked) == 1


async def test_a_browser_without_clews_cookie_causes_no_query(desk: DeskServer) -> None:
    page = {"view": "view-0001", "url": "http://shop.test/mug"}
    with counted(desk.service.ledger.db) as asked:
        async with desk.client() as browser:
            assert (await browser.post("decide", json=page)).status_code == 200
    assert asked == []


async def test_the_record_has_the_talk_from_its_first_message_to_its_end(desk: DeskServer) -> None:
    await decide(desk, "0001")
    await say(desk)
    with counted(desk.service.ledger.db) as asked:
        assert talk_of(await decide(desk, "0002")) == (True, 0, "show")
        assert asked == []
    await reply(desk)
    await reply(desk, "and this")
    assert talk_of(await decide(desk, "0003")) == (True, 2, "show")
    await say(desk, "thanks")
    assert talk_of(await decide(desk, "0004")) == (True, 0, "show")
    await close(desk)
    with counted(desk.service.ledger.db) as asked:
        assert talk_of(await decide(desk, "0005")) == (False, 0, "invite")
        assert asked == []


async def test_a_message_read_in_one_tab_is_read_in_all(desk: DeskServer) -> None:
    await say(desk)
    await reply(desk)
    async with desk.visitor() as browser:
        newest = (await browser.get("messages")).json()["messages"][-1]["id"]
        assert (await decide(desk, "0001"))["unread"] == 1
        event = {"kind": "read", "message": newest + 1000}
        assert (await browser.post("events", json=event)).status_code == 204
    assert (await decide(desk, "0002"))["unread"] == 0
    await reply(desk, "one more")
    assert (await decide(desk, "0003"))["unread"] == 1, "nobody reads what is not written yet"


async def test_conversations_that_are_closed_together_are_noted_too(desk: DeskServer) -> None:
    visitors = [new_visitor_id() for _ in range(3)]
    for visitor in visitors:
        await say(desk, visitor=visitor)
    agent = await desk.agent()
    page = await agent.get("desk/")
    talks = [await open_conversation(desk.conversations, "shop", visitor) for visitor in visitors]
    ids = [talk.id for talk in talks if talk is not None]
    assert (await agent.post("desk/close", data={"csrf": hidden(page.text), "id": ids})).status_code == 303
    while desk.service.tasks._work:
        await asyncio.wait(set(desk.service.tasks._work))
    with counted(desk.service.ledger.db) as asked:
        answers = [await decide(desk, "0001", visitor) for visitor in visitors]
        assert {talk_of(answer) for answer in answers} == {(False, 0, "invite")}
        assert asked == []


async def test_an_answer_from_another_process_counts_at_once(desk: DeskServer, tmp_path: Path) -> None:
    await say(desk)
    async with quiet(tmp_path) as other:
        await reply(other)
        assert talk_of(await decide(desk, "0001")) == (True, 1, "show")
        await close(other)
        assert talk_of(await decide(desk, "0002")) == (False, 0, "invite")


async def test_a_lost_row_is_made_again_from_the_ledger(desk: DeskServer, tmp_path: Path) -> None:
    await say(desk)
    await reply(desk)
    with closing(sqlite3.connect(tmp_path / "visits.db", isolation_level=None)) as store:
        assert store.execute("DELETE FROM visits").rowcount == 1
    with counted(desk.service.ledger.db) as asked:
        assert talk_of(await decide(desk, "0001")) == (True, 1, "show")
        assert talk_of(await decide(desk, "0002")) == (True, 1, "show")
        assert len(asked) == 1


async def test_a_new_visit_store_is_filled_with_the_ledgers_conversations(tmp_path: Path) -> None:
    async with quiet(tmp_path) as first:
        await say(first)
        await reply(first)
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"visits.db{end}").unlink(missing_ok=True)
    async with quiet(tmp_path) as second:
        assert talk_of(await decide(second, "0001")) == (True, 1, "show")


async def test_messages_of_a_killed_process_are_noted_after_a_restart(tmp_path: Path) -> None:
    async with quiet(tmp_path) as first:
        await say(first)
        assert talk_of(await decide(first, "0001")) == (True, 0, "show")
        found = await open_conversation(first.conversations, "shop", VISITOR)
        assert found is not None
    db = database_at(f"sqlite:{tmp_path / 'ledger.db'}")
    await db.open()
    await Conversations(db).add_agent_message("shop", found.id, "hi", agent="bo", client_id=None, now=1.0)
    await db.close()
    async with quiet(tmp_path) as second:
        assert talk_of(await decide(second, "0002")) == (True, 1, "show")


async def test_messages_of_a_killed_process_are_noted_by_another_process(desk: DeskServer) -> None:
    await say(desk)
    found = await open_conversation(desk.conversations, "shop", VISITOR)
    assert found is not None
    await desk.conversations.add_agent_message("shop", found.id, "hi", agent="bo", client_id=None, now=1.0)
    assert talk_of(await decide(desk, "0001")) == (True, 0, "show")
    await desk.service.watch.look()
    assert talk_of(await decide(desk, "0002")) == (True, 1, "show")


async def test_a_store_that_failed_while_it_was_noted_is_brought_up_later(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decide(desk, "0001")

    async def fail(*given: object) -> None:
        raise VisitsError("the visit store failed: database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(desk.service.visits, "update", fail)
        await say(desk)
        await desk.service.watch.look()
    await desk.service.watch.look()
    assert talk_of(await decide(desk, "0002")) == (True, 0, "show")


async def test_the_older_of_two_notes_never_wins(desk: DeskServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process has read the ledger and is held up before it writes; another writes what came after."""
    await say(desk)
    books, service = desk.conversations, desk.service
    found = await open_conversation(books, "shop", VISITOR)
    assert found is not None
    old, held, on = await books.talk("shop", VISITOR), asyncio.Event(), asyncio.Event()
    await service.visits.change("shop", VISITOR, [], service.clock.now())
    real = books.talk

    async def slow(site: str, visitor: str) -> Talk:
        monkeypatch.setattr(books, "talk", real)
        held.set()
        await on.wait()
        return old

    await books.add_agent_message("shop", found.id, "hi", agent="bo", client_id=None, now=1.0)
    await service.talks.note("shop", VISITOR)
    await books.add_agent_message("shop", found.id, "more", agent="bo", client_id=None, now=2.0)
    monkeypatch.setattr(books, "talk", slow)
    late = asyncio.create_task(service.talks.note("shop", VISITOR))
    await held.wait()
    await service.talks.note("shop", VISITOR)
    on.set()
    await late
    visitor = await service.visits.get("shop", VISITOR)
    assert visitor is not None
    assert visitor.unread == 2


async def test_an_agents_answer_does_not_count_as_visitor_activity(desk: DeskServer) -> None:
    await decide(desk, "0001")
    await say(desk)
    desk.clock.ahead += 3600
    await reply(desk)
    seen = await desk.service.visits.seen_at("shop", [VISITOR])
    assert desk.service.clock.now() - seen[VISITOR] >= 3600


async def test_decisions_need_no_query_for_the_agents(desk: DeskServer) -> None:
    assert (await decide(desk, "0001"))["online"] is False
    await desk.agents.add("bo", "correct horse battery", site="shop", now=desk.service.clock.now())
    await desk.agents.seen("bo", desk.service.clock.now())
    await desk.service.watch.look()
    with counted(desk.service.ledger.db) as asked:
        assert (await decide(desk, "0002"))["online"] is True
        desk.clock.ahead += 31
        assert (await decide(desk, "0003"))["online"] is False
        assert asked == []
    load = desk.service.agents.of("other", desk.service.clock.now())
    assert load is not None
    assert load.online == 0


async def test_what_a_visitor_adds_to_its_talk_is_noted_at_the_next_look_without_a_question(
    desk: DeskServer,
) -> None:
    await decide(desk, "0001")
    await say(desk)
    await desk.service.watch.look()
    noted = await desk.service.visits.get("shop", VISITOR)
    assert noted is not None
    for number in range(3):
        await say(desk, f"and {number}")
    assert await desk.service.visits.get("shop", VISITOR) == noted, "a talk that goes on changes nothing"
    read = desk.service.ledger.conversations.talk
    asked: list[str] = []

    async def asking(site: str, visitor: str) -> Talk:
        asked.append(visitor)
        return await read(site, visitor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.service.ledger.conversations, "talk", asking)
        await desk.service.watch.look()
    assert asked == []
    found = await desk.service.visits.get("shop", VISITOR)
    assert found is not None
    assert found.talk == await read("shop", VISITOR)
    assert found.talk is not None
    assert found.talk.last > (noted.talk.last if noted.talk is not None else 0)
