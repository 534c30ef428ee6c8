import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.credit.arrivals import Considered
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.referral.touches import Click
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.history import Histories
from clew.stores.ledger.orders import Orders, StoredOrder
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.schema import decisions as decisions_table
from clew.stores.ledger.schema import orders as orders_table
from clew.stores.ledger.schema import postbacks as postbacks_table
from recorded import Credit, put_order
from sqlalchemy import func, select

NOW = 1763860000.0
ORDER = OrderSeen("100001", Decimal("59.90"), "EUR", "page", coupon="CHAT10")
CLICK = Click("awin", "awc", b"1001_\xff%3A".decode("utf-8", "surrogateescape"), "awin")
CREDIT = Credit(
    partner="awin",
    click=CLICK,
    touched_at=NOW - 400,
    reason="the last click within 30 days",
    considered=(Considered(int(NOW) - 400, "awin", "awin", "last click"),),
)
NOBODY = Credit(partner=None, click=None, touched_at=None, reason="no click", considered=())
REPORT = Report("order", "awin", CLICK.value, "100001", "59.90", "EUR", "chat", int(NOW), int(NOW) - 400)


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


async def record(db: Database, order: OrderSeen = ORDER, **changes: Any) -> StoredOrder | None:
    values: dict[str, Any] = {
        "visitor": "v1",
        "channel": "chat",
        "conversation": "c1",
        "agent": "anna",
        "credit": CREDIT,
        "reports": [replace(REPORT, order_id=str(order.id))],
        "now": NOW,
    }
    return await put_order(db, order, **values | changes)


async def recorded(db: Database, order: OrderSeen = ORDER, **changes: Any) -> StoredOrder:
    found = await record(db, order, **changes)
    assert found is not None
    return found


async def rows(db: Database, table: Any) -> int:
    async with db.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def test_order_credit_and_postbacks_are_written_together(db: Database) -> None:
    order = await recorded(db)
    assert (order.order_id, str(order.total), order.currency) == ("100001", "59.90", "EUR")
    assert (order.channel, order.source, order.coupon) == ("chat", "page", "CHAT10")
    assert (order.visitor, order.conversation, order.agent) == ("v1", "c1", "anna")
    assert (order.placed_at, order.recorded_at, order.version) == (NOW, NOW, 1)
    assert (order.partner, order.click, order.touched_at) == ("awin", CLICK, NOW - 400)
    assert order.reason == CREDIT.reason
    assert order.considered[0]["verdict"] == "last click"
    ((stored,),) = [known.sightings for known in await Histories(db).known("shop", ["100001"])]
    assert set(order.sources.values()) == {stored.sighting.key}
    (postback,) = await Outbox(db).list()
    assert (postback.state, postback.attempts, postback.next_at) == ("due", 0, NOW)
    assert (postback.order, postback.site, postback.report) == (order.row, "shop", REPORT)


async def test_click_id_bytes_outside_utf8_survive_the_ledger(db: Database) -> None:
    await record(db)
    stored = await Orders(db).get("shop", "100001")
    assert stored is not None
    assert stored.click is not None
    assert stored.click.value.encode("utf-8", "surrogateescape") == b"1001_\xff%3A"
    (postback,) = await Outbox(db).list()
    assert postback.report.click_id.encode("utf-8", "surrogateescape") == b"1001_\xff%3A"


async def test_a_writer_who_did_not_see_the_newest_version_writes_nothing(db: Database) -> None:
    first = await recorded(db)
    assert await record(db, replace(ORDER, total=Decimal(1), source="api"), now=NOW + 60) is None
    assert await Orders(db).get("shop", "100001") == first
    assert [await rows(db, t) for t in (orders_table, decisions_table, postbacks_table)] == [1, 1, 1]


async def test_the_same_order_id_at_another_site_is_another_order(db: Database) -> None:
    assert await record(db)
    assert await record(db, site="other")
    assert [o.site for o in await Orders(db).list("other")] == ["other"]
    assert [o.site for o in await Orders(db).of_visitor("other", "v1")] == ["other"]


async def test_an_order_without_a_partner_has_a_reason_and_no_postback(db: Database) -> None:
    order = await recorded(db, credit=NOBODY, reports=[], visitor=None, conversation=None, agent=None)
    assert (order.partner, order.click, order.reason) == (None, None, "no click")
    assert await Outbox(db).list() == ()


async def test_the_time_an_order_was_placed_may_differ_from_when_it_was_recorded(db: Database) -> None:
    order = await recorded(db, replace(ORDER, placed_at=NOW - 3600))
    assert (order.placed_at, order.recorded_at) == (NOW - 3600, NOW)


async def test_totals_keep_the_digits_of_their_currency(db: Database) -> None:
    yen = await recorded(db, replace(ORDER, id="yen", total=Decimal("7200.00"), currency="JPY"))
    dinar = await recorded(db, replace(ORDER, id="dinar", total=Decimal("1.5"), currency="KWD"))
    assert [str(yen.total), str(dinar.total)] == ["7200", "1.500"]


async def test_a_failure_leaves_neither_order_nor_credit_nor_postback(db: Database) -> None:
    with pytest.raises(TypeError):
        await record(db, reports=[replace(REPORT, channel=object())])
    assert [await rows(db, t) for t in (orders_table, decisions_table, postbacks_table)] == [0, 0, 0]
    assert await record(db)


async def test_orders_are_listed_newest_first(db: Database) -> None:
    for number in ("1", "2", "3"):
        await record(db, replace(ORDER, id=number))
    assert [o.order_id for o in await Orders(db).list("shop", limit=2)] == ["3", "2"]
    assert await Orders(db).get("shop", "4") is None


async def test_of_concurrent_writers_one_writes(db: Database) -> None:
    written = await asyncio.gather(*(record(db) for _ in range(20)))
    assert sum(order is not None for order in written) == 1
    assert await rows(db, postbacks_table) == 1


PROCESS = """
import asyncio, json, sys
from decimal import Decimal
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.database import Database
from recorded import Credit, put_order

async def main():
    db = database_at(sys.argv[1])
    created = []
    for number in range(25):
        order = OrderSeen(f"o{number}", Decimal("5"), "EUR", "page")
        report = Report("order", "p", "c", order.id, "5.00", "EUR", "web", 1, 1)
        if await put_order(db, order, reports=[report], now=1.0):
            created.append(order.id)
    await db.close()
    print(json.dumps(created))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_several_processes_record_each_order_once(db: Database) -> None:
    support = Path(__file__).parents[1] / "support"
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROCESS, db.address),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(support)},
        )
        for _ in range(3)
    ]
    printed = [(await p.communicate())[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0, 0]
    created = [order for text in printed for order in json.loads(text)]
    assert sorted(created) == sorted(f"o{n}" for n in range(25))
    assert [await rows(db, t) for t in (orders_table, decisions_table, postbacks_table)] == [25, 25, 25]
