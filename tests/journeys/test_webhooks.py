"""Events reach another program, a receiver of the shop's own, also if clew was killed before it sent them."""

import re
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest
from clew.postbacks.outgoing import TYPES, Event, event_call
from clew.settings.model import EventEndpoint
from clews import ClewFolder, ClewServe
from processes import Program, free_port

ROOT = Path(__file__).parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "kT9vQ2xLrW7mZc4JpYb8"
SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[delivery]
timeout = 1
schedule = [1, 1, 1, 1, 1]

[[sites]]
name = "shop"
upstream = "http://127.0.0.1:9"
api_token = "{token}"

[[sites.endpoints]]
name = "crm"
url = "http://127.0.0.1:{port}/hooks"
secret = "{secret}"
"""


class Crm:
    """`examples/webhooks.py` on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.database = folder / "crm.db"
        self.program: Program | None = None

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "examples/webhooks.py"), "--port", str(self.port)]
        environ = {"CLEW_WEBHOOK_SECRET": SECRET}
        self.program = Program([*command, "--database", str(self.database)], environ=environ)
        self.program.wait_for_port(self.port)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database)) as database, suppress(sqlite3.OperationalError):
            return database.execute(query).fetchall()
        return []

    def wait_for(self, query: str, rows: list[tuple[object, ...]]) -> None:
        deadline = time.monotonic() + 40
        while self.rows(query) != rows:
            assert time.monotonic() < deadline, self.rows(query)
            time.sleep(0.05)  # another program's file


@pytest.fixture
def crm(tmp_path: Path) -> object:
    built = Crm(tmp_path)
    yield built
    if built.program is not None:
        built.program.end()


def report(clew: ClewServe, number: str, total: str) -> None:
    order = {"id": number, "total": total, "currency": "EUR"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx2.post(f"{clew.address}/-/clew/orders", json=order, headers=headers).status_code in (200, 201)


@pytest.mark.timeout(300)
def test_an_order_before_a_kill_is_told_after_it(tmp_path: Path, crm: Crm) -> None:
    folder = ClewFolder(tmp_path / "clew", SETTINGS.format(token=TOKEN, port=crm.port, secret=SECRET))
    clew = ClewServe(folder)
    try:
        crm.start()
        report(clew, "1001", "10.00")
        crm.wait_for("SELECT number, total FROM orders", [("1001", "10.00")])
        assert crm.program is not None
        crm.program.kill()
        report(clew, "1001", "12.00")
        report(clew, "1002", "20.00")
        clew.kill()
        crm.start()
        clew = ClewServe(folder)
        query = "SELECT number, total, version FROM orders ORDER BY number"
        crm.wait_for(query, [("1001", "12.00", 2), ("1002", "20.00", 1)])
        # How far an endpoint was told is written down once a second.
        deadline = time.monotonic() + 40
        while "last event" not in (listed := folder.run("webhooks", "list")):
            assert time.monotonic() < deadline, listed
        assert "204" in folder.run("webhooks", "test", "crm")
        crm.program.end()
        crm.database.unlink()
        crm.start()
        assert "sends its events" in folder.run("webhooks", "resend", "crm", "--since", "2020-01-01")
        crm.wait_for(query, [("1001", "12.00", 2), ("1002", "20.00", 1)])
    finally:
        clew.end()


def test_a_wrong_signature_is_refused_by_the_example(crm: Crm) -> None:
    crm.start()
    endpoint = EventEndpoint.model_validate(
        {"name": "crm", "url": f"http://127.0.0.1:{crm.port}/", "secret": "another-key-than-its-own"}
    )
    event = Event("evt_1", "webhook.test", "2026-11-27T09:33:20.000Z", {"site": "shop"})
    call = event_call(endpoint, event, time.time())
    assert httpx2.post(call.url, content=call.body, headers=dict(call.headers)).status_code == 401


def test_the_documents_example_is_right_and_every_event_is_there() -> None:
    text = (ROOT / "docs/webhooks.md").read_text("utf-8")
    found = dict(
        re.findall(r"^(webhook-id|webhook-timestamp|body|webhook-signature): (.+)$", text, re.MULTILINE)
    )
    endpoint = EventEndpoint.model_validate({"name": "crm", "url": "https://crm.example/", "secret": SECRET})
    event = Event(found["webhook-id"], "webhook.test", "2026-11-27T09:33:20.000Z", {"site": "shop"})
    call = event_call(endpoint, event, float(found["webhook-timestamp"]))
    assert call.body.decode() == found["body"]
    assert call.headers["webhook-signature"] == found["webhook-signature"]
    rows = re.findall(
        r"^\| `([a-z]+\.[a-z_]+)` \| (.+?) \| `[a-z]+`",
        text,
        re.MULTILINE,
    )
    assert dict(rows) == dict(TYPES)
