"""The tags of conversations."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete, func, insert, select

from .connection import Connection, executing
from .database import Database
from .errors import NoConversationError
from .schema import conversation_tags, conversations

MOST: Final = 10
"""Tags of a conversation."""
TAG_LENGTH: Final = 30
USED: Final = 100
"""Tags of a site that are proposed, those used last; so many uses are looked at for each of them."""
USES: Final = 2000

_T = conversation_tags.c


class TagError(ValueError):
    """A tag that cannot be given; `kind` is a key of TAG_ERRORS, and the text what that says."""

    def __init__(self, kind: str) -> None:
        super().__init__(TAG_ERRORS[kind])
        self.kind = kind


TAG_ERRORS: Final[Mapping[str, str]] = {
    "empty": "the tag is empty",
    "long": f"at most {TAG_LENGTH} characters are kept",
    "letters": "a tag has no comma and no control characters",
    "many": f"the conversation has {MOST} tags already: remove one first",
    "unknown": "it is none of the tags in the settings",
}


def tag_of(said: str) -> str:
    """A tag as it is kept: small letters, no blanks around it, at most 30 characters. Raises TagError."""
    plain = re.sub(r"\s+", " ", unicodedata.normalize("NFC", said)).strip().strip("#").lower()
    if not plain:
        raise TagError("empty")
    if len(plain) > TAG_LENGTH:
        raise TagError("long")
    if any(unicodedata.category(letter).startswith("C") for letter in plain) or "," in plain:
        raise TagError("letters")
    return plain


class Tags:
    """The tags of all sites' conversations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, conversation: str) -> Sequence[str]:
        """The tags of a conversation, in the order of the alphabet."""
        query = select(_T.tag).where(_T.conversation == conversation).order_by(_T.tag).limit(MOST)
        return [row.tag for row in await self._db.query(executing(query))]

    async def of_several(self, conversations: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The tags of conversations, without those that have none."""
        found = defaultdict[str, list[str]](list)
        query = select(_T.conversation, _T.tag).where(_T.conversation.in_(conversations)).order_by(_T.tag)
        for row in await self._db.query(executing(query)):
            found[row.conversation].append(row.tag)
        return found

    async def used(self, site: str) -> Sequence[str]:
        """The tags that a site has used last, at most 100, in the order of the alphabet."""
        newest = select(_T.tag).where(_T.site == site).order_by(_T.at.desc()).limit(USES).subquery()
        query = select(newest.c.tag).distinct().limit(USED)
        return sorted(row.tag for row in await self._db.query(executing(query)))

    async def add(self, site: str, conversation: str, tag: str, agent: str, now: float) -> None:
        """Give a conversation a tag. Raises TagError if it has 10, NoConversationError."""

        async def work(tx: Connection) -> None:
            known = select(conversations.c.id).where(
                conversations.c.site == site, conversations.c.id == conversation
            )
            # Locked, so that two who add at once do not both add the tenth.
            if (await tx.execute(known.with_for_update())).first() is None:
                raise NoConversationError(f"site {site!r} has no conversation {conversation!r}")
            mine = _T.conversation == conversation
            if (await tx.execute(select(_T.tag).where(mine, _T.tag == tag))).first() is not None:
                return
            if int(await tx.scalar(select(func.count()).where(mine)) or 0) >= MOST:
                raise TagError("many")
            row = {"conversation": conversation, "tag": tag, "site": site, "agent": agent, "at": now}
            await tx.execute(insert(conversation_tags).values(**row))

        await self._db.transact(work)

    async def remove(self, site: str, conversation: str, tag: str) -> None:
        """Take a tag away."""
        which = (_T.site == site, _T.conversation == conversation, _T.tag == tag)
        await self._db.transact(executing(delete(conversation_tags).where(*which)))
