"""The visit store: what happens to a visitor is kept, bounded, and forgotten in time."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Page, Viewed, Visitor
from clew.stores import housekeeping
from clew.stores.housekeeping import PRUNE_EVERY, STEP_ROWS, Housekeeping
from clew.stores.ledger.sqlite import SqliteDatabase
from clew.stores.visits import VisitsBusyError
from clew.stores.visits_record import KEEP_VISITOR_SECONDS
from clew.stores.visits_sqlite import BUSY_PAUSES, SqliteVisits
from costs import loop_seconds

NOW = 1_800_000_000.0


@pytest_asyncio.fixture
async def visits(tmp_path: Path) -> AsyncIterator[SqliteVisits]:
    store = SqliteVisits(tmp_path / "clew.db", asyncio.Lock())
    await store.open()
    yield store
    await store.close()


def touch(at: float, click: str = "1001_1_a") -> Touch:
    return Touch(int(at), (Click("awin", "awc", click, "awin"),), {"utm_source": "blog"}, "", "/")


def view(number: int, url: str = "https://shop.example/") -> Viewed:
    return Viewed(Page(f"view-{number:04}", NOW + number, url, "Shop"))


async def test_a_page_view_of_a_stored_visitor_is_one_statement(visits: SqliteVisits) -> None:
    # Whoever has seen two pages is kept for longer.
    await visits.change("shop", "v1", [view(0), view(1)], NOW)
    statements: list[str] = []
    visits._db.set_trace_callback(statements.append)
    seen = await visits.change("shop", "v1", [view(2)], NOW + 60)
    assert [statement.partition(" ")[0] for statement in statements] == ["UPDATE"]
    assert (seen.pages, await visits.get("shop", "v1")) == (3, seen)
    assert await visits.seen_at("shop", ["v1"]) == {"v1": NOW + 60}


async def test_a_page_view_that_fails_leaves_the_record_as_it_was(visits: SqliteVisits) -> None:
    before = await visits.change("shop", "v1", [view(1)], NOW)

    def fails(stored: Visitor | None) -> Visitor:
        raise RuntimeError("a fault in the fold")

    with pytest.raises(RuntimeError, match="a fault in the fold"):
        await visits.update("shop", "v1", fails, NOW + 60)
    assert await visits.get("shop", "v1") == before
    assert not visits._db.in_transaction


async def test_a_page_view_after_an_hour_moves_the_time_of_expiry(visits: SqliteVisits) -> None:
    for number, at in enumerate((NOW, NOW + 60, NOW + 2 * 3600)):
        await visits.change(
            "shop", "v1", [Viewed(Page(f"view-{number:04}", at, "https://shop.example/"))], at
        )
    (expires_at,) = visits._db.execute("SELECT expires_at FROM visits").fetchone()
    assert expires_at == NOW + 2 * 3600 + KEEP_VISITOR_SECONDS


async def test_visits_and_ledger_share_one_file_without_blocking_each_other(tmp_path: Path) -> None:
    database = SqliteDatabase(f"sqlite:{tmp_path / 'clew.db'}")
    await database.open()
    store = SqliteVisits(tmp_path / "clew.db", database.write_lock)
    await store.open()
    try:
        async with asyncio.timeout(20):
            async with database.write_lock:  # as its transactions do
                waiting = asyncio.create_task(store.change("shop", "v1", [view(1)], NOW))
                await asyncio.sleep(0)
                assert not waiting.done(), "the visit waits for the ledger's transaction, the loop does not"
            assert (await waiting).pages == 1
    finally:
        await store.close()
        await database.close()


async def test_a_file_that_another_process_writes_to_does_not_stop_the_loop(
    visits: SqliteVisits, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "clew.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(visits.change("shop", "v1", [view(1)], NOW))
    await asyncio.sleep(0)
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    assert (await waiting).pages == 1


async def test_a_file_that_stays_locked_is_an_error_soon(visits: SqliteVisits, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "clew.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(VisitsBusyError, match="locked"):
        await visits.change("shop", "v1", [view(1)], NOW)
    other.close()


# -- field D1: forgetting whom nobody will ask for again


async def crowd(visits: SqliteVisits, count: int) -> None:
    """Visitors of one page view, whose time is over two days after NOW."""
    for number in range(count):
        await visits.change("shop", f"passer-by-{number}", [view(1)], NOW)


async def test_pruning_leaves_the_file_to_others_between_small_steps(
    visits: SqliteVisits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D1: in a separate thread, a few rows at a time, with other writers in between."""
    await crowd(visits, 400)
    steps: list[tuple[int, int]] = []
    step = Housekeeping._step

    def watched(self: Housekeeping, now: float, due: list[int]) -> int | None:
        steps.append((threading.get_ident(), len(due)))
        return step(self, now, due)

    monkeypatch.setattr(Housekeeping, "_step", watched)
    pruning = asyncio.create_task(visits.prune(NOW + 3 * 86400))
    written = 0
    while not pruning.done():
        await visits.change("shop", "busy", [view(written)], NOW + 3 * 86400)
        written += 1
        await asyncio.sleep(0.001)
    assert await pruning == 400
    assert threading.get_ident() not in {thread for thread, _ in steps}
    assert max(rows for _, rows in steps) <= STEP_ROWS[1]
    assert len(steps) >= 5
    assert written >= len(steps)


async def test_one_process_prunes_at_a_time_and_the_next_only_after_a_while(
    visits: SqliteVisits, tmp_path: Path
) -> None:
    """field D1: each worker has a store of its own on the same file."""
    other = SqliteVisits(tmp_path / "clew.db")
    await other.open()
    later = NOW + 3 * 86400
    try:
        await crowd(visits, 30)
        assert sorted(await asyncio.gather(visits.prune(later), other.prune(later))) == [0, 30]
        await crowd(visits, 5)
        pruned = await visits.prune(later + 10), await other.prune(later + 10)
        assert sorted(pruned) == [0, 5], "only the one that has the lease"
        await crowd(visits, 5)
        assert await other.prune(later + 20 + PRUNE_EVERY) == 5, "whoever comes first when its time is over"
    finally:
        await other.close()


async def test_a_lease_from_a_clock_that_went_wrong_does_not_stop_pruning(
    visits: SqliteVisits, tmp_path: Path
) -> None:
    """field D1, B6"""
    other = SqliteVisits(tmp_path / "clew.db")
    await other.open()
    await visits.prune(NOW + 300 * 86400)
    await crowd(visits, 1)
    assert await other.prune(NOW + 3 * 86400) == 1
    await other.close()


async def test_pruning_finds_expired_visitors_by_an_index(visits: SqliteVisits) -> None:
    """field D1: with nothing to remove it looks at nothing."""
    query = "EXPLAIN QUERY PLAN SELECT id FROM visits WHERE expires_at <= 1 ORDER BY expires_at LIMIT 9"
    (plan,) = visits._db.execute(query).fetchall()
    assert "USING COVERING INDEX visits_expiry" in plan[3]


async def test_a_stopped_pruning_leaves_no_lock_behind(visits: SqliteVisits) -> None:
    """field D1, D2"""
    await crowd(visits, 200)
    pruning = asyncio.create_task(visits.prune(NOW + 3 * 86400))
    await asyncio.sleep(0.005)
    pruning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pruning
    assert (await visits.change("shop", "v1", [view(1)], NOW)).pages == 1


async def test_the_write_ahead_log_is_checkpointed_into_the_file(
    visits: SqliteVisits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D1: not by the loop's thread, which would wait for the disk."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    checkpoint = Housekeeping._checkpoint

    def watched(self: Housekeeping, kind: str) -> None:
        checkpoint(self, kind)
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(housekeeping, "CHECKPOINT_EVERY", 0.01)
    monkeypatch.setattr(Housekeeping, "_checkpoint", watched)
    await visits.close()
    await visits.open()
    before = (tmp_path / "clew.db").stat().st_size
    await crowd(visits, 200)
    done.clear()
    async with asyncio.timeout(20):
        await done.wait()
    assert (tmp_path / "clew.db").stat().st_size > before


async def test_checkpoints_go_on_after_the_disk_has_failed(
    visits: SqliteVisits, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    tries = 0

    def failing(self: Housekeeping, kind: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise sqlite3.OperationalError("disk I/O error")
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(housekeeping, "CHECKPOINT_EVERY", 0.01)
    monkeypatch.setattr(Housekeeping, "_checkpoint", failing)
    await visits.close()
    await visits.open()
    async with asyncio.timeout(20):
        await done.wait()


async def test_callers_wait_for_a_locked_file_concurrently(visits: SqliteVisits, tmp_path: Path) -> None:
    """field D4"""
    other = sqlite3.connect(tmp_path / "clew.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = [visits.change("shop", f"v{n}", [view(1)], NOW) for n in range(50)]
    async with loop_seconds() as waited:
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        # Half of what it takes if each waits for the one before it.
        assert waited() < len(waiting) / 2 * sum(BUSY_PAUSES)
    assert {type(error) for error in failed} == {VisitsBusyError}
    other.close()


NAMES = ["MacBook", "Canon", "iPhone", "Palm", "Samsung", "Sony", "Nikon", "HTC", "Apple", "iPod"]
