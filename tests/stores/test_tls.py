"""Ledger and visits over TLS: used if the certificate can be trusted; errors say what to do."""

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import Authority
from clew.referral.visitor import Page, Viewed
from clew.stores.ledger.errors import LedgerAwayError, LedgerError
from clew.stores.ledger.postgresql import PostgresDatabase
from clew.stores.visits import Visits, VisitsUnavailableError
from clew.stores.visits_engines import visits_at
from cryptography import x509
from database_servers import Postgres
from sqlalchemy import text
from visit_engines import Told

NOW = 1763860000.0


@dataclass
class Secured:
    """A PostgreSQL server with a certificate of an authority of its own, and another authority."""

    server: Postgres
    ca: Path
    other: Path

    def url(self, query: str, host: str = "127.0.0.1") -> str:
        return f"postgresql://clew@{host}:{self.server.port}/postgres?{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority, other = Authority(tmp_path_factory.mktemp("ca")), Authority(tmp_path_factory.mktemp("other"))
    named = authority.certificate(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    with Postgres(certificate=named) as server:
        yield Secured(server, authority.file, other.file)


@asynccontextmanager
async def visits(address: str, told: Told) -> AsyncIterator[Visits]:
    store = visits_at(address, told, ledger=None, write_lock=asyncio.Lock())
    await store.open()
    yield store
    await store.close()


async def told_of_visits(address: str) -> str:
    """What is said of a visit store that cannot be used: pages go on without it."""
    told = Told()
    async with visits(address, told) as store:
        with pytest.raises(VisitsUnavailableError):
            await store.get("shop", "v1")
    return str(told.heard[0])


async def test_postgresql_is_used_with_the_certificate_of_its_own_authority(secured: Secured) -> None:
    address = secured.url(f"sslmode=verify-full&sslrootcert={secured.ca}")
    db = PostgresDatabase(address)
    await db.open()
    try:
        query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert await db.query(lambda connection: connection.scalar(query)) is True
    finally:
        await db.close()
    page = Page("view-0001", NOW, "https://shop.example/", "Shop")
    async with visits(address, Told()) as store:
        assert (await store.change("shop", "v1", [Viewed(page)], NOW)).pages == 1


REFUSED = {
    "another authority": (
        "sslmode=verify-full&sslrootcert={other}",
        "127.0.0.1",
        r"not signed by an authority that clew trusts .*\?sslmode=verify-full&sslrootcert=/etc/clew/ca.pem",
    ),
    "another name": (
        "sslmode=verify-full&sslrootcert={ca}",
        "localhost",
        r"certificate is for another name .*localhost.*: write a name that is in it as the host",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_postgresql_with_another_certificate_is_refused(secured: Secured, what: str) -> None:
    query, host, said = REFUSED[what]
    address = secured.url(query.format(ca=secured.ca, other=secured.other), host)
    with pytest.raises(LedgerError, match=said) as error:
        await PostgresDatabase(address).open()
    # It does not go away by itself.
    assert not isinstance(error.value, LedgerAwayError)
    assert re.search(said, await told_of_visits(address))


async def test_a_postgresql_without_tls_is_told_of(postgres: Postgres, secured: Secured) -> None:
    address = postgres.url("postgres") + f"?sslmode=verify-full&sslrootcert={secured.ca}"
    with pytest.raises(LedgerError, match=r"set ssl = on .* or leave sslmode out"):
        await PostgresDatabase(address).open()
    assert "set ssl = on" in await told_of_visits(address)
