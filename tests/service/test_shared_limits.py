"""Rates count over all processes where the visits are in Redis, and by process while it fails."""

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
from database_servers import Redis
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


@pytest_asyncio.fixture
async def processes(redis_server: Redis) -> AsyncIterator[list[Process]]:
    redis.Redis(port=redis_server.port).flushall()
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            store = visits_at(redis_server.url(), Told(), ledger=None, write_lock=None)
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


async def test_a_running_clew_shares_its_limits_with_redis_only(tmp_path: Path, redis_server: Redis) -> None:
    for store, shared in ((redis_server.url(), True), (f"sqlite:{tmp_path / 'visits.db'}", False)):
        ledger = f"sqlite:{tmp_path / 'ledger.db'}"
        data = {"secret": SECRET, "store": store, "ledger": ledger, "sites": [{"name": "shop"}]}
        service = Service(Settings.model_validate(data))
        await service.start()
        await asyncio.sleep(0)
        assert (service.limits._taken is not None) is shared
        await service.stop()
