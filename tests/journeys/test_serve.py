"""`clew serve` as those who run it see it: it stops when it is told."""

from pathlib import Path

import httpx2
import pytest
from clews import ClewFolder, ClewServe, wait_for_event

pytestmark = pytest.mark.timeout(120)

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[[sites]]
name = "shop"
upstream = "http://127.0.0.1:9"
"""


def test_a_live_stream_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    """proxy 6.12"""
    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    with ClewServe(folder) as clew, httpx2.Client(base_url=f"{clew.address}/-/clew/") as visitor:
        assert visitor.post("decide", json={"url": f"{clew.address}/"}).status_code == 200
        sent = visitor.post("messages", json={"text": "Hi", "client_id": "client-0001", "language": "en"})
        assert sent.status_code == 201
        with visitor.stream("GET", "stream") as stream:
            chunks = stream.iter_text()
            assert any("Hi" in chunk for chunk in chunks)
            clew.end()
            assert "graceful shutdown exceeded" not in clew.tail()


def test_workers_that_start_together_build_one_ledger(tmp_path: Path) -> None:
    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    with ClewServe(folder, ["--workers", "2"]) as clew:
        first = wait_for_event(clew, "started")["timestamp"]
        clew.wait_for_line(lambda line: '"started"' in line and first not in line, 20)
        answer = httpx2.get(f"{clew.address}/-/clew/ready")
        assert answer.json()["ready"] is True
        assert not [line for line in list(clew.lines) if "Traceback" in line]
