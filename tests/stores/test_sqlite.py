"""What holds of a ledger in a SQLite file alone."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from clew.stores.ledger.connection import Connection, executing
from clew.stores.ledger.database import Work
from clew.stores.ledger.errors import LedgerError, LedgerGoneError
from clew.stores.ledger.queue import WAITING
from clew.stores.ledger.schema import probes
from clew.stores.ledger.sqlite import READERS, SqliteDatabase
from clew.stores.ledger.tail import _HIGHEST
from sqlalchemy import Executable, insert, text

NOW = 1763860000.0


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    found = SqliteDatabase(f"sqlite:{tmp_path / 'clew.db'}")
    await found.open()
    yield found
    await found.close()


_TIMES = count()


def _add() -> Executable:
    """A statement that writes a row."""
    return insert(probes).values(at=float(next(_TIMES)))


def _written(db: SqliteDatabase) -> list[float]:
    """The times of all probes, as another program sees them."""
    with closing(sqlite3.connect(db.address.removeprefix("sqlite:"))) as connection:
        return [row[0] for row in connection.execute("SELECT at FROM probes ORDER BY at")]


async def test_waiting_callers_get_an_error_when_the_write_loop_stops(db: SqliteDatabase) -> None:
    """When a program ends, all its tasks are cancelled, the ledger's own too."""
    waiting = [asyncio.create_task(db.probe(NOW)) for _ in range(5)]
    await asyncio.sleep(0)
    assert db._pump is not None
    db._pump.cancel()
    done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
    assert all(result is None or isinstance(result, LedgerError) for result in done)
    await db.probe(NOW)


def test_a_program_that_ends_while_it_writes_ends(tmp_path: Path) -> None:
    """All its tasks are cancelled at once, those that write among them: none waits for ever."""
    began, ends = threading.Event(), threading.Event()

    async def write(tx: Connection) -> None:
        began.set()
        ends.wait(20)

    async def program() -> None:
        db = SqliteDatabase(f"sqlite:{tmp_path / 'clew.db'}")
        await db.open()
        writing = [asyncio.create_task(db.transact(write)) for _ in range(3)]
        await asyncio.to_thread(began.wait, 20)
        threading.Timer(0.2, ends.set).start()
        assert not any(task.done() for task in writing)

    running = threading.Thread(target=asyncio.run, args=(program(),), daemon=True)
    running.start()
    running.join(20)
    assert not running.is_alive()


async def test_a_few_rows_are_read_while_all_threads_have_work(db: SqliteDatabase) -> None:
    going_on, ends = threading.Semaphore(0), threading.Event()

    async def long(connection: Connection) -> None:
        going_on.release()
        ends.wait(60)

    longs = [asyncio.create_task(db.query(long)) for _ in range(READERS)]
    try:
        for _ in longs:
            await asyncio.to_thread(going_on.acquire)
        assert (await db.query(executing(_HIGHEST), quick=True)).scalar() == 0
    finally:
        ends.set()
        await asyncio.gather(*longs)


async def test_quick_writings_are_done_in_the_loops_thread_and_are_on_the_disk(db: SqliteDatabase) -> None:
    """A busy loop would keep another thread waiting after each statement."""

    async def write(tx: Connection) -> int:
        await tx.execute(_add())
        return threading.get_ident()

    assert await db.transact(write, quick=True) == threading.get_ident()
    assert await db.transact(write) != threading.get_ident()
    assert len(_written(db)) == 2


async def test_what_a_quick_writing_raises_takes_back_nothing_of_the_others(db: SqliteDatabase) -> None:
    began = threading.get_ident()

    def writing(number: int) -> Work[int]:
        async def write(tx: Connection) -> int:
            await tx.execute(insert(probes).values(at=float(number)))
            if number % 3 == 0:
                raise KeyError(number)
            assert threading.get_ident() == began
            return number

        return write

    found = await asyncio.gather(
        *(db.transact(writing(number), quick=True) for number in range(30)), return_exceptions=True
    )
    assert [one if isinstance(one, int) else one.args[0] for one in found] == list(range(30))
    assert _written(db) == [float(number) for number in range(30) if number % 3]


async def test_a_quick_writing_to_a_ledger_that_is_gone_fails(db: SqliteDatabase, tmp_path: Path) -> None:
    await db.probe(NOW)
    (tmp_path / "clew.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(LedgerGoneError):
        await db.transact(executing(_add()), quick=True)


@pytest.mark.parametrize("quick", [True, False])
async def test_a_process_that_writes_on_and_on_lets_another_one_write(
    db: SqliteDatabase, *, quick: bool
) -> None:
    """SQLite keeps nobody in line: who tries seldom while another goes on would wait for seconds."""
    other, ended = SqliteDatabase(db.address), asyncio.Event()
    await other.open()
    begun = asyncio.Event()

    async def write_on() -> int:
        written = 0
        while not ended.is_set():
            await db.transact(executing(_add()), quick=quick)
            written += 1
            begun.set()
        return written

    going_on = [asyncio.create_task(write_on()) for _ in range(3)]
    try:
        await asyncio.wait_for(begun.wait(), 60)
        for _ in range(20):
            await asyncio.wait_for(other.transact(executing(_add()), quick=quick), 60)
    finally:
        ended.set()
        written = sum(await asyncio.gather(*going_on))
        await other.close()
    assert len(_written(db)) == written + 20


async def test_due_postbacks_are_found_by_skipping_through_an_index(db: SqliteDatabase) -> None:
    """field D5: the cost of a round does not grow with the number of due postbacks."""
    given = {"now": NOW, "each": 3, "limit": 9}
    async with db.read() as connection:
        rows = (await connection.execute(text(f"EXPLAIN QUERY PLAN {WAITING['sqlite'].text}"), given)).all()
    plan = [row[3] for row in rows]
    assert sum("ix_postbacks_queue" in line for line in plan) >= 3, plan
    scanned = [line.split()[1] for line in plan if line.startswith("SCAN")]
    assert not {"postbacks", "n", "h", "w", "d"} & set(scanned), plan


@pytest.mark.parametrize("table", ["orders", "decisions", "postbacks", "commission_entries", "payouts"])
async def test_a_change_gets_its_number_without_a_walk_through_the_table(
    db: SqliteDatabase, table: str
) -> None:
    """A partial index cannot say which number is the highest: each end of a call read all calls."""
    highest = text(f"EXPLAIN QUERY PLAN SELECT max(written) + 1 FROM {table}")
    async with db.read() as connection:
        steps = [row[3] for row in await connection.execute(highest)]
    assert steps == [f"SEARCH {table} USING COVERING INDEX ix_{table}_written"]
