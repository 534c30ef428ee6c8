"""The visit store: what happens to a visitor is kept, bounded, and forgotten in time."""

import asyncio
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.referral.touches import Click, Touch
from clew.referral.visitor import (
    TOUCHES,
    TRAIL_PAGES,
    VISIT_GAP,
    CartSeen,
    Change,
    Invited,
    Ordered,
    Page,
    Restored,
    Talked,
    Touched,
    Viewed,
    Visitor,
)
from clew.stores import housekeeping
from clew.stores.housekeeping import PRUNE_EVERY, STEP_ROWS, Housekeeping
from clew.stores.ledger.sqlite import SqliteDatabase
from clew.stores.visits import VisitsBusyError
from clew.stores.visits_record import KEEP_PASSER_BY_SECONDS
from clew.stores.visits_sqlite import BUSY_PAUSES, SqliteVisits

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


async def test_what_was_written_is_read_back_whole(visits: SqliteVisits) -> None:
    changes = [Touched(touch(NOW, "a\udcffb")), view(1), CartSeen({"value": "59.90"}), Invited("r", "seen")]
    written = await visits.change("shop", "v1", changes, NOW)
    assert await visits.get("shop", "v1") == written
    assert written.touches[0].clicks[0].value == "a\udcffb"
    assert await visits.get("other", "v1") is None


async def test_a_visitor_who_refuses_is_deleted(visits: SqliteVisits) -> None:
    for visitor in ("v1", "v2"):
        await visits.change("shop", visitor, [view(1)], NOW)
    await visits.forget("shop", "v1")
    await visits.forget("other", "v2")
    assert await visits.get("shop", "v1") is None
    assert await visits.get("shop", "v2") is not None


async def test_a_visit_ends_after_half_an_hour_without_a_page(visits: SqliteVisits) -> None:
    await visits.change("shop", "v1", [view(1), Invited("r", "dismissed")], NOW)
    same = await visits.change("shop", "v1", [view(2)], NOW + VISIT_GAP)
    assert (same.visits, same.pages, same.dismissed) == (1, 2, ("r",))
    new = await visits.change("shop", "v1", [view(3)], NOW + 2 * VISIT_GAP + 1)
    assert (new.visits, new.pages, new.dismissed, new.dismissals) == (2, 1, (), 1)


async def test_asking_again_on_the_same_page_counts_no_second_page_view(visits: SqliteVisits) -> None:
    for second in range(3):
        visitor = await visits.change("shop", "v1", [view(1)], NOW + second)
    assert visitor.pages == 1
    assert len(visitor.trail) == 1


async def test_trail_and_touches_are_bounded(visits: SqliteVisits) -> None:
    many = [view(n) for n in range(TRAIL_PAGES + 10)]
    visitor = await visits.change("shop", "v1", many, NOW)
    assert len(visitor.trail) == TRAIL_PAGES
    assert visitor.pages == TRAIL_PAGES + 10
    clicks = [Touched(touch(NOW + n, f"click-{n}")) for n in range(TOUCHES + 5)]
    visitor = await visits.change("shop", "v1", clicks, NOW)
    assert len(visitor.touches) == TOUCHES
    assert visitor.touches[-1].clicks[0].value == f"click-{TOUCHES + 4}"


@pytest.mark.parametrize("letter", ["x", "ж", "\U0001f600", '"'])
async def test_whatever_strangers_send_a_visitor_stays_a_few_kilobytes(
    visits: SqliteVisits, letter: str
) -> None:
    """field E5: a page view and a touch with every field as long as it may be, many times."""
    long = letter * 500
    clicks = tuple(Click(f"network{n}", f"param{n}", long, "partner" if n == 4 else None) for n in range(8))
    campaign = {f"utm_{n}": letter * 200 for n in range(5)}
    for number in range(60):
        at = NOW + number * 3600
        touched = Touched(Touch(int(at), clicks, campaign, letter * 300, f"/{number}{letter * 999}"))
        page = Page(f"view-{number:059}", at, f"https://shop.example/{letter * 2000}", letter * 300)
        visitor = await visits.change("shop", "v1", [touched, Viewed(page)], at)
    (size,) = visits._db.execute("SELECT length(data) FROM visits").fetchone()
    assert size < 12_000
    assert visitor.trail[-1].view == f"view-{59:059}"
    assert visitor.touches[-1].clicks[-1].value == long
    assert visitor.touches[-1].clicks[-1].partner == "partner"


async def test_usual_trails_and_touches_are_kept_whole(visits: SqliteVisits) -> None:
    path = "https://shop.example/index.php?route=product/product&product_id=43"
    changes = [Viewed(Page(f"v-{n:08}", NOW + n, path, "MacBook, 15 inches")) for n in range(30)]
    visitor = await visits.change("shop", "v1", changes, NOW)
    assert len(visitor.trail) == 30
    assert visitor.trail[0].url == path


async def test_a_lost_store_gets_its_touches_back_from_the_cookie(visits: SqliteVisits) -> None:
    old, new = touch(NOW - 100, "old"), touch(NOW, "new")
    visitor = await visits.change("shop", "v1", [Restored((old,)), Touched(new)], NOW)
    assert [t.clicks[0].value for t in visitor.touches] == ["old", "new"]


async def test_the_cart_is_gone_with_the_order(visits: SqliteVisits) -> None:
    visitor = await visits.change("shop", "v1", [CartSeen({"value": "59.90"}), Ordered(NOW)], NOW)
    assert (dict(visitor.cart), visitor.ordered_at) == ({}, NOW)


async def test_a_passer_by_is_forgotten_after_two_days_and_a_partners_visitor_is_not(
    visits: SqliteVisits,
) -> None:
    await visits.change("shop", "passer-by", [view(1)], NOW)
    await visits.change("shop", "sent", [Touched(touch(NOW)), view(1)], NOW)
    assert await visits.prune(NOW + KEEP_PASSER_BY_SECONDS + 1) == 1
    assert await visits.get("shop", "passer-by") is None
    assert await visits.get("shop", "sent") is not None


async def test_a_failed_change_leaves_nothing_behind(visits: SqliteVisits) -> None:
    class Bad:
        def apply(self, visitor: Visitor, now: float) -> Visitor:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await visits.change("shop", "v1", [view(1), Bad()], NOW)  # type: ignore[list-item]
    assert await visits.get("shop", "v1") is None
    await visits.change("shop", "v1", [view(1)], NOW)


async def test_visits_and_ledger_share_one_file_without_blocking_each_other(tmp_path: Path) -> None:
    database = SqliteDatabase(f"sqlite:{tmp_path / 'clew.db'}")
    await database.open()
    store = SqliteVisits(tmp_path / "clew.db", database.write_lock)
    await store.open()
    try:
        async with asyncio.timeout(5):
            async with database.write_lock:  # as its transactions do
                waiting = asyncio.create_task(store.change("shop", "v1", [view(1)], NOW))
                await asyncio.sleep(0)
                assert not waiting.done(), "the visit waits for the ledger's transaction, the loop does not"
            assert (await waiting).pages == 1
    finally:
        await store.close()
        await database.close()


async def test_a_partners_click_stays_when_many_other_arrivals_follow(visits: SqliteVisits) -> None:
    others = [Touched(Touch(int(NOW) + n, (), {}, "https://search.example/", f"/{n}")) for n in range(40)]
    visitor = await visits.change("shop", "v1", [Touched(touch(NOW)), *others], NOW)
    assert len(visitor.touches) == TOUCHES
    assert visitor.touches[0].clicks[0].partner == "awin"


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


@pytest.mark.parametrize(
    ("changes", "days"),
    [
        ([view(1)], 2),
        ([view(1), view(2)], 30),
        ([Touched(Touch(int(NOW), (Click("google_ads", "gclid", "x"),))), view(1), view(2)], 30),
        ([Touched(touch(NOW)), view(1)], 400),
        ([view(1), Talked(NOW)], 400),
        ([view(1), Ordered(NOW)], 400),
    ],
)
async def test_who_did_nothing_that_counts_is_kept_for_a_shorter_time(
    visits: SqliteVisits, changes: list[Change], days: int
) -> None:
    """field E7"""
    await visits.change("shop", "v1", changes, NOW)
    assert await visits.prune(NOW + days * 86400 - 1) == 0
    assert await visits.prune(NOW + days * 86400 + 1) == 1
    assert await visits.get("shop", "v1") is None


async def test_pruning_leaves_the_file_to_others_between_small_steps(
    visits: SqliteVisits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D1: in a thread of its own, a few rows at a time, and whoever writes meanwhile comes between."""
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


async def test_pruning_finds_by_an_index_whom_to_forget(visits: SqliteVisits) -> None:
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


async def test_what_is_written_gets_from_the_log_into_the_file(
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


async def test_many_who_wait_for_a_locked_file_do_not_wait_one_after_the_other(
    visits: SqliteVisits, tmp_path: Path
) -> None:
    """field D4"""
    other = sqlite3.connect(tmp_path / "clew.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    waiting = [visits.change("shop", f"v{n}", [view(1)], NOW) for n in range(50)]
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in failed} == {VisitsBusyError}
    # Half of what it takes if each waits for the one before it.
    assert time.monotonic() - began < len(waiting) / 2 * sum(BUSY_PAUSES)
    other.close()


NAMES = ["MacBook", "Canon", "iPhone", "Palm", "Samsung", "Sony", "Nikon", "HTC", "Apple", "iPod"]


async def test_a_visitor_of_a_usual_visit_takes_less_than_a_kilobyte(visits: SqliteVisits) -> None:
    """field E7: a click, ten pages, a cart, an invite."""
    arrival = Touch(
        int(NOW), (Click("awin", "awc", "1001_1763859600_0123456789abcdef0123456789abcdef", "awin"),),
        {"utm_source": "blog", "utm_medium": "affiliate", "utm_campaign": "autumn"},
        "https://blog.example/", "/desktops/mac?awc&utm_source=blog",
    )  # fmt: skip
    pages = [
        Viewed(
            Page(
                secrets.token_urlsafe(16),
                NOW + 40 * n + n / 7,
                f"https://shop.example/index.php?route=product/product&product_id={n * 37}",
                f"{NAMES[n]} {n * 13} - My Shop",
            ),
            "en-GB",
        )
        for n in range(10)
    ]
    changes = [Touched(arrival), *pages, CartSeen({"value": "369.60", "currency": "EUR", "items": "3"})]
    await visits.change("shop", "x" * 26, [*changes, Invited("help-at-the-cart", "seen")], NOW)
    (size,) = visits._db.execute("SELECT length(data) FROM visits").fetchone()
    assert size <= 1024
