"""How well agents' time is used: who is there is noted each minute, once, and compared with their work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.service.staffing import LONGEST
from rule_histories import History

DAY = "2023-11-14"
PASSWORD = "correct horse battery"


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[History]:
    built = History(tmp_path, ledger_address, chat={"per_agent": 2})
    await built.service.open()
    await built.service.ledger.agents.add("bo", PASSWORD, site=None, now=built.now)
    yield built
    await built.service.close()


async def minute(shop: History, *there: str, seconds: float = 60.0) -> None:
    """Time passes, at the end of which these are there."""
    shop.now += seconds
    for name in there:
        await shop.service.ledger.agents.seen(name, shop.now)
    await shop.service.agents.refresh()
    await shop.service.staffing.sample()


async def noted(shop: History) -> dict[str, tuple[float, float]]:
    found = await shop.service.ledger.desk_days.of("shop", "2023-11-01", "2023-12-01")
    return {name: seconds for day in found.values() for name, seconds in day.items()}


async def test_the_time_of_those_who_take_conversations_is_noted_by_their_places(shop: History) -> None:
    """features B18, B21: each has its own number of conversations at once, else the site's."""
    books = shop.service.ledger
    await books.agents.add("al", PASSWORD, site=None, now=shop.now)
    await books.desk_agents.set_work("al", shop.now, capacity=5, languages=[], departments=[])
    await minute(shop, "bo", "al")
    await minute(shop, "bo", "al")
    assert await noted(shop) == {"bo": (120.0, 240.0), "al": (120.0, 600.0)}
    # Who is away, or has gone, has no time for conversations.
    await books.desk_agents.set_presence("al", "away", shop.now)
    await minute(shop, "bo", "al")
    shop.now += 3600
    await minute(shop)
    assert await noted(shop) == {"bo": (180.0, 360.0), "al": (120.0, 600.0)}


async def test_time_in_which_clew_did_not_look_is_not_taken_for_time_at_the_desk(shop: History) -> None:
    await minute(shop, "bo")
    await minute(shop, "bo", seconds=3600.0)
    assert await noted(shop) == {"bo": (60.0 + LONGEST, 2 * (60.0 + LONGEST))}
    # A clock that is set back adds nothing.
    await minute(shop, "bo", seconds=-600.0)
    assert (await noted(shop))["bo"][0] == 60.0 + LONGEST


async def test_of_several_processes_one_notes_the_time(
    shop: History, tmp_path: Path, ledger_address: str
) -> None:
    other = History(tmp_path, ledger_address, chat={"per_agent": 2})
    await other.service.open()
    try:
        for _ in range(3):
            await minute(shop, "bo")
            other.now = shop.now
            await minute(other, "bo", seconds=0.0)
        assert await noted(shop) == {"bo": (180.0, 360.0)}
        # The one that noted it has ended: another one goes on, with what it saw itself.
        other.now += LONGEST + 60
        await minute(other, "bo", seconds=0.0)
        assert (await noted(shop))["bo"][0] == 240.0
    finally:
        await other.service.close()


async def test_utilisation_is_work_of_the_time_of_all_places(shop: History) -> None:
    """features B18: an agent of two places who worked in one conversation for a quarter of an hour, of
    half an hour at the desk, has used a quarter of its time."""
    began = shop.now
    await shop.write([shop.person(at=began, talk_at=began, agent="bo", work=900)])
    for _ in range(30):
        await minute(shop, "bo")
    report = await shop.service.rule_reports.build(shop.site, 1)
    assert report.all.kpi.utilisation == pytest.approx(900 / 3600)
    (agent,) = report.by_agent
    assert (agent.name, agent.kpi.utilisation) == ("bo", pytest.approx(900 / 3600))
    # The part that a rule took is of the same time.
    assert [line.kpi.utilisation for line in report.by_rule] == [pytest.approx(900 / 3600)]
