"""If any part of clew fails, the shop's bytes arrive and a metric counts the fault, in both mounts."""

import asyncio
import gzip
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from clew.injector import eligible, validators
from clew.injector.edit import PageEdit
from clew.injector.tag import tag
from clew.middleware.asgi.mount import ClewMiddleware
from clew.middleware.exchange import body as body_module
from clew.middleware.exchange import response as response_module
from clew.middleware.proxy.mount import ReverseProxy
from clew.referral.landing import LandingReader
from clew.settings.model import Settings
from raw_http import Client, Pairs, Response, Shop, get, serving

PAGE = b"<!doctype html><html><head><title>T</title></head><body>" + b"Hello " * 40_000 + b"</body></html>"
EDITED = PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/"))
CUTS = (0, 10, 40, 5_000, len(PAGE))
HTML = (b"content-type", b"text/html")


@dataclass
class Answer:
    """What the shop answers: the body in pieces, and whether it ends."""

    pieces: list[bytes] = field(default_factory=lambda: [PAGE[a:b] for a, b in pairwise(CUTS)])
    headers: Pairs = field(default_factory=lambda: [HTML])

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """The shop as an ASGI app, one that has no lifespan."""
        if scope["type"] != "http":
            raise ValueError(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def script(self, shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The shop behind a proxy."""
        while True:
            await shop.request(reader)
            lines = [b"%b: %b\r\n" % pair for pair in self.headers]
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % b"".join(lines))
            for piece in self.pieces:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")


@dataclass
class Mounted:
    """clew in front of a shop, and a client."""

    answer: Answer
    mount: ClewMiddleware
    client: Client
    folder: Path

    async def ask(self, target: bytes = b"/", *lines: bytes) -> Response:
        """A navigation."""
        conditional = (b"Accept: text/html", b'If-None-Match: "x"')
        return await self.client.ask(get(target, *conditional, *lines))

    def count(self, name: str, **labels: str) -> float:
        """A figure of the metrics, summed over the labels not named."""
        return sum(
            sample.value
            for family in self.mount.service.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def faults(self) -> float:
        """Faults counted so far."""
        return self.count("clew_events_total", event="fault")


@pytest.fixture(params=["asgi", "proxy"])
async def clew(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mounted]:
    answer = Answer()
    async with AsyncExitStack() as stack:
        site: dict[str, object] = {
            "name": "shop",
            "hosts": ["shop.example"],
            "partners": [{"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"}],
            "order": {"page": "/thanks*"},
        }
        if request.param == "proxy":
            site["upstream"] = (await stack.enter_async_context(Shop(answer.script))).url
        settings = Settings.model_validate(
            {
                "secret": "s" * 40,
                "store": f"sqlite:{tmp_path / 'visits.db'}",
                "ledger": f"sqlite:{tmp_path / 'ledger.db'}",
                "sites": [site],
            }
        )
        mount = ReverseProxy(settings) if request.param == "proxy" else ClewMiddleware(answer.app, settings)
        port = await stack.enter_async_context(serving(mount, lifespan="on"))
        client = await stack.enter_async_context(Client(port))
        yield Mounted(answer, mount, client, tmp_path)


def visitor_cookie(response: Response) -> bytes:
    """The Cookie line of a visitor who comes back: only then something is stored (field E7)."""
    (cookie,) = [c for c in response.all("set-cookie") if c.startswith(b"clew_visitor=")]
    return b"Cookie: " + cookie.partition(b";")[0]


def breaks(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


async def test_the_page_is_edited_as_long_as_nothing_fails(clew: Mounted) -> None:
    response = await clew.ask(b"/?ref=1")
    assert (response.body, response.complete, clew.faults) == (EDITED, True, 0)


STEPS: list[tuple[Any, str]] = [
    (eligible, "request_reason"),
    (LandingReader, "read"),
    (LandingReader, "set_cookies"),
    (validators, "forward_conditionals"),
    (response_module, "with_cookies"),
    (eligible, "response_reason"),
    (response_module, "wants_copy"),
    (response_module, "negotiate"),
    (PageEdit, "__init__"),
    (PageEdit, "feed"),
    (response_module, "edited_head"),
    (response_module, "with_reason"),
]


@pytest.mark.parametrize(("where", "name"), STEPS, ids=[name for _, name in STEPS])
async def test_a_fault_before_the_head_is_sent_leaves_the_page_unchanged(
    clew: Mounted, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    monkeypatch.setattr(where, name, breaks)
    response = await clew.ask(b"/?ref=1")
    assert (response.status, response.body, response.complete) == (200, PAGE, True)
    assert clew.faults == 1


async def test_a_fault_at_the_end_of_a_held_page_leaves_it_unchanged(
    clew: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageEdit, "end", breaks)
    clew.answer.pieces = [b"<!doctype html><html"]
    response = await clew.ask()
    assert (response.body, response.complete, clew.faults) == (b"<!doctype html><html", True, 1)


async def test_a_fault_while_a_page_is_only_copied_costs_the_copy_alone(
    clew: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageEdit, "_copy_passing", breaks)
    clew.answer.headers = [HTML, (b"content-security-policy", b"default-src 'none'")]
    response = await clew.ask(b"/thanks")
    assert (response.body, response.complete, clew.faults) == (PAGE, True, 1)


async def test_a_fault_in_noting_the_pages_facts_comes_after_the_page(
    clew: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "note_page", breaks)
    response = await clew.ask(b"/thanks")
    assert (response.body, response.complete, clew.faults) == (EDITED, True, 1)


async def test_a_fault_in_the_middle_of_an_edited_page_never_ends_it_cleanly(
    clew: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = PageEdit.feed

    def later(edit: PageEdit, chunk: bytes) -> bytes:
        return breaks() if edit.verdict == "edit" else feed(edit, chunk)

    monkeypatch.setattr(PageEdit, "feed", later)
    # Longer than one read, packed, so that every byte has to go through the editor.
    noise = random.Random(1).randbytes(2**20).hex().encode()
    clew.answer.headers = [HTML, (b"content-encoding", b"gzip")]
    packed = gzip.compress(PAGE + noise, mtime=0)
    clew.answer.pieces = [packed[:300], packed[300:]]
    response = await clew.ask()
    assert not response.complete
    assert (EDITED + noise).startswith(response.body)
    assert clew.faults == 1
    assert clew.count("clew_responses_total", outcome="broken", reason="fault") == 1


async def test_a_body_with_a_coding_error_at_its_start_passes_unchanged(clew: Mounted) -> None:
    clew.answer.headers = [HTML, (b"content-encoding", b"gzip")]
    clew.answer.pieces = [b"<!doctype html>", b"<head></head>"]
    response = await clew.ask()
    assert (response.body, response.complete) == (b"<!doctype html><head></head>", True)
    assert response.all("content-encoding") == [b"gzip"]
    assert clew.count("clew_responses_total", outcome="pass", reason="broken coding") == 1


@pytest.mark.parametrize("harm", ["damaged", "truncated"])
async def test_a_coding_that_breaks_within_an_edited_page_never_ends_it_cleanly(
    clew: Mounted, harm: str
) -> None:
    packed = gzip.compress(PAGE + bytes(range(256)) * 40, mtime=0)
    rest = {"damaged": b"\xff" * 200, "truncated": b""}[harm]
    clew.answer.headers = [HTML, (b"content-encoding", b"gzip")]
    clew.answer.pieces = [packed[:300], rest] if rest else [packed[:300]]
    response = await clew.ask()
    assert not response.complete
    assert clew.count("clew_responses_total", outcome="broken", reason="coding") == 1


# -- stores


def closed(clew: Mounted) -> None:
    visits: Any = clew.mount.service.visits
    visits._connection.close()


def damaged(clew: Mounted) -> None:
    for file in clew.folder.glob("visits.db*"):
        file.write_bytes(b"\xff" * 100_000)


@pytest.mark.parametrize("harm", [closed, damaged])
async def test_a_lost_visit_store_costs_neither_the_page_nor_the_touch(
    clew: Mounted, harm: Callable[[Mounted], None]
) -> None:
    known_by = visitor_cookie(await clew.ask(b"/?ref=1"))
    harm(clew)
    response = await clew.ask(b"/?ref=2", known_by)
    assert (response.body, response.complete) == (EDITED, True)
    cookie = next(c for c in response.all("set-cookie") if c.startswith(b"clew_visitor="))
    known = clew.mount.service.sites["shop"].cookie.read([cookie.partition(b";")[0]])
    assert known is not None
    assert {touch.clicks[0].value for touch in known.touches} == {"1", "2"}
    assert clew.faults >= 1


async def test_a_locked_visit_store_costs_neither_the_page_nor_the_touch(clew: Mounted) -> None:
    known_by = visitor_cookie(await clew.ask(b"/?ref=1"))
    with closing(sqlite3.connect(clew.folder / "visits.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        response = await clew.ask(b"/?ref=2", known_by)
    assert (response.body, response.complete) == (EDITED, True)
    assert response.all("set-cookie")
    assert clew.faults >= 1


async def test_deleted_stores_cost_no_page(clew: Mounted) -> None:
    assert (await clew.ask(b"/?ref=1")).status == 200
    for file in (*clew.folder.glob("visits.db*"), *clew.folder.glob("ledger.db*")):
        file.unlink()
    for target in (b"/?ref=2", b"/thanks", b"/"):
        response = await clew.ask(target)
        assert (response.body, response.complete) == (EDITED, True)


async def test_a_log_that_cannot_be_written_costs_no_page(
    clew: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def __getattr__(self, _: str) -> Any:
            def write(*_: Any, **__: Any) -> None:
                raise BrokenPipeError

            return write

    monkeypatch.setattr(clew.mount.service.events, "_log", Gone())
    response = await clew.ask(b"/?ref=1")
    assert (response.body, response.complete) == (EDITED, True)
    assert clew.count("clew_events_total", event="touch") == 1
