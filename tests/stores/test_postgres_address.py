"""The addresses of PostgreSQL, as libpq's users write them: https://www.postgresql.org/docs/current/libpq-connect.html"""

import asyncio
import socket
from pathlib import Path

import pytest
from clew.stores.check import ledger_problems, visits_problems
from clew.stores.ledger.connection import executing
from clew.stores.ledger.errors import LedgerAwayError
from clew.stores.ledger.postgresql import PostgresDatabase
from clew.stores.postgres_address import PostgresAddressError, parse_postgres
from clew.stores.visits_address import parse
from clew.stores.visits_postgres import PostgresVisits
from database_servers import Postgres
from processes import free_port
from sqlalchemy import text

BASE = "postgresql://clew:pw@db.example/clew"


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        (BASE, (("db.example", None),)),
        ("postgres://clew@[::1]:5433/clew", (("::1", 5433),)),
        ("postgresql://clew@a:5432,b:5433,c/clew", (("a", 5432), ("b", 5433), ("c", None))),
        ("postgresql://clew@/clew?host=a,b&port=5432,5433", (("a", 5432), ("b", 5433))),
        ("postgresql://clew@a,b/clew?port=5433", (("a", 5433), ("b", 5433))),
        ("postgresql://clew@%2Frun%2Fpostgresql/clew", (("/run/postgresql", None),)),
        ("postgresql:///clew?host=/run/postgresql", (("/run/postgresql", None),)),
        ("postgresql:///clew", ((None, None),)),
    ],
)
def test_hosts_are_read_as_libpq_reads_them(address: str, hosts: object) -> None:
    assert parse_postgres(address).hosts == hosts


def test_parameters_are_used_passed_on_or_without_effect() -> None:
    found = parse_postgres(
        f"{BASE}?connect_timeout=7&application_name=shop&sslmode=verify-ca&sslrootcert=/ca.pem"
        "&channel_binding=prefer&gssencmode=disable&client_encoding=UTF8&target_session_attrs=any"
    )
    assert (found.seconds, found.application, found.target) == (7.0, "shop", "primary")
    assert found.files == (("sslrootcert", Path("/ca.pem")),)
    assert found.dsn == "postgresql://clew:pw@/clew?sslmode=verify-ca&sslrootcert=%2Fca.pem"
    assert parse_postgres(f"{BASE}?target_session_attrs=read-write").target == "read-write"
    # libpq's own is to wait without an end.
    assert parse_postgres(f"{BASE}?connect_timeout=0").seconds is None
    assert parse_postgres("postgresql://clew@a?dbname=shop").dsn == "postgresql://clew@/shop"


@pytest.mark.parametrize(
    ("parameters", "message", "hint"),
    [
        ("connect_timeout=soon", "connect_timeout", "connect_timeout=5"),
        ("sslmode=on", "sslmode", "verify-full"),
        ("sslmod=require", "'sslmod' is no parameter", "leave it out"),
        ("target_session_attrs=standby", "target_session_attrs", "accepts writes"),
        ("channel_binding=require", "channel_binding", "sslmode=verify-full"),
        ("hostaddr=10.0.0.1", "hostaddr", "as the host"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system needs", "both"),
        ("port=one", "ports", "write"),
        ("port=1,2,3", "ports", "write"),
        ("sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem", "path"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_write(parameters: str, message: str, hint: str) -> None:
    for problems in (ledger_problems, visits_problems):
        ((told, said, warns),) = problems(f"{BASE}?{parameters}")
        assert message in told
        assert hint in said
        assert not warns


PASSWORDS = [
    "postgresql://clew:S3cr3t!@ss:w/rd@db/clew",
    "postgresql://clew:S3cr3t/x@db/clew",
    "postgresql://clew:S3cr3t?x@db/clew",
    "postgresql://clew:1?secret_word=x@db/clew",
    "postgresql://clew:S3cr3t#x@db/clew",
    "postgresql://clew:1/S3cr3t@db/clew",
    "postgresql://clew:x@db/clew?port=S3cr3t",
    "postgresql://clew:x@db/clew?connect_timeout=S3cr3t",
    "postgresql://clew:x@db/clew?S3cr3t",
]


@pytest.mark.parametrize("address", PASSWORDS)
def test_no_part_of_a_password_is_in_an_error(address: str) -> None:
    with pytest.raises(PostgresAddressError) as error:
        parse_postgres(address)
    assert not any(word in str(error.value) for word in ("S3cr3t", "secret_word", "ss:w"))


async def test_the_name_of_the_application_and_the_time_to_connect_are_used(postgres: Postgres) -> None:
    address = postgres.url(await asyncio.to_thread(postgres.database))
    db = PostgresDatabase(f"{address}?application_name=Jane's shop&connect_timeout=9")
    await db.open()
    name = await db.query(lambda connection: connection.scalar(text("SHOW application_name")))
    await db.close()
    assert name == "Jane's shop"
    assert db._server.seconds == 9.0


async def test_a_host_that_says_nothing_leaves_time_for_the_next(postgres: Postgres) -> None:
    """A machine that lost its power closes no connection. libpq gives each host its own time, too."""
    name = await asyncio.to_thread(postgres.database)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{postgres.port}"
        address = f"postgresql://clew@{place}/{name}?connect_timeout=1"
        ledger = PostgresDatabase(address)
        await ledger.open()
        await ledger.transact(executing(text("SELECT 1")))
        await ledger.close()
        found = parse(address)
        visits = PostgresVisits(found, lambda *_: None)  # type: ignore[arg-type]
        connection = await visits._server.connect()
        connection.terminate()


async def test_of_hosts_that_are_all_away_the_last_is_told() -> None:
    ports = free_port(), free_port()
    ledger = PostgresDatabase(f"postgresql://clew@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/clew")
    with pytest.raises(LedgerAwayError, match=f"{ports[0]},127.0.0.1:{ports[1]} cannot be used: its server"):
        await ledger.open()
