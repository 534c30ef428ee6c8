from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clew.events.events import NOTICE_KEYS
from clew.middleware.asgi.mount import ClewMiddleware
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from raw_http import OK, Client, Shop, answering, serving
from structlog.testing import capture_logs


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def settings(folder: Path, upstream: str) -> Settings:
    database = f"sqlite:{folder / 'clew.db'}"
    sites = [
        {"name": "tea", "hosts": ["tea.example"], "upstream": upstream},
        {"name": "coffee", "hosts": ["*.coffee.example", "coffee.example"], "upstream": upstream},
    ]
    return Settings.model_validate(
        {"secret": "s" * 40, "store": database, "ledger": database, "sites": sites}
    )


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("mount", ["proxy", "middleware"])
async def test_an_unknown_host_is_reported_once_with_the_known_hosts(
    tmp_path: Path, mount: str, logged: list[Any]
) -> None:
    """field G2"""
    async with Shop(answering(OK)) as shop:
        found = settings(tmp_path, shop.url)
        front = ReverseProxy(found) if mount == "proxy" else ClewMiddleware(app, found)
        async with serving(front, lifespan="on") as port, Client(port) as client:
            for host in (b"www.tea.example", b"www.tea.example", b"WWW.tea.example", b"tea.example"):
                answer = await client.ask(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                assert answer.status == (421 if mount == "proxy" and host != b"tea.example" else 200)
    told = [line for line in logged if line["event"] == "host_unknown"]
    assert [(line["key"], line["known"]) for line in told] == [
        ("www.tea.example", "*.coffee.example, coffee.example, tea.example")
    ]
    assert told[0]["log_level"] == "warning"
    counted = front.service.registry.get_sample_value(
        "clew_events_total", {"site": "", "event": "host_unknown"}
    )
    assert counted == 3


async def test_a_stranger_who_tries_names_fills_no_log(tmp_path: Path, logged: list[Any]) -> None:
    """field G2"""
    front = ClewMiddleware(app, settings(tmp_path, "http://127.0.0.1:9"))
    async with serving(front, lifespan="on") as port, Client(port) as client:
        for number in range(NOTICE_KEYS + 30):
            host = b"%d.%s.example" % (number, b"x" * 230)
            await client.ask(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    told = [line for line in logged if line["event"] == "host_unknown"]
    assert len(told) == NOTICE_KEYS + 1
    assert max(len(line["key"]) for line in told) <= 200
