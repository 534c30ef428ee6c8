"""Webhooks that came in with a right signature, each once. Repeats are found by it, `clew connect` waits for
it, and what could not be read is kept here as it came."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, or_, select, update

from .connection import Connection
from .database import Database
from .errors import LedgerConflictError
from .schema import deliveries

Outcome = Literal["order", "talk", "ignored", "unread", "ping"]
AGAIN: Final = 5.0
"""Seconds after which the repeat of a webhook is counted."""

UNREAD: Final = 100
"""Bodies of a site that are kept at most; of older ones only the row is."""

_C = deliveries.c
_SAME = select(deliveries).where(
    _C.site == bindparam("site"), _C.source == bindparam("source"), _C.digest == bindparam("digest")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook. `digest` names its body, or its topic where it is not about an order: such webhooks are
    one row. `said` is what was understood, as plain data. `at` is the last time, in unix seconds."""

    site: str
    source: str
    digest: str
    topic: str
    outcome: Outcome
    at: float
    delivery: str = ""
    order: str | None = None
    said: Mapping[str, Any]
    count: int = 1
    raw: str | None = None


def digest_of(*parts: bytes) -> str:
    """A name for a webhook by its content."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


class Deliveries:
    """The webhooks of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def known(self, site: str, source: str, digest: str, now: float) -> Delivery | None:
        """The same webhook as it came before; None if it is new. It is counted, if it was longer than
        AGAIN ago: a storm of repeats writes nothing."""
        given = {"site": site, "source": source, "digest": digest}

        async def look(connection: Connection) -> Any:
            return (await connection.execute(_SAME, given)).first()

        row = await self._db.query(look)
        if row is None:
            return None
        if now - row.at > AGAIN:
            again = update(deliveries).where(_C.id == row.id).values(count=_C.count + 1, at=now)
            await self._db.transact(lambda tx: tx.execute(again))
        return _delivery(row)

    async def add(self, one: Delivery) -> None:
        """Keep a webhook. If the same one is known, it is counted once more."""
        columns = ("site", "source", "digest", "delivery", "topic", "outcome", "order", "at", "count", "raw")
        values = {name: getattr(one, name) for name in columns} | {"said": dict(one.said)}
        same = (_C.site == one.site, _C.source == one.source, _C.digest == one.digest)

        async def work(tx: Connection) -> None:
            again = {"count": _C.count + 1, "at": one.at, "said": dict(one.said)}
            seen = await tx.execute(update(deliveries).where(*same).values(**again))
            if not seen.rowcount:
                await tx.execute(insert(deliveries).values(**values))
            if one.raw is not None:
                raw = (_C.site == one.site, _C.raw.is_not(None))
                kept = select(_C.id).where(*raw).order_by(_C.id.desc()).limit(UNREAD)
                await tx.execute(update(deliveries).where(*raw, _C.id.not_in(kept)).values(raw=None))

        try:
            await self._db.transact(work)
        except LedgerConflictError:
            # Another process took the same one at the same moment.
            await self._db.transact(work)

    async def since(self, site: str, source: str, at: float) -> tuple[Delivery, ...]:
        """The webhooks that came at this time or later, oldest first."""
        mine = (_C.site == site, _C.source == source, _C.at >= at)
        async with self._db.read() as connection:
            rows = (await connection.execute(select(deliveries).where(*mine).order_by(_C.at, _C.id))).all()
        return tuple(_delivery(row) for row in rows)

    async def unread(self, site: str, limit: int) -> tuple[Delivery, ...]:
        """The newest webhooks that could not be read, newest first."""
        mine = (_C.site == site, or_(_C.outcome == "unread", _C.raw.is_not(None)))
        query = select(deliveries).where(*mine).order_by(_C.id.desc()).limit(limit)
        async with self._db.read() as connection:
            return tuple(_delivery(row) for row in (await connection.execute(query)).all())


def _delivery(row: Any) -> Delivery:
    values = dict(row._mapping)
    values.pop("id")
    return Delivery(**values)
