import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from clew.orders.model import OrderSeen
from clew.postbacks.model import Attempt, Outcome, Postback, Report, State
from clew.stores.ledger.again import OutboxError
from clew.stores.ledger.connection import Connection
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.schema import probes
from recorded import Credit, put_order
from unasked import nobody

NOW = 1763860000.0
NOBODY = Credit(partner=None, click=None, touched_at=None, reason="no click", considered=())


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def outbox(db: Database) -> Outbox:
    return Outbox(db)


async def owe(db: Database, *orders: str, partner: str = "blog", now: float = NOW) -> None:
    for order_id in orders:
        report = Report("order", partner, "click", order_id, "5.00", "EUR", "web", int(now), int(now))
        await put_order(
            db,
            OrderSeen(order_id, Decimal(5), "EUR", "page"),
            channel="web",
            credit=NOBODY,
            reports=[report],
            now=now,
        )


def attempt(outcome: Outcome = "delivered", at: float = NOW, status: int | None = 200) -> Attempt:
    return Attempt(at, "GET https://p.example/", status, "answer", outcome)


async def take(outbox: Outbox, now: float = NOW, lease: float = 10.0) -> Postback:
    """The oldest that is due, claimed."""
    waiting = await outbox.waiting(now, each=9, limit=1)
    (claimed,) = await outbox.claim([waiting[0].id], now, now + lease)
    return claimed


async def send(outbox: Outbox, now: float = NOW, lease: float = 30.0) -> Postback:
    """The oldest that is due, claimed and begun."""
    begun = await outbox.begin(await take(outbox, now), now + lease)
    assert begun is not None
    return begun


async def state(outbox: Outbox) -> State:
    (row,) = await outbox.list()
    return row.state


def never(_: Postback) -> bool:
    return False


def always(_: Postback) -> bool:
    return True


async def test_a_postback_is_delivered_and_its_click_id_deleted(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    claimed = await take(outbox)
    assert (claimed.state, claimed.attempts, claimed.report.order_id) == ("due", 0, "a")
    begun = await outbox.begin(claimed, NOW + 30)
    assert begun is not None
    assert (begun.state, begun.attempts, begun.lease_until) == ("sending", 1, NOW + 30)
    assert await outbox.finish(begun, attempt(at=NOW + 1), "delivered", NOW + 1)
    (row,) = await outbox.list("delivered")
    assert (row.attempts, row.lease_until, row.last_answer, row.finished_at) == (1, None, "answer", NOW + 1)
    assert await outbox.attempts(row.id) == (attempt(at=NOW + 1),)
    assert await outbox.waiting(NOW + 99999, each=9, limit=9) == ()


async def test_a_failed_try_is_due_again_at_its_time_and_not_before(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    await outbox.finish(await send(outbox), attempt("retry", status=503), "due", NOW + 5)
    assert await outbox.waiting(NOW + 4.9, each=9, limit=9) == ()
    assert await outbox.next_due() == NOW + 5
    second = await send(outbox, NOW + 5)
    assert second.attempts == 2


async def test_a_try_that_ended_before_sending_counts_as_a_try(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    await outbox.finish(await take(outbox), attempt("retry", status=None), "due", NOW + 5)
    (row,) = await outbox.list("due")
    assert (row.attempts, row.lease_until) == (1, None)


async def test_a_claimed_row_is_not_given_to_another(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    waiting = await outbox.waiting(NOW, each=9, limit=9)
    ids = [w.id for w in waiting]
    claims = await asyncio.gather(*(outbox.claim(ids, NOW, NOW + 10) for _ in range(5)))
    assert sorted(len(c) for c in claims) == [0, 0, 0, 0, 1]
    assert await outbox.waiting(NOW, each=9, limit=9) == ()


async def test_a_postback_claimed_by_a_dead_worker_is_due_again(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    dead = await take(outbox, lease=10)
    assert await outbox.expire(NOW + 10, never) == ()
    again = await take(outbox, NOW + 10)
    assert again.id == dead.id
    assert again.attempts == 0


async def test_a_worker_that_lost_its_lease_may_not_send(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    slow = await take(outbox, lease=10)
    other = await take(outbox, NOW + 11, lease=10)
    assert await outbox.begin(slow, NOW + 50) is None
    assert await outbox.begin(other, NOW + 50) is not None
    assert await outbox.begin(other, NOW + 50) is None


async def test_a_call_cut_off_by_the_end_of_its_process_is_unknown(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    sent = await send(outbox, lease=30)
    assert await outbox.next_due() == NOW + 30
    assert await outbox.expire(NOW + 29.9, never) == ()
    (settled,) = await outbox.expire(NOW + 30, never)
    assert (settled.id, settled.state, settled.attempts) == (sent.id, "unknown", 1)
    assert (await outbox.list("unknown")) == (settled,)
    (kept,) = await outbox.attempts(sent.id)
    assert (kept.outcome, kept.status) == ("unknown", None)
    assert await outbox.waiting(NOW + 99999, each=9, limit=9) == ()


async def test_a_call_cut_off_is_due_again_where_repeats_are_safe(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    await send(outbox, lease=30)
    (settled,) = await outbox.expire(NOW + 30, always)
    assert (settled.state, settled.next_at) == ("due", NOW + 30)
    assert (await send(outbox, NOW + 30)).attempts == 2
    assert [a.outcome for a in await outbox.attempts(settled.id)] == ["retry"]


KILLED = """
import asyncio, os, signal, sys
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.database import Database
from clew.stores.ledger.outbox import Outbox

async def main(step):
    outbox = Outbox(database_at(sys.argv[1]))
    (waiting,) = await outbox.waiting(2e9, each=1, limit=1)
    (claimed,) = await outbox.claim([waiting.id], 2e9, 2e9 + 10)
    if step == "sending":
        await outbox.begin(claimed, 2e9 + 30)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(sys.argv[2]))
"""


@pytest.mark.parametrize(("step", "left"), [("claimed", "due"), ("sending", "unknown")])
async def test_sigkill_between_order_and_answer_neither_loses_nor_repeats(
    db: Database, outbox: Outbox, step: str, left: str
) -> None:
    await owe(db, "a")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, db.address, step)
    assert await process.wait() == -signal.SIGKILL
    later = 2e9 + 60
    await outbox.expire(later, never)
    assert await state(outbox) == left
    assert len(await outbox.waiting(later, each=9, limit=9)) == (1 if left == "due" else 0)


async def test_an_answer_that_comes_after_the_lease_still_counts_as_a_delivery(
    db: Database, outbox: Outbox
) -> None:
    await owe(db, "a")
    sent = await send(outbox, lease=30)
    await outbox.expire(NOW + 31, never)
    assert await outbox.finish(sent, attempt(at=NOW + 40), "delivered", NOW + 40)
    assert await state(outbox) == "delivered"


async def test_a_late_failure_does_not_make_an_unknown_call_due_again(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    sent = await send(outbox, lease=30)
    await outbox.expire(NOW + 31, never)
    assert not await outbox.finish(sent, attempt("retry", status=503), "due", NOW + 45)
    assert await state(outbox) == "unknown"
    assert len(await outbox.attempts(sent.id)) == 2


async def test_a_late_answer_does_not_touch_a_row_that_another_holds(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    slow = await send(outbox, lease=30)
    await outbox.expire(NOW + 31, always)
    other = await send(outbox, NOW + 31, lease=30)
    assert not await outbox.finish(slow, attempt("dead", status=400), "dead", NOW + 32)
    assert not await outbox.finish(slow, attempt(), "delivered", NOW + 32)
    assert await state(outbox) == "sending"
    assert await outbox.finish(other, attempt(), "delivered", NOW + 33)


async def test_a_released_row_is_unchanged(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    before = await outbox.list()
    claimed = await take(outbox)
    await outbox.release(claimed, NOW + 30)
    assert await outbox.list() == before
    claimed = await take(outbox)
    await outbox.begin(claimed, NOW + 30)
    await outbox.release(claimed, NOW + 30)
    assert await outbox.list() == before


async def test_a_release_of_a_row_in_other_hands_changes_nothing(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    slow = await take(outbox, lease=10)
    await take(outbox, NOW + 11, lease=10)
    await outbox.release(slow, NOW + 45)
    assert await outbox.waiting(NOW + 12, each=9, limit=9) == ()


async def test_one_partner_with_many_rows_does_not_crowd_out_the_others(db: Database, outbox: Outbox) -> None:
    await owe(db, *(f"big{n}" for n in range(6)), partner="big")
    await owe(db, "small", partner="small", now=NOW + 1)
    waiting = await outbox.waiting(NOW + 2, each=2, limit=9)
    assert [w.partner for w in waiting] == ["big", "small", "big"]
    assert len(await outbox.waiting(NOW + 2, each=9, limit=3)) == 3


async def test_each_partner_gets_its_turn_oldest_first(db: Database, outbox: Outbox) -> None:
    """field D5: the cost of a round does not grow with the number of due postbacks."""
    for partner in ("a", "b", "c"):
        await owe(db, *(f"{partner}{n}" for n in range(4)), partner=partner)
    await owe(db, "later", partner="d", now=NOW + 100)
    first = await outbox.waiting(NOW, each=3, limit=99)
    turns = [sorted(w.partner for w in first[start : start + 3]) for start in (0, 3, 6, 9)]
    assert turns == [["a", "b", "c"]] * 3 + [[]]
    await outbox.claim([w.id for w in first if w.partner == "b"], NOW, NOW + 10)
    second = await outbox.waiting(NOW, each=3, limit=99)
    assert sorted(w.partner for w in second) == list("aaabccc")


async def test_a_cancelled_statement_leaves_no_lock_and_no_transaction_behind(
    db: Database, outbox: Outbox
) -> None:
    """field D2: at every point of a transaction."""
    await owe(db, "a")
    other = database_at(db.address)
    waiting = await outbox.waiting(NOW, each=1, limit=1)
    for turns in range(40):
        task = asyncio.create_task(outbox.claim([waiting[0].id], NOW, NOW + 10 + turns))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(20):
            await other.probe(NOW)
    await other.close()


async def test_a_cancelled_transaction_of_several_statements_leaves_none_behind(db: Database) -> None:
    """field D2: also while it begins, and while it commits."""

    async def work(tx: Connection) -> None:
        await tx.execute(probes.delete())
        await tx.execute(probes.insert().values(at=NOW))

    for turns in range(60):
        task = asyncio.create_task(db.transact(work))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await db.probe(NOW)


@pytest.mark.parametrize(("done", "tries"), [("dead", 0), ("unknown", 1)])
async def test_a_person_may_retry_a_failed_postback(
    db: Database, outbox: Outbox, done: State, tries: int
) -> None:
    """An unknown call may have arrived, so its attempt counts."""
    await owe(db, "a")
    sent = await send(outbox)
    await outbox.finish(sent, attempt("dead"), done, NOW)
    again = await outbox.retry(sent.id, NOW + 100, able=nobody)
    assert (again.state, again.attempts, again.next_at, again.finished_at) == ("due", tries, NOW + 100, None)
    assert await outbox.list("due") == (again,)


async def test_delivered_and_sending_postbacks_are_not_sent_again(db: Database, outbox: Outbox) -> None:
    await owe(db, "a")
    sent = await send(outbox)
    with pytest.raises(OutboxError, match="being sent right now"):
        await outbox.retry(sent.id, NOW, able=nobody)
    await outbox.finish(sent, attempt(), "delivered", NOW)
    with pytest.raises(OutboxError, match="was delivered"):
        await outbox.retry(sent.id, NOW, able=nobody)
    with pytest.raises(OutboxError, match="no such postback"):
        await outbox.retry("pb_x", NOW, able=nobody)


async def test_all_dead_are_retried_at_once_and_nothing_else(db: Database, outbox: Outbox) -> None:
    await owe(db, "a", "b", "c", "d")
    for done in ("dead", "dead", "unknown"):
        await outbox.finish(await send(outbox), attempt("dead"), done, NOW)  # type: ignore[arg-type]
    counts = {state: number for state, number in (await outbox.counts()).items() if number}
    assert counts == {"due": 1, "dead": 2, "unknown": 1}
    assert await outbox.retry_dead(NOW + 1, able=nobody) == 2
    counts = {state: number for state, number in (await outbox.counts()).items() if number}
    assert counts == {"due": 3, "unknown": 1}


async def test_postbacks_are_listed_by_state_and_site_newest_first(db: Database, outbox: Outbox) -> None:
    await owe(db, "a", now=NOW)
    await owe(db, "b", now=NOW + 1)
    assert [p.report.order_id for p in await outbox.list()] == ["b", "a"]
    assert [p.report.order_id for p in await outbox.list(limit=1)] == ["b"]
    assert await outbox.list("dead") == ()
    assert await outbox.list(site="elsewhere") == ()


async def test_an_empty_outbox_has_nothing_to_do(outbox: Outbox) -> None:
    assert await outbox.next_due() is None
    assert await outbox.waiting(NOW, each=9, limit=9) == ()
    assert await outbox.claim([], NOW, NOW + 1) == ()
