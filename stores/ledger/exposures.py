"""Who was in which experiment, and how far it came: one row for each visitor and version of a rule.

Conversations and orders are not noted: they are looked up when the rows are counted, so that whatever is
learned of them later counts too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, and_, case, func, literal_column, or_, select, text

from ...orders.model import SALES
from .connection import Connection
from .database import Database
from .schema import conversations, exposures, orders

BATCH: Final = 200
"""Rows of a statement."""

TIMES: Final = ("eligible_at", "assigned_at", "rendered_at", "seen_at", "dismissed_at", "accepted_at")

_E, _C, _O = exposures.c, conversations.c, orders.c
_ONE: ColumnElement[int] = literal_column("1")
_NONE: ColumnElement[int] = literal_column("0")
_KEY: Final = ("site", "rule", "edition", "visitor")
_COLUMNS: Final = (*_KEY, "arm", *TIMES, "changed_at")
# The first time of each step counts, whoever tells it first, and a row without news is left alone.
_FIRST = ", ".join(f"{name} = coalesce(exposures.{name}, excluded.{name})" for name in TIMES[1:])
_NEWS = " OR ".join(f"(exposures.{name} IS NULL AND excluded.{name} IS NOT NULL)" for name in TIMES[1:])
_ADD = text(
    # Of constants alone; in this both databases have the same words, for which SQLAlchemy has none.
    f"INSERT INTO exposures ({', '.join(_COLUMNS)}, version) "  # noqa: S608
    f"VALUES ({', '.join(f':{name}' for name in _COLUMNS)}, 1) "
    f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {_FIRST}, changed_at = excluded.changed_at, "
    f"version = exposures.version + 1 WHERE {_NEWS}"
)

_GO_ON = text(
    f"UPDATE exposures SET {', '.join(f'{name} = coalesce({name}, :{name})' for name in TIMES[2:])}, "  # noqa: S608
    "changed_at = :changed_at, version = version + 1 "
    f"WHERE {' AND '.join(f'{name} = :{name}' for name in _KEY)}"
)


@dataclass(frozen=True, slots=True)
class Exposure:
    """A visitor in an experiment: `rule` is empty for the hold-out, `edition` the version of what is
    compared. `times` has unix seconds by step, of `referral.invites.STEPS`."""

    site: str
    rule: str
    edition: str
    visitor: str
    arm: str
    times: Mapping[str, float]

    def plus(self, times: Mapping[str, float]) -> "Exposure":
        """With further steps; the first time of each counts."""
        return Exposure(self.site, self.rule, self.edition, self.visitor, self.arm, {**times, **self.times})


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """Units of one arm, each visitor once.

    `orders` are those assigned who ordered within the window after that, whether they talked or not.
    `conversations` are those who talked after the invite (in the hold-out and its opposite: in any way).
    `post_purchase` talked after they had bought, and are in no other count of conversations. `matured` are
    those assigned longer ago than the window, `matured_orders` what they ordered; the same of conversations,
    where the window begins with the conversation.
    """

    rule: str
    edition: str
    arm: str
    # In the order of TIMES.
    eligible: int
    assigned: int
    rendered: int
    seen: int
    dismissed: int
    accepted: int
    conversations: int
    post_purchase: int
    orders: int
    conversation_orders: int
    matured: int
    matured_orders: int
    matured_conversations: int
    matured_conversation_orders: int
    first_at: float
    last_at: float


class Exposures:
    """The exposures of all sites. Every method raises the ledger's errors."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def write(self, rows: Collection[Exposure]) -> None:
        """Add rows, and steps to those that are there. Several processes may."""
        # In one order, so that two processes never wait for each other.
        ordered = sorted(rows, key=lambda one: (one.site, one.rule, one.edition, one.visitor))
        for start in range(0, len(ordered), BATCH):
            await self._db.transact(_adding([_values(one) for one in ordered[start : start + BATCH]]))

    async def count(
        self, site: str, *, now: float, window: float, rule: str | None = None
    ) -> Sequence[ArmCounts]:
        """The counts of each arm, of one rule (empty for the hold-out) or of all; orders within `window`
        seconds. By rule, the versions in the order in which they began, and arm."""
        judged = _judged(_units(site, window, rule), window)
        grouped = (judged.c.rule, judged.c.edition, judged.c.arm)
        query = select(*grouped, *_counted(judged, now, window)).group_by(*grouped)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        found = [ArmCounts(*row) for row in rows]
        began: dict[tuple[str, str], float] = {}
        for one in found:
            key = (one.rule, one.edition)
            began[key] = min(began.get(key, one.first_at), one.first_at)
        return sorted(found, key=lambda one: (one.rule, began[one.rule, one.edition], one.arm))


def _adding(values: list[dict[str, Any]]) -> Any:
    async def work(tx: Connection) -> None:
        for one in values:
            # Who was never eligible has no row: its invite is of another version, or was made by hand.
            await tx.execute(_ADD if one["eligible_at"] is not None else _GO_ON, one)

    return work


def _values(one: Exposure) -> dict[str, Any]:
    times = {f"{step}_at": at for step, at in one.times.items()}
    key = {"site": one.site, "rule": one.rule, "edition": one.edition, "visitor": one.visitor, "arm": one.arm}
    return {**dict.fromkeys(TIMES), **key, **times, "changed_at": max(one.times.values())}


def _units(site: str, window: float, rule: str | None) -> Subquery:
    """The rows with the first conversation that came of each, and the first order after its assignment."""
    talk = select(func.min(_C.started_at)).where(
        _C.site == _E.site,
        _C.visitor == _E.visitor,
        or_(_E.rule == "", _C.rule == _E.rule),
        _C.started_at >= _E.assigned_at,
    )
    order = _orders(_E.site, _E.visitor, _E.assigned_at, _E.assigned_at + window)
    own = [_E.site == site] + ([] if rule is None else [_E.rule == rule])
    columns = (_E.site, _E.rule, _E.edition, _E.arm, _E.visitor, *(_E[name] for name in TIMES))
    talked = talk.correlate(exposures).scalar_subquery().label("talk_at")
    ordered = order.correlate(exposures).scalar_subquery().label("order_at")
    return select(*columns, talked, ordered).where(*own).subquery("units")


def _orders(site: Any, visitor: Any, since: Any, until: Any) -> Select[Any]:
    """When the first order of a visitor was placed that is a sale as far as is known."""
    return select(func.min(_O.placed_at)).where(
        *(_O.site == site, _O.visitor == visitor, _O.state.in_(sorted(SALES)), _O.merged_into.is_(None)),
        *(_O.placed_at >= since, _O.placed_at < until),
    )


def _judged(units: Subquery, window: float) -> Subquery:
    """The units with the first order that came after the conversation, and the last sale before it."""
    own = units.c
    after = _orders(own.site, own.visitor, own.talk_at, own.talk_at + window)
    before = _orders(own.site, own.visitor, own.talk_at - window, own.talk_at)
    return select(
        *own,
        after.correlate(units).scalar_subquery().label("talk_order_at"),
        before.correlate(units).scalar_subquery().label("bought_at"),
    ).subquery("judged")


def _counted(judged: Subquery, now: float, window: float) -> list[Any]:
    """The columns of ArmCounts behind its key."""
    own = judged.c
    talked = and_(own.talk_at.is_not(None), own.bought_at.is_(None))
    matured, matured_talk = own.assigned_at <= now - window, and_(talked, own.talk_at <= now - window)
    return [
        *(_sum(own[name].is_not(None)) for name in TIMES),
        _sum(talked),
        _sum(own.bought_at.is_not(None)),
        _sum(own.order_at.is_not(None)),
        _sum(and_(talked, own.talk_order_at.is_not(None))),
        _sum(matured),
        _sum(and_(matured, own.order_at.is_not(None))),
        _sum(matured_talk),
        _sum(and_(matured_talk, own.talk_order_at.is_not(None))),
        func.min(own.eligible_at),
        func.max(own.eligible_at),
    ]


def _sum(which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((which, _ONE), else_=_NONE))
