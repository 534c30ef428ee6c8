"""Conversations in the ledger, on a real SQLite file."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from clew.chat.model import Added, Crowd, Sender
from clew.referral.visitor import Talk
from clew.stores.ledger.blocks import Blocks
from clew.stores.ledger.conversations import REOPEN_SECONDS, Conversations
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import NoConversationError
from clew.stores.ledger.inbox import Inbox
from clew.stores.ledger.load import Active, Crowded, Load
from clew.stores.ledger.schema import conversations, messages
from clew.stores.ledger.tail import Tail
from sqlalchemy import func, select
from talks import open_by_agent, open_conversation

NOW = 1_700_000_000.0


def inbox(books: Conversations) -> Inbox:
    return Inbox(books._db)


@pytest_asyncio.fixture
async def books(ledger_address: str) -> AsyncIterator[Conversations]:
    db = database_at(ledger_address)
    await db.open()
    yield Conversations(db)
    await db.close()


async def write(
    books: Conversations,
    text: str,
    *,
    site: str = "shop",
    visitor: str = "anna",
    at: float = NOW,
    client_id: str | None = None,
    rule: str | None = None,
    sender: Sender | None = None,
) -> Added:
    return await books.add_visitor_message(
        site,
        visitor,
        text,
        client_id=client_id or f"c-{text}-{at}",
        language="de",
        rule=rule,
        now=at,
        sender=sender or Sender(),
    )


async def answer(books: Conversations, added: Added, text: str, *, at: float, agent: str = "bo") -> Added:
    return await books.add_agent_message(
        "shop", added.conversation.id, text, agent=agent, client_id=None, now=at
    )


async def test_first_message_opens_a_conversation_and_keeps_the_rule_that_invited(
    books: Conversations,
) -> None:
    added = await write(books, "hello", rule="after-wait")
    assert (added.created, added.opened) == (True, True)
    assert added.conversation.rule == "after-wait"
    assert added.conversation.language == "de"
    assert await open_conversation(books, "shop", "anna") == added.conversation
    assert await open_conversation(books, "shop", "ben") is None


async def test_further_messages_go_into_the_open_conversation(books: Conversations) -> None:
    first = await write(books, "one", rule="a")
    second = await write(books, "two", at=NOW + 5, rule="b")
    assert second.conversation.id == first.conversation.id
    assert second.conversation.rule == "a"
    assert second.opened is False
    assert [m.text for m in await books.messages(first.conversation)] == ["one", "two"]


async def test_a_message_sent_again_adds_nothing_and_returns_the_first(books: Conversations) -> None:
    first = await write(books, "hello", client_id="widget-id-1")
    again = await write(books, "hello, changed", at=NOW + 60, client_id="widget-id-1")
    assert again.created is False
    assert again.message == first.message
    assert len(await books.messages(first.conversation)) == 1


async def test_the_same_message_sent_ten_times_at_once_is_one_message_in_one_conversation(
    books: Conversations,
) -> None:
    sent = await asyncio.gather(*(write(books, "hello", client_id="widget-id-1") for _ in range(10)))
    assert sum(s.created for s in sent) == 1
    assert len({s.message.id for s in sent}) == 1
    assert len(await inbox(books).page("shop")) == 1


async def test_a_message_sent_again_after_a_new_conversation_began_is_still_known(
    books: Conversations,
) -> None:
    first = await write(books, "hello", client_id="widget-id-1")
    await books.close("shop", first.conversation.id, NOW)
    await write(books, "new talk", at=NOW + REOPEN_SECONDS + 1)
    again = await write(books, "hello", at=NOW + REOPEN_SECONDS + 2, client_id="widget-id-1")
    assert again.created is False
    assert again.message.id == first.message.id


async def test_two_visitors_may_use_the_same_client_id(books: Conversations) -> None:
    first = await write(books, "from anna", client_id="widget-id-1")
    second = await write(books, "from ben", visitor="ben", client_id="widget-id-1")
    assert second.created is True
    assert second.conversation.id != first.conversation.id


async def test_a_closed_conversation_is_opened_again_by_the_visitors_next_message(
    books: Conversations,
) -> None:
    first = await write(books, "hello")
    closed = await books.close("shop", first.conversation.id, NOW + 10)
    assert closed.state == "closed"
    assert await open_conversation(books, "shop", "anna") is None
    later = await write(books, "one more thing", at=NOW + 60)
    assert later.opened is True
    assert later.conversation.id == first.conversation.id
    assert later.conversation.state == "open"


async def test_a_day_after_closing_a_new_conversation_begins_with_its_own_rule(books: Conversations) -> None:
    first = await write(books, "hello", rule="a")
    await books.close("shop", first.conversation.id, NOW)
    later = await write(books, "hello again", at=NOW + REOPEN_SECONDS + 1, rule="b")
    assert later.conversation.id != first.conversation.id
    assert later.conversation.rule == "b"
    found, messages = await books.visitor_messages("shop", "anna")
    assert found == later.conversation
    assert [m.text for m in messages] == ["hello again"]
    assert [e.conversation.id for e in await inbox(books).of_visitor("shop", "anna")] == [
        later.conversation.id,
        first.conversation.id,
    ]


async def test_answering_assigns_the_conversation(books: Conversations) -> None:
    added = await write(books, "hello")
    assert added.conversation.agent is None
    answered = await answer(books, added, "hi", at=NOW + 5)
    assert answered.conversation.agent == "bo"
    taken = await books.claim("shop", added.conversation.id, "cy", NOW + 6)
    assert taken.agent == "cy"
    assert await open_by_agent(inbox(books), "shop") == {"cy": 1}


async def test_an_agents_form_sent_twice_is_one_answer(books: Conversations) -> None:
    added = await write(books, "hello")
    for _ in range(2):
        await books.add_agent_message(
            "shop", added.conversation.id, "hi", agent="bo", client_id="form-1", now=NOW
        )
    assert [m.text for m in await books.messages(added.conversation)] == ["hello", "hi"]


async def test_a_note_at_the_end_is_read_by_both_and_written_once(books: Conversations) -> None:
    """field D11: a stream is notified of the end because there is a new message."""
    added = await write(books, "hello")
    for _ in range(2):
        await books.close("shop", added.conversation.id, NOW + 1, lambda found: f"closed, {found.language}")
    _, messages = await books.visitor_messages("shop", "anna")
    assert [(m.author, m.text) for m in messages] == [("visitor", "hello"), ("system", "closed, de")]
    (entry,) = await inbox(books).closed("shop")
    assert (entry.waiting_since, entry.count) == (None, 1)
    assert entry.last is not None
    assert entry.last.author == "system"


async def test_messages_after_an_id_are_those_that_a_reader_has_not_seen(books: Conversations) -> None:
    first = await write(books, "one")
    await answer(books, first, "two", at=NOW + 1)
    await write(books, "three", at=NOW + 2)
    assert [m.text for m in await books.messages(first.conversation, first.message.id)] == ["two", "three"]
    _, seen = await books.visitor_messages("shop", "anna", first.message.id)
    assert [m.text for m in seen] == ["two", "three"]
    assert [m.text for m in await books.newest(first.conversation, 2)] == ["two", "three"]


async def test_a_talk_has_the_agents_messages_since_the_visitors_last_one(books: Conversations) -> None:
    assert await books.talk("shop", "anna") == Talk()
    added = await write(books, "hello")
    assert await books.talk("shop", "anna") == Talk(added.message.id, open=True)
    ids = [(await answer(books, added, text, at=NOW + 1)).message.id for text in ("hi", "are you there?")]
    assert await books.talk("shop", "anna") == Talk(ids[1], open=True, answers=tuple(ids))
    last = (await write(books, "yes", at=NOW + 3)).message.id
    assert await books.talk("shop", "anna") == Talk(last, open=True)
    await books.close("shop", added.conversation.id, NOW + 4, lambda found: "ended")
    assert await books.talk("shop", "anna") == Talk(last + 1)
    assert await books.talk("other", "anna") == Talk()


async def test_open_conversations_are_counted_for_all_sites_at_once(books: Conversations) -> None:
    for site, visitor in (("shop", "v1"), ("shop", "v2"), ("other", "v3"), ("other", "v4")):
        added = await write(books, "hello", visitor=visitor, site=site)
    await books.close("other", added.conversation.id, NOW)
    load = Load(books._db)
    assert await load.active(NOW - 60) == {
        "shop": Active({None: 2}, 2, NOW),
        "other": Active({None: 1}, 1, NOW),
    }


async def test_networks_of_which_several_wait_for_a_first_answer_are_told(books: Conversations) -> None:
    for n, client in enumerate(("one", "one", "one", "two", None, None)):
        added = await write(books, "hello", visitor=f"v{n}", sender=Sender(client=client))
        if n == 0:
            await books.claim("shop", added.conversation.id, "anna", NOW)
        if n == 1:
            await answer(books, added, "yes", at=NOW + 1)
            await write(books, "and?", visitor="v1", at=NOW + 2, sender=Sender(client=client))
    await write(books, "hello", visitor="v2", site="other", sender=Sender(client="one"))
    assert await Load(books._db).crowds() == {"shop": [Crowded(waiting=2, queue=1)]}


async def test_the_inbox_lists_the_newest_waiting_then_the_answered(books: Conversations) -> None:
    answered = await write(books, "answered", visitor="v1", at=NOW)
    await answer(books, answered, "done", at=NOW + 100)
    await write(books, "late", visitor="v2", at=NOW + 50)
    await write(books, "early", visitor="v3", at=NOW + 10)
    await write(books, "early, second", visitor="v3", at=NOW + 90)
    closed = await write(books, "closed", visitor="v4", at=NOW + 1)
    await books.close("shop", closed.conversation.id, NOW + 200)
    entries = await inbox(books).page("shop")
    assert [e.conversation.visitor for e in entries] == ["v2", "v3", "v1"]
    assert [e.waiting_since for e in entries] == [NOW + 50, NOW + 10, None]
    assert [e.count for e in entries] == [1, 2, 2]
    assert entries[1].last is not None
    assert entries[1].last.text == "early, second"
    (last,) = await inbox(books).closed("shop")
    assert (last.conversation.visitor, last.waiting_since) == ("v4", None)


async def test_the_inbox_has_pages(books: Conversations) -> None:
    """field E3."""
    for number in range(60):
        await write(books, "hello", visitor=f"v{number}", at=NOW + number)
    pages = [[e.conversation.visitor for e in await inbox(books).page("shop", page)] for page in range(3)]
    assert [len(page) for page in pages] == [50, 10, 0]
    assert pages[0][0] == "v59"
    assert pages[1][-1] == "v0"


async def test_many_from_one_network_are_a_crowd_and_are_closed_together(books: Conversations) -> None:
    """field E3: conversations that no agent has taken; others, and other networks, stay in the list."""
    for number in range(8):
        await write(books, "spam", visitor=f"s{number}", at=NOW + number, sender=Sender(client="aa"))
    for number in range(5):
        await write(books, "hi", visitor=f"v{number}", at=NOW + number, sender=Sender(client="bb"))
    taken = await write(books, "really?", visitor="s0", at=NOW + 20, sender=Sender(client="aa"))
    await books.claim("shop", taken.conversation.id, "bo", NOW + 21)
    await write(books, "hi", visitor="s9", site="other", at=NOW, sender=Sender(client="aa"))
    assert await inbox(books).crowds("shop") == (Crowd("aa", 7, NOW + 7),)
    listed = [e.conversation.visitor for e in await inbox(books).page("shop")]
    assert listed == ["v4", "v3", "v2", "v1", "s0", "v0"]
    assert len(await inbox(books).page("shop", client="aa")) == 7
    gone = await books.close_many("shop", NOW + 30, client="aa", note=lambda found: "closed")
    assert {c.visitor for c in gone} == {f"s{n}" for n in range(1, 8)}
    assert await inbox(books).crowds("shop") == ()
    assert sum((await open_by_agent(inbox(books), "shop")).values()) == 6
    assert sum((await open_by_agent(inbox(books), "other")).values()) == 1


async def test_chosen_conversations_are_closed_together_at_their_site_only(books: Conversations) -> None:
    first, second = await write(books, "one", visitor="v1"), await write(books, "two", visitor="v2")
    other = await write(books, "three", visitor="v3", site="other")
    ids = [added.conversation.id for added in (first, other)]
    assert [c.visitor for c in await books.close_many("shop", NOW, ids=ids)] == ["v1"]
    assert [e.conversation.id for e in await inbox(books).page("shop")] == [second.conversation.id]
    assert len(await inbox(books).page("other")) == 1


async def test_the_inbox_cuts_long_messages(books: Conversations) -> None:
    await write(books, "x" * 5000)
    (entry,) = await inbox(books).page("shop")
    assert entry.last is not None
    assert len(entry.last.text) == 200


async def test_a_visitor_who_writes_after_an_answer_waits_from_then_on(books: Conversations) -> None:
    added = await write(books, "one", at=NOW)
    await answer(books, added, "two", at=NOW + 10)
    await write(books, "three", at=NOW + 20)
    await write(books, "four", at=NOW + 30)
    (entry,) = await inbox(books).page("shop")
    assert entry.waiting_since == NOW + 20


async def test_another_site_sees_and_changes_nothing(books: Conversations) -> None:
    added = await write(books, "secret")
    assert await books.get("other", added.conversation.id) is None
    assert await inbox(books).page("other") == ()
    assert await inbox(books).of_visitor("other", "anna") == ()
    assert await open_by_agent(inbox(books), "other") == {}
    assert await books.visitor_messages("other", "anna") == (None, ())
    for change in (
        books.add_agent_message("other", added.conversation.id, "x", agent="bo", client_id=None, now=NOW),
        books.claim("other", added.conversation.id, "bo", NOW),
        books.close("other", added.conversation.id, NOW),
    ):
        with pytest.raises(NoConversationError):
            await change
    assert len(await books.messages(added.conversation)) == 1


async def test_a_talk_counts_from_its_window_until_just_before_the_order(books: Conversations) -> None:
    added = await write(books, "hello", at=NOW)
    assert await books.visitor_talked("shop", "anna", NOW - 10, NOW + 1) == added.conversation.id
    assert await books.visitor_talked("shop", "anna", NOW, NOW + 1) == added.conversation.id
    assert await books.visitor_talked("shop", "anna", NOW + 1, NOW + 10) is None
    assert await books.visitor_talked("shop", "ben", NOW - 10, NOW + 1) is None
    assert await books.visitor_talked("other", "anna", NOW - 10, NOW + 1) is None


async def test_a_talk_that_begins_with_the_order_or_after_it_did_not_bring_it(books: Conversations) -> None:
    """feature E13: `until` is the time of the order, and does not belong to the window itself."""
    await write(books, "where is my order?", at=NOW)
    assert await books.visitor_talked("shop", "anna", NOW - 86400, NOW) is None


async def test_agents_messages_alone_do_not_count_as_the_visitors_talk(books: Conversations) -> None:
    added = await write(books, "hello", at=NOW - 5000)
    await answer(books, added, "still there?", at=NOW)
    assert await books.visitor_talked("shop", "anna", NOW - 10, NOW + 10) is None


async def test_counts_are_the_open_conversations_of_each_agent(books: Conversations) -> None:
    for number in range(3):
        added = await write(books, "hello", visitor=f"v{number}")
        await books.claim("shop", added.conversation.id, "bo", NOW)
    await write(books, "hello", visitor="v8")
    closed = await write(books, "hello", visitor="v9")
    await books.close("shop", closed.conversation.id, NOW)
    assert await open_by_agent(inbox(books), "shop") == {"bo": 3, None: 1}


async def test_the_version_differs_after_every_change_of_an_open_conversation(books: Conversations) -> None:
    seen = [await inbox(books).version("shop")]
    added = await write(books, "hello", at=NOW)
    seen.append(await inbox(books).version("shop"))
    await answer(books, added, "hi", at=NOW + 1)
    seen.append(await inbox(books).version("shop"))
    await books.claim("shop", added.conversation.id, "cy", NOW + 2)
    seen.append(await inbox(books).version("shop"))
    await books.close("shop", added.conversation.id, NOW + 3)
    seen.append(await inbox(books).version("shop"))
    assert len(set(seen[:4])) == 4
    assert seen[4] == seen[0] != seen[3]
    await write(books, "elsewhere", site="other")
    assert await inbox(books).version("shop") == seen[4]


async def test_those_who_ask_for_the_version_together_share_readings_that_began_after_they_asked(
    books: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists, query = inbox(books), books._db.query
    held, reading = [asyncio.Event(), asyncio.Event()], asyncio.Queue[None]()

    async def slow(work: Any, seconds: float | None = None) -> Any:
        found = await query(work, seconds)
        reading.put_nowait(None)
        await held.pop(0).wait()
        return found

    one, two = held
    monkeypatch.setattr(books._db, "query", slow)
    first = asyncio.create_task(lists.shared_version("shop"))
    async with asyncio.timeout(20):
        await reading.get()
        await write(books, "hello")
        later = [asyncio.create_task(lists.shared_version("shop")) for _ in range(50)]
        await asyncio.sleep(0)
        one.set()
        await reading.get()
        two.set()
        assert await first not in {await task for task in later}
    assert reading.empty()
    assert held == []


async def test_each_message_names_the_one_before_it_in_its_conversation(books: Conversations) -> None:
    """A stream that has told that one goes on without reading; so the chain is whole, whoever writes."""
    tail = Tail(books._db)
    await tail.begin()
    first = await write(books, "one")
    await write(books, "other", visitor="otto")
    assert (await write(books, "one")).created is False
    await answer(books, first, "two", at=NOW + 1)
    await books.close("shop", first.conversation.id, NOW + 2, lambda found: "closed")
    await write(books, "three", at=NOW + 3)
    await books.close_many("shop", NOW + 4, ids=[first.conversation.id], note=lambda found: "closed")
    second = await write(books, "four", at=NOW + 5 + REOPEN_SECONDS)
    await books.add_elsewhere("shop", "anna", "crisp", "x1", language="de", now=NOW)
    told = await tail.read()
    chains: dict[str, list[tuple[int | None, int]]] = {}
    for news in told:
        chains.setdefault(news.conversation, []).append((news.previous, news.message.id))
    assert len(chains[first.conversation.id]) == 5
    assert second.conversation.id != first.conversation.id
    for chain in chains.values():
        assert [previous for previous, _ in chain] == [0, *(number for _, number in chain[:-1])]
    assert (second.previous, first.previous) == (0, 0)


async def test_the_newest_message_is_noted_with_its_conversation(books: Conversations) -> None:
    """What comes next is told to follow it."""
    first = await write(books, "one")
    steps = [
        lambda: write(books, "two", at=NOW + 1),
        lambda: answer(books, first, "three", at=NOW + 2),
        lambda: books.close("shop", first.conversation.id, NOW + 3, lambda found: "closed"),
        lambda: write(books, "four", at=NOW + 4),
        lambda: books.close_many("shop", NOW + 5, ids=[first.conversation.id], note=lambda found: "closed"),
    ]
    for step in steps:
        await step()
        async with books._db.read() as connection:
            noted = await connection.scalar(select(conversations.c.last))
            assert noted == await connection.scalar(select(func.max(messages.c.id)))


async def test_who_is_blocked_writes_nothing(books: Conversations) -> None:
    first = await write(books, "one")

    def refuse(until: float) -> None:
        raise PermissionError(until)

    async def write_unless_blocked(visitor: str, at: float) -> Added:
        return await books.add_visitor_message(
            *("shop", visitor, "two"),
            client_id=f"m-{at}",
            language="de",
            rule=None,
            now=at,
            refuse=refuse,
        )

    await Blocks(books._db).add(
        *("shop", "anna"),
        network=False,
        conversation=first.conversation.id,
        by="bo",
        why="",
        now=NOW,
        until=NOW + 9,
    )
    with pytest.raises(PermissionError, match=str(NOW + 9)):
        await write_unless_blocked("anna", NOW + 1)
    assert (await write_unless_blocked("otto", NOW + 1)).created
    assert [m.text for m in await books.messages(first.conversation)] == ["one"]
    assert (await write_unless_blocked("anna", NOW + 10)).created
