"""What is written of a commission is what its entries come to, whatever happened in which order."""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import OrderError, OrderSeen, Refund
from clew.payouts.account import Account, accounts
from clew.payouts.period import Period
from clew.payouts.settlement_file import read_rows
from clew.postbacks.report_file import format_of
from clew.service.ordering.correcting import correct
from clew.service.paying import close, pay
from clew.service.settling import imported
from clew.service.workflow import decide
from clew.settings.model import Hold
from clew.stores.ledger import schema
from clew.stores.ledger.commissions import Commission, WantedCommissions
from reporting import NOW, PARTNER, Shop, site

DAY = 86400.0
NUMBERS = ("1001", "1002", "1003")
STEPS = 25
TERMS = [{"name": "all", "percent": "10", "when": ["order.total < 900"]}, {"name": "rest", "percent": "0"}]


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    account = {"name": "Blog", "iban": "FR1420041010050500013M02606", "method": "csv"}
    partner = {**PARTNER, "terms": TERMS, "payout": account}
    built = Shop(tmp_path, site(partners=[partner]), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


class Fate:
    """What may happen to orders, by chance."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.by = shop, Random(seed)
        self.site = shop.service.settings.sites[0]
        self.ledger = shop.service.ledger

    async def step(self) -> None:
        """Let something happen."""
        steps = (self.report, self.report, self.correct, self.decide, self.decide, self.settle, self.file)
        self.shop.now += self.by.choice((1.0, DAY, 20 * DAY))
        await self.by.choice(steps)(self.by.choice(NUMBERS))

    async def report(self, number: str) -> None:
        seen: dict[str, Any] = {"total": Decimal(self.by.choice((0, 50, 100, 1000))), "state": "paid"}
        match self.by.randrange(6):
            case 0:
                refund = Refund(f"r{self.by.randrange(2)}", Decimal(self.by.choice((10, 50))))
                seen = {"total": None, "state": None, "refunds": (refund,)}
            case 1:
                seen |= {"total": None, "state": self.by.choice(("cancelled", "paid"))}
            case 2:
                seen["placed_at"] = NOW - self.by.choice((1000, 2000, 5000))
            case _:
                pass
        currency, source = self.by.choice(("EUR", "EUR", "EUR", "JPY")), self.by.choice(("api", "import"))
        await self.shop.report(OrderSeen(number, currency=currency, source=source, **seen), f"v{number}")

    async def correct(self, number: str) -> None:
        stored = await self.ledger.orders.get("shop", number)
        if stored is None or stored.total is None:
            return
        amount, limit = Decimal(self.by.choice((60, 600))), self.by.choice((None, Decimal(500)))
        changed = {"amount": amount, "hold": Hold(agent_limit=limit)}
        await correct(
            self.ledger, self.site.partners, stored, self.shop.now, by="ann", why="misread", **changed
        )

    async def decide(self, number: str) -> None:
        stored = await self.ledger.orders.get("shop", number)
        if stored is None or self.by.randrange(3) == 0:
            await self.shop.service.workflow.step()
            return
        known, verdict = self.shop.service.sites["shop"].partners.get, self.by.choice(("approve", "decline"))
        try:
            await decide(
                self.ledger, known, stored.row, (), verdict, self.shop.now, by="ann", why="looked at it"
            )
        except OrderError:
            assert not any(row.order == stored.row and row.value for row in await self.all())

    async def all(self) -> Sequence[Commission]:
        return await self.ledger.commissions.page(WantedCommissions())

    async def settle(self, _: str) -> None:
        period = Period.at(self.shop.now, "UTC")
        partner = self.site.partners[0]
        await close(self.ledger, self.site, partner, period, self.shop.now)
        if self.by.randrange(2):
            await pay(self.ledger, self.site, partner, period, self.shop.now)

    async def file(self, number: str) -> None:
        text = f"Order,Status\n{number},{self.by.choice(('approved', 'declined', 'paid'))}\n"
        rows = list(read_rows(text.encode(), format_of(None), {}))
        own = (self.ledger, self.site, self.site.partners[0])
        await imported(*own, rows, self.shop.now, name="f.csv", source="file")


COMPARED = ("state", "amount", "value", "locked", "paid", "waits_until", "decided_at", "ref")


def said(one: Account | Commission) -> dict[str, Any]:
    return {name: getattr(one, name) for name in COMPARED}


@pytest.mark.parametrize("seed", range(6))
async def test_the_rows_are_what_all_entries_come_to(shop: Shop, seed: int) -> None:
    for number in NUMBERS:
        await shop.bought(f"v{number}")
    fate, books = Fate(shop, seed), shop.service.ledger.commissions
    for _ in range(STEPS):
        await fate.step()
        placed = {row["id"]: row["placed_at"] for row in await shop.rows(schema.orders)}
        found = await fate.all()
        flags = {
            (row["order"], row["currency"]): (row["lockable"], row["unpaid"])
            for row in await shop.rows(schema.commissions)
        }
        for row in found:
            entries = (await books.of_order(row.order))[row.partner]
            account = accounts(entries)[row.currency]
            assert said(row) == said(account)
            assert flags[row.order, row.currency] == (account.lockable, account.is_unpaid)
            assert row.placed_at == placed[row.order]
            own = [one for one in entries if one.currency == row.currency]
            assert row.changed_at == own[-1].at
            # Nothing waits for a payment that nobody would make.
            assert row.state != "locked" or account.is_unpaid
