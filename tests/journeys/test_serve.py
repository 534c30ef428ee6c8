"""`clew serve` as those who run it see it: it stops when it is told."""

import socket
from pathlib import Path

import httpx2
import pytest
from clews import ClewFolder, ClewServe, wait_for_event
from raw_http import Client, Shop, answering, get

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
    with socket.create_server(("127.0.0.1", 0)) as shop:
        folder = ClewFolder(tmp_path / "clew", SETTINGS.replace(":9", f":{shop.getsockname()[1]}"))
        with ClewServe(folder, ["--workers", "2"]) as clew:
            first = wait_for_event(clew, "started")["timestamp"]
            clew.wait_for_line(lambda line: '"started"' in line and first not in line, 20)
            answer = httpx2.get(f"{clew.address}/-/clew/ready")
            assert answer.json()["ready"] is True
            assert not [line for line in list(clew.lines) if "Traceback" in line]


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
