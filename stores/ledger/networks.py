"""What the ledger keeps for calls to networks: OAuth tokens, what networks call an order, and how often they
were called in the last minute."""

from sqlalchemy import delete, insert, or_, select, update

from ...postbacks.tokens import Kept
from .connection import Connection, executing
from .database import Database
from .errors import LedgerConflictError
from .schema import network_orders, network_paces, network_tokens

_T, _N, _P = network_tokens.c, network_orders.c, network_paces.c
_MINUTE = 60.0


class Networks:
    """Tokens by account, and a network's own name of an order by order and partner."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def token(self, key: str) -> Kept | None:
        """The token of this account, encrypted; None if there is none."""
        query = select(_T.token, _T.expires_at, _T.refresh).where(_T.account == key)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else Kept(row.token or "", row.expires_at, row.refresh or "")

    async def keep_token(self, key: str, kept: Kept) -> None:
        """Write a token, which ends the renewal."""
        values = {"token": kept.token, "expires_at": kept.expires_at, "refresh": kept.refresh or None}
        written = update(network_tokens).where(_T.account == key).values(renewing_until=None, **values)
        await self._db.transact(executing(written))

    async def begin_renewal(self, key: str, now: float, until: float) -> bool:
        """Whether the caller may renew the token; nobody else may until then."""
        free = or_(_T.renewing_until.is_(None), _T.renewing_until <= now)

        async def work(tx: Connection) -> bool:
            taken = update(network_tokens).where(_T.account == key, free).values(renewing_until=until)
            if (await tx.execute(taken)).rowcount:
                return True
            if (await tx.execute(select(_T.account).where(_T.account == key))).first() is not None:
                return False
            new = {"account": key, "expires_at": 0.0, "renewing_until": until}
            await tx.execute(insert(network_tokens).values(new))
            return True

        try:
            return await self._db.transact(work)
        except LedgerConflictError:  # another worker has written the first row meanwhile
            return False

    async def drop_token(self, key: str) -> None:
        """Forget a token that the network refuses; a refresh token stays."""
        await self._db.transact(
            executing(update(network_tokens).where(_T.account == key).values(token=None, expires_at=0.0))
        )

    async def keep(self, order: int, partner: str, value: str) -> None:
        """Keep what the network calls the order, from its response."""

        async def work(tx: Connection) -> None:
            await tx.execute(delete(network_orders).where(_N.order == order, _N.partner == partner))
            await tx.execute(insert(network_orders).values(order=order, partner=partner, value=value))

        await self._db.transact(work)

    async def kept(self, order: int, partner: str) -> str:
        """What the network calls the order; empty if it is not known."""
        query = select(_N.value).where(_N.order == order, _N.partner == partner)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return "" if row is None else str(row.value)

    async def take(self, account: str, limit: int, now: float) -> float:
        """Count a call to an account that takes `limit` calls in any minute, over all workers and machines.

        Returns 0, or the seconds until a call is free if there is none. A row has at most `limit` times.
        """

        async def work(tx: Connection) -> float:
            own = select(_P.calls).where(_P.account == account).with_for_update()
            row = (await tx.execute(own)).first()
            # A time that lies ahead is of a clock that was put back since: it must not block the account.
            calls = [at for at in (row.calls if row is not None else ()) if now - _MINUTE < at <= now + 1]
            if len(calls) >= limit:
                return max(float(calls[-limit]) + _MINUTE - now, 0.001)
            if row is None:
                await tx.execute(insert(network_paces).values(account=account, calls=[now]))
            else:
                counted = update(network_paces).where(_P.account == account)
                await tx.execute(counted.values(calls=sorted([*calls, now])))
            return 0.0

        try:
            return await self._db.transact(work)
        except LedgerConflictError:  # another worker has written the first row meanwhile
            return await self._db.transact(work)
