"""Signs reach the streams of all processes, at once in their own, and are kept nowhere."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.chat.hub import GIVEN, Hub
from clew.chat.signs import Sign
from clew.stores import signs as signs_module
from clew.stores import visits_breaker, visits_redis, visits_sqlite
from clew.stores.shared import SIGNS_KEPT
from clew.stores.signs import Signs
from clew.stores.visits import Visits
from visit_engines import Engine, PostgresEngine, RedisEngine, SqliteEngine, store_at

TOPIC = "talk/shop/t1"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits_breaker, "ANSWER_SECONDS", 20.0)
    monkeypatch.setattr(visits_redis, "SOCKET_SECONDS", 20.0)


@pytest.fixture(params=("sqlite", "redis", "postgresql"))
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
async def stores(engine: Engine) -> AsyncIterator[tuple[Visits, Visits]]:
    """The stores of two processes."""
    one, two = store_at(engine), store_at(engine)
    await one.open()
    await two.open()
    yield one, two
    await one.close()
    await two.close()


def process(store: Visits) -> tuple[Hub, Signs]:
    hub, failed = Hub(), list[Exception]()
    return hub, Signs(hub, store, time.monotonic, failed.append)


def sign(text: str, about: str = "t1", topic: str = TOPIC) -> Sign:
    return Sign(topic, "typing", about, {"typing": True, "text": text})


async def test_a_sign_reaches_the_streams_of_another_process_once(stores: tuple[Visits, Visits]) -> None:
    (here, mine), (there, theirs) = process(stores[0]), process(stores[1])
    with here.listen(TOPIC) as own, there.listen(TOPIC) as other, there.listen("talk/shop/t2") as foreign:
        await mine.exchange()
        await theirs.exchange()
        mine.tell(sign("a"))
        assert [one.data["text"] for one in own.given()] == ["a"]
        mine.tell(sign("ab"))
        mine.tell(sign("of another", "t1 bo"))
        await mine.exchange()
        await theirs.exchange()
        # The newest of each, with what it says; what came through the store is not given to its own again.
        assert sorted(one.data["text"] for one in other.given()) == ["ab", "of another"]
        await mine.exchange()
        assert [one.data["text"] for one in own.given()] == ["ab", "of another"]
        await theirs.exchange()
        assert not list(other.given())
        assert not list(foreign.given())


async def test_a_process_hears_nothing_of_what_was_told_before_it_listened(
    stores: tuple[Visits, Visits],
) -> None:
    (_, mine), (there, theirs) = process(stores[0]), process(stores[1])
    mine.tell(sign("before"))
    await mine.exchange()
    await theirs.exchange()
    with there.listen(TOPIC) as other:
        await theirs.exchange()
        mine.tell(sign("after"))
        await mine.exchange()
        await theirs.exchange()
        assert [one.data["text"] for one in other.given()] == ["after"]


async def test_a_flood_of_signs_is_bounded_in_the_process_and_in_the_store(
    stores: tuple[Visits, Visits],
) -> None:
    (here, mine), (there, theirs) = process(stores[0]), process(stores[1])
    with here.listen(TOPIC) as own, there.listen(TOPIC) as other:
        await theirs.exchange()
        for number in range(signs_module.WAITING + 500):
            mine.tell(sign(str(number), f"t{number}"))
        assert len(list(own.given())) == GIVEN
        for _ in range(3):
            await mine.exchange()
            await stores[0].add_signs([b"none of clew's"] * SIGNS_KEPT)
        before = await stores[1].signs_after(None)
        await theirs.exchange()
        assert len(list(other.given())) <= GIVEN
        _, found = await stores[1].signs_after("0-0" if "-" in before[0] else "0")
        assert len(found) <= signs_module.WAITING


async def test_old_signs_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a visitor was about to write is not kept in a file."""
    store = store_at(SqliteEngine(tmp_path))
    await store.open()
    await store.add_signs([b"old"])
    with monkeypatch.context() as later:
        # As old as all there are.
        later.setattr(visits_sqlite, "SIGN_SECONDS", -60.0)
        await store.add_signs([])
    assert await store.signs_after("0") == ("0", [])
    last, _ = await store.signs_after(None)
    await store.add_signs([b"new"])
    assert (await store.signs_after(last))[1] == [b"new"]
    await store.close()
