"""A lead's page: who is there and how busy, and what the day came to; seed B8, B18, B21, E14."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest_asyncio
from desks import PASSWORD, VISITOR, DeskServer, desk_server

OTHERS = [f"{letter * 22}0000" for letter in "bcd"]


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.agents.add("anna", PASSWORD, site=None, role="agent", now=built.service.clock.now())
        yield built


async def answered(desk: DeskServer, visitor: str, seconds: float, rating: int | None = None) -> str:
    """A conversation that anna answered after so many seconds."""
    now = desk.service.clock.now()
    talk = await desk.says("hello", visitor, rule="after-wait", now=now - 100)
    await desk.conversations.add_agent_message(
        "shop", talk, "yes", agent="anna", client_id=None, now=now - 100 + seconds
    )
    if rating is not None:
        await desk.conversations.rate("shop", visitor, rating, None, now)
    return talk


async def test_it_is_the_leads_and_the_owners(desk: DeskServer) -> None:
    for name, role, status in (("al", "agent", 403), ("cy", "lead", 200), ("di", "owner", 200)):
        async with aclosing(await desk.agent(name, role=role)) as client:  # type: ignore[arg-type]
            for page in ("desk/team", "desk/team.csv"):
                assert (await client.get(page)).status_code == status, (name, page)
            tabs = (await client.get("desk/orders")).text
            assert ("/desk/team" in tabs) is (status == 200)


async def test_now_says_who_is_there_what_they_have_and_who_waits(desk: DeskServer) -> None:
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        empty = (await client.get("desk/team")).text
        assert "nobody takes conversations" in empty
        assert "No conversations in this time." in empty
        await desk.agents.seen("anna", desk.service.clock.now())
        talk = await desk.says("hello")
        await desk.conversations.claim("shop", talk, "anna", desk.service.clock.now())
        await desk.says("hello", OTHERS[0])
        await desk.service.watch.look()
        page = (await client.get("desk/team")).text
        assert "<b>67 %</b>, 2 of 3 places" in page
        assert "not busy, busy above 95 %" in page
        assert '<th scope="row">anna</th><td>available</td><td class="number">1</td>' in page
        assert "<b>2</b>, 2 wait for an answer" in page
        await desk.says("hello", OTHERS[1])
        await desk.service.watch.look()
        await desk.service.desk_work.look()
        page = (await client.get("desk/team")).text
        assert "<b>busy</b> since" in page
        assert "free below 80 %" in page


async def test_figures_are_those_of_the_day_with_n_and_the_same_as_csv(desk: DeskServer) -> None:
    for visitor, seconds, rating in ((VISITOR, 10, 5), (OTHERS[0], 20, None), (OTHERS[1], 90, 2)):
        await answered(desk, visitor, seconds, rating)
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        page = (await client.get("desk/team")).text
        assert "<b>3</b> conversations, 0 without an answer" in page
        assert "Rated <b>3.5</b> of 5 on average by 2, 50 % with 4 or 5." in page
        assert "20 s" in page
        assert "1 min 30 s" in page
        assert page.count('<svg class="chart"') >= 4
        assert "3 / 0" in page  # of anna and the rule
        answer = await client.get("desk/team.csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        (anna,) = (row for row in rows if (row["by"], row["name"]) == ("agent", "anna"))
        assert (anna["conversations"], anna["first_answer_median"], anna["first_answer_p90"]) == (
            "3",
            "20",
            "90",
        )
        (pair,) = (row for row in rows if row["by"] == "agent and rule")
        assert (pair["name"], pair["rule"], pair["ratings"], pair["rating"]) == (
            "anna",
            "after-wait",
            "2",
            "3.5",
        )


async def test_another_day_a_week_and_what_is_no_day(desk: DeskServer) -> None:
    await answered(desk, VISITOR, 10)
    today = datetime.fromtimestamp(desk.service.clock.now(), UTC).date().isoformat()
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        assert "No conversations" in (await client.get("desk/team?day=2026-01-05")).text
        assert "The day after" in (await client.get("desk/team?day=2026-01-05")).text
        week = (await client.get(f"desk/team?day={today}&period=week")).text
        assert "<b>1</b> conversation," in week
        assert "Conversations by day" in week
        # A day that has not come is today.
        assert "The day after" not in (await client.get("desk/team?day=2999-01-01")).text
        wrong = await client.get("desk/team?day=yesterday")
        assert wrong.status_code == 422
        assert "is no day" in wrong.text
