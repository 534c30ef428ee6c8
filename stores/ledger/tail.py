"""What was written since it was read last, in whatever order the transactions ended.

A message has its number before others see it. In PostgreSQL transactions run side by side, so one may end
after another whose messages have higher numbers; whoever read on from the highest number would miss its own.
So the numbers in between that were not seen are asked for again, until every transaction that ran when they
were missed has ended: who has not shown a message by then took the number and gave up. Nobody waits for
anybody: a message is told as soon as it is committed.

Within one conversation, and for one visitor, numbers are in order: a message is written while its
conversation is locked, and a new conversation while the one before it is (`conversations.py`).
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, func, select, text, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ...chat.model import News
from .connection import executing
from .conversations import LATER, NEWS, PAGE, news_of
from .database import Database
from .errors import LedgerBusyError
from .prepared import Prepared
from .schema import conversations, messages

MISSED: Final = 1024
"""Most numbers that are asked for again, and how far back of the newest the first reading looks for them."""


class lowest_running(FunctionElement[int]):  # noqa: N801 -- as SQLAlchemy's own functions are called
    """The lowest number of a transaction that has not ended."""

    type = BigInteger()
    inherit_cache = True


class next_to_run(FunctionElement[int]):  # noqa: N801
    """A number higher than that of each transaction that has begun."""

    type = BigInteger()
    inherit_cache = True


@compiles(lowest_running, "sqlite")
@compiles(next_to_run, "sqlite")
def _one_writer(_element: FunctionElement[int], _compiler: Any, **_: Any) -> str:
    return "0"  # there is one writer at a time: what is not seen by now will never be


@compiles(lowest_running, "postgresql")
def _xmin(_element: lowest_running, _compiler: Any, **_: Any) -> str:
    return "txid_snapshot_xmin(txid_current_snapshot())"


@compiles(next_to_run, "postgresql")
def _xmax(_element: next_to_run, _compiler: Any, **_: Any) -> str:
    return "txid_snapshot_xmax(txid_current_snapshot())"


WRITING_SECONDS: Final = 5.0
"""How long `settled_number` waits for a transaction that writes messages."""

# Each transaction that has written a message, or begun to, has such a lock from before the message gets its
# number until others see it.
_WRITING = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = 'messages'::regclass AND granted"
)
_HIGHEST = Prepared(select(func.coalesce(func.max(messages.c.id), 0)))


@lru_cache
def _shown(count: int) -> Prepared:
    """Which of so many numbers can be seen by now, and which transactions run; a row also without any."""
    numbers = [bindparam(f"missed{place}", type_=messages.c.id.type) for place in range(count)]
    running = select(lowest_running().label("lowest"), next_to_run().label("next")).subquery()
    there = (
        select(*NEWS)
        .join(conversations, conversations.c.id == messages.c.conversation)
        .where(messages.c.id.in_(numbers))
        .subquery()
    )
    found = select(there, running.c.lowest, running.c.next)
    return Prepared(found.select_from(running.outerjoin(there, true())))


@dataclass(slots=True)
class Numbers:
    """Which numbers were seen. `newest` is the highest; `missed` has those below it that were not, in their
    order, with the number of a transaction: when all before that one have ended, nobody will show them. None:
    not known yet."""

    newest: int = 0
    missed: dict[int, int | None] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """Up to here all were seen that ever will be."""
        return next(iter(self.missed)) - 1 if self.missed else self.newest

    def begin(self, newest: int, seen: Iterable[int]) -> None:
        """Begin at the newest; `seen` are those of the last `MISSED` that are there."""
        self.newest = newest
        since = range(max(1, newest - MISSED + 1), newest)
        self.missed = dict.fromkeys(sorted(set(since).difference(seen)))

    def see(self, found: Sequence[int]) -> None:
        """See some that are higher than the newest, in their order."""
        for number in found:
            self.missed.update(dict.fromkeys(range(max(self.newest + 1, number - MISSED), number)))
            self.newest = max(self.newest, number)
        for number in list(self.missed)[:-MISSED]:
            del self.missed[number]

    def see_again(self, asked: Iterable[int], found: Collection[int], lowest: int, after: int) -> None:
        """`found` are those of the `asked` that can be seen now, while no transaction below `lowest` and none
        from `after` on had begun and not ended."""
        for number in asked:
            ended = self.missed[number]
            if number in found or (ended is not None and lowest >= ended):
                del self.missed[number]
            elif ended is None:
                self.missed[number] = after


async def settled_number(db: Database) -> int:
    """Up to here all messages can be seen that ever will be, those of the time of the call among them. For a
    reader that remembers nothing but where it ended. It waits for the transactions that write messages now,
    and holds up none. Raises LedgerBusyError if one goes on for longer than `WRITING_SECONDS`."""
    number = int((await db.query(executing(_HIGHEST))).scalar())
    if db.dialect != "postgresql":
        return number  # there is one writer at a time
    until = time.monotonic() + WRITING_SECONDS
    writing = await _writing(db)
    while writing:
        if time.monotonic() > until:
            raise LedgerBusyError(
                f"a transaction that writes messages has not ended for {WRITING_SECONDS:g} seconds, and one "
                "of its messages may come before the next one to be read: try again later, and see "
                "pg_stat_activity for a session that is idle in its transaction"
            )
        await asyncio.sleep(0.01)
        writing &= await _writing(db)
    return number


async def _writing(db: Database) -> set[str]:
    """The transactions that may have written messages that are not seen yet."""
    return {row.virtualtransaction for row in await db.query(lambda connection: connection.execute(_WRITING))}


class Tail:
    """Reads each message once, as soon as it is committed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._numbers = Numbers()
        self.is_begun = False
        self.is_at_end = False  # the last reading found all that there was

    @property
    def newest(self) -> int:
        """The highest number that was seen."""
        return self._numbers.newest

    @property
    def settled(self) -> int:
        """Up to here nothing will be written any more. It stays below `newest` for as long as a transaction
        goes on that may have a lower number."""
        return self._numbers.settled

    async def begin(self) -> None:
        """Begin after what there is now, but for what is being written."""
        newest = int((await self._db.query(executing(_HIGHEST))).scalar())
        numbers = Numbers()
        last = select(messages.c.id).where(messages.c.id > newest - MISSED, messages.c.id <= newest)
        numbers.begin(newest, [row.id for row in await self._db.query(executing(last))])
        self._numbers, self.is_begun = numbers, True

    async def read(self) -> Sequence[News]:
        """What was written since: at most 500 messages, and late ones."""
        if not self.is_begun:
            await self.begin()
        late = await self._late()
        rows = (await self._db.query(executing(LATER, {"after": self.newest}), quick=True)).all()
        self._numbers.see([row.id for row in rows])
        self.is_at_end = len(rows) < PAGE
        return [news_of(row) for row in (*late, *rows)]

    async def _late(self) -> Sequence[Any]:
        """Those that were missed, and are there now."""
        asked = list(self._numbers.missed)
        if not asked:
            return ()
        # Few statements are prepared: zero is no message's number.
        count = 1 << (len(asked) - 1).bit_length()
        given = {f"missed{place}": number for place, number in enumerate(asked + [0] * (count - len(asked)))}
        rows = (await self._db.query(executing(_shown(count), given), quick=True)).all()
        found = [row for row in rows if row.id is not None]
        self._numbers.see_again(asked, {row.id for row in found}, rows[0].lowest, rows[0].next)
        return sorted(found, key=lambda row: row.id)
