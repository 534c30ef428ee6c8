"""Who has looked at which rule of a site when, and what people say of the conversations that rules began."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, delete, func, insert, select, update

from ...referral.masking import without_acting
from .connection import Connection, executing
from .database import Database
from .rule_revisions import BY_LENGTH
from .schema import conversations, rule_reviews

TALKS: Final = 30
"""Conversations of a rule that are shown to be read."""

_R, _C = rule_reviews.c, conversations.c


@dataclass(frozen=True, slots=True)
class Review:
    """When somebody looked at a rule last, in unix seconds; with an empty `by` nobody has, and it is when the
    rule was first there."""

    at: float
    by: str


@dataclass(frozen=True, slots=True)
class RuleTalk:
    """A conversation that a rule began. `sensible`: what a person who read it says; None: nothing yet."""

    id: str
    started_at: float
    agent: str | None
    said: int
    rating: int | None
    sensible: bool | None


class RuleReviews:
    """Of all sites. Raises LedgerError."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, site: str) -> Mapping[str, Review]:
        """The last review of each rule."""
        query = select(_R.rule, _R.at, _R.by).where(_R.site == site)
        return {row.rule: Review(row.at, row.by) for row in await self._db.query(executing(query))}

    async def note(self, site: str, rules: Iterable[str], by: str, now: float) -> None:
        """Somebody has looked at these rules."""
        values = {"at": now, "by": without_acting(by)[:BY_LENGTH]}

        async def work(tx: Connection) -> None:
            await tx.lock(f"rule reviews {site}")
            for rule in dict.fromkeys(rules):
                same = (_R.site == site, _R.rule == rule)
                if not (await tx.execute(update(rule_reviews).where(*same).values(**values))).rowcount:
                    await tx.execute(insert(rule_reviews).values(site=site, rule=rule, **values))

        await self._db.transact(work)

    async def begin(self, site: str, rules: Sequence[str], now: float) -> Mapping[str, Review]:
        """Begin to count for rules that are new, and drop those that are gone. Returns the reviews of all."""
        before = await self.of(site)
        if before.keys() == set(rules):
            return before

        async def work(tx: Connection) -> None:
            await tx.lock(f"rule reviews {site}")
            there = {row.rule for row in await tx.execute(select(_R.rule).where(_R.site == site))}
            for rule in there.difference(rules):
                await tx.execute(delete(rule_reviews).where(_R.site == site, _R.rule == rule))
            new = [{"site": site, "rule": rule, "at": now, "by": ""} for rule in dict.fromkeys(rules)]
            if new := [one for one in new if one["rule"] not in there]:
                await tx.execute(insert(rule_reviews), new)

        await self._db.transact(work)
        return await self.of(site)

    async def talks(self, site: str, rule: str, since: float) -> Sequence[RuleTalk]:
        """The newest conversations of a rule in which an agent answered; those that nobody has marked come
        first."""
        agent = func.coalesce(_C.agent, _C.answered_by)
        query = (
            select(_C.id, _C.started_at, agent, _C.said, _C.rating, _C.sensible)
            .where(_C.site == site, _C.rule == rule, _C.started_at >= since, _C.answered_at.is_not(None))
            .order_by(case((_C.sensible.is_(None), 0), else_=1), _C.started_at.desc())
            .limit(TALKS)
        )
        return [RuleTalk(*row) for row in await self._db.query(executing(query))]

    async def mark(self, site: str, conversation: str, sensible: bool | None) -> bool:
        """Say whether a conversation that a rule began made sense; None takes it back. Returns whether there
        is such a conversation."""
        which = (_C.site == site, _C.id == conversation, _C.rule.is_not(None))
        change = update(conversations).where(*which).values(sensible=sensible)

        async def work(tx: Connection) -> bool:
            return bool((await tx.execute(change)).rowcount)

        return await self._db.transact(work)

    async def marks(self, site: str, since: float) -> Mapping[str, tuple[int, int]]:
        """By rule, how many of its conversations made sense, and of how many that was said."""
        good = func.sum(case((_C.sensible.is_(True), 1), else_=0))
        query = (
            select(_C.rule, good.label("good"), func.count().label("n"))
            .where(_C.site == site, _C.rule.is_not(None), _C.started_at >= since, _C.sensible.is_not(None))
            .group_by(_C.rule)
        )
        return {row.rule: (int(row.good), int(row.n)) for row in await self._db.query(executing(query))}
