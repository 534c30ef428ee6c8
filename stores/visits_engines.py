"""Which engine keeps the visits, by the address of the setting `store`."""

import asyncio
from pathlib import Path

from .postgres_address import PostgresAddress
from .visits import Visits
from .visits_address import parse
from .visits_breaker import Told
from .visits_sqlite import SqliteVisits


def visits_at(address: str, told: Told, *, ledger: Path | None, write_lock: asyncio.Lock | None) -> Visits:
    """The visit store at an address, not open yet. `ledger` is the ledger's file, if it is one, and
    `write_lock` what its writers take: visits in the same file take it too. `told` hears when a store on
    another machine does not answer. Raises StoreAddressError."""
    place = parse(address)
    if isinstance(place, Path):
        one_file = ledger is not None and place.resolve() == ledger.resolve()
        return SqliteVisits(place, write_lock if one_file else None)
    if isinstance(place, PostgresAddress):
        from .visits_postgres import PostgresVisits

        return PostgresVisits(place, told)
    # Half a second of imports, that a clew without Redis does not wait for.
    from .visits_redis import RedisVisits

    return RedisVisits(place, told)
