"""Answers that go out by mail: whom they go to, and the queue of those that are due.

A mail is put into the queue by the transaction that writes the answer, so that none is lost. Before it is
sent it is marked as being sent. If the process dies then, nobody knows whether the mail server has taken it:
it is sent again under the same Message-ID, which mail programs show once.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, insert, or_, select, update

from .connection import Connection
from .database import Database
from .desk_log import Done, Kind, log
from .schema import conversations, mails, messages, reply_addresses

PAUSE: Final = 60.0
"""Seconds between an answer and its mail: what is written meanwhile goes along, what is read need not go."""

ANSWERS: Final = 50
"""Answers of one mail at most."""

_M, _A, _R, _T = mails.c, reply_addresses.c, messages.c, conversations.c


@dataclass(frozen=True, slots=True, kw_only=True)
class DueMail:
    """A mail that this process has taken, until `lease`. `first` is the id of the conversation's first mail,
    None if this is it; `attempts` includes the one that begins."""

    id: str
    site: str
    conversation: str
    mail: str
    language: str
    question: str
    answers: Sequence[str]
    first: str | None
    attempts: int
    created_at: float
    lease: float


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the answers of a conversation go to, and what became of the last mail: its state, None if there
    is none yet, the mail server's last answer, and since when."""

    mail: str
    state: str | None = None
    answer: str = ""
    at: float | None = None


class Mails:
    """Reply addresses and mails of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ask(self, site: str, conversation: str, visitor: str, mail: str, now: float) -> bool:
        """Note that the answers of a conversation go to an address too, which has been checked; False if the
        conversation was deleted meanwhile."""
        values = {"site": site, "visitor": visitor, "mail": mail, "at": now}

        async def work(tx: Connection) -> bool:
            await tx.lock(f"mail {conversation}")
            there = select(_T.id).where(_T.site == site, _T.id == conversation)
            if (await tx.execute(there)).first() is None:
                return False
            known = update(reply_addresses).where(_A.conversation == conversation)
            if not (await tx.execute(known.values(**values))).rowcount:
                await tx.execute(insert(reply_addresses).values(conversation=conversation, **values))
            return True

        return await self._db.transact(work)

    async def reply(self, site: str, conversation: str) -> Reply | None:
        """Where the answers of a conversation go to; None if nowhere."""
        address = select(_A.mail).where(_A.site == site, _A.conversation == conversation)
        last = select(_M.state, _M.last_answer, _M.finished_at, _M.created_at)
        last = last.where(_M.conversation == conversation).order_by(_M.created_at.desc()).limit(1)
        async with self._db.read() as connection:
            mail = (await connection.execute(address)).scalar()
            if mail is None:
                return None
            row = (await connection.execute(last)).first()
        if row is None:
            return Reply(mail)
        return Reply(mail, row.state, row.last_answer or "", row.finished_at or row.created_at)

    async def asked(self, site: str, ids: Sequence[str]) -> frozenset[str]:
        """Those of these conversations whose answers go out by mail."""
        if not ids:
            return frozenset()
        query = select(_A.conversation).where(_A.site == site, _A.conversation.in_(ids))
        async with self._db.read() as connection:
            return frozenset(row[0] for row in (await connection.execute(query)).all())

    async def sent(self, site: str, since: float) -> int:
        """How many mails of a site were sent since a time."""
        own = (_M.site == site, _M.state == "sent", _M.finished_at > since)
        async with self._db.read() as connection:
            return int((await connection.execute(select(func.count()).where(*own))).scalar() or 0)

    async def claim(self, now: float, seconds: float) -> DueMail | None:
        """Take the next mail that is due, for so many seconds; None if there is none."""
        while True:
            found = await self._db.transact(lambda tx: _claim(tx, now, now + seconds))
            if found is not _AGAIN:
                assert found is None or isinstance(found, DueMail)
                return found

    async def finish(
        self,
        one: DueMail,
        state: str,
        now: float,
        *,
        answer: str = "",
        next_at: float = 0,
        counts: bool = True,
    ) -> None:
        """Note what became of a mail: `sent` or `dead`, or `due` again at `next_at`; an attempt that was not
        made does not count. What was sent or failed stands in the conversation's log."""
        own = (_M.id == one.id, _M.lease_until == one.lease)
        values: dict[str, Any] = {"state": state, "lease_until": None, "last_answer": answer[:300]}
        values["finished_at"] = None if state == "due" else now
        values |= {"next_at": next_at} if state == "due" else {}
        values |= {} if counts else {"attempts": one.attempts - 1}

        async def work(tx: Connection) -> None:
            # Locked before its mails, as by who answers in it.
            await tx.execute(select(_T.id).where(_T.id == one.conversation).with_for_update())
            done = await tx.execute(update(mails).where(*own).values(**values))
            if done.rowcount and state in _LOGGED:
                line = Done(_LOGGED[state], one.site, one.conversation, text=answer[:300] or None, at=now)
                await log(tx, line)

        await self._db.transact(work)


async def queue_answer(tx: Connection, site: str, conversation: str, message: int, now: float) -> None:
    """Put an answer into the queue, if the visitor wants it by mail. One that has not been taken yet takes it
    along."""
    await tx.lock(f"mail {conversation}")
    mail = (await tx.execute(select(_A.mail).where(_A.conversation == conversation))).scalar()
    if mail is None:
        return
    untaken = (_M.conversation == conversation, _M.state == "due", _M.attempts == 0)
    if (await tx.execute(select(_M.id).where(*untaken).limit(1))).first() is not None:
        return
    row = {"id": secrets.token_hex(16), "site": site, "conversation": conversation, "mail": mail}
    times = {"after": message - 1, "attempts": 0, "next_at": now + PAUSE, "created_at": now}
    await tx.execute(insert(mails).values(**row, **times, state="due"))


async def forget_mails(tx: Connection, conversation: str) -> None:
    """Delete what is kept of a conversation's mails, in a transaction that has changed or locked the
    conversation. An address that is noted at the same time waits for what becomes of that."""
    await tx.lock(f"mail {conversation}")
    await tx.execute(delete(mails).where(_M.conversation == conversation))
    await tx.execute(delete(reply_addresses).where(_A.conversation == conversation))


_AGAIN: Final = object()
_LOGGED: Final[Mapping[str, Kind]] = {"sent": "mailed", "dead": "mail_failed"}


async def _claim(tx: Connection, now: float, until: float) -> object:
    free = or_(_M.lease_until.is_(None), _M.lease_until <= now)
    due = select(mails).where(_M.state.in_(("due", "sending")), _M.next_at <= now, free)
    due = due.order_by(_M.next_at).limit(1).with_for_update(skip_locked=True)
    row = (await tx.execute(due)).first()
    if row is None:
        return None
    await tx.lock(f"mail {row.conversation}")
    talk = (await tx.execute(select(_T.language, _T.visitor_saw).where(_T.id == row.conversation))).first()
    after = row.after if row.attempts else max(row.after, (talk and talk.visitor_saw) or 0)
    answers = await _answers(tx, row, after)
    own = update(mails).where(_M.id == row.id)
    if talk is None or not answers:
        # Read in the chat meanwhile, or deleted.
        await tx.execute(own.values(state="read", finished_at=now, lease_until=None))
        return _AGAIN
    taken: Mapping[str, Any] = {"after": after, "through": answers[-1].id, "attempts": row.attempts + 1}
    await tx.execute(own.values(state="sending", lease_until=until, **taken))
    asked = select(_R.text).where(_R.conversation == row.conversation, _R.author == "visitor")
    question = asked.where(_R.id <= answers[-1].id).order_by(_R.id.desc()).limit(1)
    earlier = select(_M.id).where(_M.conversation == row.conversation, _M.state == "sent")
    first = (await tx.execute(earlier.order_by(_M.created_at).limit(1))).scalar()
    return DueMail(
        id=row.id,
        site=row.site,
        conversation=row.conversation,
        mail=row.mail,
        language=talk.language,
        question=(await tx.execute(question)).scalar() or "",
        answers=[one.text for one in answers],
        first=first,
        attempts=row.attempts + 1,
        created_at=row.created_at,
        lease=until,
    )


async def _answers(tx: Connection, row: Any, after: int) -> Sequence[Any]:
    """The answers that a mail has: at a second attempt the same as at the first. What an agent asks of the
    page that is open in the chat is none."""
    query = select(_R.id, _R.text).where(_R.conversation == row.conversation, _R.author == "agent")
    query = query.where(_R.id > after, or_(_R.kind.is_(None), _R.kind.not_in(("cobrowsing", "open"))))
    if row.through is not None:
        query = query.where(_R.id <= row.through)
    return list((await tx.execute(query.order_by(_R.id).limit(ANSWERS))).all())
