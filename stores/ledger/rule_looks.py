"""Looks at rules, texts and the hold-out: what was counted at fixed numbers of units, once and for all, and
the units that are counted, in the order of time.

A look counts on from the one before it, behind the last unit of that. So what a look said stands: an order
that is refunded later, or a person who is forgotten, changes no look that was taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, and_, case, exists, func, insert, literal, or_, select, update

from ...rules.sums import Goal
from .connection import Connection
from .database import Database
from .exposures import first_order, units
from .schema import conversations, exposures, rule_ends, rule_looks

Kind = Literal["rule", "text", "lift"]

SECONDS: Final = 30.0
"""Most time of a reading; nobody waits for it."""

CHAT_SECONDS: Final = 86400.0
"""After an invite was seen, in which a chat counts as its answer."""

MOST_TIMES: Final = 4
"""So many times the visitors who are wanted are looked through at most for those who count."""

SATISFIED: Final = 4
_E, _C, _L, _F = exposures.c, conversations.c, rule_looks.c, rule_ends.c


@dataclass(frozen=True, slots=True)
class Look:
    """A look: `rule` is empty for the hold-out. `counts` has by arm (empty for a rule) how many successes
    there were and of how many units, with those of the looks before; `until` is when the last of them began,
    `words` what was said, by arm. Look 0 is no look: it holds what was `planned`. Times in unix seconds."""

    kind: Kind
    rule: str
    edition: str
    look: int
    at: float
    until: float
    counts: Mapping[str, Sequence[int]]
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that counts once, when it began: a conversation of a rule, or a visitor who saw a text."""

    at: float
    arm: str
    success: bool


@dataclass(frozen=True, slots=True)
class Crowd:
    """The client network that most of an edition's conversations came from, or most of the visitors who saw
    it: `most` of `of`."""

    most: int
    of: int


def _edition(site: str, rule: str, edition: str) -> tuple[ColumnElement[bool], ...]:
    return _E.site == site, _E.rule == rule, _E.edition == edition


def _place(*groups: Any, order: Sequence[Any]) -> ColumnElement[int]:
    """The how manieth of its group a row is."""
    return func.row_number().over(partition_by=groups, order_by=order).label("place")


def _fits(own: Any, of_network: int) -> ColumnElement[bool]:
    """Whether a row is among the first of its client network, if that is known."""
    return or_(own.client.is_(None), own.place <= of_network)


class RuleLooks:
    """Of all sites. Times in unix seconds. Every method raises the ledger's errors."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, site: str) -> Sequence[Look]:
        """All looks of a site, those of an edition in their order."""
        columns = (_L.kind, _L.rule, _L.edition, _L.look, _L.at, _L.until, _L.counts, _L.words)
        query = select(*columns).where(_L.site == site).order_by(_L.kind, _L.rule, _L.edition, _L.look)

        async def work(connection: Connection) -> list[Look]:
            return [Look(*row) for row in (await connection.execute(query)).all()]

        return await self._db.query(work, SECONDS)

    async def add(self, site: str, look: Look) -> None:
        """Add a look; if it was taken before, that one stands."""
        key = {"site": site, "kind": look.kind, "rule": look.rule, "edition": look.edition, "look": look.look}

        async def work(tx: Connection) -> None:
            await tx.lock(f"rule looks {site}")
            there = select(_L.look).where(*(_L[name] == value for name, value in key.items()))
            if (await tx.execute(there)).first() is None:
                values = {"at": look.at, "until": look.until, "counts": look.counts, "words": look.words}
                await tx.execute(insert(rule_looks).values(**key, **values))

        await self._db.transact(work)

    async def say(self, site: str, look: Look, words: Mapping[str, str]) -> None:
        """Set what a look said: of rules that is known when all of the site are judged."""
        same = (
            *(_L.site == site, _L.kind == look.kind, _L.rule == look.rule),
            *(_L.edition == look.edition, _L.look == look.look),
        )

        async def work(tx: Connection) -> None:
            await tx.execute(update(rule_looks).where(*same).values(words=dict(words)))

        await self._db.transact(work)

    async def any_at(self, site: str) -> bool:
        """Whether anybody at a site was ever in an experiment."""
        return bool(await self._first(select(_E.id).where(_E.site == site, _E.eligible_at > 0).limit(1)))

    async def began(self, site: str, rule: str, edition: str) -> float | None:
        """When the first visitor was assigned in an edition."""
        own = (_E.site == site, _E.rule == rule, _E.edition == edition)
        row = await self._first(select(func.min(_E.assigned_at)).where(*own))
        return None if row is None else row[0]

    async def _first(self, query: Any) -> Any:
        async def work(connection: Connection) -> Any:
            return (await connection.execute(query)).first()

        return await self._db.query(work, SECONDS)

    async def _units(self, query: Any) -> list[Unit]:
        async def work(connection: Connection) -> list[Unit]:
            rows = (await connection.execute(query)).all()
            return [Unit(row.at, row.arm, bool(row.success)) for row in rows]

        return await self._db.query(work, SECONDS)

    # -- what is counted

    async def talks(
        self,
        site: str,
        rule: str,
        edition: str,
        *,
        goal: Goal,
        after: float,
        ripe: float,
        window: float,
        limit: int,
        of_network: int,
    ) -> Sequence[Unit]:
        """The conversations of an edition that began after a time and not after `ripe`, in the order of time:
        of each visitor the first one, and of each client network so many.

        For sales a success is an order within the window, and who had bought before is left out (seed E13).
        For support only rated conversations count, and a success is a rating of 4 or 5. To keep a customer
        (retention) is an order within the window, whether it had bought before or not.
        """
        joined = conversations.join(
            exposures,
            and_(
                *(_E.site == _C.site, _E.visitor == _C.visitor, _E.rule == _C.rule),
                *(_E.edition == edition, _E.assigned_at <= _C.started_at),
            ),
        )
        first = (
            select(_E.id, _E.visitor, _E.client, func.min(_C.started_at).label("at"))
            .select_from(joined)
            .where(_C.site == site, _C.rule == rule, _C.started_at <= ripe)
            .group_by(_E.id, _E.visitor, _E.client)
            .subquery("all_first")
        )
        place = _place(first.c.client, order=(first.c.at, first.c.id))
        first = select(*first.c, place).where(first.c.at > after).subquery("first")
        own = first.c
        ordered = first_order(site, own.visitor, own.at, own.at + window).correlate(first).scalar_subquery()
        which: list[ColumnElement[bool]] = [_fits(own, of_network)]
        success: ColumnElement[bool] = ordered.is_not(None)
        if goal == "sale":
            bought = first_order(site, own.visitor, own.at - window, own.at).correlate(first)
            which.append(bought.scalar_subquery().is_(None))
        elif goal == "support":
            rated = select(func.max(_C.rating)).where(
                _C.site == site, _C.visitor == own.visitor, _C.started_at == own.at
            )
            rating = rated.correlate(first).scalar_subquery()
            which.append(rating.is_not(None))
            success = rating >= SATISFIED
        one = case((success, 1), else_=0).label("success")
        query = select(own.at, literal("").label("arm"), one).where(*which)
        return await self._units(query.order_by(own.at, own.id).limit(limit))

    async def seen_counts(self, site: str, rule: str, edition: str, ripe: float) -> Mapping[str, int]:
        """How many visitors saw the invite of an edition not after a time, by arm."""
        own = (_E.site == site, _E.rule == rule, _E.edition == edition, _E.seen_at <= ripe)
        query = select(_E.arm, func.count()).where(*own).group_by(_E.arm)

        async def work(connection: Connection) -> Mapping[str, int]:
            return {row[0]: int(row[1]) for row in (await connection.execute(query)).all()}

        return await self._db.query(work, SECONDS)

    async def seen(
        self, site: str, rule: str, edition: str, *, after: float, ripe: float, limit: int, of_network: int
    ) -> Sequence[Unit]:
        """The visitors who saw the invite of an edition after a time and not after `ripe`, in the order of
        time, of each client network so many for each arm; a success is a conversation by it within
        CHAT_SECONDS."""
        which = (*_edition(site, rule, edition), _E.seen_at > after, _E.seen_at <= ripe)
        rows = select(_E.id, _E.visitor, _E.client, _E.arm, _E.seen_at.label("at")).where(*which)
        first = rows.order_by(_E.seen_at, _E.id).limit(MOST_TIMES * limit).subquery("first")
        placed = select(*first.c, _place(first.c.client, first.c.arm, order=(first.c.at, first.c.id)))
        seen = placed.subquery("seen")
        own = seen.c
        talk = exists().where(
            *(_C.site == site, _C.visitor == own.visitor, _C.rule == rule),
            *(_C.started_at >= own.at, _C.started_at < own.at + CHAT_SECONDS),
        )
        one = case((talk.correlate(seen), 1), else_=0).label("success")
        query = select(own.at, own.arm, one).where(_fits(own, of_network))
        return await self._units(query.order_by(own.at, own.id).limit(limit))

    async def crowds(self, site: str, rule: str, edition: str) -> tuple[Crowd, Crowd]:
        """From how many client networks an edition's conversations came, and the visitors who saw it."""
        joined = exposures.join(
            conversations,
            and_(
                *(_C.site == _E.site, _C.visitor == _E.visitor, _C.rule == _E.rule),
                _C.started_at >= _E.assigned_at,
            ),
        )
        talked = select(_E.client, func.count(_E.id.distinct()).label("count")).select_from(joined)
        saw = select(_E.client, func.count().label("count")).where(_E.seen_at.is_not(None))

        async def work(connection: Connection) -> tuple[Crowd, Crowd]:
            found = []
            for query in (talked, saw):
                counts = query.where(*_edition(site, rule, edition)).group_by(_E.client).subquery("counts")
                known = case((counts.c.client.is_not(None), counts.c.count))
                row = (await connection.execute(select(func.max(known), func.sum(counts.c.count)))).one()
                found.append(Crowd(int(row[0] or 0), int(row[1] or 0)))
            return found[0], found[1]

        return await self._db.query(work, SECONDS)

    async def assigned_at(
        self, site: str, edition: str, *, after: float, ripe: float, number: int
    ) -> float | None:
        """When the visitor with this number, from 1, was assigned in the hold-out's edition after a time;
        None if there are not so many who were not after `ripe`."""
        own = (_E.site == site, _E.rule == "", _E.edition == edition)
        query = select(_E.assigned_at).where(*own, _E.assigned_at > after, _E.assigned_at <= ripe)
        query = query.order_by(_E.assigned_at, _E.id).offset(number - 1).limit(1)
        row = await self._first(query)
        return None if row is None else row[0]

    async def outcomes(
        self, site: str, edition: str, *, after: float, until: float, window: float
    ) -> Mapping[str, tuple[int, int]]:
        """Of the hold-out's edition the orders and visitors by arm, of those who were assigned after a time
        and not after another."""
        which = (
            *(_E.site == site, _E.rule == "", _E.edition == edition),
            *(_E.assigned_at > after, _E.assigned_at <= until),
        )
        found = units(window, *which)
        ordered = func.sum(case((found.c.order_at.is_not(None), 1), else_=0))
        query = select(found.c.arm, ordered, func.count()).group_by(found.c.arm)

        async def work(connection: Connection) -> Mapping[str, tuple[int, int]]:
            return {row[0]: (int(row[1]), int(row[2])) for row in (await connection.execute(query)).all()}

        return await self._db.query(work, SECONDS)

    # -- rules that have ended

    async def ended(self, site: str) -> Mapping[tuple[str, str], tuple[float, Mapping[str, Any]]]:
        """The reports of rules that have ended, by rule and edition, and when each was made."""
        query = select(_F.rule, _F.edition, _F.at, _F.report).where(_F.site == site)

        async def work(connection: Connection) -> Mapping[tuple[str, str], tuple[float, Mapping[str, Any]]]:
            rows = (await connection.execute(query)).all()
            return {(row.rule, row.edition): (row.at, row.report) for row in rows}

        return await self._db.query(work, SECONDS)

    async def end(self, site: str, rule: str, edition: str, at: float, report: Mapping[str, Any]) -> None:
        """Keep the report of a rule that has ended; the first one stands."""

        async def work(tx: Connection) -> None:
            await tx.lock(f"rule looks {site}")
            same = (_F.site == site, _F.rule == rule, _F.edition == edition)
            if (await tx.execute(select(_F.at).where(*same))).first() is None:
                key = {"site": site, "rule": rule, "edition": edition}
                await tx.execute(insert(rule_ends).values(**key, at=at, report=dict(report)))

        await self._db.transact(work)
