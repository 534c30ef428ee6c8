"""Who was in which experiment, and how far it came: one row for each visitor and version of a rule.

Conversations and orders are not noted: they are looked up when the rows are counted, so that whatever is
learned of them later counts too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, and_, case, func, literal_column, or_, select, text

from ...orders.model import SALES
from .amounts import is_made_up
from .connection import Connection
from .database import Database
from .forgotten import not_forgotten
from .schema import conversations, exposures, orders

BATCH: Final = 200
"""Rows of a statement."""

TIMES: Final = (
    *("eligible_at", "assigned_at", "rendered_at", "seen_at", "dismissed_at", "accepted_at", "went_on_at"),
)
SITUATION: Final = ("seconds", "visit", "cart", "cart_currency")
"""What is kept of the moment at which a visitor was assigned."""

_E, _C, _O = exposures.c, conversations.c, orders.c
_ONE: ColumnElement[int] = literal_column("1")
_NONE: ColumnElement[int] = literal_column("0")
_KEY: Final = ("site", "rule", "edition", "visitor")
_COLUMNS: Final = (*_KEY, "arm", *TIMES, *SITUATION, "client", "changed_at")
# The first time of each step counts, whoever tells it first, and a row without news is left alone.
_FIRST = ", ".join(
    f"{name} = coalesce(exposures.{name}, excluded.{name})" for name in (*TIMES[1:], *SITUATION, "client")
)
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
class Situation:
    """How a visitor stood when it was assigned: `seconds` on the site, in which `visit` (1 for its first),
    and the value of its cart (decimal text) in a currency, None where no cart is known."""

    seconds: int
    visit: int
    cart: str | None = None
    cart_currency: str | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """A visitor in an experiment: `rule` is empty for the hold-out, `edition` the version of what is
    compared. `times` has unix seconds by step, of `referral.invites.STEPS`; `situation` is known where it was
    assigned, and so is `client`, the pseudonym of its client network, unless that says nothing of clients."""

    site: str
    rule: str
    edition: str
    visitor: str
    arm: str
    times: Mapping[str, float]
    situation: Situation | None = None
    client: str | None = None

    def plus(self, other: "Exposure") -> "Exposure":
        """With further steps of the same visitor; the first time of each counts."""
        found = {**other.times, **self.times}
        situation, client = self.situation or other.situation, self.client or other.client
        return replace(self, times=found, situation=situation, client=client)


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """Units of one arm, each visitor once.

    `orders` are those assigned who ordered within the window after that, whether they talked or not.
    `conversations` are those who talked after the invite (in the hold-out and its opposite: in any way).
    `post_purchase` talked after they had bought, and are in no other count of conversations. `matured` are
    those assigned longer ago than the window, `matured_orders` what they ordered; the same of conversations,
    where the window begins with the conversation. `went_on` are those assigned who looked at another page in
    the same visit.
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
    went_on: int
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
        """Add rows, and steps to those that are there; none of people who are forgotten. Several processes
        may."""
        # In one order, so that two processes never wait for each other.
        ordered = sorted(rows, key=lambda one: (one.site, one.rule, one.edition, one.visitor))
        for start in range(0, len(ordered), BATCH):
            await self._db.transact(_adding([_values(one) for one in ordered[start : start + BATCH]]))

    async def count(
        self, site: str, *, now: float, window: float, rule: str | None = None
    ) -> Sequence[ArmCounts]:
        """The counts of each arm, of one rule (empty for the hold-out) or of all; orders within `window`
        seconds. By rule, the versions in the order in which they began, and arm."""
        judged = judged_units(_units(site, window, rule), window)
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
        known = await not_forgotten(tx, {(one["site"], one["visitor"]) for one in values})
        for one in values:
            if (one["site"], one["visitor"]) not in known:
                continue
            # Who was never eligible has no row: its invite is of another version, or was made by hand.
            await tx.execute(_ADD if one["eligible_at"] is not None else _GO_ON, one)

    return work


def _values(one: Exposure) -> dict[str, Any]:
    times = {f"{step}_at": at for step, at in one.times.items()}
    key = {"site": one.site, "rule": one.rule, "edition": one.edition, "visitor": one.visitor, "arm": one.arm}
    stood = dict.fromkeys(SITUATION) if one.situation is None else asdict(one.situation)
    return {
        **dict.fromkeys(TIMES),
        **key,
        **times,
        **stood,
        "client": one.client,
        "changed_at": max(one.times.values()),
    }


def _units(site: str, window: float, rule: str | None) -> Subquery:
    return units(window, _E.site == site, *([] if rule is None else [_E.rule == rule]))


def units(window: float, *which: ColumnElement[bool]) -> Subquery:
    """The rows of exposures for which all of this holds, with the first conversation that came of each, and
    the first order after its assignment."""
    talk = select(func.min(_C.started_at)).where(
        _C.site == _E.site,
        _C.visitor == _E.visitor,
        or_(_E.rule == "", _C.rule == _E.rule),
        _C.started_at >= _E.assigned_at,
    )
    order = first_order(_E.site, _E.visitor, _E.assigned_at, _E.assigned_at + window)
    columns = (*(_E[name] for name in ("id", *_KEY, "arm", *TIMES, *SITUATION)),)
    talked = talk.correlate(exposures).scalar_subquery().label("talk_at")
    ordered = order.correlate(exposures).scalar_subquery().label("order_at")
    return select(*columns, talked, ordered).where(*which).subquery("units")


def first_order(site: Any, visitor: Any, since: Any, until: Any) -> Select[Any]:
    """When the first order of a visitor was placed that is a sale as far as is known."""
    return select(func.min(_O.placed_at)).where(
        *(_O.site == site, _O.visitor == visitor, _O.state.in_(sorted(SALES)), _O.merged_into.is_(None)),
        *(_O.placed_at >= since, _O.placed_at < until, ~is_made_up()),
    )


def judged_units(units: Subquery, window: float) -> Subquery:
    """The units with the first order that came after the conversation, and the first sale of those before
    it."""
    own = units.c
    after = first_order(own.site, own.visitor, own.talk_at, own.talk_at + window)
    before = first_order(own.site, own.visitor, own.talk_at - window, own.talk_at)
    # Most talk to nobody, and are not looked up then.
    return select(
        *own,
        case((own.talk_at.is_not(None), after.correlate(units).scalar_subquery())).label("talk_order_at"),
        case((own.talk_at.is_not(None), before.correlate(units).scalar_subquery())).label("bought_at"),
    ).subquery("judged")


def _counted(judged: Subquery, now: float, window: float) -> list[Any]:
    """The columns of ArmCounts behind its key."""
    own = judged.c
    return [*counts(judged, now, window), func.min(own.eligible_at), func.max(own.eligible_at)]


def counts(judged: Subquery, now: float, window: float) -> list[ColumnElement[int]]:
    """What units come to, each with the name that it has in ArmCounts."""
    own = judged.c
    talked = and_(own.talk_at.is_not(None), own.bought_at.is_(None))
    matured, matured_talk = own.assigned_at <= now - window, and_(talked, own.talk_at <= now - window)
    found: dict[str, ColumnElement[bool]] = {
        **{name.removesuffix("_at"): own[name].is_not(None) for name in TIMES},
        "conversations": talked,
        "post_purchase": own.bought_at.is_not(None),
        "orders": own.order_at.is_not(None),
        "conversation_orders": and_(talked, own.talk_order_at.is_not(None)),
        "matured": matured,
        "matured_orders": and_(matured, own.order_at.is_not(None)),
        "matured_conversations": matured_talk,
        "matured_conversation_orders": and_(matured_talk, own.talk_order_at.is_not(None)),
    }
    return [_sum(which).label(name) for name, which in found.items()]


def _sum(which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((which, _ONE), else_=_NONE))
