"""A remote visit store that does not respond delays requests briefly, is reported, and used again later."""

import asyncio
import gc
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from certificates import Authority
from clew.referral.visitor import Page, Restored, Talked, Viewed
from clew.stores import visits_breaker
from clew.stores.housekeeping import PRUNE_EVERY
from clew.stores.visits import Visits, VisitsError, VisitsRefusedError, VisitsUnavailableError
from clew.stores.visits_engines import visits_at
from clew.stores.visits_record import EXPIRY_STEP, KEEP_SECONDS
from costs import loop_seconds
from cryptography import x509
from database_servers import Postgres, Redis
from processes import free_port
from visit_engines import Told, run_in_thread

NOW = 1_800_000_000.0
# What a page may wait for a store that fails.
PAGE_SECONDS = 0.3

pytestmark = pytest.mark.usefixtures("strict")


def view(number: int) -> Viewed:
    return Viewed(Page(f"view-{number:04}", NOW + number, "https://shop.example/", "Shop"))


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """A connection that is collected while it is open is a warning, and so an error: of this test."""
    yield
    gc.collect()


@pytest.fixture
def server() -> Iterator[Redis]:
    found = Redis()
    try:
        found.start()
        yield found
    finally:
        found.remove()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    found = Postgres()
    try:
        found.start()
        yield found
    finally:
        found.remove()


@dataclass
class Engine:
    """A server of a kind, and the address of an empty store on it. It is running before and after a test."""

    server: Redis | Postgres
    address: str
    keeps: bool  # what was written, when it is killed


@pytest.fixture(params=["redis", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "redis":
        server = request.getfixturevalue("server")
        yield Engine(server, server.url(), keeps=False)
        return
    server = request.getfixturevalue("own_postgres")
    yield Engine(server, server.url(run_in_thread(server.database)), keeps=True)


@asynccontextmanager
async def opened(address: str, told: Told | None = None) -> AsyncIterator[Visits]:
    store = visits_at(address, told or Told(), ledger=None, write_lock=asyncio.Lock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def seconds_of_failure(store: Visits) -> float:
    async with loop_seconds() as waited:
        with pytest.raises(VisitsUnavailableError):
            await store.change("shop", "v1", [view(99)], NOW)
        return waited()


async def until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not found():  # noqa: ASYNC110 -- what is waited for is in another process
            await asyncio.sleep(0.02)


async def answers_again(store: Visits, told: Told) -> None:
    await until(lambda: told.heard and told.heard[-1] is None)
    await store.probe()


async def test_a_killed_store_is_used_again_when_it_is_back(engine: Engine) -> None:
    told = Told()
    async with opened(engine.address, told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        engine.server.kill()
        assert await seconds_of_failure(store) < PAGE_SECONDS
        assert [await seconds_of_failure(store) < 0.05 for _ in range(20)] == [True] * 20
        with pytest.raises(VisitsUnavailableError):
            await store.get("shop", "v1")
        assert len(told.heard) == 1
        engine.server.start()
        await answers_again(store, told)
        # Redis comes back empty: what is in hand here is not what it holds.
        changed = await store.change("shop", "v1", [Restored(()), view(2)], NOW)
        assert await store.get("shop", "v1") == changed
        assert changed.pages == 1 or engine.keeps


async def test_a_frozen_store_delays_a_request_only_briefly(engine: Engine) -> None:
    told = Told()
    async with opened(engine.address, told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        engine.server.freeze()
        try:
            async with loop_seconds() as waited:
                waiting = [store.change("shop", f"v{n}", [view(2)], NOW) for n in range(50)]
                failed = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(error) for error in failed} == {VisitsUnavailableError}
                assert waited() < PAGE_SECONDS
            assert await seconds_of_failure(store) < 0.05
            assert "does not answer within" in str(told.heard[0])
        finally:
            engine.server.thaw()
        await answers_again(store, told)
        assert (await store.change("shop", "v1", [view(3)], NOW)).pages >= 2


async def test_a_process_that_was_held_up_does_not_take_its_store_for_down(engine: Engine) -> None:
    """It was parsing, or the machine had other things to do: the answers are there when it goes on."""
    told = Told()
    async with opened(engine.address, told) as store:
        for number in range(5):
            changing = asyncio.create_task(store.change("shop", "v1", [view(number)], NOW))
            for _ in range(number):
                await asyncio.sleep(0)
            time.sleep(0.4)  # noqa: ASYNC251 -- that is what is tried
            assert (await changing).pages == number + 1
    assert told.heard == []


async def test_a_restart_between_two_changes_is_not_noticed(engine: Engine) -> None:
    told = Told()
    async with opened(engine.address, told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        await asyncio.to_thread(engine.server.stop)
        await asyncio.to_thread(engine.server.start)
        assert (await store.change("shop", "v1", [view(2)], NOW)).pages == 1 + engine.keeps
        assert told.heard == []


async def test_clew_starts_without_a_store_and_uses_it_once_it_is_there(engine: Engine) -> None:
    told = Told()
    engine.server.stop()
    async with opened(engine.address, told) as store:
        assert await seconds_of_failure(store) < 0.05
        engine.server.start()
        await answers_again(store, told)
        assert (await store.change("shop", "v1", [view(1)], NOW)).pages == 1


async def test_forgetting_is_completed_when_the_store_responds_again(engine: Engine) -> None:
    told = Told()
    async with opened(engine.address, told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        engine.server.freeze()
        try:
            with pytest.raises(VisitsUnavailableError):
                await store.forget("shop", "v1")
        finally:
            engine.server.thaw()
        await answers_again(store, told)
        assert await store.get("shop", "v1") is None


# -- Redis


def full(client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def replica(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", 1)


def locked(client: redis.Redis) -> None:
    client.config_set("requirepass", "new")
    client.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize(
    ("harm", "heal", "said"),
    [
        (full, lambda client: client.config_set("maxmemory", 0), "maxmemory"),
        (replica, lambda client: client.replicaof("NO", "ONE"), "replica"),
        (locked, lambda client: client.config_set("requirepass", ""), "password"),
    ],
)
async def test_a_store_that_accepts_no_writes_counts_as_down(
    server: Redis, harm: Callable[[redis.Redis], None], heal: Callable[[redis.Redis], None], said: str
) -> None:
    told = Told()
    client = redis.Redis(port=server.port)
    async with opened(server.url(), told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        harm(client)
        assert await seconds_of_failure(store) < PAGE_SECONDS
        assert await seconds_of_failure(store) < 0.05
        assert said in str(told.heard[0])
        with pytest.raises(VisitsUnavailableError, match=said):
            await store.probe()
        heal(client)
        await answers_again(store, told)
        assert (await store.change("shop", "v1", [view(2)], NOW)).pages >= 1
    client.close()


async def test_a_server_that_has_lost_the_script_gets_it_again(server: Redis) -> None:
    told = Told()
    client = redis.Redis(port=server.port)
    async with opened(server.url(), told) as store:
        for number in range(3):
            client.script_flush()
            assert (await store.change("shop", "v1", [view(number)], NOW)).pages == number + 1
    assert told.heard == []
    client.close()


async def test_a_key_of_another_program_is_an_error_of_one_visitor(server: Redis) -> None:
    told = Told()
    client = redis.Redis(port=server.port)
    client.lpush("clew:{shop|v1}", "x")
    async with opened(server.url(), told) as store:
        with pytest.raises(VisitsError, match="Another program"):
            await store.change("shop", "v1", [view(1)], NOW)
        assert (await store.change("shop", "v2", [view(1)], NOW)).pages == 1
    assert told.heard == []
    client.close()


async def test_a_wrong_password_is_an_error_at_the_start() -> None:
    server = Redis("--requirepass", "right")
    try:
        server.start()
        for password in ("", ":wr0ng@"):
            address = f"redis://{password}127.0.0.1:{server.port}/0"
            with pytest.raises(VisitsRefusedError, match="password in `store`") as refused:
                async with opened(address):
                    pass
            assert "wr0ng" not in repr(refused.value)
        async with opened(f"redis://:right@127.0.0.1:{server.port}/0") as store:
            await store.probe()
    finally:
        server.remove()


async def test_a_server_without_scripts_is_an_error_at_the_start() -> None:
    """It would count as up and down in turn: a probe that only writes a key succeeds."""
    server = Redis("--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "")
    try:
        server.start()
        with pytest.raises(VisitsRefusedError, match="rename-command"):
            async with opened(server.url()):
                pass
    finally:
        server.remove()


async def test_commands_that_clew_can_do_without_may_be_renamed() -> None:
    renamed = [("--rename-command", name, "") for name in ("CONFIG", "INFO", "FLUSHALL", "KEYS")]
    server = Redis(*(word for words in renamed for word in words))
    told = Told()
    try:
        server.start()
        async with opened(server.url(), told) as store:
            assert (await store.change("shop", "v1", [view(1)], NOW)).pages == 1
            await store.probe()
        assert told.heard == []
    finally:
        server.remove()


async def test_one_server_is_not_taken_for_a_cluster(server: Redis) -> None:
    with pytest.raises(VisitsRefusedError, match="redis:// as `store`"):
        async with opened(f"redis+cluster://127.0.0.1:{server.port}"):
            pass


async def test_a_store_that_fails_again_and_again_is_probed_ever_less(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that answers probes but then fails must not be used ten times a second."""
    monkeypatch.setattr(visits_breaker, "RESTS", (0.01, 0.2, 0.4))
    told, probed = Told(), []
    async with opened(server.url(), told) as store:
        breaker = store.breaker  # type: ignore[attr-defined]
        probe = breaker._probe

        async def counted() -> None:
            probed.append(time.monotonic())
            await probe()

        breaker._probe = counted
        for _ in range(3):
            breaker.trip("again")
            await answers_again(store, told)
    assert probed[1] - probed[0] >= 0.2
    assert probed[2] - probed[1] >= 0.4


# -- PostgreSQL


def database_of(address: str) -> str:
    return address.rpartition("/")[2]


async def test_a_database_that_takes_no_changes_counts_as_down(own_postgres: Postgres) -> None:
    """As the server that was the first before a failover."""
    told, name = Told(), run_in_thread(own_postgres.database)

    def set_up(read_only: str) -> None:
        own_postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {read_only}")
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        own_postgres.execute(ended)

    async with opened(own_postgres.url(name), told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        run_in_thread(set_up, "on")
        await until(lambda: store._idle[0].is_closed())  # type: ignore[attr-defined]
        assert await seconds_of_failure(store) < PAGE_SECONDS
        assert "read-only" in str(told.heard[0])
        run_in_thread(set_up, "off")
        await answers_again(store, told)
        assert (await store.change("shop", "v1", [view(2)], NOW)).pages == 2


async def test_tables_that_were_dropped_are_made_again(own_postgres: Postgres) -> None:
    told, name = Told(), run_in_thread(own_postgres.database)
    async with opened(own_postgres.url(name), told) as store:
        await store.change("shop", "v1", [view(1)], NOW)
        run_in_thread(own_postgres.execute, "DROP TABLE visits, marks, leases", name)
        await seconds_of_failure(store)
        await answers_again(store, told)
        assert (await store.change("shop", "v1", [Restored(()), view(2)], NOW)).pages == 1


@pytest.mark.parametrize("what", ["no database", "no user", "a foreign table"])
async def test_a_database_that_refuses_is_an_error_at_the_start(own_postgres: Postgres, what: str) -> None:
    address = own_postgres.url(name := run_in_thread(own_postgres.database))
    said = "user, password and database in `store`"
    if what == "no database":
        address += "_not"
    elif what == "no user":
        address = address.replace("clew@", "somebody:S3cr3t@")
    else:
        statement = "CREATE TABLE visits (id int); CREATE TABLE marks (id int)"
        for one in statement.split(";"):
            run_in_thread(own_postgres.execute, one, name)
        said = "a table visits or levels that is not clew's"
    with pytest.raises(VisitsRefusedError, match=said) as refused:
        async with opened(address):
            pass
    assert "S3cr3t" not in repr(refused.value)


async def test_stores_that_are_opened_at_once_make_the_tables_once(own_postgres: Postgres) -> None:
    address = own_postgres.url(run_in_thread(own_postgres.database))
    stores = [visits_at(address, Told(), ledger=None, write_lock=None) for _ in range(4)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        for number, store in enumerate(stores):
            assert (await store.change("shop", "v1", [view(number)], NOW)).pages == number + 1
    finally:
        for store in stores:
            await store.close()


async def test_whose_time_is_over_is_pruned_by_one_process_at_a_time(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D1"""
    # No server is slow here; the machine may be.
    monkeypatch.setattr("clew.stores.visits_breaker.ANSWER_SECONDS", 20.0)
    address, later = own_postgres.url(run_in_thread(own_postgres.database)), NOW + 3 * 86400
    async with opened(address) as store, opened(address) as other:
        for number in range(250):
            await store.change("shop", f"v{number}", [view(1)], NOW)
        await store.change("shop", "talks", [view(1), Talked(NOW)], NOW)
        assert await store.prune(NOW + 86400) == 0
        assert sorted([await store.prune(later), await other.prune(later)]) == [0, 250]
        assert await other.prune(later + 10) == 0, "only the one that has the lease"
        await store.change("shop", "v1", [view(1)], NOW)
        assert await other.prune(later + 20 + PRUNE_EVERY) == 1, "whoever comes first when its time is over"
        assert await store.get("shop", "talks") is not None


# -- Cluster and Sentinel


async def test_a_cluster_keeps_each_visitor_where_its_key_is() -> None:
    # By default the nodes talk to each other on a port that is 10,000 higher, where clients' ports are.
    buses = [free_port() for _ in range(2)]
    servers = [Redis("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
    try:
        for server in servers:
            server.start()
        await join(servers, buses)
        ports = [server.port for server in servers]
        with pytest.raises(VisitsRefusedError, match=re.escape("redis+cluster:// as `store`")):
            async with opened(f"redis://127.0.0.1:{ports[0]}"):
                pass
        async with opened(f"redis+cluster://127.0.0.1:{ports[0]}") as store:
            visitors = [f"v{n}" for n in range(20)]
            for visitor in visitors:
                for number in range(3):
                    await store.change("shop", visitor, [view(number)], NOW + number)
            seen = await store.seen_at("shop", visitors)
            assert dict(seen) == dict.fromkeys(visitors, NOW + 2)
            assert list(await store.ending("shop", "v7")) == ["v7"]
            await store.set_noted_up_to(7)
            assert await store.noted_up_to() == 7
            await store.forget("shop", "v7")
            assert await store.get("shop", "v7") is None
        kept = [redis.Redis(port=port).dbsize() for port in ports]
        assert all(count > 3 for count in kept), "both nodes hold some"
    finally:
        for server in servers:
            server.remove()


async def join(servers: list[Redis], buses: list[int]) -> None:
    """Make a Cluster of two servers, each with half of the slots."""
    nodes = [redis.Redis(port=server.port) for server in servers]
    for number, slots in enumerate(["0 8191", "8192 16383"]):
        nodes[number].execute_command(f"CLUSTER ADDSLOTSRANGE {slots}")
        nodes[number].execute_command(f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
    nodes[0].execute_command(f"CLUSTER MEET 127.0.0.1 {servers[1].port} {buses[1]}")
    for node in nodes:
        await until(lambda node=node: node.cluster("INFO")["cluster_state"] == "ok")


async def test_sentinel_finds_the_master_also_after_a_failover() -> None:
    master, second, finder, told = Redis(), Redis(), Redis("--sentinel"), Told()
    try:
        master.start()
        second.start()
        client = redis.Redis(port=second.port)
        client.replicaof("127.0.0.1", master.port)
        finder.configure(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        finder.start()
        await until(lambda: client.info("replication")["master_link_status"] == "up")
        sentinel = redis.Redis(port=finder.port)
        await until(lambda: len(sentinel.sentinel_slaves("main")) == 1)
        async with opened(f"redis+sentinel://127.0.0.1:{finder.port}/main", told) as store:
            await store.change("shop", "v1", [view(1)], NOW)
            await until(lambda: client.exists("clew:{shop|v1}"))
            master.kill()
            assert await seconds_of_failure(store) < PAGE_SECONDS
            await answers_again(store, told)
            assert (await store.change("shop", "v1", [view(2)], NOW)).pages == 2
            assert client.info("replication")["role"] == "master"
    finally:
        for server in (finder, second, master):
            server.remove()


async def test_the_index_of_a_site_without_visitors_goes_with_the_last_of_them(server: Redis) -> None:
    client = redis.Redis(port=server.port)
    async with opened(server.url()) as store:
        await store.change("shop", "v1", [view(1)], NOW)
    assert client.zcard("clew:{shop}:ids") == 1
    left = client.ttl("clew:{shop}:ids")
    assert KEEP_SECONDS < left <= KEEP_SECONDS + 2 * EXPIRY_STEP
    client.close()


async def test_a_server_that_still_loads_its_data_is_used_once_it_has() -> None:
    """As after a restart with some gigabytes on its disk."""
    told, server = Told(), Redis("--enable-debug-command", "yes", "--rdbcompression", "no")
    slow = Redis("--loading-process-events-interval-bytes", "1024", "--key-load-delay", "20000")
    try:
        server.start()
        client = redis.Redis(port=server.port)
        async with opened(server.url()) as store:
            await store.change("shop", "v1", [view(1)], NOW)
        client.execute_command("DEBUG", "POPULATE", 1000, "key", 30_000)
        client.execute_command("SAVE")
        client.close()
        server.kill()
        (server.folder / "dump.rdb").rename(slow.folder / "dump.rdb")
        slow.start()
        client = redis.Redis(port=slow.port)
        with pytest.raises(redis.exceptions.BusyLoadingError):
            client.get("x")
        async with opened(slow.url(), told) as store:
            assert await seconds_of_failure(store) < PAGE_SECONDS
            assert "It has just been started" in str(told.heard[0])
            client.config_set("key-load-delay", 0)
            await answers_again(store, told)
            assert (await store.change("shop", "v1", [view(2)], NOW)).pages == 2
        client.close()
    finally:
        server.remove()
        slow.remove()


async def test_a_server_is_used_over_tls_if_its_certificate_can_be_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    server_pem, own, other = (
        authority.certificate(x509.DNSName("localhost")),
        authority.file,
        Authority(tmp_path / "other").file,
    )
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(server_pem), "--tls-key-file", str(server_pem))
    server = Redis(*options, "--tls-auth-clients", "no")
    try:
        server.start()
        told = Told()
        async with opened(f"rediss://localhost:{port}/0?ssl_ca_certs={own}", told) as store:
            assert (await store.change("shop", "v1", [view(1)], NOW)).pages == 1
            # The connection ends with the server, and a new one begins as the first one did.
            server.kill()
            await seconds_of_failure(store)
            server.start()
            await answers_again(store, told)
            assert (await store.change("shop", "v1", [view(2)], NOW)).pages == 1
        for place, why in (
            ("localhost", "not signed by an authority that clew trusts .*ssl_ca_certs=/etc/clew/ca.pem"),
            ("127.0.0.1", "certificate is for another name .*: write a name that is in it as the host"),
        ):
            told = Told()
            trusted = other if place == "localhost" else own
            async with opened(f"rediss://{place}:{port}/0?ssl_ca_certs={trusted}", told) as store:
                assert await seconds_of_failure(store) < PAGE_SECONDS
            assert re.search(why, str(told.heard[0])), told.heard
    finally:
        server.remove()
