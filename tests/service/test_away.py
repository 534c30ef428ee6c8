"""A ledger whose server does not answer when clew starts."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen
from clew.service import service as service_module
from clew.stores.ledger.errors import LedgerAwayError
from database_servers import Postgres
from filled import Filled
from structlog.testing import capture_logs


@pytest_asyncio.fixture
async def shop(
    own_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Filled]:
    monkeypatch.setattr(service_module, "REOPEN_EVERY", 0.1)
    name = await asyncio.to_thread(own_server.database)
    await asyncio.to_thread(own_server.kill)
    found = Filled(tmp_path, ledger=own_server.url(name), journal=str(tmp_path / "journal"))
    yield found
    await found.service.stop()


async def test_clew_starts_and_what_a_page_shows_is_recorded_when_the_server_is_there(
    shop: Filled, own_server: Postgres
) -> None:
    with capture_logs() as lines:
        await shop.service.start()
    assert [line["event"] for line in lines if line["event"] in ("fault", "ledger_down")] == ["ledger_down"]
    ordering, site = shop.service.ordering, shop.service.sites["shop"]
    safe = asyncio.Event()
    seen = OrderSeen("1001", Decimal("59.90"), "EUR", "page")
    with capture_logs() as told:
        recording = asyncio.create_task(ordering.record_seen(site, seen, "v1", (), safe=safe.set))
        await asyncio.wait_for(safe.wait(), 60)
        assert shop.service.journal.waiting == 1
        with pytest.raises(LedgerAwayError):
            await shop.order("1002", "10.00")
        assert "does not answer" in (await shop.service.ledger_probe.failure() or "")
        await asyncio.to_thread(own_server.start)
        await asyncio.wait_for(recording, 60)
        async with asyncio.timeout(60):
            while not any(line["event"] == "ledger_up" for line in told):
                await shop.service.ledger.db.idle(0.1)
        (up,) = [line for line in told if line["event"] == "ledger_up"]
        assert up["orders"] == 1
        assert up["seconds"] > 0
    assert [line["order"] for line in told if line["event"] == "order_journalled"] == ["1001"]
    assert [order.order_id for order in await shop.service.ledger.orders.list("shop")] == ["1001"]
    assert shop.service.journal.waiting == 0


async def test_what_the_shops_server_reported_meanwhile_is_recorded_by_the_next_process(
    own_server: Postgres, tmp_path: Path
) -> None:
    name = await asyncio.to_thread(own_server.database)
    await asyncio.to_thread(own_server.kill)
    where = {"ledger": own_server.url(name), "journal": str(tmp_path / "journal")}
    first = Filled(tmp_path, **where)
    await first.service.journal.open()
    site = first.service.sites["shop"]
    seen = OrderSeen("1001", Decimal("59.90"), "EUR", "api")
    loose = OrderSeen(None, Decimal("20.00"), "EUR", "api", email_hash="a" * 64)
    for one in (seen, loose):
        assert await first.service.ordering.record_reported(site, one, None, ()) is None
    # It ends as if it were killed.
    first.service.journal.close()
    await asyncio.to_thread(own_server.start)
    second = Filled(tmp_path, **where)
    with capture_logs() as lines:
        await second.service.start()
    assert [line["orders"] for line in lines if line["event"] == "journal_replayed"] == [2]
    await second.service.stop()
    assert second.service.journal.waiting == 0
    third = Filled(tmp_path, **where)
    await third.service.open()
    (order,) = await third.service.ledger.orders.list("shop")
    assert (order.order_id, order.source) == ("1001", "api")
    assert await third.service.ordering.waiting_count("shop") == 1
    await third.service.close()
