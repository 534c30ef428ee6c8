"""The visit store in PostgreSQL, for those who run nothing else. It may share a database with the ledger.

It makes its tables itself: they hold nothing that would have to be moved to another form.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

import asyncpg

from ..referral.visitor import Visitor
from . import postgres
from .housekeeping import LEASE_SECONDS, PAUSE, PRUNE_EVERY, SHARE
from .postgres_address import PostgresAddress
from .shared import SIGN_SECONDS, SIGNS_AT_ONCE, SIGNS_KEPT
from .visits import (
    FOUND_AT_ONCE,
    SEEN_AT_ONCE,
    VisitsError,
    VisitsRefusedError,
    VisitsUnavailableError,
)
from .visits_breaker import Told
from .visits_remote import Place, RemoteVisits, Stored

# Of one process. A change holds one for a millisecond or two.
CONNECTIONS = 4
CONNECT_SECONDS = 1.0
PRUNED_AT_ONCE = 100
LEVELS_AT_ONCE = 500

# A power cut may cost the last visits, as with the other engines; it costs a fifth of the time.
_SESSION: Final = {
    "application_name": "clew visits",
    "synchronous_commit": "off",
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "5s",
}

# `seen_at` has no index and `expires_at` moves once an hour, so that most changes touch no index (HOT), as
# long as a page has room for the new row.
_TABLES: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('clew visits', 0));
CREATE TABLE IF NOT EXISTS visits (site text NOT NULL, visitor text NOT NULL, version bigint NOT NULL,
    data bytea NOT NULL, seen_at double precision NOT NULL, expires_at double precision NOT NULL,
    PRIMARY KEY (site, visitor)) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS visits_expiry ON visits (expires_at);
CREATE INDEX IF NOT EXISTS visits_ending ON visits (site, reverse(visitor) text_pattern_ops);
CREATE TABLE IF NOT EXISTS leases (name text PRIMARY KEY, holder text NOT NULL,
    until double precision NOT NULL);
INSERT INTO leases VALUES ('prune', '', 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS marks (name text PRIMARY KEY, value bigint NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS levels (name text PRIMARY KEY, until double precision NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS signs (id bigserial PRIMARY KEY, at double precision NOT NULL,
    sign bytea NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS pages (site text NOT NULL, visitor text NOT NULL, data bytea NOT NULL,
    until double precision NOT NULL, PRIMARY KEY (site, visitor));
"""
_MISSING: Final = """
SELECT to_regclass('marks') IS NULL OR to_regclass('visits') IS NULL OR to_regclass('levels') IS NULL
    OR to_regclass('signs') IS NULL OR to_regclass('pages') IS NULL
"""
_COLUMNS: Final = """
SELECT site, visitor, version, data, seen_at, expires_at, name, until FROM visits, levels LIMIT 0
"""
_FETCH: Final = "SELECT version, expires_at, data FROM visits WHERE site = $1 AND visitor = $2"
# Each writes if it may, and says whether it has; else what the statement saw before.
_REPLACE: Final = """
WITH written AS (:change RETURNING 1)
SELECT EXISTS (SELECT FROM written) AS written, version, expires_at, data
FROM (SELECT) AS one LEFT JOIN visits ON site = $1 AND visitor = $2 AND NOT EXISTS (SELECT FROM written)
"""
_INSERT: Final = _REPLACE.replace(
    ":change",
    "INSERT INTO visits (site, visitor, version, data, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (site, visitor) DO NOTHING",
)
_UPDATE: Final = _REPLACE.replace(
    ":change",
    "UPDATE visits SET version = $3, data = $4, seen_at = $5, expires_at = $6 "
    "WHERE site = $1 AND visitor = $2 AND version = $7",
)
_ENDING: Final = """
SELECT visitor FROM visits WHERE site = $1 AND reverse(visitor) LIKE $2 ORDER BY seen_at DESC LIMIT $3
"""
_NOTE: Final = """
INSERT INTO marks VALUES ('messages', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
# A lease that reaches further than any can was taken before the clock was set back.
_LEASE: Final = """
UPDATE leases SET holder = $1, until = $2
WHERE name = 'prune' AND (holder = $1 OR until <= $3 OR until > $3 + $4) RETURNING 1
"""
_PRUNE: Final = """
WITH gone AS (DELETE FROM visits WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM visits WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING 1) SELECT count(*) FROM gone
"""
# Drained levels have `until` in the past, by the server's clock. In the order of their names, so that two
# statements do not wait for each other.
_RAISE: Final = """
WITH at AS (SELECT extract(epoch FROM clock_timestamp())::double precision AS now)
INSERT INTO levels SELECT given.name, at.now + given.seconds
FROM unnest($1::text[], $2::double precision[]) AS given (name, seconds), at ORDER BY given.name
ON CONFLICT (name) DO UPDATE
SET until = excluded.until + greatest(levels.until - (SELECT now FROM at), 0)
RETURNING name, greatest(until - (SELECT now FROM at), 0) AS height
"""
_DRAINED: Final = """
WITH gone AS (DELETE FROM levels WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM levels WHERE until <= extract(epoch FROM clock_timestamp()) LIMIT $1
    FOR UPDATE SKIP LOCKED
)) RETURNING 1) SELECT count(*) FROM gone
"""
# One transaction after the other, so that ids become visible in their order.
_ADD_SIGNS: Final = """
INSERT INTO signs (at, sign) SELECT extract(epoch FROM clock_timestamp()), sign
FROM unnest($1::bytea[]) AS given (sign)
"""
_DROP_SIGNS: Final = """
DELETE FROM signs WHERE abs(at - extract(epoch FROM clock_timestamp())) > $1
    OR id <= (SELECT max(id) FROM signs) - $2
"""
_SIGNS: Final = "SELECT id, sign FROM signs WHERE id > $1 ORDER BY id LIMIT $2"
_LAST_SIGN: Final = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM signs_id_seq"
_PUT_PAGE: Final = """
INSERT INTO pages VALUES ($1, $2, $3, $4)
ON CONFLICT (site, visitor) DO UPDATE SET data = excluded.data, until = excluded.until
"""
_PAGE: Final = "SELECT data FROM pages WHERE site = $1 AND visitor = $2 AND until > $3"
_REFUSALS: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedColumnError,
    asyncpg.ClientConfigurationError,
)


class PostgresVisits(RemoteVisits):
    """Visits in PostgreSQL. `told` hears when it does not answer, and when it does again."""

    def __init__(self, address: PostgresAddress, told: Told) -> None:
        super().__init__(f"PostgreSQL at {address.shown}", told)
        self._server = postgres.Server(address, CONNECT_SECONDS, _SESSION)
        self._idle: list[asyncpg.Connection] = []
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._holder = secrets.token_hex(8)
        self._is_checked = False  # that a session is not shared with others

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of our own few. One on which anything failed is not used again: a statement that was
        given up may be under way."""
        with self._own_errors():
            async with self._room:
                connection = await self._take()
                try:
                    yield connection
                except BaseException:
                    connection.terminate()
                    raise
                self._idle.append(connection)

    async def _take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._server.connect()

    async def _disconnect(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def _probe(self) -> None:
        if self.breaker.why is not None:
            await self._disconnect()
        if not self._is_checked:
            with self._own_errors():
                await self._server.require_session()
            self._is_checked = True
        async with self._connection() as connection:
            if await connection.fetchval(_MISSING):
                async with connection.transaction():
                    await connection.execute(_TABLES)
                    await connection.execute(_COLUMNS)
            await connection.execute(_COLUMNS)
            # A server that takes no changes says so, even where there is nothing to change.
            await connection.execute("DELETE FROM marks WHERE false")

    async def _look(self) -> None:
        async with self._connection() as connection:
            if not await connection.fetchval(_MISSING):
                await connection.execute(_COLUMNS)
            elif not await connection.fetchval(postgres.MAY_MAKE_TABLES):
                raise VisitsRefusedError(f"{self.breaker.name}: {postgres.MAKES_NO_TABLES}")

    async def _row(self, statement: str, *values: Any) -> asyncpg.Record | None:
        async with self._connection() as connection:
            return await connection.fetchrow(statement, *values)

    async def _fetch(self, place: Place) -> Stored | None:
        return _stored(await self._row(_FETCH, *place))

    async def _replace(
        self, place: Place, old: Stored | None, new: Stored, found: Visitor, now: float
    ) -> tuple[bool, Stored | None]:
        # `seen_at` is the last page view: an agent's answer is no sign of the visitor.
        values = (*place, new.version, new.data, found.seen_at or now, new.expires_at)
        row = await (self._row(_INSERT, *values) if old is None else self._row(_UPDATE, *values, old.version))
        if row is None or row["written"]:
            return row is not None, None
        there = _stored(row)
        if (None if there is None else there.version) == (None if old is None else old.version):
            # Somebody has written while this statement waited; it saw what was there before.
            there = await self._fetch(place)
        return False, there

    async def _seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        query = "SELECT visitor, seen_at FROM visits WHERE site = $1 AND visitor = ANY ($2)"
        async with self._connection() as connection:
            rows = await connection.fetch(query, site, list(visitors[:SEEN_AT_ONCE]))
        return {row["visitor"]: row["seen_at"] for row in rows}

    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """See `Visits.ending`."""
        return await self.breaker.ask(partial(self._ending, site, letters))

    async def _ending(self, site: str, letters: str) -> Sequence[str]:
        pattern = re.sub(r"([\\%_])", r"\\\1", letters[::-1]) + "%"
        async with self._connection() as connection:
            rows = await connection.fetch(_ENDING, site, pattern, FOUND_AT_ONCE)
        return [row["visitor"] for row in rows]

    async def _forget(self, place: Place) -> None:
        await self._row("DELETE FROM visits WHERE site = $1 AND visitor = $2", *place)
        await self._put_page(place, None, 0, 0)

    async def _put_page(self, place: Place, page: bytes | None, now: float, seconds: float) -> None:
        if page is None:
            await self._row("DELETE FROM pages WHERE site = $1 AND visitor = $2", *place)
        else:
            await self._row(_PUT_PAGE, *place, page, now + seconds)

    async def _page(self, place: Place, now: float) -> bytes | None:
        row = await self._row(_PAGE, *place, now)
        return None if row is None else row["data"]

    async def _noted_up_to(self) -> int | None:
        row = await self._row("SELECT value FROM marks WHERE name = 'messages'")
        return None if row is None else int(row["value"])

    async def _set_noted_up_to(self, message: int) -> None:
        await self._row(_NOTE, message)

    async def raise_levels(self, added: Mapping[str, float]) -> Sequence[float]:
        """See `SharesLevels`. A level that has drained is deleted by `prune`."""
        names, levels = list(added), list[float]()
        for start in range(0, len(names), LEVELS_AT_ONCE):
            some = names[start : start + LEVELS_AT_ONCE]
            levels += await self.breaker.ask(
                partial(self._raise_levels, some, [added[name] for name in some])
            )
        return levels

    async def _raise_levels(self, names: Sequence[str], added: Sequence[float]) -> Sequence[float]:
        async with self._connection() as connection:
            rows = await connection.fetch(_RAISE, names, added)
        heights = {row["name"]: float(row["height"]) for row in rows}
        return [heights[name] for name in names]

    async def add_signs(self, signs: Sequence[bytes]) -> None:
        """See `PassesSigns`."""
        await self.breaker.ask(partial(self._add_signs, signs))

    async def _add_signs(self, signs: Sequence[bytes]) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('clew signs', 0))")
            await connection.execute(_ADD_SIGNS, list(signs))
            await connection.execute(_DROP_SIGNS, SIGN_SECONDS, SIGNS_KEPT)

    async def signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        """See `PassesSigns`."""
        return await self.breaker.ask(partial(self._signs_after, last))

    async def _signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        async with self._connection() as connection:
            if last is None:
                return str(await connection.fetchval(_LAST_SIGN)), ()
            rows = await connection.fetch(_SIGNS, int(last), SIGNS_AT_ONCE)
        return str(rows[-1]["id"]) if rows else last, [row["sign"] for row in rows]

    async def prune(self, now: float) -> int:
        """See `Visits.prune`: a few rows at a time, and one process at a time, by a lease."""
        began, gone = time.monotonic(), 0
        while True:
            at, took = now + time.monotonic() - began, time.monotonic()
            count, drained = await self.breaker.ask(partial(self._prune_some, at))
            took = time.monotonic() - took
            gone += count
            if max(count, drained) < PRUNED_AT_ONCE:
                return gone
            await asyncio.sleep(max(PAUSE, took * (1 / SHARE - 1)))

    async def _prune_some(self, now: float) -> tuple[int, int]:
        """Delete some of the visitors and levels whose time is over, if the lease is ours; how many."""
        async with self._connection() as connection, connection.transaction():
            lease = (self._holder, now + LEASE_SECONDS, now, 2 * PRUNE_EVERY)
            if await connection.fetchval(_LEASE, *lease) is None:
                return 0, 0
            count = int(await connection.fetchval(_PRUNE, now, PRUNED_AT_ONCE))
            drained = int(await connection.fetchval(_DRAINED, PRUNED_AT_ONCE))
            await connection.execute("DELETE FROM pages WHERE until <= $1", now)
            if max(count, drained) < PRUNED_AT_ONCE:
                await connection.fetchval(_LEASE, self._holder, now + PRUNE_EVERY, now, 2 * PRUNE_EVERY)
            return count, drained

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        name = self.breaker.name
        try:
            yield
        except TimeoutError as error:
            raise VisitsUnavailableError(f"{name} does not answer") from error
        except asyncpg.UndefinedColumnError as error:
            raise VisitsRefusedError(
                f"{name} has a table visits or levels that is not clew's: name another database as `store`"
            ) from error
        except _REFUSALS as error:
            raise VisitsRefusedError(
                f"{name}: {error}. See user, password and database in `store`"
            ) from error
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise VisitsError(f"{name}: {error}") from error
        except postgres.FAILURES as error:
            raise VisitsUnavailableError(f"{name}: {postgres.in_words(error)}") from error


def _stored(row: asyncpg.Record | None) -> Stored | None:
    if row is None or row["version"] is None:
        return None
    return Stored(row["version"], row["expires_at"], row["data"])
