"""The ASGI mount and whatever an app may say: bodies of every shape, and events that are no body."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.injector.tag import tag
from clew.middleware.asgi.mount import BODY_BYPASSES, ClewMiddleware
from clew.settings.model import Settings

PAGE = b"<!doctype html><html><head><title>T</title></head><body>Hello</body></html>"
EDITED = PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/"))
HTML = [(b"content-type", b"text/html"), (b"etag", b'"v1"'), (b"content-length", b"%d" % len(PAGE))]

Message = dict[str, Any]
Wrap = Callable[[Any], ClewMiddleware]


@pytest_asyncio.fixture
async def wrap(tmp_path: Path) -> AsyncIterator[Wrap]:
    """Puts clew around an app, and stops it at the end."""
    wrapped: list[ClewMiddleware] = []

    def around(app: Any) -> ClewMiddleware:
        database = f"sqlite:{tmp_path / 'clew.db'}"
        settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [{"name": "shop"}]}
        wrapped.append(ClewMiddleware(app, Settings.model_validate(settings)))
        return wrapped[-1]

    yield around
    for middleware in wrapped:
        await middleware.service.stop()


def scope(kind: str = "http", **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example"), (b"sec-fetch-dest", b"document")],
        "scheme": "http" if kind == "http" else "ws",
        "client": ("192.0.2.1", 1),
        **more,
    }


def start(*headers: tuple[bytes, bytes], **more: Any) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [*(headers or HTML)], **more}


def body(data: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def no_request() -> Message:
    raise AssertionError("nobody reads the request")


async def answered(app: Any, **more: Any) -> list[Message]:
    """All that reaches the server for one navigation."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope(**more), no_request, send)
    return sent


def says(*messages: Message) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def content(sent: list[Message]) -> bytes:
    """The body, after what the standard asks of its shape: one head, then bytes, and one end."""
    kinds = [message["type"] for message in sent]
    assert kinds[0] == "http.response.start"
    assert set(kinds[1:]) == {"http.response.body"}
    assert [message.get("more_body", False) for message in sent[1:]].count(False) == 1
    assert not sent[-1].get("more_body", False)
    return b"".join(message.get("body", b"") for message in sent[1:])


EMPTY: Message = {"type": "http.response.body"}

SHAPES: dict[str, tuple[list[Message], bytes]] = {
    "all in the first event": ([start(), body(PAGE, more=False)], EDITED),
    "no more_body": ([start(), {"type": "http.response.body", "body": PAGE}], EDITED),
    "an end of its own": ([start(), body(PAGE, more=True), EMPTY], EDITED),
    "empty events between": (
        [start(), body(b"", more=True), *(body(PAGE[i : i + 1], more=True) for i in range(len(PAGE))), EMPTY],
        EDITED,
    ),
    "an empty event in a tag": (
        [
            start(),
            body(PAGE[:18], more=True),
            {"type": "http.response.body", "more_body": True},
            body(PAGE[18:], more=False),
        ],
        EDITED,
    ),
    "no headers": ([{"type": "http.response.start", "status": 200}, body(PAGE, more=False)], PAGE),
    "names in capitals": ([start((b"Content-Type", b"text/html")), body(PAGE, more=False)], EDITED),
    "nothing at all": ([start((b"content-type", b"text/html")), EMPTY], b""),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_body_may_have_any_shape_that_the_standard_allows(wrap: Wrap, shape: str) -> None:
    """injection 2.11, 2.10: a length that is sent is that of the body."""
    messages, expected = SHAPES[shape]
    sent = await answered(wrap(says(*messages)))
    assert content(sent) == expected
    length = dict(sent[0]["headers"]).get(b"content-length")
    assert length in (None, b"%d" % len(expected))


async def test_an_app_that_never_sends_a_body_has_not_answered(wrap: Wrap) -> None:
    """injection 2.11: the server says so to the client, as it does for an app that never began."""
    assert await answered(wrap(says(start()))) == []
    passing = start((b"content-type", b"text/plain"))
    assert await answered(wrap(says(passing))) == [passing]


@pytest.mark.parametrize("at", range(4))
async def test_the_app_is_notified_of_a_disconnect_which_is_not_a_fault(wrap: Wrap, at: int) -> None:
    """injection 2.12: `send` raises for the app, whose cleaning up runs."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(start())
            for part in (PAGE[:30], PAGE[30:40], PAGE[40:]):
                await send(body(part, more=True))
            await send(EMPTY)
        except OSError:
            seen.append("left")
            raise

    count = 0

    async def send(message: Message) -> None:
        nonlocal count
        count += 1
        if count > at:
            raise OSError("gone")

    around = wrap(app)
    with pytest.raises(OSError, match="gone"):
        await around(scope(), no_request, send)
    assert seen == ["left"]
    registry = around.service.registry
    assert registry.get_sample_value("clew_events_total", {"site": "shop", "event": "fault"}) is None
    reason = {"site": "shop", "outcome": "edit", "reason": ""}
    assert registry.get_sample_value("clew_responses_total", reason) == 1


request_id: ContextVar[str] = ContextVar("request_id")


async def test_the_app_runs_in_the_servers_own_task_and_context(wrap: Wrap) -> None:
    """injection 2.13: what it sets is seen outside, and what was set outside is seen by it."""
    tasks: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append((asyncio.current_task(), request_id.get()))
        request_id.set("inside")
        await send(start())
        await send(body(PAGE, more=False))

    request_id.set("outside")
    assert content(await answered(wrap(app))) == EDITED
    assert tasks == [(asyncio.current_task(), "outside")]
    assert request_id.get() == "inside"


@pytest.mark.parametrize("kind", ["websocket", "something.new"])
async def test_other_scopes_get_the_servers_own_receive_and_send(wrap: Wrap, kind: str) -> None:
    """injection 2.7, 8.7: an upgrade, its refusal with a page, and whatever comes."""
    channels: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channels.extend((receive, send))
        await send({"type": "websocket.http.response.start", "status": 403, "headers": HTML})
        await send({"type": "websocket.http.response.body", "body": PAGE})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await wrap(app)(scope(kind), no_request, send)
    assert channels == [no_request, send]
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (sent[0]["headers"], sent[1]["body"]) == (HTML, PAGE)


async def test_the_app_receives_a_disconnect_from_the_server_itself(wrap: Wrap) -> None:
    """injection 8.9."""
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(receive)
        await send(start())
        await send(body(PAGE, more=False))

    await answered(wrap(app))
    assert heard == [no_request]


FILE: Message = {"type": "http.response.pathsend", "path": "/srv/page.html"}
HANDLE: Message = {"type": "http.response.zerocopysend", "file": 3, "more_body": False}
NEWS: Message = {"type": "http.response.of_tomorrow", "answer": 42}


@pytest.mark.parametrize(
    "event", [FILE, HANDLE, NEWS], ids=["injection 8.1 path", "injection 8.2 file", "injection 8.8 unknown"]
)
@pytest.mark.parametrize("before", [[], [body(b"<!doctype html><html lang=", more=True)]])
async def test_other_messages_are_forwarded_after_the_held_head(
    wrap: Wrap, event: Message, before: list[Message]
) -> None:
    """Behind a head and bytes that were held until then, which go out as they came."""
    sent = await answered(wrap(says(start(), *before, event)))
    assert sent == [start(), *before, event]


@pytest.mark.parametrize("name", BODY_BYPASSES)
async def test_pathsend_is_offered_for_pictures_but_not_for_pages(wrap: Wrap, name: str) -> None:
    """injection 8.1, 8.2."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(sorted(scope["extensions"]))
        await send(start((b"content-type", b"image/png")))
        await send(FILE)

    around = wrap(app)
    offered = {name: {}, "http.response.trailers": {}}
    await answered(around, extensions=offered)
    picture = [(b"host", b"shop.example"), (b"sec-fetch-dest", b"image")]
    sent = await answered(around, extensions=offered, headers=picture)
    assert seen == [["http.response.trailers"], sorted(offered)]
    assert sent == [start((b"content-type", b"image/png")), FILE]
    assert sorted(offered) == sorted([name, "http.response.trailers"]), "the server's own scope is unchanged"


@pytest.mark.parametrize(
    ("number", "event"),
    [
        ("injection 8.3", {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}),
        ("injection 8.4", {"type": "http.response.push", "path": "/a.css", "headers": []}),
        ("injection 8.6", {"type": "http.response.debug", "info": {"template": "a"}}),
    ],
)
async def test_messages_before_the_head_are_sent_at_once(wrap: Wrap, number: str, event: Message) -> None:
    """An app may send it after its head; the head is held, and the hint is sent first."""
    async with asyncio.timeout(20):
        sent = await answered(wrap(says(event, start(), event, body(PAGE, more=False))))
    assert sent[:2] == [event, event]
    assert content(sent[2:]) == EDITED


async def test_trailers_come_after_the_body_and_end_it(wrap: Wrap) -> None:
    """injection 8.5, 5.13."""
    trailers = {"type": "http.response.trailers", "headers": [(b"server-timing", b"db;dur=3")]}
    head = start((b"content-type", b"text/html"), (b"trailer", b"server-timing"), trailers=True)
    sent = await answered(wrap(says(head, body(PAGE, more=True), EMPTY, trailers)))
    assert sent[-1] == trailers
    assert content(sent[:-1]) == EDITED
    assert sent[0]["trailers"] is True


async def test_the_app_gets_the_precondition_with_its_own_etag(wrap: Wrap) -> None:
    """injection 5.5: saving a page with clew's mark succeeds only if the page did not change."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]).get(b"if-match"))
        await send(start())
        await send(body(PAGE, more=False))

    around = wrap(app)
    etag = dict((await answered(around))[0]["headers"])[b"etag"]
    saved = [(b"host", b"shop.example"), (b"sec-fetch-dest", b"empty"), (b"if-match", etag)]
    sent = await answered(around, method="PUT", headers=saved)
    assert seen == [None, b'"v1"']
    assert sent == [start(), body(PAGE, more=False)]


async def test_two_instances_in_a_row_insert_one_tag(wrap: Wrap, tmp_path: Path) -> None:
    """injection 7.1, 10: one in the shop's app, and one in front of it."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        head = dict(scope["headers"])
        known = head.get(b"if-none-match") == b'"v1"'
        await send({**start(), "status": 304 if known else 200})
        await send(EMPTY if known else body(PAGE, more=False))

    both = wrap(wrap(page))
    sent = await answered(both)
    assert content(sent) == EDITED
    etag = dict(sent[0]["headers"])[b"etag"]
    again = await answered(both, headers=[*scope()["headers"], (b"if-none-match", etag)])
    # Outer and inner mark alike: the outer one takes the mark off, and the inner one then asks for the page.
    assert content(again) == EDITED


async def test_two_instances_insert_one_tag_for_any_chunks(wrap: Wrap) -> None:
    """injection 7.1."""
    parts: list[bytes] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for part in parts:
            await send(body(part, more=True))
        await send(EMPTY)

    both = wrap(wrap(page))
    for cut in range(1, len(PAGE)):
        parts[:] = PAGE[:cut], PAGE[cut:]
        assert content(await answered(both)) == EDITED, cut
