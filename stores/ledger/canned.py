"""The canned answers of sites and of agents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Integer, bindparam, delete, func, insert, or_, select, update

from .connection import Connection, executing
from .database import Database
from .prepared import Prepared
from .schema import canned, canned_sites

MOST: Final = 200
"""Answers of a site, and of each agent at a site."""
SHORTCUT_LENGTH: Final = 30
TEXT_LENGTH: Final = 2000

_C = canned.c
_OF = Prepared(
    select(_C.id, _C.agent, _C.shortcut, _C.texts)
    .where(_C.site == bindparam("site"), or_(_C.agent == bindparam("agent"), _C.agent == ""))
    .order_by(_C.agent.desc(), _C.shortcut)
    .limit(bindparam("limit", type_=Integer))
)
_SEEDED = Prepared(select(canned_sites.c.site).where(canned_sites.c.site == bindparam("site")))
SITE: Final = ""
"""The agent of the answers that all agents of a site have."""


@dataclass(frozen=True, slots=True)
class Canned:
    """A canned answer: its text by language. `agent` is whose it is, SITE for all agents' of the site."""

    id: int
    agent: str
    shortcut: str
    texts: Mapping[str, str]


class CannedError(ValueError):
    """An answer that cannot be kept; the text says why."""


class CannedAnswers:
    """The canned answers of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, site: str, agent: str) -> tuple[Canned, ...]:
        """An agent's own, then those of the site, each by shortcut."""
        given = {"site": site, "agent": agent, "limit": 2 * MOST}
        rows = await self._db.query(executing(_OF, given))
        return tuple(Canned(*row) for row in rows)

    async def seeded(self, site: str) -> bool:
        """Whether the site was given its first answers."""
        return (await self._db.query(executing(_SEEDED, {"site": site}))).first() is not None

    async def seed(self, site: str, answers: Sequence[tuple[str, Mapping[str, str]]], now: float) -> None:
        """Give a site its first answers, shortcuts and texts by language, unless it had them before."""

        async def work(tx: Connection) -> None:
            await tx.lock(f"canned {site}")
            if (await tx.execute(_SEEDED, {"site": site})).first() is not None:
                return
            await tx.execute(insert(canned_sites).values(site=site, at=now))
            # A lead may have been quicker.
            own = select(_C.shortcut).where(_C.site == site, _C.agent == SITE)
            known = {row.shortcut for row in await tx.execute(own)}
            for shortcut, texts in answers:
                if shortcut not in known:
                    row: dict[str, Any] = {"site": site, "agent": SITE, "shortcut": shortcut}
                    await tx.execute(insert(canned).values(**row, texts=dict(texts), changed_at=now))

        await self._db.transact(work)

    async def save(
        self,
        site: str,
        agent: str,
        shortcut: str,
        language: str,
        text: str,
        now: float,
        row: int | None = None,
    ) -> None:
        """Write the text of an answer in a language; the other languages of it stay. `row` is the answer that
        is changed, which may get another shortcut; without it, it is the one that has the shortcut, or a new
        one. Raises CannedError."""

        async def work(tx: Connection) -> None:
            await tx.lock(f"canned {site}")
            mine = (_C.site == site, _C.agent == agent)
            same = (await tx.execute(select(_C.id, _C.texts).where(*mine, _C.shortcut == shortcut))).first()
            found = same
            if row is not None:
                found = (await tx.execute(select(_C.id, _C.texts).where(*mine, _C.id == row))).first()
                if found is None:
                    raise CannedError("this answer was removed meanwhile")
                if same is not None and same.id != row:
                    raise CannedError(f"there is another answer with the shortcut /{shortcut}")
            if found is not None:
                changed = update(canned).where(_C.id == found.id)
                texts = {**found.texts, language: text}
                await tx.execute(changed.values(shortcut=shortcut, texts=texts, changed_at=now))
                return
            if int(await tx.scalar(select(func.count()).where(*mine)) or 0) >= MOST:
                raise CannedError(f"there are {MOST} answers already: remove one first")
            new: dict[str, Any] = {"site": site, "agent": agent, "shortcut": shortcut}
            await tx.execute(insert(canned).values(**new, texts={language: text}, changed_at=now))

        await self._db.transact(work)

    async def remove(self, site: str, agent: str, row: int, language: str | None = None) -> None:
        """Remove an answer, or its text in one language; with the last text it goes, too."""

        async def work(tx: Connection) -> None:
            await tx.lock(f"canned {site}")
            mine = (_C.site == site, _C.agent == agent, _C.id == row)
            found = (await tx.execute(select(_C.texts).where(*mine))).first()
            if found is None:
                return
            left = {name: text for name, text in found.texts.items() if name != language}
            if language is None or not left:
                await tx.execute(delete(canned).where(*mine))
            else:
                await tx.execute(update(canned).where(*mine).values(texts=left))

        await self._db.transact(work)
