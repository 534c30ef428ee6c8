"""What an order costs the database does not grow with the orders that are there."""

import asyncio
from decimal import Decimal
from pathlib import Path

from clew.orders.model import OrderSeen
from quick_databases import Ledgers
from reporting import PARTNER, Shop, site

ORDERS = 200
ROWS = 60  # that are read for an order, those of foreign keys among them
_READ = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables"


async def test_an_order_on_postgresql_reads_as_much_of_a_new_ledger_as_of_a_full_one(
    ledgers: Ledgers, tmp_path: Path
) -> None:
    # The server has no statistics of new tables, and a connection keeps the plans that it made for them.
    postgres = ledgers.server
    name = await asyncio.to_thread(postgres.database, ledgers.template)
    sending = PARTNER | {"postback": "http://127.0.0.1:9/p?c={click_id}"}
    shop = Shop(tmp_path, site(partners=[sending], hold={"amounts": False}), postgres.url(name))
    await shop.service.open()
    await shop.bought("v")
    for number in range(ORDERS):
        seen = OrderSeen(f"o{number}", Decimal("59.90"), "EUR", "api", coupon="SAVE")
        await shop.service.ordering.record(shop.service.sites["shop"], seen, visitor="v")
    # A session reports what it read, at the latest, when it ends.
    await shop.service.close()
    [(read,)] = await asyncio.to_thread(postgres.execute, _READ, name)
    assert read < ORDERS * ROWS
