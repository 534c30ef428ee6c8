"""`clew serve` is stopped while it calls partners (field D2)."""

import os
import signal
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clews import ClewFolder, ClewServe
from processes import free_port
from receiver import Call, Receiver
from small_shops import SmallShop, html

pytestmark = pytest.mark.timeout(300)

TOKEN = "the-token-of-the-shop"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORDERS = 12
SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[delivery]
timeout = 60
schedule = [1, 1, 1, 1]

[[sites]]
name = "shop"
upstream = "{shop}"
api_token = "{token}"

[[sites.partners]]
id = "friend"
param = "friend"
postback = "http://127.0.0.1:{port}/sale?click={{click_id}}&order={{order_id}}"
allow_private = true
{more}
"""


class SlowReceiver(Receiver):
    """A partner that answers when it is let."""

    def __init__(self, port: int, **options: Any) -> None:
        self.answers = threading.Event()
        super().__init__(port, on_call=self._hold, **options)

    def _hold(self, call: Call) -> None:
        self.answers.wait(60)

    def has(self, count: int) -> None:
        """Wait until so many calls have come, answered or not."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= count, 20), self.calls


def order(clew: ClewServe) -> None:
    """A visitor sent by the partner, and its orders, reported by the shop's server."""
    headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with httpx2.Client(base_url=clew.address, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        visitor = client.get("/?friend=c1", headers=headers).cookies["clew_visitor"]
        for number in range(1, ORDERS + 1):
            body = {"id": f"{number}", "total": "5.00", "currency": "EUR", "visitor": visitor}
            assert client.post("/-/clew/orders", json=body).status_code == 201


def stop(clew: ClewServe) -> None:
    """Stop it like systemd does, and return as soon as it accepts no more connections."""
    os.kill(clew.pid, signal.SIGTERM)
    while True:
        try:
            socket.create_connection(("127.0.0.1", clew.port), timeout=5).close()
        except OSError:
            return


def states(folder: ClewFolder) -> Counter[str]:
    return Counter(row["state"] for row in folder.rows("SELECT state FROM postbacks"))


def settings(shop: SmallShop, port: int, more: str = "") -> str:
    return SETTINGS.format(shop=shop.address, token=TOKEN, port=port, more=more)


def test_calls_answered_during_the_stop_are_delivered_and_the_others_after_a_restart(
    tmp_path: Path,
) -> None:
    """field D2: each order is reported once; unsent postbacks have no lease"""
    port = free_port()
    with SmallShop({"/": html("Tea")}) as shop, SlowReceiver(port) as receiver:
        folder = ClewFolder(tmp_path / "clew", settings(shop, port))
        with ClewServe(folder) as clew:
            order(clew)
            receiver.has(4)
            stop(clew)
            receiver.answers.set()
            assert clew.wait(40) == 0
        begun = len(receiver.calls)
        assert states(folder) == Counter(delivered=begun, due=ORDERS - begun)
        assert not folder.rows("SELECT id FROM postbacks WHERE lease_until IS NOT NULL")
        with ClewServe(folder):
            receiver.wait(ORDERS)
    told = Counter(call.query["order"] for call in receiver.calls)
    assert told == {f"{number}": 1 for number in range(1, ORDERS + 1)}


@pytest.mark.parametrize("repeats", [False, True])
def test_calls_without_a_response_at_the_stop_are_neither_lost_nor_repeated(
    tmp_path: Path, repeats: bool
) -> None:
    """field D2: repeated only if the receiver recognises a repeat by its id, else a person decides"""
    port = free_port()
    more = f'secret = "{SECRET}"' if repeats else ""
    with SmallShop({"/": html("Tea")}) as shop:
        with SlowReceiver(port, secret=SECRET if repeats else None) as receiver:
            folder = ClewFolder(tmp_path / "clew", settings(shop, port, more))
            with ClewServe(folder) as clew:
                order(clew)
                receiver.has(4)
                stop(clew)
                # In the end it gives up waiting; uvicorn's own word for a stop in time is 0.
                assert clew.wait(60) == 0
            first = list(receiver.calls)
            receiver.answers.set()
        with Receiver(port, secret=SECRET if repeats else None) as receiver, ClewServe(folder):
            receiver.wait(ORDERS if repeats else ORDERS - len(first))
        second = list(receiver.calls)
    key = (lambda call: call.headers["webhook-id"]) if repeats else (lambda call: call.query["order"])
    if repeats:
        assert {key(call) for call in first} < {key(call) for call in second}, "the same id"
        assert states(folder) == {"delivered": ORDERS}
    else:
        assert not {key(call) for call in first} & {key(call) for call in second}
        assert states(folder) == {"unknown": len(first), "delivered": ORDERS - len(first)}
    assert max(Counter(map(key, second)).values()) == 1
