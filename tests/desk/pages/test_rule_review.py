"""The page that says what there is to do about rules, and the page of one rule."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.service.rule_reviews import WEEKS
from clew.stores.ledger.exposures import Exposure, Situation
from desks import DeskServer, desk_server, hidden
from structlog.testing import capture_logs

RULES = [
    {"name": "sizes", "action": "invite", "when": ["cart.value > 50.0"], "text": "Which size?"},
    {"name": "quiet", "action": "hide", "priority": 5},
    {"name": "off", "action": "hide", "enabled": False},
]
DAY = 86400.0


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more={"rules": RULES}) as built:
        yield built


@pytest_asyncio.fixture
async def lead(desk: DeskServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with aclosing(await desk.agent("eva", role="lead")) as client:
        yield client


async def send(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    csrf = hidden((await client.get("desk/rules")).text)
    return await client.post(f"desk/rules/{path}", data={"csrf": csrf, **fields})


async def talk_of(desk: DeskServer, number: int) -> str:
    now, visitor = desk.service.clock.now() - 3600, f"visitor{number}".ljust(26, "0")
    talk = await desk.says("hello", visitor, rule="sizes", now=now)
    await desk.conversations.add_agent_message("shop", talk, "yes", agent="bo", client_id=None, now=now + 60)
    return talk


async def test_pages_of_reviews_are_for_leads(desk: DeskServer) -> None:
    agent = await desk.agent("bo", role="agent")
    for path in ("review", "rule?name=sizes"):
        assert (await agent.get(f"desk/rules/{path}")).status_code == 403
    for path in ("review", "mark"):
        assert (await agent.post(f"desk/rules/{path}", data={})).status_code == 403


async def test_a_rule_is_due_when_nobody_has_looked_at_it_for_two_weeks(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    """features E16, E17"""
    reviews, now = desk.service.ledger.rule_reviews, desk.service.clock.now()
    site = desk.service.sites["shop"]
    await reviews.begin("shop", ["sizes", "quiet", "gone"], now - 15 * DAY)
    with capture_logs() as logs:
        await desk.service.rule_reviewing.tell(site)
        await desk.service.rule_reviewing.tell(site)
    (told,) = [line for line in logs if line["event"] == "rules_stale"]
    assert (told["rules"], told["days"]) == ("quiet, sizes", 14)
    page = (await lead.get("desk/rules/review")).text
    assert page.count("Nobody has looked at it for 15 days.") == 2
    assert "gone" not in page
    assert "review-off" not in page
    done = await send(lead, "review", rule="sizes")
    assert (done.status_code, done.headers["location"].endswith("/rules/review?done=reviewed")) == (303, True)
    page = (await lead.get("desk/rules/review?done=reviewed")).text
    assert page.count("Nobody has looked at it for 15 days.") == 1
    assert "Reviewed by eva" in page
    assert (await send(lead, "review", rule="gone")).status_code == 404
    owner = await desk.agent("di", role="owner")
    assert "rules.reviewed" in (await owner.get("desk/audit")).text


async def test_who_changes_a_rule_has_looked_at_it(desk: DeskServer, lead: httpx2.AsyncClient) -> None:
    """features E17"""
    reviews, now = desk.service.ledger.rule_reviews, desk.service.clock.now()
    await reviews.begin("shop", ["sizes", "quiet"], now - 15 * DAY)
    csrf = hidden((await lead.get("desk/rules")).text)
    changed = {"csrf": csrf, "base": "0", "rule": "quiet", "do": "lower"}
    await lead.post("desk/rules", data=changed)
    found = await reviews.of("shop")
    assert (found["quiet"].by, found["sizes"].by) == ("eva", "")
    assert found["quiet"].at >= now


async def test_rules_that_get_nowhere_or_find_no_place_are_named(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    """features E16"""
    now, site = desk.service.clock.now(), desk.service.sites["shop"]
    edition = site.invites.experiment("sizes")
    assert edition is not None
    rows = []
    for number in range(60):
        times = {"eligible": now - 8 * DAY}
        if number < 30:
            times["assigned"] = times["eligible"]
        key = ("shop", "sizes", edition.version, f"visitor{number:03d}".ljust(26, "0"), "")
        rows.append(Exposure(*key, times, Situation(95, 2, None, None)))
    await desk.service.ledger.exposures.write(rows)
    assert await desk.service.rule_reports.of(site, WEEKS, 60.0) is not None
    page = (await lead.get("desk/rules/review")).text
    assert "In 8 days no conversation of it could be counted." in page
    assert "For 30 of 60 visitors no agent had a place." in page


async def test_a_rule_has_a_page_with_its_conversations_to_mark(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    """features E12"""
    first, second = [await talk_of(desk, number) for number in (1, 2)]
    page = (await lead.get("desk/rules/rule?name=sizes")).text
    for words in ("cart.value &gt; 50.0", "Which size?", first, second, "Not reviewed yet."):
        assert words in page, words
    for talk, said in ((first, "yes"), (second, "no")):
        done = await send(lead, "mark", rule="sizes", conversation=talk, sensible=said)
        assert done.status_code == 303
        assert done.headers["location"].endswith("/rules/rule?name=sizes")
    page = (await lead.get("desk/rules/rule?name=sizes")).text
    assert "1 of 2 made sense." in page
    assert await desk.service.ledger.rule_reviews.marks("shop", 0.0) == {"sizes": (1, 2)}
    await send(lead, "mark", rule="sizes", conversation=second, sensible="none")
    assert await desk.service.ledger.rule_reviews.marks("shop", 0.0) == {"sizes": (1, 1)}
    assert (await send(lead, "mark", rule="sizes", conversation=first, sensible="x")).status_code == 422
    assert (await send(lead, "mark", rule="sizes", conversation="x", sensible="no")).status_code == 404
    assert (await lead.get("desk/rules/rule?name=gone")).status_code == 404


async def test_the_page_of_a_rule_says_who_changed_it(desk: DeskServer, lead: httpx2.AsyncClient) -> None:
    """features E12"""
    text = (await desk.service.rule_editing.current(desk.service.sites["shop"].settings)).text
    csrf = hidden((await lead.get("desk/rules")).text)
    form = {"csrf": csrf, "base": "0", "text": text.replace("50.0", "70.0"), "note": "dearer", "do": "save"}
    assert (await lead.post("desk/rules/text", data=form)).status_code == 303
    page = (await lead.get("desk/rules/rule?name=sizes")).text
    assert "cart.value &gt; 70.0" in page
    assert "eva" in page
    assert ": dearer" in page
    assert "dearer" not in (await lead.get("desk/rules/rule?name=quiet")).text


@pytest.mark.parametrize("days", [0, 14])
async def test_without_review_days_nothing_is_stale(tmp_path: Path, days: int) -> None:
    """features E17"""
    async with desk_server(tmp_path, more={"rules": RULES, "invites": {"review_days": days}}) as desk:
        now = desk.service.clock.now()
        await desk.service.ledger.rule_reviews.begin("shop", ["sizes", "quiet"], now - 15 * DAY)
        found = await desk.service.rule_reviewing.of(desk.service.sites["shop"], None)
        assert [len(one.todos) for one in found] == ([1, 1] if days else [0, 0])
