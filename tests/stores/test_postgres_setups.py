"""Ledger and visits in a PostgreSQL that is set up in another way than by default."""

import asyncio
import gc
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from clew.referral.visitor import Page, Viewed
from clew.stores.ledger.connection import Connection
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.errors import LedgerAwayError, LedgerError
from clew.stores.ledger.postgresql import PostgresDatabase
from clew.stores.visits import Visits, VisitsRefusedError
from clew.stores.visits_engines import visits_at
from cutting_proxy import CuttingProxy
from database_servers import PgBouncer, Postgres
from visit_engines import Told

NOW = 1763860000.0

# Makes a database and executes a statement about it, in which it is called DB; its address.
Prepare = Callable[[str], str]


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """A connection that is collected while it is open is a warning, and so an error: of this test."""
    yield
    gc.collect()


@pytest.fixture
def prepare(postgres: Postgres) -> Prepare:
    def prepared(statement: str) -> str:
        name = postgres.database()
        if statement:
            postgres.execute(statement.replace("DB", name))
        address: str = postgres.url(name)
        return address

    return prepared


@asynccontextmanager
async def processes(address: str, number: int) -> AsyncIterator[Sequence[PostgresDatabase]]:
    found = [PostgresDatabase(address) for _ in range(number)]
    for one in found:
        await one.open()
    yield found
    for one in found:
        await one.close()


@asynccontextmanager
async def visits(address: str) -> AsyncIterator[tuple[Visits, Told]]:
    told = Told()
    store = visits_at(address, told, ledger=None, write_lock=asyncio.Lock())
    await store.open()
    yield store, told
    await store.close()


async def view(store: Visits, number: int) -> int:
    page = Page(f"view-{number:04}", NOW + number, "https://shop.example/", "Shop")
    return (await store.change("shop", "v1", [Viewed(page)], NOW)).pages


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_another_default_isolation_opens_no_second_conversation(prepare: Prepare, level: str) -> None:
    address = await asyncio.to_thread(
        prepare, f"ALTER DATABASE DB SET default_transaction_isolation = '{level}'"
    )
    async with processes(address, 4) as found:
        done = await asyncio.gather(
            *(
                Conversations(db).add_visitor_message(
                    "shop", "v1", "hello", client_id=f"m{n // 2}", language="en", rule=None, now=NOW
                )
                for n, db in enumerate(list(found) * 3)
            )
        )
    assert len({added.conversation.id for added in done}) == 1
    assert sum(added.created for added in done) == 6


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_another_default_isolation_does_not_stop_visits(prepare: Prepare, level: str) -> None:
    address = await asyncio.to_thread(
        prepare, f"ALTER DATABASE DB SET default_transaction_isolation = '{level}'"
    )
    async with visits(address) as (one, told), visits(address) as (other, told_too):
        for n in range(0, 40, 2):
            await asyncio.gather(view(one, n), view(other, n + 1))
        assert await view(one, 99) == 41
    assert told.heard == told_too.heard == []


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
async def test_a_short_timeout_of_the_server_ends_no_waiting(prepare: Prepare, limit: str) -> None:
    address = await asyncio.to_thread(prepare, f"ALTER DATABASE DB SET {limit} = '50ms'")
    async with processes(address, 2) as (one, other):
        holds = asyncio.Event()

        async def hold(tx: Connection) -> None:
            await tx.lock("probe")
            holds.set()
            await ends.wait()

        ends = asyncio.Event()
        holding = asyncio.create_task(one.transact(hold, 30))
        await holds.wait()
        waiting = asyncio.create_task(other.probe(NOW, 20))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        ends.set()
        await asyncio.gather(holding, waiting)


async def test_a_database_that_was_read_only_for_a_while_is_written_again(
    prepare: Prepare, postgres: Postgres
) -> None:
    address = await asyncio.to_thread(prepare, "")
    name = address.rpartition("/")[2]
    async with processes(address, 1):
        pass
    preset = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
    await asyncio.to_thread(postgres.execute, preset)
    async with processes(address, 1) as (db,):
        with pytest.raises(LedgerError, match="read-only"):
            await db.probe(NOW)
        await asyncio.gather(*(db.changed() for _ in range(8)))
        preset = f"ALTER DATABASE {name} RESET default_transaction_read_only"
        await asyncio.to_thread(postgres.execute, preset)
        await asyncio.gather(*(db.probe(NOW + n) for n in range(8)))


def parameters(started: bytes) -> set[str]:
    """The names in a StartupMessage (PostgreSQL, 55.7)."""
    length, version = struct.unpack_from("!II", started)
    assert version == 3 << 16
    fields = started[8:length].rstrip(b"\0").split(b"\0")
    return {name.decode() for name in fields[::2]}


# https://www.pgbouncer.org/config.html#ignore_startup_parameters; it refuses a client that sends another.
PGBOUNCER = {"user", "database", "client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"}
PGBOUNCER |= {"application_name"}


async def test_a_pooler_refuses_no_connection(prepare: Prepare, postgres: Postgres) -> None:
    address = await asyncio.to_thread(prepare, "")
    async with CuttingProxy(postgres.port) as proxy:
        address = address.replace(f":{postgres.port}/", f":{proxy.port}/") + "?sslmode=disable"
        async with processes(address, 1) as (db,):
            assert parameters(proxy.asked) <= PGBOUNCER
            shown = await db.query(lambda c: c.run_sync(lambda s: s.exec_driver_sql(SHOWN).all()))
            assert dict(shown) == {"synchronous_commit": "on", "idle_in_transaction_session_timeout": "10s"}
        proxy.asked.clear()
        async with visits(address) as (store, _):
            assert await view(store, 1) == 1
            assert parameters(proxy.asked) <= PGBOUNCER


SHOWN = (
    "SELECT name, current_setting(name) FROM pg_settings "
    "WHERE name IN ('synchronous_commit', 'idle_in_transaction_session_timeout')"
)


@pytest.fixture
def standby(own_server: Postgres) -> tuple[Postgres, str]:
    """A server that became a standby, and a ledger on it."""
    address = own_server.url(own_server.database())

    async def built() -> None:
        async with processes(address, 1):
            pass

    asyncio.run(built())
    return own_server, address


def demote(server: Postgres) -> None:
    server.stop()
    (server.folder / "data" / "standby.signal").touch()
    server.start()


async def test_a_standby_counts_as_a_server_that_does_not_answer_yet(standby: tuple[Postgres, str]) -> None:
    """As in a failover: clew starts, and waits for the server that takes changes."""
    server, address = standby
    async with processes(address, 1) as (db,):
        # From here on it listens.
        await db.idle(0)
        listener = db._listener
        await asyncio.to_thread(demote, server)
        late = PostgresDatabase(address)
        for asked in (late.open, lambda: db.probe(NOW)):
            with pytest.raises(LedgerAwayError, match="standby"):
                await asked()
        await asyncio.to_thread(server.execute, "SELECT pg_promote()")
        await late.open()
        await late.close()
        await db.probe(NOW)
        # It listens again.
        await db.idle(60)
        assert listener is not None
        assert not listener.done()


@pytest.mark.parametrize(
    ("code", "away"),
    [("57P03", True), ("53300", True), ("57P01", True), ("08006", True), ("28P01", False), ("3D000", False)],
)
async def test_a_server_that_starts_or_is_full_counts_as_away(code: str, away: bool) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        fields = f"SFATAL\0VFATAL\0C{code}\0Mnot now\0\0".encode()
        writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LedgerError, match="not now") as error:
            await PostgresDatabase(f"postgresql://clew@127.0.0.1:{port}/clew?sslmode=disable").open()
    assert isinstance(error.value, LedgerAwayError) is away


async def test_a_host_that_no_name_is_like_is_an_error_at_the_start() -> None:
    address = "postgresql://clew@no..such/clew"
    with pytest.raises(LedgerError, match="no host has such a name"):
        await PostgresDatabase(address).open()
    with pytest.raises(VisitsRefusedError, match="no host has such a name"):
        async with visits(address):
            pass


@pytest.fixture
def pooler(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[PgBouncer]:
    with PgBouncer(postgres, request.param) as found:
        yield found


@pytest.mark.parametrize("pooler", ["session"], indirect=True)
async def test_a_pooler_may_be_in_between_if_it_keeps_sessions_apart(
    postgres: Postgres, pooler: PgBouncer
) -> None:
    """field G7"""
    address = pooler.url(await asyncio.to_thread(postgres.database))
    async with processes(address, 2) as (one, other), visits(address) as (store, told):
        heard = asyncio.create_task(one.idle(300))
        await Conversations(other).add_visitor_message(
            "shop", "v1", "hello", client_id="m1", language="en", rule=None, now=NOW
        )
        async with asyncio.timeout(60):
            await heard
        assert [await view(store, n) for n in range(3)] == [1, 2, 3]
    assert told.heard == []


@pytest.mark.parametrize("pooler", ["transaction", "statement"], indirect=True)
async def test_a_pooler_that_shares_sessions_is_refused_by_name(
    postgres: Postgres, pooler: PgBouncer
) -> None:
    """field G7: listening, prepared statements and what a session is told would be lost between two
    transactions."""
    address = pooler.url(await asyncio.to_thread(postgres.database))
    for _ in range(3):
        with pytest.raises(LedgerError, match="set pool_mode = session"):
            await PostgresDatabase(address).open()
        with pytest.raises(VisitsRefusedError, match="set pool_mode = session"):
            async with visits(address):
                pass
