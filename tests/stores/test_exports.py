"""An export goes on where the last one ended, whatever the clocks say and whoever commits first."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from clew.orders.doubt import Doubt
from clew.orders.model import OrderSeen
from clew.postbacks.model import Attempt, Report
from clew.stores.ledger import history, tail
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.copying import copy_ledger
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import LedgerBusyError
from clew.stores.ledger.exports import Exports, Wanted
from clew.stores.ledger.outbox import Outbox
from database_servers import Postgres
from recorded import put_order
from sqlalchemy import text

NOW = 1_700_000_000.0
KINDS = ("orders", "credits", "touches", "postbacks")


@pytest_asyncio.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


def order(number: str) -> OrderSeen:
    return OrderSeen(number, Decimal(5), "EUR", "api")


async def put(db: Database, number: str, now: float) -> None:
    report = Report("order", "blog", f"c-{number}", number, "5.00", "EUR", "web", int(now), int(now))
    assert await put_order(db, order(number), now=now, reports=[report]) is not None


async def deliver(db: Database, now: float) -> None:
    outbox = Outbox(db)
    waiting = await outbox.waiting(now, each=9, limit=9)
    for row in await outbox.claim([one.id for one in waiting], now, now + 9):
        begun = await outbox.begin(row, now + 9)
        assert begun is not None
        await outbox.finish(begun, Attempt(now, "GET", 200, "ok", "delivered"), "delivered", now)


async def exported(db: Database, kind: str, after: str | None = None) -> tuple[list[Any], str]:
    found: list[Any] = []
    while True:
        page = await Exports(db).page(kind, Wanted(), after, 2)
        found += [row["order_id"] for row in page.rows]
        after = page.cursor
        if not page.more:
            return found, after


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "touches"])
async def test_what_has_an_earlier_time_than_what_was_exported_is_exported_too(
    db: Database, kind: str
) -> None:
    await put(db, "1", NOW)
    await deliver(db, NOW)
    found, end = await exported(db, kind)
    assert found == ["1"]
    await put(db, "2", NOW - 3600)
    await deliver(db, NOW + 60)
    assert (await exported(db, kind, end))[0] == ["2"]


async def test_a_transaction_that_is_committed_after_a_later_one_is_not_missed(
    db: Database, ledger_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ledger_address.startswith("sqlite"):
        pytest.skip("it has one writer at a time")
    numbers, holds, ends = history._numbers, asyncio.Event(), asyncio.Event()

    async def numbers_late(tx: Any, change: Any, row: int, **more: Any) -> None:
        # Its rows are written by now.
        if change.order.number == "late":
            holds.set()
            await ends.wait()
        await numbers(tx, change, row, **more)

    monkeypatch.setattr(history, "_numbers", numbers_late)
    # The policy is there, for which writers would wait.
    await put(db, "first", NOW - 60)
    late = asyncio.create_task(put(db, "late", NOW))
    await holds.wait()
    await put(db, "early", NOW + 60)
    seen = {kind: await exported(db, kind) for kind in ("orders", "credits")}
    ends.set()
    await late
    for kind, (before, end) in seen.items():
        after, _ = await exported(db, kind, end)
        assert sorted(before + after) == ["early", "first", "late"], kind


async def say(db: Database, visitor: str) -> str:
    """Write a message; the id of its conversation."""
    added = await Conversations(db).add_visitor_message(
        "shop", visitor, visitor, client_id="m0", language="en", rule=None, now=NOW
    )
    return added.conversation.id


async def texts(db: Database, after: str | None, since: float | None = None) -> tuple[list[Any], str]:
    page = await Exports(db).page("conversations", Wanted(since=since), after, 9)
    return [row["text"] for row in page.rows], page.cursor


@pytest.fixture
async def writing(db: Database, ledger_address: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of another process that has written a message and goes on; after it one was written."""
    if ledger_address.startswith("sqlite"):
        pytest.skip("it has one writer at a time")
    talk = await say(db, "first")
    other = await asyncpg.connect(ledger_address)
    await other.execute("BEGIN")
    await other.execute(
        "INSERT INTO messages (conversation, author, text, at) VALUES ($1, 'visitor', 'late', $2)",
        talk,
        NOW + 1,
    )
    await say(db, "early")
    yield other
    await other.close()


@pytest.mark.parametrize("since", [None, NOW + 1])
async def test_a_message_that_is_committed_after_a_later_one_is_not_missed(
    db: Database, writing: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, since: float | None
) -> None:
    """Also where nothing is new enough, and the cursor goes on behind what is too old."""
    looked, look = asyncio.Event(), tail._writing

    async def looking(db: Database) -> set[str]:
        found = await look(db)
        looked.set()
        return found

    monkeypatch.setattr(tail, "_writing", looking)
    monkeypatch.setattr(tail, "WRITING_SECONDS", 60.0)
    reading = asyncio.create_task(texts(db, None, since))
    watching = asyncio.create_task(looked.wait())
    await asyncio.wait({reading, watching}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    # One that begins now is not waited for.
    await say(db, "new")
    await writing.execute("COMMIT")
    before, end = await reading
    after, _ = await texts(db, end, since)
    assert before + after == (["late"] if since else ["first", "late", "early", "new"])


async def test_what_may_be_missed_is_not_read_while_a_transaction_goes_on(
    db: Database, writing: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WRITING_SECONDS", 0.0)
    with pytest.raises(LedgerBusyError, match="a transaction that writes messages has not ended"):
        await texts(db, None)
    await writing.execute("ROLLBACK")
    assert (await texts(db, None))[0] == ["first", "early"]


async def test_numbers_go_on_where_a_dump_was_restored_in_a_new_cluster(db: Database) -> None:
    await put(db, "1", NOW)
    await deliver(db, NOW)
    for table in ("orders", "decisions", "postbacks"):
        raised = text(f"UPDATE {table} SET written = 900000000000")
        await db.transact(lambda tx, raised=raised: tx.execute(raised))
    await db.close()
    await db.open()
    ends = {}
    for kind in ("orders", "credits", "postbacks"):
        found, ends[kind] = await exported(db, kind)
        assert found == ["1"], kind
    await put(db, "2", NOW)
    await deliver(db, NOW)
    for kind, end in ends.items():
        assert (await exported(db, kind, end))[0] == ["2"], kind


async def test_a_call_that_is_refused_from_the_beginning_is_exported(db: Database) -> None:
    """Nothing is reported to the network, and nothing will be: it is over when it is written down."""
    await put(db, "1", NOW)
    await deliver(db, NOW)
    _, end = await exported(db, "postbacks")
    nothing = Doubt("nothing", "there is nothing to report to Many: it reads the orders itself")
    report = Report("order", "many", "c-2", "2", "5.00", "EUR", "web", int(NOW), int(NOW))
    assert await put_order(db, order("2"), now=NOW + 1, reports=[report], doubt=nothing) is not None
    page = await Exports(db).page("postbacks", Wanted(), end, 9)
    (row,) = page.rows
    assert (row["order_id"], row["state"], row["why"]) == ("2", "refused", nothing.text)
    assert row["finished_at"] is not None


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_cursors_stay_valid_in_a_copy(
    db: Database, tmp_path: Path, postgres: Postgres, engine: str
) -> None:
    await put(db, "1", NOW)
    await deliver(db, NOW)
    ends = {kind: (await exported(db, kind))[1] for kind in ("orders", "credits", "postbacks")}
    await put(db, "2", NOW)
    await deliver(db, NOW)
    address = f"sqlite:{tmp_path / 'copy.db'}"
    if engine == "postgresql":
        address = postgres.url(await asyncio.to_thread(postgres.database))
    copied = database_at(address)
    await copied.open()
    await copy_ledger(db, copied)
    await put(copied, "3", NOW)
    await deliver(copied, NOW)
    for kind, end in ends.items():
        assert (await exported(copied, kind, end))[0] == ["2", "3"], kind
    await copied.close()
