"""Rates count over all processes where the visits are in Redis or PostgreSQL; by process while it fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import redis
from clew.events.events import Events
from clew.service.limits import SHARED, LimitedError, Limits, Own, Rate
from clew.service.service import Service
from clew.service.shared_limits import SharedLimits
from clew.settings.model import Settings
from clew.stores.shared import SharesLevels
from clew.stores.visits_engines import visits_at
from database_servers import Postgres, Redis
from prometheus_client import CollectorRegistry
from visit_engines import Told

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
LIMITS = {"messages": {"client": 10, "site": 100, "all": 1000}}
CLIENT = "203.0.113.7"


class Process:
    """The limits of one process, in step with the others' when a test says so."""

    def __init__(self, store: SharesLevels) -> None:
        settings = Settings.model_validate({"secret": SECRET, "limits": LIMITS, "sites": [{"name": "shop"}]})
        self.limits = Limits(settings.limits, Events(CollectorRegistry()), lambda: 1000.0)
        self.limits.share()
        self.shared = SharedLimits(self.limits, store, SECRET)

    def take(self, times: int, client: str = CLIENT, own: Own | None = None) -> None:
        for _ in range(times):
            self.limits.take("messages", "shop", client, own=own)


@pytest_asyncio.fixture(params=["redis", "postgresql"])
async def address(request: pytest.FixtureRequest) -> str:
    """An empty store that several machines may share."""
    if request.param == "redis":
        server: Redis = request.getfixturevalue("redis_server")
        redis.Redis(port=server.port).flushall()
        return server.url()
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(await asyncio.to_thread(postgres.database))


@pytest_asyncio.fixture
async def processes(address: str) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            store = visits_at(address, Told(), ledger=None, write_lock=None)
            await store.open()
            stack.push_async_callback(store.close)
            assert isinstance(store, SharesLevels)
            found.append(Process(store))
        yield found


async def test_what_one_process_has_counted_counts_for_all(processes: list[Process]) -> None:
    one, two = processes
    one.take(6)
    await one.shared.exchange()
    two.take(3)
    await two.shared.exchange()
    two.take(1)
    # The first hears of the others when it tells of its next one.
    one.take(1)
    await two.shared.exchange()
    await one.shared.exchange()
    for process in (two, one):
        with pytest.raises(LimitedError) as refused:
            process.take(1)
        assert refused.value.scope == "client"
        process.take(1, "203.0.113.8")


async def test_each_counts_for_itself_until_it_has_heard_of_the_others(processes: list[Process]) -> None:
    for process in processes:
        process.take(10)
        with pytest.raises(LimitedError):
            process.take(1)


async def test_what_is_given_back_is_so_for_all(processes: list[Process]) -> None:
    one, two = processes
    one.take(9)
    for _ in range(9):
        one.limits.give_back("messages", "shop", CLIENT)
    await one.shared.exchange()
    two.take(1)
    await two.shared.exchange()
    two.take(9)
    with pytest.raises(LimitedError):
        two.take(1)


@pytest.mark.parametrize("address", ["redis"], indirect=True)
async def test_levels_drain_and_name_no_client(processes: list[Process], redis_server: Redis) -> None:
    (one, _), client = processes, redis.Redis(port=redis_server.port)
    one.take(3, own=Own("visitor", "aaaabbbbcc", Rate(5, 60)))
    await one.shared.exchange()
    keys = [key for key in client.keys("*") if key.startswith(b"clew:{limits}:")]
    assert len(keys) == 4
    left = sorted(client.pttl(key) / 1000 for key in keys)
    # Three of a thousand, a hundred, ten and five in a minute.
    for found, wanted in zip(left, [0.18, 1.8, 18, 36], strict=True):
        assert wanted - 10 < found <= wanted
    for key in keys:
        assert CLIENT.encode() not in key
        assert b"aaaabbbbcc" not in key


async def test_levels_in_postgresql_drain_and_are_pruned(postgres: Postgres) -> None:
    name = await asyncio.to_thread(postgres.database)
    store = visits_at(postgres.url(name), Told(), ledger=None, write_lock=None)
    await store.open()
    assert isinstance(store, SharesLevels)
    assert await store.raise_levels({"a": 5.0, "b": 0.5}) == pytest.approx([5.0, 0.5], abs=0.01)
    # By the server's clock: a day passes.
    await asyncio.to_thread(postgres.execute, "UPDATE levels SET until = until - 86400", name)
    many = {f"n{number}": 1000.0 for number in range(1200)}
    assert set(await store.raise_levels(many)) == {1000.0}
    (again,) = await store.raise_levels({"a": 2.0})
    assert again == pytest.approx(2.0, abs=0.01)
    (given_back,) = await store.raise_levels({"a": -9.0})
    assert given_back == 0.0
    await store.prune(1e10)
    rows = await asyncio.to_thread(postgres.execute, "SELECT count(*) FROM levels WHERE name !~ '^n'", name)
    assert rows == [(0,)]
    await store.close()


async def test_processes_that_tell_at_once_do_not_wait_for_each_other(postgres: Postgres) -> None:
    """Each tells of the same limits, in its own order."""
    address = postgres.url(await asyncio.to_thread(postgres.database))
    stores = [visits_at(address, Told(), ledger=None, write_lock=None) for _ in range(4)]
    for store in stores:
        await store.open()
    names = [f"n{number}" for number in range(100)]
    added = [dict.fromkeys(names if odd else reversed(names), 100.0) for odd in (0, 1, 0, 1)]
    for _ in range(5):
        await asyncio.gather(*(s.raise_levels(a) for s, a in zip(stores, added, strict=True)))  # type: ignore[attr-defined]
    levels = await stores[0].raise_levels(dict.fromkeys(names, 0.0))  # type: ignore[attr-defined]
    assert min(levels) > 1900
    for store in stores:
        await store.close()


async def test_a_flood_of_clients_is_told_of_in_bounded_size(processes: list[Process]) -> None:
    one = processes[0]
    one.limits._note("messages", [("client", str(n), Rate(10, 60)) for n in range(2 * SHARED)], 1)
    one.limits._note("messages", [("all", "", Rate(10, 60))], 1)
    taken = one.limits.taken()
    assert len(taken) == SHARED + 1
    assert ("messages", "all", "") in taken
    assert one.limits.taken() == {}


async def test_while_the_store_fails_each_counts_for_itself() -> None:
    server = Redis()
    try:
        server.start()
        store = visits_at(server.url(), Told(), ledger=None, write_lock=None)
        await store.open()
        assert isinstance(store, SharesLevels)
        process = Process(store)
        server.kill()
        process.take(5)
        await process.shared.exchange()
        process.take(5)
        with pytest.raises(LimitedError):
            process.take(1)
        await store.close()
    finally:
        server.remove()


async def test_a_running_clew_shares_its_limits_where_the_store_is_shared(
    tmp_path: Path, address: str
) -> None:
    for store, shared in ((address, True), (f"sqlite:{tmp_path / 'visits.db'}", False)):
        ledger = f"sqlite:{tmp_path / 'ledger.db'}"
        data = {"secret": SECRET, "store": store, "ledger": ledger, "sites": [{"name": "shop"}]}
        service = Service(Settings.model_validate(data))
        await service.start()
        await asyncio.sleep(0)
        assert (service.limits._taken is not None) is shared
        await service.stop()
