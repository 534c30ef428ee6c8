"""The audit trail: who did what, when and from where. Lines are added, and deleted by age; none changes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import insert, or_, select

from .connection import Connection, executing
from .database import Database
from .schema import audit

PROGRAM: Final = ""
"""The site of what concerns the whole program."""

_LENGTHS: Final = {"who": 80, "action": 40, "subject": 200, "network": 64}
DETAIL_LENGTH: Final = 200
DETAILS: Final = 20
_C = audit.c


@dataclass(frozen=True, slots=True)
class Act:
    """What is written down. `who` is empty for a stranger, `network` for the command line. `details` are
    plain values; nothing that opens anything may be among them."""

    site: str
    who: str
    action: str
    subject: str = ""
    network: str = ""
    details: Mapping[str, str | int | None] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the trail; `at` in unix seconds."""

    id: int
    at: float
    site: str
    who: str
    action: str
    subject: str
    network: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WantedLines:
    """Which lines: of these sites, and if set, by whom, of which action, from a time and before one."""

    sites: Collection[str]
    who: str | None = None
    action: str | None = None
    since: float | None = None
    until: float | None = None


class Audit:
    """The lines of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, act: Act, now: float) -> None:
        """Add a line."""
        await self._db.transact(executing(_insert(act, now)))

    async def page(self, wanted: WantedLines, limit: int, before: int | None = None) -> Sequence[Line]:
        """The newest lines, or those before the one with this id."""
        query = select(audit).where(_C.site.in_(wanted.sites)).order_by(_C.id.desc()).limit(limit)
        if before is not None:
            query = query.where(_C.id < before)
        if wanted.who is not None:
            query = query.where(_C.who == wanted.who)
        if wanted.action is not None:
            # `login` also finds `login.failed`.
            query = query.where(
                or_(_C.action == wanted.action, _C.action.startswith(f"{wanted.action}.", autoescape=True))
            )
        if wanted.since is not None:
            query = query.where(_C.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(_C.at < wanted.until)

        async def work(connection: Connection) -> Sequence[Line]:
            return [Line(*row) for row in (await connection.execute(query)).all()]

        return await self._db.query(work)


def _insert(act: Act, now: float) -> Any:
    texts = {name: _plain(getattr(act, name))[:length] for name, length in _LENGTHS.items()}
    details = list((act.details or {}).items())[:DETAILS]
    kept = {name[:40]: _plain(v)[:DETAIL_LENGTH] if isinstance(v, str) else v for name, v in details}
    return insert(audit).values(at=now, site=act.site, **texts, details=kept)


def _plain(text: str) -> str:
    # A name with a line end or an override of its direction must not look like another line.
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
