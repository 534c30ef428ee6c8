"""Work that one process at a time does: whose turn it is, and until when."""

from sqlalchemy import insert, select, update

from .connection import Connection
from .schema import turns

_T = turns.c


async def take_turn(tx: Connection, name: str, holder: str, now: float, until: float, longest: float) -> bool:
    """Take the turn, or keep it; False if it is another's. No turn lasts longer than `longest` seconds: one
    that reaches further was taken before the clock was set back. Of two processes that take the first turn of
    all, one gets LedgerConflictError."""
    row = (await tx.execute(select(turns).where(_T.name == name))).first()
    if row is None:
        await tx.execute(insert(turns).values(name=name, holder=holder, until=until))
        return True
    if row.holder != holder and now < row.until <= now + longest:
        return False
    same = update(turns).where(_T.name == name, _T.holder == row.holder, _T.until == row.until)
    done = await tx.execute(same.values(holder=holder, until=until))
    return bool(done.rowcount)
