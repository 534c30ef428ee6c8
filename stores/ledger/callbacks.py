"""Callbacks that visitors asked for, as tasks of the desk: open, missed (called, and not reached), reached,
ordered, or dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import func, insert, select, update

from .connection import Connection
from .database import Database
from .schema import callbacks

State = Literal["open", "missed", "reached", "ordered", "dropped"]
STATES: Final[Sequence[State]] = get_args(State)
WAITING: Final = ("open", "missed")
"""The states in which somebody still has to call."""

DONE_SHOWN: Final = 50
WAITING_SHOWN: Final = 200
_C = callbacks.c


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback. `phone` is in E.164, `wished_at` the beginning of the wished time, None for as soon as
    possible; `calls` is how often the visitor was called, `order` the number of the order that came of it.
    `visitor` is None once it was forgotten. Times are unix seconds."""

    id: int
    site: str
    visitor: str | None
    phone: str
    topic: str
    language: str
    wished_at: float | None
    state: State
    calls: int
    agent: str | None
    order: str | None
    partner: str | None
    made_at: float
    changed_at: float


_ALL = select(*(_C[name] for name in Callback.__slots__))


class Callbacks:
    """The callbacks of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(
        self,
        site: str,
        visitor: str,
        phone: str,
        *,
        topic: str,
        language: str,
        wished_at: float | None,
        partner: str | None,
        now: float,
    ) -> tuple[Callback, bool]:
        """Add one, and whether it is new: somebody who asks again before it was called has the same one, with
        the newest wish."""

        async def work(tx: Connection) -> tuple[int, bool]:
            await tx.lock(f"callback {site} {phone}")
            own = (_C.site == site, _C.phone == phone, _C.visitor == visitor, _C.state.in_(WAITING))
            row = (await tx.execute(select(_C.id).where(*own).limit(1))).first()
            values: dict[str, Any] = {"topic": topic, "language": language, "wished_at": wished_at}
            values |= {"changed_at": now, "state": "open"}
            if row is not None:
                again = update(callbacks).where(_C.id == row.id)
                await tx.execute(again.values(**values, version=_C.version + 1))
                return row.id, False
            values |= {"site": site, "visitor": visitor, "phone": phone, "partner": partner, "made_at": now}
            added = insert(callbacks).values(**values, calls=0, version=1).returning(_C.id)
            return int((await tx.execute(added)).scalar()), True

        number, new = await self._db.transact(work)
        found = await self.get(site, number)
        assert found is not None
        return found, new

    async def get(self, site: str, number: int) -> Callback | None:
        """One callback."""
        return next(iter(await self._listed(_C.site == site, _C.id == number, limit=1)), None)

    async def waiting(self, site: str) -> Sequence[Callback]:
        """Those that have to be called, by the wished time, the oldest first."""
        own = (_C.site == site, _C.state.in_(WAITING))
        order = (func.coalesce(_C.wished_at, _C.made_at), _C.id)
        return await self._listed(*own, order=order, limit=WAITING_SHOWN)

    async def done(self, site: str) -> Sequence[Callback]:
        """The others, the newest first."""
        own = (_C.site == site, _C.state.not_in(WAITING))
        return await self._listed(*own, order=(_C.changed_at.desc(),), limit=DONE_SHOWN)

    async def count(self, site: str) -> int:
        """How many have to be called."""
        query = select(func.count()).where(_C.site == site, _C.state.in_(WAITING))
        async with self._db.read() as connection:
            return int((await connection.execute(query)).scalar() or 0)

    async def change(
        self, site: str, number: int, state: State, *, agent: str, now: float, order: str | None = None
    ) -> Callback | None:
        """Note what became of a call; None if there is no such callback, or an order was closed in it."""
        values: dict[str, Any] = {"state": state, "agent": agent, "changed_at": now}
        values["version"] = _C.version + 1
        if state in ("missed", "reached"):
            values["calls"] = _C.calls + 1
        if order is not None:
            values["order"] = order
        own = update(callbacks).where(_C.site == site, _C.id == number, _C.state != "ordered")
        done = await self._db.transact(lambda tx: tx.execute(own.values(**values).returning(_C.id)))
        return None if done.first() is None else await self.get(site, number)

    async def _listed(self, *which: Any, order: Sequence[Any] = (_C.id,), limit: int) -> Sequence[Callback]:
        query = _ALL.where(*which).order_by(*order).limit(limit)
        async with self._db.read() as connection:
            return [Callback(*row) for row in (await connection.execute(query)).all()]
