"""Sessions with a PostgreSQL server that behave alike, however server, database and user are set up."""

import asyncio
import secrets
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import asyncpg

from .postgres_address import PostgresAddress
from .tls import untrusted

AWAY: Final = frozenset({"08", "53", "57", "58"})
"""Classes of SQLSTATE: the server cannot be reached, has no room, starts or stops, or its disk fails."""

MAY_MAKE_TABLES: Final = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
MAKES_NO_TABLES: Final = (
    "its user may make no tables in this database: make the user its owner (ALTER DATABASE … OWNER TO …), or "
    "GRANT CREATE ON SCHEMA public"
)

FAILURES: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises."""

# Where an administrator has set another default, clew would write twice what is to be written once, or end
# its own waiting for others too early.
_SESSION: Final = {"default_transaction_isolation": "read committed", "lock_timeout": "0", "jit": "off"}

# A link that is cut answers nothing, not even that it is cut. After so many seconds in which what was sent is
# not acknowledged, or a question about the link is not answered, the connection has ended.
LINK_SECONDS: Final = 6
_LINK: Final = {
    (socket.SOL_SOCKET, "SO_KEEPALIVE"): 1,
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE"): 3,
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL"): 1,
    (socket.IPPROTO_TCP, "TCP_KEEPCNT"): 3,
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"): LINK_SECONDS * 1000,
}


class PoolerError(asyncpg.ClientConfigurationError):  # type: ignore[misc]
    """A pooler that gives each transaction another session is in the way."""


class Server:
    """A server, or several of which one takes changes. `seconds` is how long each has for a connection, if
    the address does not say; `session` are settings of each session."""

    def __init__(self, address: PostgresAddress, seconds: float, session: Mapping[str, str]) -> None:
        self.seconds = address.seconds or seconds
        self._address = address
        self._session = {**_SESSION, **session}
        if address.application is not None:
            self._session["application_name"] = address.application
        self._first = 0  # of the hosts, the one that is asked first

    async def connect(self) -> asyncpg.Connection:
        """A connection. Raises FAILURES, of which TimeoutError is one.

        Each host has its own time, as with libpq: one that went away without a word leaves time for the
        others. It is asked last from then on.
        """
        hosts, failure = self._address.hosts, None
        for _ in hosts:
            number = self._first
            try:
                return await self._connect(*hosts[number])
            except (OSError, asyncpg.TargetServerAttributeNotMatched, asyncpg.CannotConnectNowError) as error:
                # What another host may do better; of these, what the last one said.
                failure = error
                self._first = (number + 1) % len(hosts)
            except asyncio.CancelledError:
                self._first = (number + 1) % len(hosts)
                raise
        assert failure is not None
        raise failure

    async def _connect(self, host: str | None, port: int | None) -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(
                self._address.dsn,
                host=host,
                port=port,
                timeout=self.seconds,
                target_session_attrs=self._address.target,
            )
        except UnicodeError as error:
            raise asyncpg.ClientConfigurationError(f"no host has such a name: {error}") from None
        _watch_link(connection)
        try:
            # They are set once it is open: PgBouncer refuses a connection that asks for any at its start.
            settings = [one for pair in self._session.items() for one in pair]
            calls = (f"set_config(${n}, ${n + 1}, false)" for n in range(1, len(settings), 2))
            await connection.execute(f"SELECT {', '.join(calls)}", *settings, timeout=self.seconds)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def require_session(self) -> None:
        """Raise PoolerError if what a session was told is not known in its next transaction, as with
        PgBouncer in transaction mode: settings, prepared statements and LISTEN would be lost, or another
        client's. Raises FAILURES."""
        try:
            first = await self.connect()
        except _SHARED as error:
            raise PoolerError(_POOLED) from error
        try:
            backend = await first.fetchval("SELECT pg_backend_pid()", timeout=self.seconds)
            if backend != first.get_server_pid():  # else there is nothing in between
                await self._require_session(first)
        except _SHARED as error:
            raise PoolerError(_POOLED) from error
        finally:
            first.terminate()

    async def _require_session(self, first: asyncpg.Connection) -> None:
        mark, seconds = secrets.token_hex(8), self.seconds
        await first.execute(f"SELECT set_config('clew.mark', '{mark}', false)", timeout=seconds)
        # The second one takes the session that the first one was given, if that was for a transaction only.
        second = await self.connect()
        try:
            try:
                await second.execute("BEGIN", timeout=seconds)
            except asyncpg.PostgresError as error:
                # "transaction blocks not allowed in statement pooling mode"
                if "pooling mode" not in str(error):
                    raise
                raise PoolerError(_POOLED) from error
            await second.execute("SELECT 1", timeout=seconds)
            try:
                await first.execute(_IS_MARKED.format(mark), timeout=seconds)
            except (TimeoutError, asyncpg.DivisionByZeroError) as error:
                raise PoolerError(_POOLED) from error
        finally:
            second.terminate()


# What becomes of prepared statements.
_SHARED: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
_POOLED: Final = (
    "a pooler between clew and PostgreSQL gives each transaction another session (PgBouncer with pool_mode = "
    "transaction or statement): set pool_mode = session for this database, or name PostgreSQL itself"
)
# Nothing is prepared for it: a pooler may not let statements be prepared.
_IS_MARKED: Final = "SELECT 1 / (coalesce(current_setting('clew.mark', true), '') = '{}')::int"


def _watch_link(connection: asyncpg.Connection) -> None:
    """Have the kernel end a connection whose other end is gone. asyncpg has no option for it."""
    link = connection._transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for (level, name), value in _LINK.items():
        # Each where the system has it.
        if hasattr(socket, name):
            link.setsockopt(level, getattr(socket, name), value)


_NO_TLS: Final = "rejected SSL upgrade"


def in_words(error: BaseException) -> str:
    """What an error of `connect` says, and what to do where clew knows."""
    said = " ".join(str(error).split()) or type(error).__name__
    if _NO_TLS in said:
        return f"{said}: set ssl = on in the server's settings, or leave sslmode out of the address"
    return untrusted(error, "sslmode=verify-full&sslrootcert") or said


def is_away(error: BaseException) -> bool:
    """Whether an error of `connect` says that the server may answer later, by itself; else its
    administrator, or ours, has to do something."""
    if isinstance(error, asyncpg.ClientConfigurationError | ssl.SSLCertVerificationError):
        return False
    if _NO_TLS in str(error):
        return False
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in AWAY
    # Also none of the hosts takes changes, or what answers is no PostgreSQL.
    return isinstance(error, OSError | asyncpg.InternalClientError)
