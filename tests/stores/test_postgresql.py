"""What holds of a ledger in PostgreSQL alone: several at once, a server that goes away, foreign databases."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.stores.ledger import postgresql
from clew.stores.ledger.addresses import LedgerAddressError
from clew.stores.ledger.agents import AgentError, Agents
from clew.stores.ledger.connection import Connection, executing
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import LedgerAwayError, LedgerBusyError, LedgerError, LedgerFormatError
from clew.stores.ledger.notices import Noted, Notices
from clew.stores.ledger.orders import Orders
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.postgresql import CONNECT_SECONDS, PostgresDatabase
from clew.stores.ledger.queue import WAITING
from clew.stores.ledger.schema import conversations, messages, metadata, notices
from clew.stores.ledger.tail import Tail
from clew.stores.postgres import LINK_SECONDS
from costs import loop_seconds
from crash.network import Network, NotPermittedError
from database_servers import Postgres
from hypothesis import given
from hypothesis import strategies as st
from processes import free_port
from recorded import put_order
from sqlalchemy import func, insert, select, text

NOW = 1763860000.0


@pytest.fixture
def address(postgres_ledger: str) -> str:
    return postgres_ledger


@pytest.fixture
async def db(address: str) -> AsyncIterator[PostgresDatabase]:
    found = PostgresDatabase(address)
    await found.open()
    yield found
    await found.close()


@pytest.fixture
async def others(address: str) -> AsyncIterator[list[PostgresDatabase]]:
    """As many processes would have it open."""
    found = [PostgresDatabase(address) for _ in range(4)]
    for one in found:
        await one.open()
    yield found
    for one in found:
        await one.close()


# -- tables


async def test_the_migrations_build_the_tables_of_the_schema(db: PostgresDatabase) -> None:
    def differences(connection: Any) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert await db.query(lambda connection: connection.run_sync(differences)) == []


async def test_processes_that_start_at_once_build_the_tables_once(postgres: Postgres) -> None:
    address = postgres.url(await asyncio.to_thread(postgres.database))
    found = [PostgresDatabase(address) for _ in range(5)]
    versions = await asyncio.gather(*(one.open() for one in found))
    assert sorted(before or "none" for before, _ in versions) == ["0001"] * 4 + ["none"]
    assert {after for _, after in versions} == {"0001"}
    for one in found:
        await one.close()


async def test_a_ledger_of_a_later_version_is_refused_by_name(address: str, db: PostgresDatabase) -> None:
    await db.transact(executing(text("UPDATE alembic_version SET version_num = '9999'")))
    later = PostgresDatabase(address)
    with pytest.raises(LedgerFormatError, match=r"its version is '9999'.*Upgrade clew"):
        await later.open()


async def test_tables_of_another_program_with_the_same_names_are_not_changed(postgres: Postgres) -> None:
    name = await asyncio.to_thread(postgres.database)
    await asyncio.to_thread(postgres.execute, "CREATE TABLE orders (number text)", name)
    found = PostgresDatabase(postgres.url(name))
    with pytest.raises(LedgerFormatError, match="a table 'orders'"):
        await found.open()


async def test_a_database_may_be_shared_with_other_programs(postgres: Postgres) -> None:
    name = await asyncio.to_thread(postgres.database)
    await asyncio.to_thread(postgres.execute, "CREATE TABLE spatial_ref_sys (srid integer)", name)
    found = PostgresDatabase(postgres.url(name))
    assert await found.open() == (None, "0001")
    await found.close()
    assert await asyncio.to_thread(postgres.execute, "SELECT count(*) FROM spatial_ref_sys", name) == [(0,)]


async def test_a_database_with_another_encoding_is_refused(postgres: Postgres) -> None:
    made = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    await asyncio.to_thread(postgres.execute, made)
    with pytest.raises(LedgerError, match="the encoding LATIN1"):
        await PostgresDatabase(postgres.url("latin")).open()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://clew@db.example", "names no database"),
        ("postgresql://clew@db.example:port/clew", "names no host and port"),
        ("mysql://clew@db.example/clew", "is no address of a ledger"),
    ],
)
def test_an_invalid_address_is_reported(address: str, said: str) -> None:
    with pytest.raises(LedgerAddressError, match=said):
        database_at(address)


async def test_a_password_is_in_no_error() -> None:
    address = f"postgresql://clew:s3cr3t-word@127.0.0.1:{free_port()}/clew"
    with pytest.raises(LedgerError) as error:
        await PostgresDatabase(address).open()
    assert "s3cr3t-word" not in str(error.value)
    assert "127.0.0.1" in str(error.value)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_kept_unchanged(found: str) -> None:
    kind = messages.c.text.type.dialect_impl(postgresql_dialect())
    stored = kind.process_bind_param(found, None)
    stored.encode()
    assert "\0" not in stored
    assert kind.process_result_value(stored, None) == found


def postgresql_dialect() -> Any:
    from sqlalchemy.dialects import postgresql as dialect

    return dialect.dialect()


async def test_texts_that_have_no_place_in_utf8_are_kept(db: PostgresDatabase) -> None:
    odd = "a\0b\udcff\ufdd0c"
    row = {"site": odd, "event": "fault", "key": odd, "details": {"said": odd}}
    await db.transact(executing(notices.insert(), {**row, "first_at": NOW, "last_at": NOW, "count": 1}))
    found = (await Notices(db).list([odd]))[0]
    assert (found.site, found.key, found.details) == (odd, odd, {"said": odd})


# -- several at once


async def test_of_writers_in_several_processes_one_writes_each_order(others: list[PostgresDatabase]) -> None:
    report = Report("order", "p", "c", "1", "5.00", "EUR", "web", 1, 1)
    order = OrderSeen("1", Decimal(5), "EUR", "page")
    done = await asyncio.gather(*(put_order(db, order, reports=[report], now=NOW) for db in others * 4))
    assert len([one for one in done if one is not None]) == 1
    assert len(await Orders(others[0]).list("shop")) == 1
    assert len(await Outbox(others[0]).list()) == 1


async def test_each_due_postback_is_claimed_by_one(others: list[PostgresDatabase]) -> None:
    for number in range(30):
        report = Report("order", "p", "c", str(number), "5.00", "EUR", "web", 1, 1)
        await put_order(
            others[0], OrderSeen(str(number), Decimal(5), "EUR", "page"), reports=[report], now=NOW
        )
    ids = [one.id for one in await Outbox(others[0]).waiting(NOW, each=99, limit=99)]
    assert len(ids) == 30
    claimed = await asyncio.gather(
        *(Outbox(db).claim(ids if n % 2 else ids[::-1], NOW, NOW + 10 + n) for n, db in enumerate(others * 3))
    )
    assert sorted(p.id for one in claimed for p in one) == sorted(ids)


async def test_a_first_message_sent_to_several_processes_opens_one_conversation(
    others: list[PostgresDatabase],
) -> None:
    def write(db: PostgresDatabase, client_id: str) -> Any:
        return Conversations(db).add_visitor_message(
            "shop", "v1", "hello", client_id=client_id, language="en", rule=None, now=NOW
        )

    done = await asyncio.gather(*(write(db, f"m{n // 2}") for n, db in enumerate(others * 3)))
    assert len({added.conversation.id for added in done}) == 1
    assert sum(added.created for added in done) == 6
    assert sum(added.opened for added in done) == 1


async def say(db: PostgresDatabase, visitor: str, client_id: str) -> str:
    """Write a message; the id of its conversation."""
    added = await Conversations(db).add_visitor_message(
        "shop", visitor, "hello", client_id=client_id, language="en", rule=None, now=NOW
    )
    return added.conversation.id


INSERT = "INSERT INTO messages (conversation, author, text, at) VALUES ($1, 'visitor', '', 1) RETURNING id"


@pytest.fixture
async def other(address: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of another process."""
    found = await asyncpg.connect(address)
    yield found
    await found.close()


async def test_a_message_that_is_committed_after_a_later_one_is_read_once(
    db: PostgresDatabase, other: asyncpg.Connection
) -> None:
    """And nobody waits for it."""
    late, early = await say(db, "v1", "m0"), await say(db, "v2", "m0")
    tail = Tail(db)
    await tail.begin()
    transaction = other.transaction()
    await transaction.start()
    number = await other.fetchval(INSERT, late)
    await say(db, "v2", "m1")
    [one] = await tail.read()
    assert (one.conversation, one.message.id) == (early, number + 1)
    assert (tail.newest, tail.settled) == (number + 1, number - 1)
    assert await tail.read() == [] == await tail.read()
    await transaction.commit()
    [one] = await tail.read()
    assert (one.conversation, one.message.id) == (late, number)
    assert await tail.read() == []
    assert tail.settled == number + 1


async def test_a_message_that_is_being_written_when_reading_begins_is_read(
    db: PostgresDatabase, other: asyncpg.Connection
) -> None:
    late = await say(db, "v1", "m0")
    transaction = other.transaction()
    await transaction.start()
    number = await other.fetchval(INSERT, late)
    await say(db, "v2", "m0")
    tail = Tail(db)
    await tail.begin()
    assert tail.settled < number < tail.newest
    assert await tail.read() == []
    await transaction.commit()
    assert [one.message.id for one in await tail.read()] == [number]


async def test_a_number_that_was_given_up_is_waited_for_no_longer_than_its_transaction(
    db: PostgresDatabase, address: str, other: asyncpg.Connection
) -> None:
    talk = await say(db, "v1", "m0")
    tail = Tail(db)
    await tail.begin()
    await tail.read()
    older = await asyncpg.connect(address)
    running, transaction = older.transaction(), other.transaction()
    await running.start()
    await older.fetchval("SELECT txid_current()")
    await transaction.start()
    number = await other.fetchval(INSERT, talk)
    await say(db, "v2", "m0")
    assert len(await tail.read()) == 1
    await transaction.rollback()
    for _ in range(3):
        assert await tail.read() == []
    # Another transaction goes on that might have the number; it keeps nobody else waiting.
    assert tail.settled == number - 1
    await say(db, "v2", "m1")
    assert [one.message.id for one in await tail.read()] == [number + 2]
    await running.commit()
    await tail.read()
    assert tail.settled == tail.newest == number + 2
    await older.close()


async def test_what_many_write_at_once_is_read_once_by_each_reader(
    db: PostgresDatabase, others: list[PostgresDatabase]
) -> None:
    """Each conversation's in the order of their numbers, with some that are taken back."""

    async def write(one: PostgresDatabase, visitor: str) -> None:
        for n in range(20):
            await say(one, visitor, f"m{n - n % 2}")  # each second one is a repeat
            with suppress(ZeroDivisionError):
                await one.transact(broken(await say(one, visitor, f"m{n}")))

    def broken(talk: str) -> Callable[[Connection], Coroutine[Any, Any, None]]:
        async def work(tx: Connection) -> None:
            row = {"conversation": talk, "author": "visitor", "text": "never", "at": NOW}
            await tx.execute(insert(messages).values(**row))
            raise ZeroDivisionError

        return work

    tail, told = Tail(db), dict[str, list[int]]()
    await tail.begin()

    async def look() -> None:
        for one in await tail.read():
            told.setdefault(one.conversation, []).append(one.message.id)

    writing = asyncio.gather(*(write(one, f"v{n % 6}") for n, one in enumerate(others * 4)))
    while not writing.done():
        await look()
        await asyncio.sleep(0)
    await writing
    await look()
    query = select(messages.c.conversation, func.max(messages.c.id)).group_by(messages.c.conversation)
    assert dict((await db.query(executing(query))).all()) == {
        talk: numbers[-1] for talk, numbers in told.items()
    }
    assert all(numbers == sorted(set(numbers)) for numbers in told.values())


async def test_messages_do_not_wait_for_each_other(db: PostgresDatabase, other: asyncpg.Connection) -> None:
    """One lock for all of them allowed some 400 commits a second, whatever the number of processes."""
    talk = await say(db, "v1", "m0")
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT id FROM conversations WHERE id = $1 FOR UPDATE", talk)
    await other.fetchval(INSERT, talk)
    await asyncio.gather(*(say(db, f"v{n}", "m1") for n in range(2, 12)))
    await transaction.rollback()


async def test_what_several_write_in_one_conversation_at_once_is_all_there(
    db: PostgresDatabase, others: list[PostgresDatabase]
) -> None:
    """One statement waits for the conversation, and reads of it what was committed meanwhile."""
    talk = await say(db, "v1", "first")
    tail = Tail(db)
    await tail.begin()

    async def write(one: PostgresDatabase, number: int) -> None:
        for n in range(15):
            if number % 2:
                await say(one, "v1", f"m{number} {n}")
            else:
                await Conversations(one).add_agent_message(
                    "shop", talk, "hello", agent="bo", client_id=f"m{number} {n}", now=NOW
                )

    await asyncio.gather(*(write(one, number) for number, one in enumerate(others * 2)))
    news = await tail.read()
    assert [one.previous for one in news[1:]] == [one.message.id for one in news[:-1]]
    rows = await db.query(executing(select(conversations.c.said, conversations.c.last)))
    assert rows.all() == [(1 + 8 * 15, news[-1].message.id)]


async def test_a_message_of_several_processes_is_written_once(
    db: PostgresDatabase, others: list[PostgresDatabase]
) -> None:
    await say(db, "v1", "first")
    for n in range(10):
        await asyncio.gather(*(say(one, "v1", f"m{n}") for one in others))
    assert (
        await db.query(lambda connection: connection.scalar(select(func.count()).select_from(messages))) == 11
    )


async def test_the_same_agent_and_notice_of_several_processes_is_one(others: list[PostgresDatabase]) -> None:
    adding = (Agents(db).add("anna", "a long password", site=None, now=NOW) for db in others[:2])
    done = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(isinstance(one, AgentError) for one in done) == 1
    noted = [Noted("shop", "fault", "k", 1, {})]
    await asyncio.gather(*(Notices(db).add(noted, NOW) for db in others * 3))
    assert [notice.count for notice in await Notices(others[0]).list(["shop"])] == [12]


async def test_a_deadlock_is_done_again(others: list[PostgresDatabase]) -> None:
    both = asyncio.Barrier(2)

    def crossing(first: str, second: str) -> Any:
        tries = 0

        async def work(tx: Connection) -> int:
            nonlocal tries
            tries += 1
            await tx.lock(first)
            if tries == 1:
                await both.wait()
            await tx.lock(second)
            return tries

        return work

    one, other = crossing("a", "b"), crossing("b", "a")
    done = await asyncio.gather(others[0].transact(one), others[1].transact(other))
    assert sorted(done) == [1, 2]


async def test_a_lock_is_shared_by_those_who_ask_for_that_alone(others: list[PostgresDatabase]) -> None:
    """Shops send one placeholder address for all guests."""
    both, order = asyncio.Barrier(3), list[str]()

    async def share(tx: Connection) -> None:
        await tx.lock("guest@shop.example", shared=True)
        await both.wait()
        order.append("shared")

    async def alone(tx: Connection) -> None:
        await tx.lock("guest@shop.example")
        order.append("alone")

    sharing = [asyncio.create_task(db.transact(share, 15)) for db in others[:2]]
    async with asyncio.timeout(20):
        while both.n_waiting < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(others[2].transact(alone, 15))
        await both.wait()
        await asyncio.gather(*sharing, waiting)
    assert order == ["shared", "shared", "alone"]


async def test_a_message_wakes_the_other_processes(
    db: PostgresDatabase, others: list[PostgresDatabase]
) -> None:
    await db.idle(5)  # heard at the start: it listens
    waiting = asyncio.create_task(db.idle(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    await Conversations(others[0]).add_visitor_message(
        "shop", "v1", "hello", client_id="m", language="en", rule=None, now=NOW
    )
    await asyncio.wait_for(waiting, 20)


# -- a server that goes away


async def opened(server: Postgres) -> PostgresDatabase:
    db = PostgresDatabase(server.url(await asyncio.to_thread(server.database)))
    await db.open()
    return db


async def test_a_server_that_was_restarted_is_used_again_at_once(own_server: Postgres) -> None:
    db = await opened(own_server)
    await asyncio.gather(*(db.probe(NOW + n) for n in range(8)))
    await asyncio.to_thread(own_server.kill)
    with pytest.raises(LedgerError):
        await db.probe(NOW, wait=0.3)
    await asyncio.to_thread(own_server.start)
    await db.probe(NOW)
    assert await db.changed() in (True, False)
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)
    async with db.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM probes")) == 1
    await db.close()


def stopped(pid: int) -> bool:
    """Whether there was such a process, which is stopped now."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return True


async def test_a_server_that_does_not_respond_is_reported_as_busy_in_time(own_server: Postgres) -> None:
    db = await opened(own_server)
    await db.probe(NOW)
    pids = [row[0] for row in await asyncio.to_thread(own_server.execute, "SELECT pid FROM pg_stat_activity")]
    pids.append(int((own_server.folder / "data" / "postmaster.pid").read_text().split()[0]))
    running = [pid for pid in pids if stopped(pid)]
    try:
        async with asyncio.timeout(20):
            with pytest.raises(LedgerBusyError):
                await db.probe(NOW, wait=0.3)
    finally:
        for pid in running:
            # One may have been about to end.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    await db.probe(NOW)
    await db.close()


async def test_a_transaction_of_a_frozen_client_does_not_block_others(
    own_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql._SESSION, "idle_in_transaction_session_timeout", "200ms")
    frozen = await opened(own_server)
    other = PostgresDatabase(frozen.address)
    await other.open()
    holds, ended = asyncio.Event(), asyncio.Event()

    async def hold(tx: Connection) -> None:
        await tx.lock("probe")
        holds.set()
        await ended.wait()

    holding = asyncio.create_task(frozen.transact(hold, 60))
    await holds.wait()
    await other.probe(NOW, wait=10)
    ended.set()
    with pytest.raises(LedgerError):
        await holding
    await frozen.close()


async def test_after_a_failover_the_server_that_takes_writes_is_used(own_server: Postgres) -> None:
    name = await asyncio.to_thread(own_server.database)
    elsewhere = free_port()
    hosts = f"127.0.0.1:{own_server.port},127.0.0.1:{elsewhere}"
    db = PostgresDatabase(f"postgresql://clew@{hosts}/{name}")
    await db.open()
    report = Report("order", "p", "c", "1", "5.00", "EUR", "web", 1, 1)
    await put_order(db, OrderSeen("1", Decimal(5), "EUR", "page"), reports=[report], now=NOW)
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.move, elsewhere)
    await asyncio.to_thread(own_server.start)
    await put_order(db, OrderSeen("2", Decimal(5), "EUR", "page"), now=NOW)
    assert [order.order_id for order in await Orders(db).list("shop")] == ["2", "1"]
    await db.close()


async def test_a_server_that_only_lets_itself_be_read_is_told(own_server: Postgres) -> None:
    """field D7"""
    db = await opened(own_server)
    await asyncio.to_thread(
        own_server.execute, "ALTER SYSTEM SET default_transaction_read_only = on", "postgres"
    )
    await asyncio.to_thread(own_server.execute, "SELECT pg_reload_conf()")
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)
    with pytest.raises(LedgerError, match="read-only"):
        await db.probe(NOW, wait=1)
    await db.close()


# -- what the driver raises is the ledger's own error


@pytest.mark.parametrize(
    ("hot", "said"),
    [(True, "is a standby, which takes no changes"), (False, "takes no connections now")],
)
async def test_a_server_that_became_a_standby_is_away_until_it_is_promoted(
    own_server: Postgres, hot: bool, said: str
) -> None:
    db = await opened(own_server)
    # From here on it listens.
    await db.idle(0)
    await asyncio.to_thread(own_server.stop)
    await asyncio.to_thread(own_server.demote, hot=hot)
    await asyncio.to_thread(own_server.start)
    for asked in (db.probe(NOW, wait=0.3), db.changed(), PostgresDatabase(db.address).open()):
        with pytest.raises(LedgerAwayError, match=said):
            await asked
    assert db._listener is not None
    assert not db._listener.done()
    await asyncio.to_thread(own_server.promote)
    await db.probe(NOW)
    await db.close()


@pytest.fixture
def far_away() -> Iterator[tuple[Network, str]]:
    """The address of an empty ledger behind a link that can be cut."""
    try:
        network = Network(("PostgreSQL",))
    except NotPermittedError as error:
        pytest.skip(str(error))
    try:
        place = network.at("PostgreSQL")
        with Postgres(host=place.host, inside=place.inside) as server:
            yield network, server.url(server.database())
    finally:
        network.remove()


@pytest.mark.parametrize("waits", [False, True], ids=["asked later", "asked before"])
async def test_a_link_that_is_cut_keeps_no_question_waiting(
    far_away: tuple[Network, str], waits: bool
) -> None:
    """field D7: nothing comes back any more, not even that the connection has ended."""
    network, address = far_away
    db = PostgresDatabase(address)
    await db.open()
    sleep = text("SELECT pg_sleep(600)")
    asked = asyncio.create_task(db.query(lambda connection: connection.scalar(sleep)))
    async with db.read() as connection:
        running = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
        while waits and not await connection.scalar(running):  # noqa: ASYNC110
            await asyncio.sleep(0)
    network.lose("PostgreSQL")
    async with loop_seconds() as waited:
        with pytest.raises(LedgerBusyError):
            await asked
        # Once for the connection that there was, once more for a new one.
        assert waited() < LINK_SECONDS + CONNECT_SECONDS + 6
    await db.close()


_FILL = """
INSERT INTO postbacks
    (id, "order", site, partner, sequence, event, report, state, attempts, next_at, created_at)
SELECT 'pb_' || n, n, 'shop', 'p' || n % 4, 1, 'order', '{}',
    CASE WHEN n % 25 = 0 THEN 'due' ELSE 'delivered' END, 0, 0, 0
FROM generate_series(1, 60000) AS n
"""


async def test_what_is_due_next_is_found_without_looking_at_all_postbacks(db: PostgresDatabase) -> None:
    """The plan is PostgreSQL's; it must not depend on how many postbacks there were."""

    async def fill(tx: Connection) -> None:
        # Without the orders that they belong to.
        await tx.execute(text("SET LOCAL session_replication_role = replica"))
        await tx.execute(text(_FILL))

    await db.transact(fill)
    await db.query(lambda connection: connection.execute(text("ANALYZE postbacks")))
    given = {"now": NOW, "each": 8, "limit": 1000}
    explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {WAITING['postgresql'].text}")
    (plan,) = await db.query(lambda connection: _scalar_of(connection, explain, given))
    rows = list(_read(plan["Plan"]))
    assert 32 <= sum(rows) < 20 * 32, rows
    assert len(await Outbox(db).waiting(NOW, each=8, limit=1000)) == 32


async def _scalar_of(connection: Connection, statement: Any, given: Any) -> Any:
    return (await connection.execute(statement, given)).scalar()


def _read(plan: dict[str, Any]) -> Iterator[float]:
    """How many rows each scan of a table read."""
    if "Relation Name" in plan:
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
        yield (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from _read(part)


async def test_a_new_ledgers_conversations_are_counted_for_the_planner(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does so only each minute, and the plans for empty tables stay until then."""
    monkeypatch.setattr(postgresql, "_COUNT_AT", frozenset({3}))
    query = text("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 'conversations'")

    async def counted() -> int:
        found: int = await db.query(lambda connection: connection.scalar(query))
        return found

    before, books = await counted(), Conversations(db)
    for number in range(4):
        given = {"client_id": f"c{number}", "language": "en", "rule": None, "now": NOW}
        await books.add_visitor_message("shop", f"v{number}", "hello", **given)
    async with asyncio.timeout(60):
        while await counted() == before:  # noqa: ASYNC110 - the server tells nobody of it
            await asyncio.sleep(0.1)
