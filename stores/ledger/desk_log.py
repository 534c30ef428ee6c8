"""What people did with conversations beside writing messages, and notes that only agents see.

Rows are only added. Their numbers are given in the order in which they become visible: whoever reads on from
the last one that it saw misses none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

from sqlalchemy import Integer, bindparam, delete, func, insert, select

from .connection import Connection, executing
from .database import Database
from .errors import NoConversationError
from .prepared import Prepared, values_of
from .schema import conversations, desk_log

Kind = Literal[
    "opened",
    "assigned",
    "taken",
    "transferred",
    "released",
    "closed",
    "rated",
    "blocked",
    "unblocked",
    "note",
    "mailed",
    "mail_failed",
    "presence",
    "load",
]

SHOWN: Final = 100
_C = desk_log.c
_COLUMNS = [column for column in _C if column.name != "id"]
_ADD = Prepared(insert(desk_log).values(values_of(_COLUMNS)))
_OF = Prepared(
    select(_C.id, _C.kind, _C.by, _C.agent, _C.before, _C.department, _C.why, _C.text, _C.at)
    .where(_C.conversation == bindparam("conversation"))
    .order_by(_C.id.desc())
    .limit(bindparam("limit", type_=Integer))
)


_AFTER = Prepared(
    select(
        _C.id,
        _C.site,
        _C.conversation,
        conversations.c.visitor,
        conversations.c.client,
        _C.kind,
        _C.agent,
        _C.before,
    )
    .outerjoin_from(desk_log, conversations, conversations.c.id == _C.conversation)
    .where(_C.id > bindparam("after"))
    .order_by(_C.id)
    .limit(SHOWN)
)
_NEWEST = Prepared(select(func.max(_C.id).label("newest")))


@dataclass(frozen=True, slots=True)
class Done:
    """A line to be added: see the table's columns."""

    kind: Kind
    site: str
    conversation: str | None = None
    by: str | None = None
    agent: str | None = None
    before: str | None = None
    department: str | None = None
    why: str | None = None
    text: str | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as it is shown. Times in unix seconds."""

    id: int
    kind: Kind
    by: str | None
    agent: str | None
    before: str | None
    department: str | None
    why: str | None
    text: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """Whom a line concerns. `client` is the client network of the conversation's last message."""

    id: int
    site: str
    conversation: str | None
    visitor: str | None
    client: str | None
    kind: Kind
    agent: str | None
    before: str | None


async def log(tx: Connection, *lines: Done) -> None:
    """Add lines in a transaction: the last thing that it does, since what it locks others wait for."""
    if not lines:
        return
    await tx.lock("desk log")
    for line in lines:
        values: Mapping[str, object] = asdict(line)
        await tx.execute(_ADD, values)


async def require_talk(tx: Connection, site: str, conversation: str) -> None:
    """Raise NoConversationError unless the conversation is there, and until the end of the transaction."""
    own = conversations.c
    found = select(own.id).where(own.site == site, own.id == conversation).with_for_update()
    if (await tx.execute(found)).first() is None:
        raise NoConversationError(f"site {site!r} has no conversation {conversation!r}")


async def forget_talk(tx: Connection, conversation: str, *, dry: bool) -> Sequence[int]:
    """Delete the lines of a conversation that is deleted; the lines."""
    ids = [row.id for row in await tx.execute(select(_C.id).where(_C.conversation == conversation))]
    if not dry:
        await tx.execute(delete(desk_log).where(_C.conversation == conversation))
    return ids


class DeskLog:
    """The lines of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, conversation: str, limit: int = SHOWN) -> Sequence[LogLine]:
        """The last lines of a conversation, oldest first."""
        rows = await self._db.query(executing(_OF, {"conversation": conversation, "limit": limit}))
        return [LogLine(*row) for row in reversed(rows.all())]

    async def after(self, number: int) -> Sequence[Told]:
        """The lines after one, at most so many, oldest first."""
        rows = await self._db.query(executing(_AFTER, {"after": number}), quick=True)
        return [Told(*row) for row in rows]

    async def newest(self) -> int:
        """The number of the newest line of all; 0 for none."""
        return int((await self._db.query(executing(_NEWEST), quick=True)).scalar() or 0)

    async def note(self, site: str, conversation: str, text: str, *, by: str, now: float) -> None:
        """Add an internal note. Raises NoConversationError."""
        line = Done("note", site, conversation, by=by, text=text, at=now)

        async def work(tx: Connection) -> None:
            await require_talk(tx, site, conversation)
            await log(tx, line)

        await self._db.transact(work)
