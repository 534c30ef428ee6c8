"""Files and pictures of conversations. Their bytes are in the ledger, in parts: each process finds them
there, backups have them, and they go with whoever is forgotten."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, or_, select, update

from .connection import Connection, executing
from .database import Database
from .prepared import Prepared
from .schema import conversations, file_parts, files, messages

PART: Final = 256 * 1024
"""Bytes of a part: a few milliseconds of a transaction, in which no other writer has to wait for long."""

AT_ONCE: Final = 20
"""Files of a transaction that deletes."""

UNFINISHED_SECONDS: Final = 3600.0
"""After this long, a file without a message belongs to an upload that broke off."""

_F, _P = files.c, file_parts.c


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is delivered: its name has the ending of its type. Pictures have `width` and `height`."""

    id: str
    name: str
    type: str
    size: int
    width: int | None = None
    height: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The same for a message."""
        shape = {"width": self.width, "height": self.height} if self.width else {}
        return {"id": self.id, "name": self.name, "type": self.type, "size": self.size, **shape}


_COLUMNS = [_F[name] for name in ("id", "name", "type", "size", "width", "height")]
_OF_TALK = Prepared(
    select(*_COLUMNS, _F.conversation)
    .join(conversations, conversations.c.id == _F.conversation)
    .where(_F.id == bindparam("file"), _F.site == bindparam("site"), _F.message.is_not(None))
)
_OF_VISITOR = Prepared(
    select(*_COLUMNS, _F.conversation)
    .join(conversations, conversations.c.id == _F.conversation)
    .where(
        _F.id == bindparam("file"),
        _F.site == bindparam("site"),
        _F.message.is_not(None),
        conversations.c.visitor == bindparam("visitor"),
    )
)
_IN_TALK = Prepared(select(func.count()).where(_F.conversation == bindparam("conversation")))


class FilesFullError(Exception):
    """The site keeps as many bytes as it may."""


class ManyFilesError(Exception):
    """The conversation has as many files as it may."""


def _kept(site: str) -> Select[Any]:
    return select(func.coalesce(func.sum(_F.size), 0)).where(_F.site == site)


class Files:
    """The files of all sites. Every question is bound to a site; times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def begin(
        self, site: str, file: File, now: float, *, room: int, conversation: str | None = None, most: int = 0
    ) -> None:
        """Note a file of which the bytes will follow; nobody sees it before its message is written. Raises
        FilesFullError if the site would keep more than `room` bytes, and ManyFilesError if the conversation
        would have more than `most`."""
        row = {name: getattr(file, name) for name in ("id", "name", "type", "size", "width", "height")}

        async def work(tx: Connection) -> None:
            # One at a time: two would else take the last place together.
            await tx.lock(f"files {site}")
            if conversation is not None:
                given = {"conversation": conversation}
                if int((await tx.execute(_IN_TALK, given)).scalar() or 0) >= most:
                    raise ManyFilesError
            if int(await tx.scalar(_kept(site)) or 0) + file.size > room:
                raise FilesFullError
            # It counts at once; `message` is written with its message.
            await tx.execute(insert(files).values(site=site, at=now, conversation=conversation, **row))

        await self._db.transact(work)

    async def add_part(self, file: str, part: int, data: bytes) -> None:
        """Write the next bytes, at most PART."""
        await self._db.transact(executing(insert(file_parts).values(file=file, part=part, data=data)))

    async def drop(self, file: str) -> None:
        """Delete a file, of which the upload broke off or was a repeat."""
        await self._db.transact(lambda tx: delete_files(tx, [file]))

    async def find(self, site: str, file: str, visitor: str | None = None) -> tuple[File, str] | None:
        """A file of the site, or of this visitor, and its conversation; None without one."""
        given = {"site": site, "file": file}
        if visitor is None:
            rows = await self._db.query(executing(_OF_TALK, given))
        else:
            rows = await self._db.query(executing(_OF_VISITOR, given | {"visitor": visitor}))
        row = rows.first()
        return None if row is None else (File(*row[:6]), row.conversation)

    async def parts(self, file: str) -> AsyncIterator[bytes]:
        """The bytes, part by part."""
        part = 0
        while True:
            query = select(_P.data).where(_P.file == file, _P.part == part)
            row = (await self._db.query(executing(query))).first()
            if row is None:
                return
            yield bytes(row.data)
            part += 1

    async def kept(self, site: str) -> int:
        """How many bytes of a site are kept."""
        return int((await self._db.query(executing(_kept(site)))).scalar() or 0)

    async def count(self, conversation: str) -> int:
        """How many files a conversation has."""
        given = {"conversation": conversation}
        return int((await self._db.query(executing(_IN_TALK, given))).scalar() or 0)

    async def prune(self, before: Mapping[str, float], now: float) -> int:
        """Delete the files of each site that are from before its time, at most AT_ONCE, and what is left of
        uploads that broke off; how many. Their messages stay, and say that the file is no longer kept."""
        old: list[ColumnElement[bool]] = [(_F.site == site) & (_F.at < at) for site, at in before.items()]
        broken = _F.message.is_(None) & (_F.at < now - UNFINISHED_SECONDS)

        async def work(tx: Connection) -> int:
            ids = [row.id for row in await tx.execute(select(_F.id).where(or_(broken, *old)).limit(AT_ONCE))]
            await delete_files(tx, ids)
            return len(ids)

        return await self._db.transact(work)


async def delete_files(tx: Connection, ids: Sequence[str]) -> None:
    """Delete files with their bytes; their messages no longer offer them."""
    if not ids:
        return
    found = (await tx.execute(select(_F.message).where(_F.id.in_(ids), _F.message.is_not(None)))).all()
    for row in found:
        await tx.execute(update(messages).where(messages.c.id == row.message).values(kind=None, extra=None))
    await tx.execute(delete(file_parts).where(_P.file.in_(ids)))
    await tx.execute(delete(files).where(_F.id.in_(ids)))


def new_file_id() -> str:
    """The id of a new file, which nobody can guess."""
    return secrets.token_urlsafe(16)
