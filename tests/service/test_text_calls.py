"""Texts of a service: told what the owner chose, bounded, signed, and never waited for too long."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.service import text_calls
from clew.service.text_calls import TEXT, read_text
from desks import DeskServer
from standardwebhooks import Webhook

SECRET = "whsec_" + "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"


class Service:
    """Answers one request a connection, with what a test sets; `hold` holds answers back."""

    def __init__(self) -> None:
        self.answer = b'{"text": "A mill for you?"}'
        self.status = b"200 OK"
        self.calls: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.raw: list[str] = []
        self.hold: asyncio.Event | None = None
        self.url = ""
        self.came = asyncio.Event()

    async def until(self, calls: int) -> None:
        """Wait for so many calls."""
        async with asyncio.timeout(30):
            while len(self.calls) < calls:
                self.came.clear()
                await self.came.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            plain = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = (await reader.readexactly(int(fields["content-length"]))).decode()
            self.calls.append(({k.lower(): v for k, v in plain.items()}, json.loads(body)))
            self.raw.append(body)
            self.came.set()
            if self.hold is not None:
                await self.hold.wait()
            writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n" % (self.status, len(self.answer)))
            writer.write(self.answer)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def shop(folder: Path, **source: Any) -> AsyncIterator[tuple[DeskServer, Service]]:
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/text"
    rule = {
        "name": "r",
        "action": "invite",
        "text": "Any question?",
        "text_from": {"url": service.url, "facts": ["page.path", "cart.value"], **source},
    }
    desk = DeskServer(folder, more={"rules": [rule]})
    await desk.service.start()
    try:
        yield desk, service
    finally:
        if service.hold is not None:
            service.hold.set()
        await desk.service.stop()
        server.close()


async def text(desk: DeskServer, path: str = "/", address: str = "203.0.113.7", **more: Any) -> str:
    async with desk.client() as browser:
        browser.headers["x-test-client"] = address
        body = {"url": f"http://shop.test{path}", "title": "T", "language": "de", **more}
        answer = await browser.post("decide", json=body)
        found: str = answer.json()["invite"]["text"]
        return found


async def after_all_calls(desk: DeskServer, path: str = "/") -> str:
    """What is said once every call for it has been answered: the first one makes a client, which takes a
    while on a busy machine."""
    await text(desk, path)
    async with asyncio.timeout(30):
        while running := [*desk.service.text_calls._running.values()]:
            await asyncio.wait(running)
    return await text(desk, path)


async def test_a_service_is_told_the_chosen_facts_alone_and_signed(tmp_path: Path) -> None:
    async with shop(tmp_path, secret=SECRET) as (desk, service):
        assert await after_all_calls(desk, "/mills?utm_term=secret") == "A mill for you?"
        ((headers, body),) = service.calls
        assert body == {
            "type": "invite.text",
            "rule": "r",
            "language": "de",
            "facts": {"page.path": "/mills"},
        }
        assert Webhook(SECRET).verify(service.raw[0], headers) == body
        assert not {"cookie", "referer", "accept-language"} & headers.keys()
        assert "httpx" not in headers["user-agent"]
        # The same facts: one call, in all tabs.
        assert await text(desk, "/mills") == "A mill for you?"
        assert len(service.calls) == 1
        await after_all_calls(desk, "/mugs")
        assert len(service.calls) == 2


async def test_a_slow_service_costs_the_decision_its_time_alone(tmp_path: Path) -> None:
    async with shop(tmp_path, timeout_ms=50) as (desk, service):
        service.hold = asyncio.Event()
        async with asyncio.timeout(20):
            assert await text(desk) == "Any question?"
        assert "text_failed" in {notice for _, notice, _ in desk.service.events._noted}
        # What came late is said from then on.
        service.hold.set()
        assert await after_all_calls(desk) == "A mill for you?"


async def test_a_service_that_fails_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with shop(tmp_path) as (desk, service):
        service.status = b"500 Oops"
        for number in range(text_calls.FAILURES + 5):
            assert await after_all_calls(desk, f"/{number}") == "Any question?"
        assert len(service.calls) == text_calls.FAILURES
        service.status = b"200 OK"
        desk.clock.ahead += text_calls.ALONE_SECONDS + 1
        assert await after_all_calls(desk, "/then") == "A mill for you?"
        assert await after_all_calls(desk, "/and") == "A mill for you?"


async def test_no_text_is_no_failure(tmp_path: Path) -> None:
    async with shop(tmp_path) as (desk, service):
        service.status, service.answer = b"204 No Content", b""
        assert await after_all_calls(desk) == "Any question?"
        assert await text(desk) == "Any question?"
        assert len(service.calls) == 1


async def test_strangers_do_not_make_a_service_work_more_than_its_site_may(tmp_path: Path) -> None:
    async with shop(tmp_path, timeout_ms=50) as (desk, service):
        service.hold = asyncio.Event()
        asked = [text(desk, f"/{n}", f"192.0.2.{n}") for n in range(text_calls.OF_SITE + 4)]
        said = await asyncio.gather(*asked)
        assert set(said) == {"Any question?"}
        await service.until(text_calls.OF_SITE)
        assert len(desk.service.text_calls._running) == text_calls.OF_SITE


@pytest.mark.parametrize("networks", ["203.0.113.7", "2001:db8:1:{}::9"])
async def test_one_stranger_does_not_take_the_texts_of_others(tmp_path: Path, networks: str) -> None:
    async with shop(tmp_path, timeout_ms=50) as (desk, service):
        service.hold = asyncio.Event()
        await asyncio.gather(*(text(desk, f"/{n}", networks.format(n)) for n in range(text_calls.OF_SITE)))
        assert len(desk.service.text_calls._running) < text_calls.OF_SITE
        before = len(desk.service.text_calls._running)
        await text(desk, "/other", "198.51.100.1")
        assert len(desk.service.text_calls._running) == before + 1


async def test_facts_that_a_stranger_made_up_do_not_close_a_service(tmp_path: Path) -> None:
    async with shop(tmp_path) as (desk, service):
        service.status = b"422 Unprocessable"
        for number in range(text_calls.FAILURES + 1):
            assert await after_all_calls(desk, f"/{number}") == "Any question?"
        service.status = b"200 OK"
        assert await after_all_calls(desk, "/good") == "A mill for you?"


async def test_texts_of_one_site_do_not_push_out_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_calls, "KEPT", 4)
    async with shop(tmp_path) as (desk, _):
        calls = desk.service.text_calls
        calls._keep(("other", "r", "url", "body"), "kept", 1e12)
        for number in range(10):
            calls._keep(("shop", "r", "url", f"{number}"), "new", 1e12)
        assert [len(texts) for texts in calls._texts.values()] == [1, 3]


async def test_the_agent_reads_what_the_visitor_read(tmp_path: Path) -> None:
    async with shop(tmp_path) as (desk, service), desk.visitor() as browser:
        page = {"url": "http://shop.test/", "title": "T", "language": "de"}
        await after_all_calls(desk)
        answer = await browser.post("decide", json=page)
        assert answer.json()["invite"]["text"] == "A mill for you?"
        service.answer = b'{"text": "Something else"}'
        desk.clock.ahead += 600
        said = {"text": "Yes", "client_id": "client-id-1", "rule": "r", "language": "de"}
        assert (await browser.post("messages", json=said)).status_code == 201
        assert (await browser.get("messages")).json()["invite"] == "A mill for you?"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "the response is no JSON"),
        (b"[" * 100_000, "the response is no JSON"),
        (b"[]", 'the response is not {"text": "…"}'),
        (b'{"text": 5}', "`text` is not a text"),
        (b'{"text": " \\n "}', "the text is empty"),
        (json.dumps({"text": "x" * (TEXT + 1)}).encode(), "the text has 501 characters"),
        (json.dumps({"text": "x\n" * 7}).encode(), "in 7 lines"),
    ],
)
def test_a_wrong_answer_has_a_reason(body: bytes, why: str) -> None:
    found = read_text(body)
    assert found[0] is None
    assert why in found[1]


def test_a_text_acts_on_nothing() -> None:
    said = json.dumps({"text": "One\u202e\x00  day\n<b>two</b> {cart}"}).encode()
    assert read_text(said) == ("One day\n<b>two</b> {cart}", "")
    assert read_text(b'{"text": null}') == (None, "")
