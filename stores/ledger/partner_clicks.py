"""How many clicks each partner had on each day."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import func, insert, select, update

from .connection import Connection
from .database import Database
from .schema import partner_clicks

_C = partner_clicks.c


class PartnerClicks:
    """The sums of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, counted: Mapping[tuple[str, str, str], int]) -> None:
        """Add to the sums, by site, partner and day (`2026-11-27`). Several processes may."""

        async def work(tx: Connection) -> None:
            await tx.lock("partner_clicks")
            for (site, partner, day), number in sorted(counted.items()):
                same = (_C.site == site, _C.partner == partner, _C.day == day)
                changed = update(partner_clicks).where(*same).values(count=_C.count + number)
                if not (await tx.execute(changed)).rowcount:
                    new = insert(partner_clicks)
                    await tx.execute(new.values(site=site, partner=partner, day=day, count=number))

        await self._db.transact(work)

    async def by_partner(self, site: str, since: str, until: str) -> Mapping[str, int]:
        """The clicks of each of the site's partners, from the day `since` and before `until`."""
        own = (_C.site == site, _C.day >= since, _C.day < until)
        query = select(_C.partner, func.sum(_C.count)).where(*own).group_by(_C.partner)
        async with self._db.read() as connection:
            return {row[0]: int(row[1]) for row in await connection.execute(query)}

    async def days(self, site: str, since: str, last: str) -> Mapping[str, Mapping[str, int]]:
        """By day, the clicks of each of the site's partners, from the day `since` to the day `last`."""
        own = (_C.site == site, _C.day >= since, _C.day <= last)
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        async with self._db.read() as connection:
            for row in await connection.execute(select(_C.day, _C.partner, _C.count).where(*own)):
                found[row.day][row.partner] = row.count
        return found

    async def of(self, site: str, partner: str, since: str, until: str) -> Mapping[str, int]:
        """The partner's clicks by day, from the day `since` and before `until`, without days of none."""
        own = (_C.site == site, _C.partner == partner, _C.day >= since, _C.day < until)
        async with self._db.read() as connection:
            rows = (await connection.execute(select(_C.day, _C.count).where(*own))).all()
        return {row.day: row.count for row in rows}
