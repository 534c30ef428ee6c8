"""`clew serve` for operators: start, stop and exit status."""

import os
import re
import signal
import socket
import threading
from pathlib import Path

import httpx2
import pytest
from clews import ClewFolder, ClewProgram, ClewServe, wait_for_event
from raw_http import Client, Shop, answering, get

pytestmark = pytest.mark.timeout(300)

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
    with socket.create_server(("127.0.0.1", 0)) as shop:
        folder = ClewFolder(tmp_path / "clew", SETTINGS.replace(":9", f":{shop.getsockname()[1]}"))
        with ClewServe(folder, ["--workers", "2"]) as clew:
            first = wait_for_event(clew, "started")["timestamp"]
            clew.wait_for_line(lambda line: '"started"' in line and first not in line, 20)
            answer = httpx2.get(f"{clew.address}/-/clew/ready")
            assert answer.json()["ready"] is True
            assert not [line for line in list(clew.lines) if "Traceback" in line]


UNUSABLE = SETTINGS.replace('log = "json"', 'ledger = "sqlite:ledger"')


def served(folder: ClewFolder, *options: str) -> ClewProgram:
    command = ["serve", "--config", str(folder.settings), "--port", "0"]
    return ClewProgram([*command, *options], environ=folder.environ, cwd=folder.path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_ledger_that_cannot_be_used_is_the_status_of_the_whole(tmp_path: Path, workers: str) -> None:
    """field D6"""
    folder = ClewFolder(tmp_path / "clew", UNUSABLE)
    (folder.path / "ledger").write_bytes(b"no database" * 100)
    with served(folder, "--workers", workers) as clew:
        assert clew.wait(60) == 3
        clew.wait_for_line(lambda line: "clew cannot start" in line and "is not a database" in line)
        assert not [line for line in clew.lines if "listens on" in line]
        if workers == "2":
            clew.wait_for_line(lambda line: "a worker could not start" in line)


def test_a_port_in_use_is_reported_before_anything_is_started(tmp_path: Path) -> None:
    """field D6, G6"""
    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served(folder, "--port", str(port)) as clew:
            assert clew.wait(60) == 3
            clew.wait_for_line(lambda line: f"cannot listen on 127.0.0.1:{port}: " in line)
    assert not (folder.path / "clew.db").exists()


def children(pid: int) -> set[int]:
    """The workers of a server: those of its children that are not its resource tracker."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(n) for n in found if b"resource_tracker" not in Path(f"/proc/{n}/cmdline").read_bytes()}


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """field D6"""
    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    with served(folder, "--workers", "2") as clew:
        line = clew.wait_for_line(lambda line: "clew listens on" in line)
        address = line.split()[-1]
        before = children(clew.pid)
        os.kill(victim := min(before), signal.SIGKILL)
        clew.wait_for_line(
            lambda line: f"worker {victim} ended with status 137; a new one is started" in line
        )
        assert httpx2.get(f"{address}/-/clew/health").text == "ok\n"
        assert clew.end() == 0


def test_the_address_is_printed_once_the_port_answers(tmp_path: Path) -> None:
    """field G6: before that nothing reports that clew has started"""
    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    answers: list[int] = []
    both = threading.Event()

    def ask(line: str) -> None:
        if line.startswith("clew listens on") or '"started"' in line:
            address = re.findall(r"http://[\d.:]+", line)[0]
            answers.append(httpx2.get(f"{address}/-/clew/health").status_code)
            if len(answers) == 2:
                both.set()

    command = ["serve", "--config", str(folder.settings), "--port", "0"]
    with ClewProgram(command, environ=folder.environ, cwd=folder.path, on_line=ask) as clew:
        assert both.wait(30), clew.tail()
    assert answers == [200, 200]


HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)


async def test_a_client_on_this_machine_is_a_client_and_may_have_many_cookies(tmp_path: Path) -> None:
    """proxy 4.3, 0.20, 0.22, 2.9: over HTTP and for a WebSocket"""
    cookies = b"Cookie: a=" + b"x" * 16384
    spoofed = b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Proto: https"
    async with Shop(answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")) as shop:
        folder = ClewFolder(tmp_path / "clew", SETTINGS.replace("http://127.0.0.1:9", shop.url))
        with ClewServe(folder) as clew:
            for lines in ((), HANDSHAKE):
                async with Client(clew.port) as client:
                    assert (await client.ask(get(b"/", cookies, *spoofed, *lines))).status == 404
        for request in shop.requests:
            assert len(request.all("cookie")[0]) == 16386
            assert request.all("x-forwarded-for") == [b"127.0.0.1"]
            assert request.all("x-forwarded-proto") == [b"http"]
        assert len(shop.requests) == 2
