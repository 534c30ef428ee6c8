"""Sessions with a PostgreSQL server that behave alike, however server, database and user are set up."""

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

AWAY: Final = frozenset({"08", "53", "57", "58"})
"""Classes of SQLSTATE: the server cannot be reached, has no room, starts or stops, or its disk fails."""

FAILURES: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises."""

# Where an administrator has set another default, clew would write twice what is to be written once, or end
# its own waiting for others too early.
_SESSION: Final = {"default_transaction_isolation": "read committed", "lock_timeout": "0", "jit": "off"}


async def connect(
    address: str, seconds: float, session: Mapping[str, str], **options: Any
) -> asyncpg.Connection:
    """A connection with these settings of its session, within so many seconds. Raises FAILURES, of which
    TimeoutError is one.

    They are set once it is open: PgBouncer refuses a connection that asks for any of them at its start.
    """
    try:
        connection = await asyncpg.connect(address, timeout=seconds, **options)
    except UnicodeError as error:
        raise asyncpg.ClientConfigurationError(f"no host has such a name: {error}") from None
    try:
        settings = {**_SESSION, **session}
        calls = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
        await connection.execute(f"SELECT {calls}", timeout=seconds)
    except BaseException:
        connection.terminate()
        raise
    return connection


def is_away(error: BaseException) -> bool:
    """Whether an error of `connect` says that the server may answer later, by itself; else its
    administrator, or ours, has to do something."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return False
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in AWAY
    # Also none of the hosts takes changes, or what answers is no PostgreSQL.
    return isinstance(error, OSError | asyncpg.InternalClientError)
