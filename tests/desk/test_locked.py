"""Another process that holds the ledger's lock costs facts and orders a moment, never a page."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from desks import House

BEARER = {"authorization": "Bearer s3cret-token-of-the-shop"}
ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}
VIEW = {"view": "v1234567", "url": "http://shop.test/mug", "title": "Mug"}


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    found = House(tmp_path)
    await found.service.open()
    yield found
    await found.service.close()


@pytest.fixture
def lock(house: House, tmp_path: Path) -> Iterator[None]:
    """Held while a test runs, by a connection that is none of ours."""
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def test_an_order_is_refused_within_five_seconds_and_may_come_again(house: House, lock: None) -> None:
    """field D4: 503, and when to try again."""
    async with house.client() as shop, asyncio.timeout(5):
        answer = await shop.post("orders", json=ORDER, headers=BEARER)
    assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 2)


async def test_a_decision_comes_without_what_the_ledger_knows(house: House, lock: None) -> None:
    """field D4"""
    async with house.visitor() as browser, asyncio.timeout(1):
        answer = await browser.post("decide", json=VIEW)
    assert (answer.status_code, answer.json()["rule"]) == (200, "after-wait")
