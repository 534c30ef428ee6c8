"""What becomes of calls that a network accepts and decides on later, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from clew.postbacks.delivery import Worker
from clew.postbacks.due import Plan, Planned
from clew.postbacks.model import Postback
from clew.referral.networks_file import CatalogueError, read
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.again import OutboxError
from clew.stores.ledger.database import Database
from clew.stores.ledger.networks import Networks
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.planned import apply_plan
from unasked import nobody

Owe = Callable[..., Awaitable[None]]
CATALOGUE = """
[meta]
schema = 3
[referrers]
confidence = "likely"
payment_hosts = ["pay.example"]
[utm]
confidence = "likely"
params = ["utm_source"]

[[network]]
id = "slow"
name = "Slow"
kind = "affiliate_network"
confidence = "verified"
source = ["its own page"]
landing_params = ["s"]

  [[network.call]]
  id = "orders"
  for = ["conversion", "cancel"]
  preferred = true
  method = "POST"
  url = "https://slow.example/orders"
  encoding = "json"
  envelope = "[]"
  batch = 10
  success = { status = [200, 299] }
  job = "/job"
  result = "job"
  params = [{ name = "order", from = "order_id", req = true }]

  [[network.call]]
  id = "job"
  for = ["result"]
  method = "GET"
  url = "https://slow.example/jobs/{job}"
  encoding = "none"
  headers = { key = "{account}" }
  params = [{ name = "job", from = "kept", in = "url", req = true }]
    [network.call.success]
    status = [200, 299]
    done = { status = [200, 299], pointer = "/state", equals = "done" }
      [network.call.success.each]
      list = "/failed"
      key = "/order"
      failed = true
      text = "/why"
"""
NETWORKS = read(CATALOGUE).networks


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def outbox(db: Database) -> Outbox:
    return Outbox(db)


@pytest.fixture
def worker(db: Database, outbox: Outbox, receiver: Any, clock: Any, events: Any) -> Worker:
    settings: dict[str, Any] = {"account": "7"}
    partner = Partner(id="slow", network="slow", endpoint=receiver.address, settings=settings)
    return Worker(
        outbox,
        lambda site, name: partner,
        NETWORKS,
        Delivery(timeout=60, schedule=[5, 30]),
        clock,
        events,
        chance=lambda: 0.0,
        ids=Networks(db),
    )


def job(reply: Any, state: str = "done", *failed: str) -> Any:
    listed = [{"order": order, "why": f"{order} is not known"} for order in failed]
    return reply(200, json.dumps({"state": state, "failed": listed}).encode())


async def by_order(outbox: Outbox) -> dict[str, Postback]:
    return {row.report.order_id: row for row in await outbox.list()}


async def asked(receiver: Any, count: int) -> None:
    async with asyncio.timeout(30):
        while len(receiver.got) < count:  # noqa: ASYNC110, another thread counts
            await asyncio.sleep(0.02)


async def given_back(outbox: Outbox) -> None:
    """Nobody has an accepted row now."""
    async with asyncio.timeout(30):
        while any(row.lease_until is not None for row in await outbox.list("accepted")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_each_order_of_an_accepted_call_gets_its_outcome_later(
    owe: Owe, outbox: Outbox, worker: Worker, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [
        reply(200, b'{"job":"j-1"}'),
        job(reply, "running"),
        reply(503),
        job(reply, "done", "2"),
    ]
    await owe("1", "2", "3", partner="slow")
    async with running(worker):
        assert await events.outcomes(3) == ["accepted"] * 3
        rows = await by_order(outbox)
        assert {(row.state, row.job, row.next_at - clock.now) for row in rows.values()} == {
            ("accepted", "j-1", 60.0)
        }
        with pytest.raises(OutboxError, match="was accepted, and the network is asked"):
            await outbox.retry(rows["1"].id, clock.now, able=nobody)
        for count in (2, 3, 4):
            await given_back(outbox)
            clock.now += 90
            worker.wake()
            await asked(receiver, count)
        assert sorted((await events.outcomes(6))[3:]) == ["dead", "delivered", "delivered"]
    rows = await by_order(outbox)
    assert {number: row.state for number, row in rows.items()} == {
        "1": "delivered",
        "2": "dead",
        "3": "delivered",
    }
    assert rows["2"].last_answer == "2 is not known"
    assert [(got.method, got.target) for got in receiver.got] == [
        ("POST", b"/orders"),
        *[("GET", b"/jobs/j-1")] * 3,
    ]
    assert receiver.got[1].headers["key"] == "7"
    # What was accepted, and what became of it; not each question.
    assert [one.outcome for one in await outbox.attempts(rows["2"].id)] == ["accepted", "dead"]


async def test_a_later_event_waits_for_the_outcome_and_is_a_new_order_if_that_was_a_refusal(
    db: Database,
    owe: Owe,
    outbox: Outbox,
    worker: Worker,
    receiver: Any,
    reply: Any,
    events: Any,
    clock: Any,
) -> None:
    receiver.replies = [reply(200, b'{"job":"j-1"}'), job(reply, "done", "1"), reply(200, b'{"job":"j-2"}')]
    await owe("1", partner="slow")
    async with running(worker):
        await events.outcomes(1)
        (row,) = await outbox.list()
        told = replace(row.report, event="adjust", amount="40.00", before=row.report.amount)
        plan = Plan(added=(Planned(2, told, "due", None, None),))
        await db.transact(lambda tx: apply_plan(tx, row.order, "shop", plan, clock.now))
        assert await outbox.waiting(clock.now + 9, each=9, limit=9) == ()
        clock.now += 61
        worker.wake()
        assert (await events.outcomes(3))[1:] == ["dead", "accepted"]
    last = max(await outbox.list(), key=lambda one: one.sequence)
    assert (last.event, last.report.amount, last.job) == ("order", "40.00", "j-2")


async def test_an_outcome_that_never_comes_is_unknown_with_the_reason(
    owe: Owe, outbox: Outbox, worker: Worker, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(200, b'{"job":"j-1"}'), reply(404)]
    await owe("1", partner="slow")
    async with running(worker):
        await events.outcomes(1)
        clock.now += 6 * 86400
        worker.wake()
        await asked(receiver, 2)
        await given_back(outbox)
        assert (await outbox.list())[0].state == "accepted"
        clock.now += 4 * 86400
        worker.wake()
        assert (await events.outcomes(2))[-1] == "unknown"
    (row,) = await outbox.list()
    assert row.last_answer == (
        "the network accepted it, and did not say in 10 days what became of it: status 404"
    )
    assert (await outbox.retry(row.id, clock.now, able=nobody)).state == "due"


async def test_an_answer_without_a_job_is_a_delivery(
    owe: Owe, outbox: Outbox, worker: Worker, receiver: Any, reply: Any, events: Any
) -> None:
    receiver.replies = [reply(200, b"{}")]
    await owe("1", partner="slow")
    async with running(worker):
        assert await events.outcomes(1) == ["delivered"]


async def test_a_question_of_a_process_that_ended_is_asked_again(
    db: Database, owe: Owe, outbox: Outbox, worker: Worker, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(200, b'{"job":"j-1"}')]
    await owe("1", partner="slow")
    async with running(worker):
        await events.outcomes(1)
    now = clock.now + 60
    (taken,) = await outbox.claim_accepted(now, now + 30, limit=9)
    assert await outbox.claim_accepted(now, now + 30, limit=9) == ()
    assert await outbox.next_result() == now + 30
    assert [row.id for row in await outbox.claim_accepted(now + 31, now + 60, limit=9)] == [taken.id]


def test_a_catalogue_whose_jobs_nobody_asks_for_is_refused() -> None:
    for wrong, why in (
        (CATALOGUE.replace('  result = "job"\n', ""), "`job` and `result`"),
        (CATALOGUE.replace('result = "job"', 'result = "jobs"'), "there is no result 'jobs'"),
        (
            CATALOGUE.replace(
                '    done = { status = [200, 299], pointer = "/state", equals = "done" }\n', ""
            ),
            "success.done",
        ),
    ):
        with pytest.raises(CatalogueError) as caught:
            read(wrong)
        assert why in "\n".join(caught.value.problems)
