"""A service that delivers nothing by itself, for tests of what orders and their partners come to."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from clew.orders.model import OrderSeen
from clew.postbacks.model import Attempt
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.doubts import Shown
from clew.service.ordering.recording import Recorded
from clew.service.service import Service
from clew.settings.model import Settings

NOW = 1_800_000_000.0
SHOWN = Shown("/thanks", "inside")
PARTNER = {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/p?c={click_id}&e={event}"}


def site(**changes: Any) -> dict[str, Any]:
    return {"name": "shop", "order": {"page": "/thanks"}, "partners": [PARTNER], **changes}


class Shop:
    """A service without delivery, and a partner that counts the reports it gets."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], ledger: str | None = None) -> None:
        database = f"sqlite:{folder / 'clew.db'}"
        stores = {"ledger": ledger or database, "store": database}
        self._address = stores["ledger"]
        self.service = Service(Settings.model_validate({"secret": "s" * 40, **stores, "sites": [settings]}))
        self.now = NOW
        self.service.clock.now = lambda: self.now  # type: ignore[method-assign]
        self.calls: list[tuple[str, str, str]] = []
        self.sums: dict[str, Decimal] = {}

    def arrivals(self, count: int) -> Sequence[tuple[int, ...]]:
        """The orders in which so many reports can arrive: all; on PostgreSQL every fifth. What they
        come to is decided by code that knows no engine; there its statements are tried."""
        found = list(permutations(range(count)))
        return found[::5] if self._address.startswith("postgresql") else found

    async def bought(self, visitor: str, click: str = "c1") -> None:
        touch = Touch(int(NOW) - 3600, (Click("", "ref", click, "blog"),), {}, "", "/")
        await self.service.visits.change("shop", visitor, [Touched(touch), Shopped()], self.now)

    async def record(self, order: OrderSeen, visitor: str | None = None) -> Recorded:
        self.now += 1
        shown = SHOWN if order.source == "page" else None
        return await self.service.ordering.record(
            self.service.sites["shop"], order, visitor=visitor, shown=shown
        )

    async def report(self, order: OrderSeen, visitor: str | None = None) -> None:
        """While nobody else reports the order."""
        recorded = await self.record(order, visitor)
        assert recorded.order == await self.service.ledger.orders.at(recorded.order.row)

    async def deliver(self) -> None:
        """The partner takes all that is due."""
        outbox = self.service.ledger.outbox
        while waiting := await outbox.waiting(self.now, each=9, limit=9):
            for row in await outbox.claim([one.id for one in waiting], self.now, self.now + 9):
                begun = await outbox.begin(row, self.now + 9)
                assert begun is not None
                report = row.report
                self.calls.append((report.event, report.order_id, report.amount))
                self.sums[report.order_id] = Decimal(report.amount)
                done = Attempt(self.now, "", 200, "", "delivered")
                await outbox.finish(begun, done, "delivered", self.now)

    async def rows(self, table: sa.Table) -> list[sa.RowMapping]:
        async with self.service.ledger.db.read() as connection:
            return list((await connection.execute(sa.select(table))).mappings())
