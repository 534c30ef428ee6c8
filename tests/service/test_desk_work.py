"""What happens by itself: conversations are assigned as they come, and taken from those who have gone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from clew.chat.hub import presence_topic
from clew.service.desk_work import GONE_SECONDS, LATE_SECONDS, TIRED_SECONDS
from clew.stores.ledger.notices import Notice
from desks import PASSWORD, VISITOR, DeskServer, desk_server

OTHER = "ffffgggghhhhiiiijjjjkkkk33"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    chat = {"assignment": "round_robin", "per_agent": 1, "departments": ["billing"]}
    rules = [{"name": "invoices", "action": "invite", "when": [], "department": "billing"}]
    async with desk_server(tmp_path, chat, more={"rules": rules}) as built:
        for name in ("anna", "bo"):
            await built.agents.add(name, PASSWORD, site=None, now=built.service.clock.now())
        yield built


async def write(desk: DeskServer, visitor: str, number: int = 1, rule: str | None = None) -> str:
    """A message by the visitor's own endpoint; the conversation."""
    if rule is not None:
        await desk.invited(rule, visitor)
    sent = {"text": "hello", "client_id": f"widget-id-{visitor[:2]}-{number}", "rule": rule}
    answer = await desk.visitor(visitor).post("messages", json=sent)
    assert answer.status_code == 201, answer.text
    talk, _ = await desk.conversations.visitor_messages("shop", visitor)
    assert talk is not None
    return talk.id


async def seen(desk: DeskServer, *names: str) -> None:
    for name in names:
        await desk.agents.seen(name, desk.service.clock.now())


async def owner(desk: DeskServer, talk: str) -> str | None:
    found = await desk.conversations.get("shop", talk)
    assert found is not None
    return found.agent


async def becomes(desk: DeskServer, talk: str, agent: str | None) -> None:
    """Wait until the conversation is this agent's; nothing is called for it."""
    async with asyncio.timeout(30):
        while await owner(desk, talk) != agent:  # noqa: ASYNC110 - a task of the service writes it
            await asyncio.sleep(0.02)


async def test_a_message_is_assigned_by_itself_and_the_next_when_somebody_has_a_place(
    desk: DeskServer,
) -> None:
    await seen(desk, "anna")
    first = await write(desk, VISITOR)
    await becomes(desk, first, "anna")
    second = await write(desk, OTHER)
    await desk.service.desk_work.look()
    assert await owner(desk, second) is None
    await desk.service.conversations.close("shop", first, by="anna")
    await becomes(desk, second, "anna")


async def test_a_rules_department_has_its_people(desk: DeskServer) -> None:
    work = desk.service.ledger.desk_agents
    now = desk.service.clock.now()
    await work.set_work("bo", now, capacity=None, languages=[], departments=["billing"])
    await seen(desk, "anna", "bo")
    talk = await write(desk, VISITOR, rule="invoices")
    await becomes(desk, talk, "bo")


async def test_the_talks_of_who_has_gone_are_assigned_to_others(desk: DeskServer) -> None:
    await seen(desk, "anna")
    talk = await write(desk, VISITOR)
    await becomes(desk, talk, "anna")
    desk.clock.ahead += GONE_SECONDS + 31
    await seen(desk, "bo")
    await becomes(desk, talk, "bo")
    kinds = [line.kind for line in await desk.service.ledger.desk_log.of(talk)]
    assert kinds == ["opened", "assigned", "released", "assigned"]


async def test_what_nobody_can_take_for_minutes_needs_attention(desk: DeskServer) -> None:
    talk = await write(desk, VISITOR)
    desk.clock.ahead += LATE_SECONDS + TIRED_SECONDS + 1
    async with asyncio.timeout(30):
        while not (found := await _waiting(desk)):  # noqa: ASYNC110 - a task of the service writes it
            await asyncio.sleep(0.02)
    assert found[0].details["waiting"] == 1
    assert await owner(desk, talk) is None


async def _waiting(desk: DeskServer) -> list[Notice]:
    await desk.service.write_notices()
    return [one for one in await desk.service.ledger.notices.list(["shop"]) if one.event == "talk_waits"]


async def test_visitors_hear_of_people_only_where_that_changes_who_answers_them(desk: DeskServer) -> None:
    now, topic = desk.service.clock.now, presence_topic("shop")

    async def told() -> bool:
        await desk.service.agents.refresh()
        await desk.service.desk_work.look()
        return await visitor.wait(0.5) and topic in visitor.taken()

    with desk.service.hub.listen(topic) as visitor:
        await desk.service.watch.look()  # the first one tells all that they may have missed something
        await told()
        await seen(desk, "anna")
        assert await told(), "somebody is there"
        await seen(desk, "bo")
        assert not await told(), "and one more"
        await desk.agents.left("anna", now())
        assert not await told(), "one is still there"
        await desk.agents.left("bo", now())
        assert await told(), "nobody is"
