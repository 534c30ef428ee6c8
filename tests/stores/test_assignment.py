"""Assignment, presence, notes and blocks in the ledger, on both engines."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from clew.chat.model import Sender
from clew.stores.ledger import blocks
from clew.stores.ledger.agents import Agents, Place
from clew.stores.ledger.assignment import Terms, TransferError
from clew.stores.ledger.blocks import BlocksFullError
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.conversations import HeldError
from clew.stores.ledger.desk_agents import WorkError
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.forgetting import Person
from clew.stores.ledger.retention import Retention

NOW = 1_700_000_000.0
TURN = Terms("round_robin", 3, 60.0, 900.0, 2)
PASSWORD = "correct horse battery"


@pytest_asyncio.fixture
async def books(ledger_address: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(ledger_address)
    ledger.agents = Agents(ledger.db, PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    await ledger.db.open()
    yield ledger
    await ledger.db.close()


async def people(ledger: Ledger, *names: str, site: str | None = "shop", now: float = NOW) -> None:
    """Agents whose desks are open."""
    for name in names:
        await ledger.agents.add(name, PASSWORD, site=site, now=now)
        await ledger.agents.seen(name, now)


async def asks(ledger: Ledger, visitor: str, *, at: float = NOW, site: str = "shop", **more: str) -> str:
    """A visitor's message; the conversation."""
    added = await ledger.conversations.add_visitor_message(
        *(site, visitor, "hello"),
        client_id=f"{visitor}-{at}",
        language=more.get("language", "de"),
        rule=None,
        now=at,
        department=more.get("department"),
        sender=Sender(client=more.get("network")),
    )
    return added.conversation.id


async def owner(ledger: Ledger, talk: str, site: str = "shop") -> str | None:
    found = await ledger.conversations.get(site, talk)
    assert found is not None
    return found.agent


async def kinds(ledger: Ledger, talk: str) -> list[str]:
    return [line.kind for line in await ledger.desk_log.of(talk)]


async def test_those_who_wait_are_given_in_turn_and_the_rest_when_a_place_is_free(books: Ledger) -> None:
    await people(books, "anna", "bo")
    talks = [await asks(books, f"v{n}", at=NOW + n) for n in range(7)]
    done = await books.assignment.assign("shop", TURN, NOW + 10)
    assert Counter(one.agent for one in done.given) == {"anna": 3, "bo": 3}
    assert (done.left, done.since) == (1, NOW + 6)
    assert await owner(books, talks[6]) is None
    assert (await books.assignment.assign("shop", TURN, NOW + 11)).given == ()
    await books.conversations.close("shop", talks[0], NOW + 12, by="anna")
    given = (await books.assignment.assign("shop", TURN, NOW + 13)).given
    assert [one.id for one in given] == [talks[6]]
    assert given[0].agent == await owner(books, talks[0])
    assert await kinds(books, talks[6]) == ["opened", "assigned"]


async def test_a_person_has_its_own_number_and_counts_the_talks_of_all_sites(books: Ledger) -> None:
    await people(books, "anna", site=None)
    await books.desk_agents.set_work("anna", NOW, capacity=2, languages=[], departments=[])
    for n, site in enumerate(("shop", "other", "shop")):
        await asks(books, f"v{n}", at=NOW + n, site=site)
    assert len((await books.assignment.assign("shop", TURN, NOW + 5)).given) == 2
    assert (await books.assignment.assign("other", TURN, NOW + 5)).given == ()
    with pytest.raises(WorkError, match="1 to 50"):
        await books.desk_agents.set_work("anna", NOW, capacity=51, languages=[], departments=[])


async def test_a_stranger_with_many_conversations_takes_two_places_and_keeps_nobody_out(
    books: Ledger,
) -> None:
    await people(books, "anna", "bo", site=None)
    flood = [await asks(books, f"f{n:02}", at=NOW + n / 100, network="stranger") for n in range(60)]
    others = [await asks(books, f"v{n}", at=NOW + 1 + n, network=f"n{n}") for n in range(2)]
    given = (await books.assignment.assign("shop", TURN, NOW + 5)).given
    assert {one.id for one in given} == {*flood[:2], *others}
    assert (await books.assignment.assign("shop", TURN, NOW + 6)).given == ()
    # Whoever was answered is a customer like any other: the next one of the network has its turn.
    agent = await owner(books, flood[0])
    assert agent is not None
    await books.conversations.add_agent_message("shop", flood[0], "yes", agent=agent, client_id=None, now=NOW)
    again = (await books.assignment.assign("shop", TURN, NOW + 7)).given
    assert [one.id for one in again] == [flood[2]]
    # What was answered and came back to the queue waits for nobody of its network.
    await books.conversations.add_visitor_message(
        *("shop", "f00", "and?"),
        client_id="again",
        language="de",
        rule=None,
        now=NOW + 8,
        sender=Sender(client="stranger"),
    )
    assert flood[0] in {one.id for one in await books.assignment.release([agent], NOW + 9, "gone")}
    raised = replace(TURN, capacity=20)
    assert flood[0] in {one.id for one in (await books.assignment.assign("shop", raised, NOW + 10)).given}
    # A network at one site is nothing to another.
    elsewhere = await asks(books, "w1", at=NOW, site="other", network="stranger")
    given = (await books.assignment.assign("other", raised, NOW + 11)).given
    assert [one.id for one in given] == [elsewhere]


@pytest.mark.parametrize("presence", ["away", "leaving"])
async def test_who_is_away_or_at_the_end_of_the_shift_gets_nothing(books: Ledger, presence: str) -> None:
    await people(books, "anna")
    assert await books.desk_agents.set_presence("anna", presence, NOW)  # type: ignore[arg-type]
    assert not await books.desk_agents.set_presence("anna", presence, NOW)  # type: ignore[arg-type]
    await asks(books, "v1")
    assert (await books.assignment.assign("shop", TURN, NOW)).given == ()
    assert await books.agents.online("shop", NOW) == 0
    await books.desk_agents.set_presence("anna", "available", NOW)
    assert len((await books.assignment.assign("shop", TURN, NOW)).given) == 1


async def test_who_logs_in_is_available_again(books: Ledger) -> None:
    await people(books, "anna")
    await books.desk_agents.set_presence("anna", "leaving", NOW)
    verified = await books.agents.verify("anna", PASSWORD, "shop")
    assert verified is not None
    await books.agents.start_session("anna", Place("shop", "shop.test"), NOW, verified)
    assert (await books.desk_agents.of("anna")).presence == "available"


async def test_a_talk_in_which_nobody_writes_takes_no_place_but_one_that_waits_does(books: Ledger) -> None:
    await people(books, "anna", now=NOW)
    one = replace(TURN, capacity=1)
    first = await asks(books, "v1")
    await books.assignment.assign("shop", one, NOW)
    second = await asks(books, "v2", at=NOW + 1000)
    await books.agents.seen("anna", NOW + 1000)
    assert (await books.assignment.assign("shop", one, NOW + 1000)).given == ()
    await books.conversations.add_agent_message(
        "shop", first, "yes", agent="anna", client_id=None, now=NOW + 1000
    )
    assert (await books.assignment.assign("shop", one, NOW + 1001)).given == ()
    await books.agents.seen("anna", NOW + 2000)
    assert [c.id for c in (await books.assignment.assign("shop", one, NOW + 2000)).given] == [second]


async def test_several_workers_never_fill_a_place_twice_and_lose_nothing(
    ledger_address: str, books: Ledger
) -> None:
    """Messages, closings and workers who assign, in any order."""
    await people(books, "anna", "bo", "cy", now=NOW + 100)
    workers = [Ledger(database_at(ledger_address)) for _ in range(3)]
    for worker in workers:
        await worker.db.open()
    chance, talks = random.Random(7), list[str]()
    worst: list[int] = []

    async def arrive(number: int) -> None:
        talks.append(await asks(workers[number % 3], f"v{number}", at=NOW + number))

    async def assign(number: int) -> None:
        given = (await workers[number % 3].assignment.assign("shop", TURN, NOW + 100)).given
        worst.extend(Counter(one.agent for one in given).values())

    async def close() -> None:
        if talks:
            talk = chance.choice(talks)
            await workers[0].conversations.close("shop", talk, NOW + 100)

    steps = [*(arrive(n) for n in range(24)), *(assign(n) for n in range(24)), *(close() for _ in range(6))]
    chance.shuffle(steps)
    try:
        await asyncio.gather(*steps)
        for _ in range(30):
            # As many as fit, then one is closed: until all were served.
            while (await workers[0].assignment.assign("shop", TURN, NOW + 100)).given:
                pass
            mine = {
                name: await books.conversations.of_agent("shop", name, 50) for name in ("anna", "bo", "cy")
            }
            assert max(map(len, mine.values())) <= 3
            held = [talk for own in mine.values() for talk in own]
            assert len(held) == len(set(held))
            if not held:
                break
            for talk in held:
                await books.conversations.close("shop", talk, NOW + 101)
    finally:
        for worker in workers:
            await worker.db.close()
    assert await books.assignment.waits() == []
    assert len(talks) == 24
    for talk in talks:
        found = await books.conversations.get("shop", talk)
        assert found is not None
        assert found.state == "closed"
    assert max(worst, default=0) <= 3


async def test_a_transfer_to_a_person_needs_a_place_there(books: Ledger) -> None:
    await people(books, "anna", "bo")
    await books.desk_agents.set_work("bo", NOW, capacity=1, languages=[], departments=[])
    talks = [await asks(books, f"v{n}") for n in range(2)]
    for talk in talks:
        await books.conversations.claim("shop", talk, "anna", NOW)
    moved = await books.assignment.transfer("shop", talks[0], TURN, NOW, by="anna", agent="bo", note="VIP")
    assert moved.agent == "bo"
    line = (await books.desk_log.of(talks[0]))[-1]
    assert (line.kind, line.by, line.agent, line.before, line.text) == (
        *("transferred", "anna", "bo", "anna", "VIP"),
    )
    with pytest.raises(TransferError, match="bo has no place free"):
        await books.assignment.transfer("shop", talks[1], TURN, NOW, by="anna", agent="bo")
    await books.desk_agents.set_presence("bo", "away", NOW)
    with pytest.raises(TransferError, match="bo is away"):
        await books.assignment.transfer("shop", talks[1], TURN, NOW, by="anna", agent="bo")
    with pytest.raises(TransferError, match="cy has no desk open"):
        await books.assignment.transfer("shop", talks[1], TURN, NOW, by="anna", agent="cy")
    assert await owner(books, talks[1]) == "anna"


async def test_a_transfer_to_a_department_waits_for_its_people(books: Ledger) -> None:
    await people(books, "anna", "bo")
    await books.desk_agents.set_work("bo", NOW, capacity=None, languages=[], departments=["billing"])
    talk = await asks(books, "v1")
    await books.conversations.add_agent_message(
        "shop", talk, "one moment", agent="anna", client_id=None, now=NOW
    )
    await books.assignment.transfer("shop", talk, TURN, NOW, by="anna", department="billing")
    assert await owner(books, talk) is None
    assert [one.agent for one in (await books.assignment.assign("shop", TURN, NOW)).given] == ["bo"]


async def test_the_talks_of_who_has_gone_are_for_others(books: Ledger) -> None:
    await people(books, "anna", "bo", "cy", "di")
    talks = {name: await asks(books, f"of-{name}") for name in ("anna", "bo", "cy", "di")}
    for name, talk in talks.items():
        await books.conversations.claim("shop", talk, name, NOW)
    await books.desk_agents.set_presence("bo", "leaving", NOW)
    assert await books.assignment.gone(NOW + 1, 60) == {}
    await books.agents.left("anna", NOW)
    await books.agents.left("bo", NOW)
    await books.agents.deactivate("di")
    assert await books.assignment.gone(NOW + 1, 60) == {"bo": "left", "di": "left"}
    # A process that was killed wrote nothing of it.
    assert await books.assignment.gone(NOW + 61, 60) == {
        **dict.fromkeys(("anna", "cy"), "gone"),
        "bo": "left",
        "di": "left",
    }
    await books.agents.seen("cy", NOW + 61)
    released = await books.assignment.release(["anna", "bo", "di"], NOW + 61, "gone")
    assert {one.id for one in released} == {talks["anna"], talks["bo"], talks["di"]}
    assert await kinds(books, talks["anna"]) == ["opened", "taken", "released"]
    given = (await books.assignment.assign("shop", TURN, NOW + 61)).given
    assert [one.agent for one in given] == ["cy", "cy"]


async def test_who_answers_anothers_conversation_has_to_say_so(books: Ledger) -> None:
    talk = await asks(books, "v1")
    say = books.conversations.add_agent_message
    await say("shop", talk, "hello", agent="anna", client_id="a1", now=NOW)
    with pytest.raises(HeldError) as held:
        await say("shop", talk, "hi", agent="bo", client_id="b1", now=NOW)
    assert held.value.agent == "anna"
    # Said of somebody who has it no longer.
    with pytest.raises(HeldError):
        await say("shop", talk, "hi", agent="bo", client_id="b1", now=NOW, over="cy")
    assert await owner(books, talk) == "anna"
    await say("shop", talk, "hi", agent="bo", client_id="b1", now=NOW, over="anna")
    assert await owner(books, talk) == "bo"
    line = (await books.desk_log.of(talk))[-1]
    assert (line.kind, line.by, line.before) == ("taken", "bo", "anna")


async def test_a_note_is_none_of_the_messages(books: Ledger) -> None:
    talk = await asks(books, "v1")
    await books.desk_log.note("shop", talk, "rude on the phone", by="anna", now=NOW)
    _, messages = await books.conversations.visitor_messages("shop", "v1")
    assert [message.text for message in messages] == ["hello"]
    assert (await books.desk_log.of(talk))[-1].text == "rude on the phone"


async def test_notes_and_blocks_go_with_the_person_and_with_time(books: Ledger) -> None:
    talk = await asks(books, "v1")
    await books.desk_log.note("shop", talk, "secret", by="anna", now=NOW)
    await block(books, talk, "v1", network=True)
    await block(books, talk, "v1", network=False)
    dry = await books.forgetting.forget(Person("shop", ("v1",)), NOW, dry=True)
    done = await books.forgetting.forget(Person("shop", ("v1",)), NOW)
    assert dry.rows == done.rows
    assert (done.rows["desk_log"], done.rows["blocks"]) == (4, 2)
    assert await books.desk_log.of(talk) == []
    assert [(one.visitor, one.why) for one in await books.blocks.holding("shop", NOW)] == [("", "")]
    old = await asks(books, "v2")
    await books.desk_log.note("shop", old, "secret", by="anna", now=NOW)
    await Retention(books.db).apply({"conversations": 1}, NOW + 3 * 86400)
    assert await books.desk_log.of(old) == []
    assert await books.blocks.holding("shop", NOW) == []


async def block(ledger: Ledger, talk: str, visitor: str, *, network: bool, until: float = NOW + 3600) -> None:
    await ledger.conversations.add_visitor_message(
        *("shop", visitor, "again"),
        client_id=f"again-{visitor}-{network}-{until}",
        language="de",
        rule=None,
        now=NOW,
        sender=Sender(client="c0ffee"),
    )
    await ledger.blocks.add(
        "shop", visitor, network=network, conversation=talk, by="anna", why="rude", now=NOW, until=until
    )


async def test_a_block_ends_by_itself_or_by_a_person(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = await asks(books, "v1")
    await block(books, talk, "v1", network=False)
    assert await books.blocks.until("shop", "v1", "c0ffee", NOW) == NOW + 3600
    assert await books.blocks.until("shop", "v2", "c0ffee", NOW) is None
    assert await books.blocks.until("other", "v1", None, NOW) is None
    assert await books.blocks.until("shop", "v1", None, NOW + 3600) is None
    await block(books, talk, "v1", network=True, until=NOW + 60)
    assert await books.blocks.until("shop", "v2", "c0ffee", NOW) == NOW + 60
    found = await books.blocks.holding("shop", NOW)
    assert [one.client for one in found] == ["c0ffee", None]
    assert await books.blocks.lift("other", found[0].id, by="lea", now=NOW) is None
    assert await books.blocks.lift("shop", found[0].id, by="lea", now=NOW) is not None
    # Other processes read it there, and tell the visitor's stream.
    line = (await books.desk_log.of(talk))[-1]
    assert (line.kind, line.by) == ("unblocked", "lea")
    assert await books.blocks.lift("shop", found[0].id, by="lea", now=NOW) is None
    assert await books.blocks.until("shop", "v2", "c0ffee", NOW) is None
    assert await books.blocks.until("shop", "v1", None, NOW) == NOW + 3600
    await books.forgetting.forget_talks("shop", "v1", NOW)
    (left,) = await books.blocks.holding("shop", NOW)
    assert await books.blocks.lift("shop", left.id, by="lea", now=NOW) is not None
    talk = await asks(books, "v3")
    await block(books, talk, "v3", network=False)
    monkeypatch.setattr(blocks, "MOST", 1)
    with pytest.raises(BlocksFullError):
        await block(books, talk, "v1", network=True)
