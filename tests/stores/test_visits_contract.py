"""What every visit store does, whatever keeps it: a SQLite file, Redis, PostgreSQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.referral.happenings import CartTurned, Happened, ProductShown
from clew.referral.invites import Invited, Offered
from clew.referral.memory import EVENT_NAMES, EVENT_TIMES, CartHistory
from clew.referral.touches import Click, Touch
from clew.referral.visitor import (
    TOUCHES,
    TRAIL_PAGES,
    VISIT_GAP,
    CartSeen,
    Change,
    Forgotten,
    Ordered,
    Page,
    Restored,
    Talked,
    Touched,
    Viewed,
    Visitor,
    changed,
)
from clew.stores import visits_breaker, visits_redis
from clew.stores.visits import FOUND_AT_ONCE, SEEN_AT_ONCE, Visits
from clew.stores.visits_record import packed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from visit_engines import Engine, PostgresEngine, RedisEngine, SqliteEngine, store_at

NOW = 1_800_000_000.0
DAY = 86400
ENGINES = ("sqlite", "redis", "postgresql")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the machine is says nothing about what a store does."""
    monkeypatch.setattr(visits_breaker, "ANSWER_SECONDS", 20.0)
    monkeypatch.setattr(visits_redis, "SOCKET_SECONDS", 20.0)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        yield SqliteEngine(tmp_path)
    elif request.param == "postgresql":
        database = PostgresEngine(request.getfixturevalue("postgres"))
        yield database
        database.remove()
    else:
        found = RedisEngine(request.getfixturevalue("redis_server"))
        found.empty()
        yield found


@pytest_asyncio.fixture
async def visits(engine: Engine) -> AsyncIterator[Visits]:
    store = store_at(engine)
    await store.open()
    yield store
    await store.close()


@pytest_asyncio.fixture
async def other(engine: Engine, visits: Visits) -> AsyncIterator[Visits]:
    """The store of another process."""
    store = store_at(engine)
    await store.open()
    yield store
    await store.close()


def touch(at: float, click: str = "1001_1_a") -> Touch:
    return Touch(int(at), (Click("awin", "awc", click, "awin"),), {"utm_source": "blog"}, "", "/")


def view(number: int, url: str = "https://shop.example/") -> Viewed:
    return Viewed(Page(f"view-{number:04}", NOW + number, url, "Shop"))


def seen_page(number: int) -> Callable[[Visitor | None], Visitor]:
    """A fold that adds a page view of its own."""

    def fold(stored: Visitor | None) -> Visitor:
        return changed(stored, "v1", [view(number)], NOW + number)

    return fold


async def test_a_stored_visitor_is_read_back_completely(visits: Visits) -> None:
    invite = (Offered((), "r", "view-0001"), Invited("r", "seen"))
    changes = [Touched(touch(NOW, "a\udcffb")), view(1), CartSeen({"value": "59.90"}), *invite]
    written = await visits.change("shop", "v1", changes, NOW)
    assert await visits.get("shop", "v1") == written
    assert written.touches[0].clicks[0].value == "a\udcffb"
    assert await visits.get("other", "v1") is None


async def test_a_visitor_who_refuses_is_deleted(visits: Visits) -> None:
    for visitor in ("v1", "v2"):
        await visits.change("shop", visitor, [view(1)], NOW)
    await visits.forget("shop", "v1")
    await visits.forget("other", "v2")
    assert await visits.get("shop", "v1") is None
    assert await visits.get("shop", "v2") is not None


async def test_a_visit_ends_after_half_an_hour_without_a_page(visits: Visits) -> None:
    await visits.change(
        "shop", "v1", [view(1), Offered((), "r", "view-0001"), Invited("r", "dismissed")], NOW
    )
    same = await visits.change("shop", "v1", [view(2)], NOW + VISIT_GAP)
    assert (same.visits, same.pages, same.dismissed) == (1, 2, ("r",))
    new = await visits.change("shop", "v1", [view(3)], NOW + 2 * VISIT_GAP + 1)
    assert (new.visits, new.pages, new.dismissed, new.dismissals) == (2, 1, (), 1)


async def test_asking_again_on_the_same_page_counts_no_second_page_view(visits: Visits) -> None:
    for second in range(3):
        visitor = await visits.change("shop", "v1", [view(1)], NOW + second)
    assert visitor.pages == 1
    assert len(visitor.trail) == 1


async def test_trail_and_touches_are_bounded(visits: Visits) -> None:
    many = [view(n) for n in range(TRAIL_PAGES + 10)]
    visitor = await visits.change("shop", "v1", many, NOW)
    assert len(visitor.trail) == TRAIL_PAGES
    assert visitor.pages == TRAIL_PAGES + 10
    clicks = [Touched(touch(NOW + n, f"click-{n}")) for n in range(TOUCHES + 5)]
    visitor = await visits.change("shop", "v1", clicks, NOW)
    assert len(visitor.touches) == TOUCHES
    assert visitor.touches[-1].clicks[0].value == f"click-{TOUCHES + 4}"


@pytest.mark.parametrize("letter", ["x", "ж", "\U0001f600", '"'])
async def test_a_visitors_record_is_limited_to_a_few_kilobytes(visits: Visits, letter: str) -> None:
    """field E5: a page view and a touch with every field as long as it may be, many times."""
    long = letter * 500
    clicks = tuple(Click(f"network{n}", f"param{n}", long, "partner" if n == 4 else None) for n in range(8))
    campaign = {f"utm_{n}": letter * 200 for n in range(5)}
    for number in range(60):
        at = NOW + number * 3600
        touched = Touched(Touch(int(at), clicks, campaign, letter * 300, f"/{number}{letter * 999}"))
        page = Page(f"view-{number:059}", at, f"https://shop.example/{letter * 2000}", letter * 300)
        visitor = await visits.change("shop", "v1", [touched, Viewed(page)], at)
    assert len(packed(visitor)) < 12_000
    assert await visits.get("shop", "v1") == visitor
    assert visitor.trail[-1].view == f"view-{59:059}"
    assert visitor.touches[-1].clicks[-1].value == long
    assert visitor.touches[-1].clicks[-1].partner == "partner"


async def test_usual_trails_and_touches_are_kept_whole(visits: Visits) -> None:
    path = "https://shop.example/index.php?route=product/product&product_id=43"
    changes = [Viewed(Page(f"v-{n:08}", NOW + n, path, "MacBook, 15 inches")) for n in range(30)]
    visitor = await visits.change("shop", "v1", changes, NOW)
    assert len(visitor.trail) == 30
    assert visitor.trail[0].url == path


def test_what_is_stored_stays_as_it_is_while_changes_are_folded_in() -> None:
    """A store may call a fold again with the same record."""
    stored = changed(None, "v1", [view(1), CartSeen({"value": "59.90"})], NOW)
    before = stored.to_json()
    after = changed(stored, "v1", [view(2), Touched(touch(NOW, "new")), Ordered(NOW)], NOW + 1)
    assert (after.pages, len(after.touches), dict(after.cart)) == (2, 1, {})
    assert stored.to_json() == before


async def test_a_lost_store_gets_its_touches_back_from_the_cookie(visits: Visits) -> None:
    old, new = touch(NOW - 100, "old"), touch(NOW, "new")
    visitor = await visits.change("shop", "v1", [Restored((old,)), Touched(new)], NOW)
    assert [t.clicks[0].value for t in visitor.touches] == ["old", "new"]


async def test_an_order_resets_the_cart(visits: Visits) -> None:
    visitor = await visits.change("shop", "v1", [CartSeen({"value": "59.90"}), Ordered(NOW)], NOW)
    assert (dict(visitor.cart), visitor.ordered_at) == ({}, NOW)


async def test_what_happened_to_a_visitor_is_kept_within_bounds_and_goes_with_it(visits: Visits) -> None:
    for second in range(EVENT_TIMES + 5):
        await visits.change("shop", "v1", [Happened(("search", f"own_{second}"))], NOW + second)
    cart = {"value": "59.90", "items": "2"}
    await visits.change("shop", "v1", [CartTurned(cart), CartSeen(cart, "/cart")], NOW)
    shown = [ProductShown(f"mark{n}", {"name": "Mill", "price": 3.5, "in_stock": True}) for n in range(9)]
    await visits.change("shop", "v1", shown, NOW)
    found = await visits.get("shop", "v1")
    assert found is not None
    assert found.memory is not None
    assert found.memory.events["search"] == tuple(int(NOW) + n for n in range(5, EVENT_TIMES + 5))
    assert len(found.memory.events) == EVENT_NAMES
    assert found.memory.cart == CartHistory(59.9, 0, 0, int(NOW))
    assert [mark for mark, _ in found.memory.products] == ["mark6", "mark7", "mark8"]
    await visits.change("shop", "v1", [Ordered(NOW)], NOW)
    after = await visits.get("shop", "v1")
    assert after is not None
    assert after.memory is not None
    assert after.memory.cart == CartHistory()
    await visits.change("shop", "v1", [Forgotten()], NOW)
    gone = await visits.get("shop", "v1")
    assert gone is not None
    assert gone.memory is None


async def test_a_failed_change_leaves_nothing_behind(visits: Visits) -> None:
    class Bad:
        def apply(self, visitor: Visitor, now: float) -> Visitor:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await visits.change("shop", "v1", [view(1), Bad()], NOW)  # type: ignore[list-item]
    assert await visits.get("shop", "v1") is None
    await visits.change("shop", "v1", [view(1)], NOW)


async def test_a_partners_click_stays_when_many_other_arrivals_follow(visits: Visits) -> None:
    others = [Touched(Touch(int(NOW) + n, (), {}, "https://search.example/", f"/{n}")) for n in range(40)]
    visitor = await visits.change("shop", "v1", [Touched(touch(NOW)), *others], NOW)
    assert len(visitor.touches) == TOUCHES
    assert visitor.touches[0].clicks[0].partner == "awin"


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
async def test_visitors_without_activity_are_kept_for_a_shorter_time(
    visits: Visits, engine: Engine, changes: list[Change], days: int
) -> None:
    """field E7"""
    await visits.change("shop", "v1", changes, NOW)
    kept = engine.expires_in("shop", "v1", NOW)
    assert kept is not None
    assert days * DAY - 60 <= kept <= days * DAY


async def test_returning_visitors_are_kept_longer(visits: Visits, engine: Engine) -> None:
    await visits.change("shop", "v1", [view(1)], NOW)
    await visits.change("shop", "v1", [view(2), Talked(NOW)], NOW)
    kept = engine.expires_in("shop", "v1", NOW)
    assert kept is not None
    assert kept > 399 * DAY


NAMES = ["MacBook", "Canon", "iPhone", "Palm", "Samsung", "Sony", "Nikon", "HTC", "Apple", "iPod"]


async def test_a_visitor_of_a_usual_visit_takes_less_than_a_kilobyte(visits: Visits) -> None:
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
    rule = "help-at-the-cart"
    changed = [*changes, Offered((), rule, secrets.token_urlsafe(16)), Invited(rule, "seen")]
    assert len(packed(await visits.change("shop", "x" * 26, changed, NOW))) <= 1024


async def test_when_visitors_were_last_seen(visits: Visits) -> None:
    for number in range(3):
        await visits.change("shop", f"v{number}", [view(number)], NOW + number)
    await visits.change("shop", "v0", [view(9)], NOW + 9)
    seen = await visits.seen_at("shop", ["v0", "v2", "nobody"])
    assert dict(seen) == {"v0": NOW + 9, "v2": NOW + 2}
    assert await visits.seen_at("other", ["v0"]) == {}
    assert await visits.seen_at("shop", []) == {}
    asked = [f"nobody-{number}" for number in range(SEEN_AT_ONCE)]
    assert await visits.seen_at("shop", [*asked, "v0"]) == {}, "of at most so many"


async def test_visitors_are_found_by_the_last_letters_of_their_id(visits: Visits) -> None:
    for number, visitor in enumerate(["aaxyz", "bbxyz", "ccxyz", "ddxy"]):
        await visits.change("shop", visitor, [view(number)], NOW + number)
    await visits.change("other", "eexyz", [view(1)], NOW)
    await visits.change("shop", "aaxyz", [view(9)], NOW + 9)
    await visits.forget("shop", "ccxyz")
    assert list(await visits.ending("shop", "xyz")) == ["aaxyz", "bbxyz"]
    for letters in ("*", "?yz", "[xyz]", "%", "_"):
        assert list(await visits.ending("shop", letters)) == []


async def test_at_most_twenty_are_found(visits: Visits) -> None:
    for number in range(FOUND_AT_ONCE + 5):
        await visits.change("shop", f"v{number:02}x", [view(number)], NOW + number)
    found = list(await visits.ending("shop", "x"))
    assert found == [f"v{number:02}x" for number in range(FOUND_AT_ONCE + 4, 4, -1)]


async def test_up_to_which_message_was_noted(visits: Visits, other: Visits) -> None:
    assert await visits.noted_up_to() is None
    await visits.set_noted_up_to(7)
    assert await other.noted_up_to() == 7


async def test_an_open_store_can_be_used(visits: Visits) -> None:
    await visits.probe()
    assert await visits.get("shop", "v1") is None


# -- several processes


async def test_concurrent_writes_of_another_process_are_not_lost(visits: Visits, other: Visits) -> None:
    await visits.change("shop", "v1", [view(1)], NOW)
    await other.change("shop", "v1", [view(2), Touched(touch(NOW))], NOW)
    await other.change("shop", "v1", [view(3)], NOW)
    last = await visits.change("shop", "v1", [view(4)], NOW)
    assert (last.pages, len(last.touches)) == (4, 1)
    assert await other.get("shop", "v1") == last


async def test_whom_another_process_has_forgotten_is_new(visits: Visits, other: Visits) -> None:
    """A visitor who refuses stays deleted."""
    await visits.change("shop", "v1", [view(1), Talked(NOW)], NOW)
    await other.forget("shop", "v1")
    known = await visits.change("shop", "v1", [view(2)], NOW)
    assert (known.pages, known.talked_at) == (1, 0.0)


async def test_a_fold_that_fails_on_an_old_record_gets_the_new_one(visits: Visits, other: Visits) -> None:
    await visits.change("shop", "v1", [view(1)], NOW)
    await other.change("shop", "v1", [view(2)], NOW)

    def fold(stored: Visitor | None) -> Visitor:
        assert stored is not None
        if stored.pages < 2:
            raise ValueError
        return changed(stored, "v1", [view(3)], NOW)

    assert (await visits.update("shop", "v1", fold, NOW)).pages == 3


async def test_an_emptied_store_makes_visitors_anew_from_the_cookie(visits: Visits, engine: Engine) -> None:
    await visits.change("shop", "v1", [Touched(touch(NOW)), view(1)], NOW)
    await visits.set_noted_up_to(7)
    engine.empty()
    assert await visits.noted_up_to() is None
    anew = await visits.change("shop", "v1", [Restored((touch(NOW),)), view(2)], NOW)
    assert (anew.pages, len(anew.touches)) == (1, 1)
    assert await visits.get("shop", "v1") == anew
    assert list(await visits.ending("shop", "v1")) == ["v1"]


async def test_many_changes_of_one_visitor_at_once_all_count(visits: Visits, other: Visits) -> None:
    folds = [seen_page(number) for number in range(60)]
    stores = [visits, other]
    await asyncio.gather(*(stores[n % 2].update("shop", "v1", fold, NOW + n) for n, fold in enumerate(folds)))
    found = await visits.get("shop", "v1")
    assert found is not None
    assert found.pages == 60


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["v1", "v2"]), st.sampled_from(["view", "forget", "get"])),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_changes_at_once_come_to_the_same_as_one_after_the_other(
    engine: Engine, steps: list[tuple[int, str, str]]
) -> None:
    """Whatever two processes do at once, each page view since the last time a visitor was forgotten counts
    once, and both see the same in the end."""

    async def run() -> None:
        stores = [store_at(engine), store_at(engine)]
        for store in stores:
            await store.open()
        engine.empty()
        added = {"v1": 0, "v2": 0}
        forgotten = {visitor for _, visitor, what in steps if what == "forget"}

        async def step(number: int, of: int, visitor: str, what: str) -> None:
            if what == "forget":
                await stores[of].forget("shop", visitor)
            elif what == "get":
                await stores[of].get("shop", visitor)
            else:
                added[visitor] += 1
                await stores[of].update("shop", visitor, seen_page(number), NOW + number)

        try:
            await asyncio.gather(*(step(number, *one) for number, one in enumerate(steps)))
            for visitor, count in added.items():
                one, two = [await store.get("shop", visitor) for store in stores]
                assert one == two
                pages = 0 if one is None else one.pages
                assert pages == count if visitor not in forgotten else pages <= count
        finally:
            for store in stores:
                await store.close()

    asyncio.run(run())


async def test_the_copy_of_a_page_is_there_for_its_time(visits: Visits) -> None:
    await visits.put_page("shop", "anna", b"one", NOW, 60)
    await visits.put_page("shop", "anna", b"two", NOW, 60)
    await visits.put_page("shop", "ben", b"three", NOW, 60)
    assert await visits.page("shop", "anna", NOW + 30) == b"two"
    assert await visits.page("other", "anna", NOW) is None
    await visits.put_page("shop", "anna", None, NOW, 0)
    assert await visits.page("shop", "anna", NOW) is None
    await visits.forget("shop", "ben")
    assert await visits.page("shop", "ben", NOW) is None
