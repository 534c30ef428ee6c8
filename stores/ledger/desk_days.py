"""How long agents were there for conversations, by day."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import insert, select, update

from .connection import Connection
from .database import Database
from .schema import desk_days

_D = desk_days.c


class DeskDays:
    """Of all sites. Raises the ledger's errors."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, there: Mapping[tuple[str, str, str], tuple[float, float]]) -> None:
        """Add to the sums by site, agent and day (`2026-11-27`): seconds, and the same times the
        conversations that the agent takes at once."""

        async def work(tx: Connection) -> None:
            await tx.lock("desk days")
            for (site, agent, day), (seconds, places) in sorted(there.items()):
                same = (_D.site == site, _D.agent == agent, _D.day == day)
                more = {"seconds": _D.seconds + seconds, "places": _D.places + places}
                if not (await tx.execute(update(desk_days).where(*same).values(**more))).rowcount:
                    new = {"site": site, "agent": agent, "day": day, "seconds": seconds, "places": places}
                    await tx.execute(insert(desk_days).values(**new))

        await self._db.transact(work)

    async def of(self, site: str, since: str, until: str) -> Mapping[str, Mapping[str, tuple[float, float]]]:
        """The sums by day and agent, from the day `since` and before `until`."""
        query = select(_D.day, _D.agent, _D.seconds, _D.places)
        query = query.where(_D.site == site, _D.day >= since, _D.day < until)

        async def work(connection: Connection) -> Mapping[str, Mapping[str, tuple[float, float]]]:
            found: defaultdict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
            for row in (await connection.execute(query)).all():
                found[row.day][row.agent] = (row.seconds, row.places)
            return found

        return await self._db.query(work)
