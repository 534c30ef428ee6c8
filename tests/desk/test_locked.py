"""Another process that holds the ledger's lock costs facts and orders a moment, never a page."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from clew.chat.hub import visitor_topic
from clew.referral.cookie import Known
from clew.service.facts import PageNow
from clew.service.origin import Origin
from clew.service.page_view import Ask
from clew.service.service import Service
from clew.settings.model import Settings
from clew.stores import talks
from clew.stores.ledger.errors import LedgerError
from clew.stores.visits import VisitsUnavailableError
from costs import loop_seconds
from desks import VISITOR, DeskServer
from talks import open_conversation

BEARER = {"authorization": "Bearer s3cret-token-of-the-shop"}
ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}
VIEW = {"view": "v1234567", "url": "http://shop.test/mug", "title": "Mug"}

pytestmark = pytest.mark.usefixtures("strict")


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    found = DeskServer(tmp_path)
    await found.service.open()
    yield found
    await found.service.close()


@pytest.fixture
def lock(desk: DeskServer, tmp_path: Path) -> Iterator[None]:
    """A lock held during a test by another connection."""
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def test_an_order_is_refused_within_five_seconds_and_may_come_again(
    desk: DeskServer, lock: None
) -> None:
    """field D4: 503, and when to try again."""
    async with desk.client() as shop, loop_seconds() as waited:
        answer = await shop.post("orders", json=ORDER, headers=BEARER)
        assert waited() < 5
    assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 2)


async def test_an_order_that_the_ledger_does_not_take_waits_in_the_journal(
    desk: DeskServer, tmp_path: Path
) -> None:
    """As for the orders of pages: 202, and it is recorded once the ledger takes it."""
    await desk.service.journal.open()
    refund = {"id": "1001", "currency": "EUR", "refunds": [{"id": "r1", "amount": "20.00"}]}
    unnumbered = {"total": "59.90", "currency": "EUR", "email_hash": "a" * 64}
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with desk.client() as shop, asyncio.timeout(60):
            answers = [
                await shop.post("orders", json=one, headers=BEARER) for one in (ORDER, refund, unnumbered)
            ]
            assert [answer.status_code for answer in answers] == [202] * 3
            assert answers[0].json()["id"] == "1001"
            assert answers[2].json()["id"] is None
            assert all("recorded as soon as" in answer.json()["waiting"] for answer in answers)
            assert desk.service.journal.waiting == 3
            # What is wrong with a report is still said.
            wrong = await shop.post("orders", json={**ORDER, "total": "1,5"}, headers=BEARER)
            assert wrong.status_code == 422
        other.execute("COMMIT")
    async with asyncio.timeout(60):
        await desk.service.tasks.stop()
    assert desk.service.journal.waiting == 0
    (order,) = await desk.service.ledger.orders.list("shop")
    assert (order.order_id, str(order.total), order.state) == ("1001", "59.90", "part_refunded")
    assert await desk.service.ordering.waiting_count("shop") == 1


async def test_a_decision_works_without_the_ledgers_facts(desk: DeskServer, lock: None) -> None:
    """field D4"""
    async with desk.visitor() as browser, loop_seconds() as waited:
        answer = await browser.post("decide", json=VIEW)
        assert waited() < 1
    assert (answer.status_code, answer.json()["rule"]) == (200, "after-wait")


async def test_a_ledger_that_does_not_answer_costs_its_facts_and_not_the_page(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D4: for a visitor whose record does not say whether it talks. What was asked too late is not
    asked again while it waits, so nothing piles up."""
    asked = 0

    async def hang(*given: object) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(desk.service.ledger.conversations, "talk", hang)
    async with desk.visitor() as browser, loop_seconds() as waited:
        for number in range(10):
            answer = await browser.post("decide", json={**VIEW, "view": f"v123456{number % 3}"})
            body = answer.json()
            assert (answer.status_code, body["rule"]) == (200, "after-wait")
            assert (body["online"], body["conversation"]) == (False, False)
        assert waited() < 10 * talks.ANSWER_SECONDS
    assert asked == 1


async def test_a_ledger_that_fails_costs_its_facts_and_not_the_page(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D4: a damaged file, for one."""

    async def fail(*given: object) -> None:
        raise LedgerError("database disk image is malformed")

    monkeypatch.setattr(desk.service.ledger.conversations, "talk", fail)
    monkeypatch.setattr(desk.service.ledger.load, "active", fail)
    await desk.service.watch.begin()
    async with desk.visitor() as browser:
        answer = await browser.post("decide", json=VIEW)
    assert (answer.status_code, answer.json()["rule"]) == (200, "after-wait")


async def test_a_locked_visit_store_is_still_read(desk: DeskServer, tmp_path: Path) -> None:
    """field D4: another process writes to it; the visitor's data is used nevertheless."""
    async with desk.visitor() as browser:
        message = {"text": "hello", "client_id": "widget-id-1"}
        assert (await browser.post("messages", json=message)).status_code == 201
        with closing(sqlite3.connect(tmp_path / "visits.db", isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            body = (await browser.post("decide", json=VIEW)).json()
            other.execute("ROLLBACK")
    assert (body["action"], body["conversation"]) == ("show", True)


async def test_a_visit_store_that_fails_costs_what_it_holds_and_no_conversation(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D4: the visitor writes, and reads the answer, also of another process; the desk shows it."""

    async def fail(*given: object) -> None:
        raise VisitsUnavailableError("Redis at db:6379 does not answer within 0.15 s")

    agent = await desk.agent()
    async with desk.visitor() as browser:
        message = {"text": "hello", "client_id": "widget-id-1"}
        assert (await browser.post("messages", json=message)).status_code == 201
        found = await open_conversation(desk.conversations, "shop", VISITOR)
        assert found is not None
        await desk.service.watch.begin()
        for name in ("get", "update", "seen_at", "forget", "noted_up_to", "set_noted_up_to"):
            monkeypatch.setattr(desk.service.visits, name, fail)
        monkeypatch.setattr(desk.service.visits, "update_at_once", lambda *given: None)
        message = {"text": "anybody?", "client_id": "widget-id-2"}
        assert (await browser.post("messages", json=message)).status_code == 201
        answer = (await browser.post("decide", json=VIEW)).json()
        assert (answer["action"], answer["conversation"]) == ("show", True)
        for page in ("desk/", f"desk/conversations/{found.id}"):
            shown = await agent.get(page)
            assert shown.status_code == 200, page
        assert "anybody?" in shown.text
        told: list[str] = []
        monkeypatch.setattr(desk.service.hub, "notify", told.append)
        await desk.conversations.add_agent_message(
            "shop", found.id, "hi", agent="bo", client_id=None, now=1.0
        )
        await desk.service.watch.look()
        assert visitor_topic("shop", VISITOR) in told
        read = (await browser.get("messages")).json()
        assert [m["text"] for m in read["messages"]] == ["hello", "anybody?", "hi"]


async def test_decisions_on_one_locked_file_for_both_stores_wait_concurrently(tmp_path: Path) -> None:
    """field D4: visits and ledger in one file, which another process holds."""
    file = f"sqlite:{tmp_path / 'clew.db'}"
    secret = "aV3ryl0ngSecretThatNobodyGuesses-42x"
    settings = {"secret": secret, "store": file, "ledger": file, "sites": [{"name": "shop"}]}
    service = Service(Settings.model_validate(settings))
    await service.open()
    page = PageNow("v1234567", "http://shop.test/mug", "Mug", "en", 0)
    ask = Ask(page, "", Origin(None, "http", "shop.test"))
    known = [Known(f"visitor{number}", (), 1) for number in range(20)]
    with closing(sqlite3.connect(tmp_path / "clew.db", isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [asyncio.create_task(service.ledger.agents.seen("anna", 1.0)) for _ in range(5)]
        site = service.sites["shop"]
        async with loop_seconds() as waited:
            answers = await asyncio.gather(*(service.decisions.decide(site, k, ask) for k in known))
            took = waited()
        assert not any(write.done() for write in writes)
        other.execute("ROLLBACK")
    assert {answer.action for answer in answers} == {"show"}
    assert took < 1.0, "twenty that wait one after the other take three seconds"
    await asyncio.gather(*writes)
    await service.close()
