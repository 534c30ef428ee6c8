import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.referral.credit import Considered, Credit
from clew.referral.touches import Click
from clew.stores.ledger.database import Database
from clew.stores.ledger.orders import Orders, Recorded
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.schema import credits_ as credits_table
from clew.stores.ledger.schema import orders as orders_table
from clew.stores.ledger.schema import postbacks as postbacks_table
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
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    found = Database(f"sqlite:{tmp_path / 'clew.db'}")
    await found.open()
    yield found
    await found.close()


async def record(db: Database, order: OrderSeen = ORDER, site: str = "shop", **changes: Any) -> Recorded:
    values: dict[str, Any] = {
        "visitor": "v1",
        "channel": "chat",
        "conversation": "c1",
        "agent": "anna",
        "credit": CREDIT,
        "reports": [replace(REPORT, order_id=order.id)],
        "now": NOW,
    }
    return await Orders(db).record(site, order, **values | changes)


async def rows(db: Database, table: Any) -> int:
    async with db.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def test_order_credit_and_postbacks_are_written_together(db: Database) -> None:
    recorded = await record(db)
    assert recorded.created
    assert (recorded.order_id, str(recorded.total), recorded.currency) == ("100001", "59.90", "EUR")
    assert (recorded.channel, recorded.source, recorded.coupon) == ("chat", "page", "CHAT10")
    assert (recorded.visitor, recorded.conversation, recorded.agent) == ("v1", "c1", "anna")
    assert (recorded.placed_at, recorded.recorded_at) == (NOW, NOW)
    assert (recorded.partner, recorded.click, recorded.touched_at) == ("awin", CLICK, NOW - 400)
    assert recorded.reason == CREDIT.reason
    assert recorded.considered[0]["verdict"] == "last click"
    (postback,) = await Outbox(db).list()
    assert (postback.state, postback.attempts, postback.next_at) == ("due", 0, NOW)
    assert (postback.order, postback.site, postback.report) == (recorded.row, "shop", REPORT)


async def test_click_id_bytes_outside_utf8_survive_the_ledger(db: Database) -> None:
    await record(db)
    stored = await Orders(db).get("shop", "100001")
    assert stored is not None
    assert stored.click is not None
    assert stored.click.value.encode("utf-8", "surrogateescape") == b"1001_\xff%3A"
    (postback,) = await Outbox(db).list()
    assert postback.report.click_id.encode("utf-8", "surrogateescape") == b"1001_\xff%3A"


async def test_a_known_order_changes_nothing_and_returns_the_first(db: Database) -> None:
    first = await record(db)
    again = await record(
        db, replace(ORDER, total=Decimal(1), source="api"), channel="web", credit=NOBODY, now=NOW + 60
    )
    assert again == replace(first, created=False)
    assert [await rows(db, t) for t in (orders_table, credits_table, postbacks_table)] == [1, 1, 1]


async def test_the_same_order_id_at_another_site_is_another_order(db: Database) -> None:
    assert (await record(db)).created
    assert (await record(db, site="other")).created
    assert [o.site for o in await Orders(db).list("other")] == ["other"]
    assert [o.site for o in await Orders(db).of_visitor("other", "v1")] == ["other"]


async def test_an_order_that_nobody_earned_keeps_the_reason_and_owes_no_postback(db: Database) -> None:
    recorded = await record(db, credit=NOBODY, reports=[], visitor=None, conversation=None, agent=None)
    assert (recorded.partner, recorded.click, recorded.reason) == (None, None, "no click")
    assert await Outbox(db).list() == ()


async def test_the_time_an_order_was_placed_may_differ_from_when_it_was_recorded(db: Database) -> None:
    recorded = await record(db, replace(ORDER, placed_at=NOW - 3600))
    assert (recorded.placed_at, recorded.recorded_at) == (NOW - 3600, NOW)


async def test_totals_keep_the_digits_of_their_currency(db: Database) -> None:
    yen = await record(db, replace(ORDER, id="yen", total=Decimal("7200.00"), currency="JPY"))
    dinar = await record(db, replace(ORDER, id="dinar", total=Decimal("1.5"), currency="KWD"))
    assert [str(yen.total), str(dinar.total)] == ["7200", "1.500"]


async def test_a_failure_leaves_neither_order_nor_credit_nor_postback(db: Database) -> None:
    with pytest.raises(Exception, match="UNIQUE"):
        await record(db, reports=[REPORT, REPORT])
    assert [await rows(db, t) for t in (orders_table, credits_table, postbacks_table)] == [0, 0, 0]
    assert (await record(db)).created


async def test_orders_are_listed_newest_first(db: Database) -> None:
    for number in ("1", "2", "3"):
        await record(db, replace(ORDER, id=number))
    assert [o.order_id for o in await Orders(db).list("shop", limit=2)] == ["3", "2"]
    assert await Orders(db).get("shop", "4") is None


async def test_concurrent_calls_record_an_order_once(db: Database) -> None:
    recorded = await asyncio.gather(*(record(db) for _ in range(20)))
    assert sum(r.created for r in recorded) == 1
    assert {r.row for r in recorded} == {recorded[0].row}
    assert await rows(db, postbacks_table) == 1


PROCESS = """
import asyncio, json, sys
from decimal import Decimal
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.referral.credit import Credit
from clew.stores.ledger.database import Database
from clew.stores.ledger.orders import Orders

async def main():
    db = Database(sys.argv[1])
    created = []
    for number in range(25):
        order = OrderSeen(f"o{number}", Decimal("5"), "EUR", "page")
        report = Report("order", "p", "c", order.id, "5.00", "EUR", "web", 1, 1)
        recorded = await Orders(db).record(
            "shop", order, visitor=None, channel="web", conversation=None, agent=None,
            credit=Credit(None, None, None, "no click", ()), reports=[report], now=1.0,
        )
        if recorded.created:
            created.append(order.id)
    await db.close()
    print(json.dumps(created))

asyncio.run(main())
"""


async def test_several_processes_record_each_order_once(db: Database) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, db.address, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    printed = [(await p.communicate())[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0, 0]
    created = [order for text in printed for order in json.loads(text)]
    assert sorted(created) == sorted(f"o{n}" for n in range(25))
    assert [await rows(db, t) for t in (orders_table, credits_table, postbacks_table)] == [25, 25, 25]
