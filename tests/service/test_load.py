"""How busy the agents are: facts, the gate, and who is there; on one process and on two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.chat.load import Gate
from clew.chat.model import Sender
from clew.referral.visitor import Visitor
from clew.service.agents import AgentLoads
from clew.service.facts import PageNow, gather
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.exports import Wanted
from desks import PASSWORD, DeskServer
from structlog.testing import capture_logs

VISITORS = [f"{letter * 22}0000" for letter in "abcdefgh"]


@asynccontextmanager
async def opened(
    folder: Path, chat: dict[str, Any] | None = None, ledger: str | None = None
) -> AsyncIterator[DeskServer]:
    """A desk of which nothing runs by itself."""
    built = DeskServer(folder, chat, ledger=ledger)
    await built.service.open()
    try:
        yield built
    finally:
        await built.service.close()


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with opened(tmp_path) as built:
        for name in ("anna", "bo"):
            await built.agents.add(name, PASSWORD, site=None, now=built.service.clock.now())
        yield built


async def write(desk: DeskServer, visitor: str, site: str = "shop", *, network: str | None = None) -> str:
    now = desk.service.clock.now()
    given: dict[str, Any] = {"client_id": f"c{visitor[:3]}{now}", "language": "en", "rule": None, "now": now}
    given["sender"] = Sender(client=network)
    return (await desk.conversations.add_visitor_message(site, visitor, "hello", **given)).conversation.id


async def facts(desk: DeskServer) -> dict[str, Any]:
    service, now = desk.service, desk.service.clock.now()
    await service.agents.refresh()
    load = service.agents.of("shop", now)
    page = PageNow("v1", "http://shop.test/", "", "en", 0)
    found = gather(service.sites["shop"], Visitor(VISITORS[0]), page, load, now)
    return dict(found["agents"])


async def look(desk: DeskServer) -> list[Any]:
    """The service's own look of each second; the events of the gate."""
    await desk.service.agents.refresh()
    with capture_logs() as lines:
        await desk.service.desk_work.look()
    return [line for line in lines if line["event"] == "load_gate"]


async def seen(desk: DeskServer, *names: str) -> None:
    for name in names:
        await desk.agents.seen(name, desk.service.clock.now())


async def test_facts_are_those_of_the_ledger(desk: DeskServer) -> None:
    known = {"open": True, "departments": ""}
    assert await facts(desk) == {**known, "online": 0, "free": 0, "queue": 0, "busy": True}
    await seen(desk, "anna", "bo")
    talks = [await write(desk, visitor) for visitor in VISITORS[:3]]
    await desk.conversations.claim("shop", talks[0], "anna", desk.service.clock.now())
    found = await facts(desk)
    assert found == {**known, "online": 2, "free": 3, "load": 0.5, "queue": 2, "busy": False}


async def test_a_talk_in_which_nobody_writes_is_not_active(desk: DeskServer) -> None:
    await seen(desk, "anna")
    talk = await write(desk, VISITORS[0])
    now = desk.service.clock.now()
    await desk.conversations.add_agent_message("shop", talk, "yes", agent="anna", client_id=None, now=now)
    assert (await facts(desk))["load"] == pytest.approx(1 / 3)
    desk.clock.ahead += 901
    await seen(desk, "anna")
    assert (await facts(desk))["load"] == 0


async def test_what_an_agent_has_elsewhere_takes_its_places_and_what_who_is_away_has_does_not(
    desk: DeskServer,
) -> None:
    await seen(desk, "anna", "bo")
    now = desk.service.clock.now()
    for visitor in VISITORS[:2]:
        talk = await write(desk, visitor, "other")
        await desk.conversations.claim("other", talk, "anna", now)
    desk.service.sites.table.by_name["other"] = desk.service.sites.table.by_name["shop"]
    assert (await facts(desk))["load"] == pytest.approx(2 / 6)
    mine = await write(desk, VISITORS[2])
    await desk.conversations.claim("shop", mine, "bo", now)
    await desk.service.ledger.desk_agents.set_presence("bo", "away", now)
    assert (await facts(desk))["load"] == pytest.approx(2 / 3)


async def test_the_gate_closes_and_opens_with_hysteresis_and_says_so_once(desk: DeskServer) -> None:
    """seed E8"""
    await seen(desk, "anna", "bo")
    talks = [await write(desk, visitor) for visitor in VISITORS[:5]]
    assert await look(desk) == []
    talks.append(await write(desk, VISITORS[5]))
    (closed,) = await look(desk)
    assert {k: closed[k] for k in ("site", "busy", "load", "talks", "places", "queue", "online")} == {
        "site": "shop",
        "busy": True,
        "load": 1.0,
        "talks": 6,
        "places": 6,
        "queue": 6,
        "online": 2,
    }
    assert (await facts(desk))["busy"] is True
    assert await look(desk) == []
    await desk.conversations.close("shop", talks[0], desk.service.clock.now())
    assert await look(desk) == []
    assert (await facts(desk))["busy"] is True
    await desk.conversations.close("shop", talks[1], desk.service.clock.now())
    (opened,) = await look(desk)
    assert (opened["busy"], opened["talks"]) == (False, 4)
    assert (await facts(desk))["busy"] is False
    page = await desk.service.ledger.exports.page("talks", Wanted("shop"), None, 100)
    told = [(row["why"], row["internal"]) for row in page.rows if row["kind"] == "load"]
    assert told == [("busy", "6/6"), ("free", "4/6")]


async def test_a_stranger_with_many_conversations_does_not_keep_the_gate_closed(desk: DeskServer) -> None:
    """Of one client network two count until somebody has answered them; customers count each."""
    await seen(desk, "anna")
    flood = [await write(desk, f"{n:022}0000", network="stranger") for n in range(20)]
    assert await look(desk) == []
    found = await facts(desk)
    assert (found["load"], found["queue"], found["busy"]) == (pytest.approx(2 / 3), 20, False)
    # Answered ones are work, and those of others count beside them.
    now = desk.service.clock.now()
    await desk.conversations.add_agent_message("shop", flood[0], "yes", agent="anna", client_id=None, now=now)
    assert (await facts(desk))["load"] == 1
    (closed,) = await look(desk)
    assert (closed["busy"], closed["talks"], closed["queue"]) == (True, 3, 19)
    await desk.conversations.close("shop", flood[0], now)
    await look(desk)
    await write(desk, VISITORS[0], network="customer")
    assert (await facts(desk))["load"] == 1


async def test_a_shop_may_count_more_of_one_network(tmp_path: Path) -> None:
    async with opened(tmp_path, {"per_network": 5}) as desk:
        await desk.agents.add("anna", PASSWORD, site=None, now=desk.service.clock.now())
        await seen(desk, "anna")
        for n in range(8):
            await write(desk, f"{n:022}0000", network="office")
        assert (await facts(desk))["load"] == pytest.approx(5 / 3)


async def test_nobody_there_is_busy_and_leaves_the_gate_as_it_is(desk: DeskServer) -> None:
    await seen(desk, "anna")
    for visitor in VISITORS[:2]:
        await write(desk, visitor)
    assert (await facts(desk))["busy"] is False
    desk.clock.ahead += 100
    assert await look(desk) == []
    assert (await facts(desk))["busy"] is True
    await seen(desk, "anna")
    assert (await facts(desk))["busy"] is False


async def test_two_processes_have_the_same_gate_and_one_of_them_changes_it(
    ledger_address: str, tmp_path: Path
) -> None:
    """On both engines, and after a restart of either."""
    async with opened(tmp_path, ledger=ledger_address) as desk:
        await desk.agents.add("anna", PASSWORD, site=None, now=desk.service.clock.now())
        await seen(desk, "anna")
        for visitor in VISITORS[:3]:
            await write(desk, visitor)
        other = Ledger(database_at(ledger_address))
        await other.db.open()
        try:
            service, now = desk.service, desk.service.clock.now()
            second = AgentLoads(other, service.clock, lambda: service.sites.table.by_name)
            for one in (service.agents, second):
                await one.refresh()
            flips = [await one.judge(now) for one in (service.agents, second)]
            assert [len(one) for one in flips] == [1, 0]
            await second.refresh()
            gates = [one.of("shop", now).gate for one in (service.agents, second)]  # type: ignore[union-attr]
            assert gates[0] == gates[1] == Gate(busy=True, since=now, flips=1)
        finally:
            await other.db.close()


async def test_unknown_presence_leaves_facts_absent_and_the_gate_as_it_is(tmp_path: Path) -> None:
    chat = {"provider": "crisp", "ids": {"website_id": "11111111-2222-3333-4444-555555555555"}}
    async with opened(tmp_path, chat) as desk:
        await write(desk, VISITORS[0])
        assert await facts(desk) == {"open": True}
        assert await look(desk) == []
        load = desk.service.agents.of("shop", desk.service.clock.now())
        assert load is not None
        assert (load.known, load.busy) == (False, None)


async def test_somebody_is_there_for_the_visitor_whose_agent_is_at_the_end_of_its_shift(
    desk: DeskServer,
) -> None:
    """In `decide` as in the chat itself."""
    await seen(desk, "anna")
    now, agents = desk.service.clock.now(), desk.service.agents
    talk = await write(desk, VISITORS[0])
    await desk.conversations.claim("shop", talk, "anna", now)
    await desk.service.ledger.desk_agents.set_presence("anna", "leaving", now)
    await agents.refresh()
    for visitor, there in ((VISITORS[0], True), (VISITORS[1], False)):
        async with desk.visitor(visitor) as browser:
            view = {"view": "v1234567", "url": "http://shop.test/mug", "title": "Mug"}
            answer = await browser.post("decide", json=view)
            assert answer.status_code == 200, answer.text
            assert answer.json()["online"] is there
            assert (await browser.get("messages")).json()["online"] is there
