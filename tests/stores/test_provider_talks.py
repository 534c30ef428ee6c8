"""Conversations in providers' chats, in both databases."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from clew.chat.told import Line
from clew.stores.ledger import provider_talks
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.provider_talks import Heard

NOW = 1_795_770_000.0


@pytest_asyncio.fixture
async def ledger(ledger_address: str) -> AsyncIterator[Ledger]:
    built = Ledger(ledger_address)
    await built.db.open()
    yield built
    await built.db.close()


def line(name: str, author: Any = "visitor", at: float = NOW, text: str = "") -> Line:
    return Line(name, author, "Ann" if author == "agent" else None, text, at)


def heard(external: str = "x1", **more: Any) -> Heard:
    return Heard(site="shop", provider="crisp", external=external, language="en", **{"at": NOW, **more})


async def claim(ledger: Ledger, visitor: str, external: str | None, at: float = NOW) -> bool:
    return await ledger.conversations.add_elsewhere("shop", visitor, "crisp", external, language="en", now=at)


async def test_messages_are_kept_once_and_counted(ledger: Ledger) -> None:
    books = ledger.provider_talks
    first = await books.hear(heard(lines=[line("a"), line("b", "agent", NOW + 1)]))
    assert (first.began, len(first.added)) == (True, 2)
    again = await books.hear(heard(lines=[line("b", "agent", NOW + 1), line("c", at=NOW + 2)]))
    assert (again.began, [one.id for one in again.added]) == (False, ["c"])
    assert again.conversation.agent == "crisp:Ann"
    assert len(await ledger.conversations.messages(again.conversation)) == 3


async def test_the_same_at_once_is_kept_once(ledger: Ledger) -> None:
    books = ledger.provider_talks
    kept = await asyncio.gather(*(books.hear(heard(lines=[line("a")])) for _ in range(8)))
    assert len({one.conversation.id for one in kept}) == 1
    assert sum(len(one.added) for one in kept) == 1
    assert sum(one.began for one in kept) == 1


async def test_an_end_closes_it_and_only_a_newer_message_opens_it_again(ledger: Ledger) -> None:
    books = ledger.provider_talks
    await books.hear(heard(lines=[line("a")]))
    assert (await books.hear(heard(at=NOW + 10, says="ended"))).conversation.state == "closed"
    assert (await books.hear(heard(lines=[line("b", at=NOW + 5)]))).conversation.state == "closed"
    assert (await books.hear(heard(at=NOW + 20, lines=[line("c", at=NOW + 20)]))).conversation.state == "open"
    # The end comes again, late.
    assert (await books.hear(heard(at=NOW + 10, says="ended"))).conversation.state == "open"
    assert await books.running(NOW + 60) == {"shop": 1}
    assert await books.running(NOW + 4000) == {}


async def test_what_ties_it_in_the_order_of_how_sure_it_is(ledger: Ledger) -> None:
    books = ledger.provider_talks

    async def visitor(**more: Any) -> str:
        return (await books.hear(heard(**more))).conversation.visitor

    assert await visitor(lines=[line("a")]) == ""
    assert await claim(ledger, "v1", "x1", NOW + 5)
    assert await visitor() == "v1"
    assert await visitor(visitor="v2", tied="code") == "v2"
    assert await visitor(visitor="v3", tied="token") == "v3"
    assert await visitor(visitor="v4", tied="code") == "v3"
    assert await visitor(visitor="v5", tied="attr") == "v5"
    assert await visitor(visitor="v6", tied="token") == "v5"
    assert await visitor(visitor="v7", tied="attr") == "v7"
    assert await visitor() == "v7"


async def test_what_a_page_told_without_an_id_is_the_same_talk(ledger: Ledger) -> None:
    assert await claim(ledger, "v1", None)
    kept = await ledger.provider_talks.hear(heard(at=NOW + 2, lines=[line("a")], visitor="v1", tied="attr"))
    entries = await ledger.inbox.of_visitor("shop", "v1")
    assert [one.conversation.id for one in entries] == [kept.conversation.id]
    assert entries[0].count == 1


@pytest.mark.parametrize("late", [-601, 601])
async def test_a_claim_long_before_or_after_the_beginning_counts_for_nothing(
    ledger: Ledger, late: int
) -> None:
    books = ledger.provider_talks
    if late < 0:
        await claim(ledger, "thief", "x1", NOW + late)
        kept = await books.hear(heard(lines=[line("a")]))
    else:
        await books.hear(heard(lines=[line("a")]))
        await claim(ledger, "thief", "x1", NOW + late)
        kept = await books.hear(heard())
    assert kept.conversation.visitor == ""


async def test_a_tie_that_comes_before_the_talk_is_kept(ledger: Ledger) -> None:
    books = ledger.provider_talks
    asked = []
    for _ in range(2):
        assert await books.tie("shop", "crisp", "x1", "v1", NOW, lambda: asked.append(1))
    assert asked == [1]
    kept = await books.hear(heard(lines=[line("a")]))
    assert kept.conversation.visitor == "v1"
    assert not await books.tie("shop", "crisp", "x1", "v1", NOW, lambda: None)


async def test_a_code_of_two_visitors_is_nobodys(ledger: Ledger) -> None:
    books = ledger.provider_talks
    await books.name_code("shop", "k7p2qx", "v1", NOW)
    await books.name_code("shop", "k7p2qx", "v1", NOW + 1)
    assert await books.visitor_of_code("shop", "k7p2qx") == "v1"
    assert await books.visitor_of_code("other", "k7p2qx") is None
    await books.name_code("shop", "k7p2qx", "v2", NOW + 2)
    assert await books.visitor_of_code("shop", "k7p2qx") is None


async def test_presence_is_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_talks, "AGENTS", 3)
    for n in range(5):
        await ledger.provider_talks.set_present("shop", "agent", f"a{n}", online=True, at=NOW + n)
    assert await ledger.provider_talks.present(NOW) == {"shop": 3}


async def test_rows_of_a_talk_are_bounded_and_the_last_word_of_the_visitor_still_counts(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_talks, "ROWS", 3)
    lines = [line(f"m{n}", at=NOW + n) for n in range(5)]
    kept = await ledger.provider_talks.hear(heard(lines=lines, visitor="v1", tied="attr"))
    assert len(await ledger.conversations.messages(kept.conversation)) == 3
    talked = await ledger.conversations.visitor_talked("shop", "v1", NOW + 3.5, NOW + 10)
    assert talked == kept.conversation.id


async def test_a_conversation_over_the_limit_is_not_begun(ledger: Ledger) -> None:
    def full() -> None:
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        await ledger.provider_talks.hear(heard(lines=[line("a")]), full)
    assert await ledger.provider_talks.find("shop", "crisp", "x1") is None


async def test_strangers_who_name_the_id_of_a_talk_keep_nobody_from_writing_it(ledger: Ledger) -> None:
    for n in range(25):
        assert await claim(ledger, f"stranger{n}", "x1", NOW - 5)
    first = await ledger.provider_talks.hear(heard(lines=[line("a")]))
    again = await ledger.provider_talks.hear(heard(lines=[line("a"), line("b", at=NOW + 1)]))
    assert again.conversation.id == first.conversation.id
    assert (again.unsure, again.conversation.visitor, len(again.added)) == (True, "", 1)
    whose = await ledger.provider_talks.hear(heard(visitor="stranger3", tied="attr"))
    assert whose.conversation.visitor == "stranger3"


async def test_a_page_that_named_the_id_long_before_may_name_it_again(ledger: Ledger) -> None:
    assert await claim(ledger, "v1", "x1", NOW - 3600)
    await ledger.provider_talks.hear(heard(lines=[line("a")]))
    await claim(ledger, "v1", "x1", NOW + 5)
    assert (await ledger.provider_talks.hear(heard())).conversation.visitor == "v1"


async def test_a_beginning_after_the_end_opens_it_again(ledger: Ledger) -> None:
    """HubSpot tells that somebody wrote, and not what."""
    books = ledger.provider_talks
    await books.hear(heard(says="started"))
    await books.hear(heard(at=NOW + 10, says="ended"))
    assert (await books.hear(heard(says="started"))).conversation.state == "closed"
    late = heard(at=NOW + 20, says="started", timed=False)
    assert (await books.hear(late)).conversation.state == "closed"
    assert (await books.hear(heard(at=NOW + 30, says="started"))).conversation.state == "open"


async def test_an_agent_whose_end_nobody_told_is_away_on_the_next_day(ledger: Ledger) -> None:
    books = ledger.provider_talks
    await books.set_present("shop", "agent", "ann", online=True, at=NOW)
    assert await books.present(NOW + 8 * 3600) == {"shop": 1}
    assert await books.present(NOW + 20 * 3600) == {"shop": 0}
