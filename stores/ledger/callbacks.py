"""Callbacks that visitors asked for, as tasks of the desk: open, missed (called, and not reached), reached,
ordered, or dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, func, insert, or_, select, update

from .connection import Connection
from .database import Database
from .schema import callbacks

State = Literal["open", "missed", "reached", "ordered", "dropped"]
STATES: Final[Sequence[State]] = get_args(State)
WAITING: Final = ("open", "missed")
"""The states in which somebody still has to call."""

TAKEN_SECONDS: Final = 3600.0
"""After this long, whoever took a call has forgotten it, and anybody may call."""

DONE_SHOWN: Final = 50
WAITING_SHOWN: Final = 1000
_C = callbacks.c


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback. `phone` is in E.164, `wished_at` the beginning of the wished time, None for as soon as
    possible; `calls` is how often the visitor was called, `order` the number of the order that came of it.
    `visitor` is None once it was forgotten; `taken_by` calls now. Times are unix seconds."""

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
    taken_by: str | None
    taken_at: float | None

    def caller(self, now: float) -> str | None:
        """Who calls now, if that is not long ago."""
        return self.taken_by if self.taken_at is not None and now < self.taken_at + TAKEN_SECONDS else None


class CallbacksFullError(Exception):
    """As many visitors wait as may."""


class CallTakenError(Exception):
    """Another agent calls; the text is its name."""


_ALL = select(*(_C[name] for name in Callback.__slots__))
_WAITING = select(func.count()).where(_C.state.in_(WAITING))


def _free(agent: str, now: float, over: str | None = None) -> ColumnElement[bool]:
    """Which ones an agent may call: nobody else does."""
    mine = [agent] if over is None else [agent, over]
    return or_(_C.taken_by.is_(None), _C.taken_by.in_(mine), _C.taken_at <= now - TAKEN_SECONDS)


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
        most: int,
    ) -> tuple[Callback, bool]:
        """Add one, and whether it is new: somebody who asks again before it was called has the same one, with
        the newest wish. Raises CallbacksFullError where `most` wait."""

        async def work(tx: Connection) -> tuple[int, bool]:
            # One at a time, so that neither is added twice nor too many are.
            await tx.lock(f"callbacks {site}")
            own = (_C.site == site, _C.phone == phone, _C.visitor == visitor, _C.state.in_(WAITING))
            row = (await tx.execute(select(_C.id).where(*own).limit(1))).first()
            values: dict[str, Any] = {"topic": topic, "language": language, "wished_at": wished_at}
            values |= {"changed_at": now, "state": "open"}
            if row is not None:
                again = update(callbacks).where(_C.id == row.id)
                await tx.execute(again.values(**values, version=_C.version + 1))
                return row.id, False
            if int(await tx.scalar(_WAITING.where(_C.site == site)) or 0) >= most:
                raise CallbacksFullError
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
        async with self._db.read() as connection:
            return int((await connection.execute(_WAITING.where(_C.site == site))).scalar() or 0)

    async def stamp(self, site: str) -> str:
        """A short text that differs whenever those that have to be called do."""
        own = (func.count(), func.sum(_C.changed_at), func.sum(_C.taken_at))
        query = select(*own).where(_C.site == site, _C.state.in_(WAITING))
        async with self._db.read() as connection:
            count, changed, taken = (await connection.execute(query)).one()
        return f"{count}-{changed or 0:.6f}-{taken or 0:.6f}"

    async def take(
        self, site: str, number: int, agent: str, now: float, *, over: str | None = None
    ) -> Callback | None:
        """Note who calls; None if there is no such callback that has to be called. Raises CallTakenError if
        another agent than `over` does so."""
        return await self._changed(
            site, number, (_C.state.in_(WAITING), _free(agent, now, over)), now, taken_by=agent, taken_at=now
        )

    async def release(self, site: str, number: int, agent: str) -> bool:
        """Let others call; whether it was the agent's."""
        own = update(callbacks).where(_C.site == site, _C.id == number, _C.taken_by == agent)
        done = await self._db.transact(lambda tx: tx.execute(own.values(taken_by=None, taken_at=None)))
        return bool(done.rowcount)

    async def change(
        self, site: str, number: int, state: State, *, agent: str, now: float, order: str | None = None
    ) -> Callback | None:
        """Note what became of a call; None if there is no such callback, or an order was closed in it. Raises
        CallTakenError if another agent calls."""
        values: dict[str, Any] = {"state": state, "agent": agent, "changed_at": now}
        values |= {"version": _C.version + 1, "taken_by": None, "taken_at": None}
        if state in ("missed", "reached"):
            values["calls"] = _C.calls + 1
        if order is not None:
            values["order"] = order
        # An order is recorded already: it belongs to the call, whoever calls.
        free = () if order is not None else (_free(agent, now),)
        return await self._changed(site, number, (_C.state != "ordered", *free), now, **values)

    async def _changed(
        self, site: str, number: int, which: Sequence[Any], now: float, **values: Any
    ) -> Callback | None:
        own = update(callbacks).where(_C.site == site, _C.id == number, *which)
        done = await self._db.transact(lambda tx: tx.execute(own.values(**values).returning(_C.id)))
        is_done, found = done.first() is not None, await self.get(site, number)
        if is_done or found is None:
            return found
        if (caller := found.caller(now)) is not None and caller != values.get("agent", values["taken_by"]):
            raise CallTakenError(caller)
        return None

    async def _listed(self, *which: Any, order: Sequence[Any] = (_C.id,), limit: int) -> Sequence[Callback]:
        query = _ALL.where(*which).order_by(*order).limit(limit)
        async with self._db.read() as connection:
            return [Callback(*row) for row in (await connection.execute(query)).all()]
