"""An order page, and then the end: the process is killed as soon as its last byte has come, or the ledger is
locked while it is shown (fields D7, D8)."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clews import ClewFolder, ClewServe, events, wait_for_event
from small_shops import SmallShop, html

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[[sites]]
name = "shop"
upstream = "{shop}"

[[sites.partners]]
id = "friend"
param = "friend"
postback = "http://127.0.0.1:9/sale?click={{click_id}}&order={{order_id}}"
allow_private = true

[sites.order]
page = "/thanks*"
id = "#number"
total = "#total"
currency = "EUR"
"""
PAGE = '<p id="number">{number}</p><p id="total">59.90 €</p>'
HEADERS = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
INSIDE = HEADERS | {"Sec-Fetch-Site": "same-origin"}
ORDERS = 20


@pytest.fixture
def shop() -> Iterator[SmallShop]:
    pages = {f"/thanks/{n}": html(PAGE.format(number=n)) for n in range(ORDERS)}
    with SmallShop({"/": html("<p>Mugs</p>"), "/checkout": html("<p>Pay</p>"), **pages}) as shop:
        yield shop


@contextmanager
def landed(clew: ClewServe) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=clew.address) as client:
        client.get("/?friend=c1", headers=HEADERS | {"Sec-Fetch-Site": "cross-site"})
        client.get("/checkout", headers=INSIDE)
        yield client


def recorded(folder: ClewFolder) -> list[dict[str, Any]]:
    return folder.rows("SELECT order_id, total, visitor FROM orders ORDER BY id")


def test_an_order_whose_page_was_delivered_survives_sigkill(tmp_path: Path, shop: SmallShop) -> None:
    """field D8"""
    folder = ClewFolder(tmp_path, SETTINGS.format(shop=shop.address))
    for number in range(5):
        with ClewServe(folder) as clew, landed(clew) as client:
            answer = client.get(f"/thanks/{number}", headers=INSIDE)
            os.kill(clew.pid, signal.SIGKILL)
        assert answer.text.endswith("</html>")
    with ClewServe(folder) as clew:
        wait_for_event(clew, "started")
    found = recorded(folder)
    assert [row["order_id"] for row in found] == [str(number) for number in range(5)]
    assert len({row["visitor"] for row in found}) == 5


def test_orders_that_the_ledger_did_not_take_are_recorded_after_a_crash(
    tmp_path: Path, shop: SmallShop
) -> None:
    """field D7, D8: another program keeps the ledger locked; pages go on, and no order is lost."""
    folder = ClewFolder(tmp_path, SETTINGS.format(shop=shop.address))
    with ClewServe(folder) as clew, landed(clew) as client:
        wait_for_event(clew, "started")
        with closing(sqlite3.connect(tmp_path / "clew.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(ORDERS):
                answer = client.get(f"/thanks/{number}", headers=INSIDE)
                assert answer.status_code == 200
                assert answer.text.endswith("</html>")
            os.kill(clew.pid, signal.SIGKILL)
            other.execute("ROLLBACK")
    assert (tmp_path / "clew-orders.journal.0").stat().st_size > 0
    with ClewServe(folder) as clew:
        for _ in range(ORDERS):
            wait_for_event(clew, "order")
        clew.wait_for_line(lambda _: len(events(clew, "order")) >= ORDERS, 20)
    assert [event["orders"] for event in events(clew, "journal_replayed")] == [ORDERS]
    assert sorted(int(row["order_id"]) for row in recorded(folder)) == list(range(ORDERS))
    assert {row["total"] for row in recorded(folder)} == {"59.90"}
    assert (tmp_path / "clew-orders.journal.0").stat().st_size == 0
