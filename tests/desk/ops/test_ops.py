"""`ready`: what strangers make clew do who ask for it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.desk.ops.listener import operations_app
from clew.postbacks.model import State
from clew.stores.ledger import probe
from clew.stores.ledger.errors import LedgerError
from desks import DeskServer, desk_server

LOCAL = {"x-test-client": "127.0.0.1"}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


async def test_ready_requests_of_strangers_do_not_count_all_postbacks(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D7, E22: to count the postbacks is to go through all there ever were."""
    monkeypatch.setattr(probe, "FRESH_SECONDS", 60.0)
    counted = 0
    counts = desk.service.ledger.outbox.counts_by_site

    async def counting(sites: Iterable[str]) -> dict[str, dict[State, int]]:
        nonlocal counted
        counted += 1
        return await counts(sites)

    monkeypatch.setattr(desk.service.ledger.outbox, "counts_by_site", counting)
    client = desk.client()
    strangers = [await client.get("ready") for _ in range(5)]
    assert [a.json() for a in strangers] == [{"ready": True}] * 5
    assert counted == 0
    allowed = await asyncio.gather(*(client.get("ready", headers=LOCAL) for _ in range(20)))
    assert [a.json()["postbacks"]["due"] for a in allowed] == [0] * 20
    assert counted == 1


async def test_a_ledger_that_cannot_count_is_no_failure_of_ready(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def locked(sites: Iterable[str]) -> dict[str, dict[State, int]]:
        raise LedgerError("locked")

    monkeypatch.setattr(desk.service.ledger.outbox, "counts_by_site", locked)
    answer = await desk.client().get("ready", headers=LOCAL)
    assert (answer.status_code, answer.json()) == (
        200,
        {"ready": True, "orders_waiting": 0, "postbacks": None},
    )
    transport = httpx2.ASGITransport(operations_app(desk.service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://ops.test") as operations:
        told = (await operations.get("/ready")).json()
    assert (told["ready"], told["sites"]["shop"]["postbacks"]) == (True, None)
