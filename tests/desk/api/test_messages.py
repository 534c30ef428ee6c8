"""The visitor's side of the conversation over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew import templates
from clew.chat.hub import presence_topic
from clew.desk.files import offered
from clew.settings.model import Site
from clew.stores.ledger.connection import executing
from desks import OTHER, PASSWORD, SHOP, VISITOR, DeskServer, desk_server, events, hidden, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from talks import open_conversation


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


SECOND = "ffffgggghhhhiiiijjjjkkkk33"
HOME = {"host": "shop.test", "x-test-client": "203.0.113.7"}
OFFERED = offered(Site(name="shop"))
NOTHING = {"messages": [], "state": "none", "seen": 0, "online": False, "blocked": False, "files": OFFERED}


def body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"text": text, "client_id": "widget-id-1", "language": "de", "rule": None, **more}


async def error_of(answer: httpx2.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    error = answer.json()["error"]
    assert isinstance(error, str)
    assert "Traceback" not in error
    return error


async def test_a_message_is_written_and_read_back(desk: DeskServer) -> None:
    client = desk.visitor()
    await desk.invited("after-wait")
    sent = await client.post("messages", json=body(rule="after-wait"))
    assert sent.status_code == 201
    assert sent.json().keys() == {"id", "at"}
    read = await client.get("messages")
    assert read.headers["cache-control"] == "no-store"
    assert read.json() == {
        "messages": [
            {
                "id": sent.json()["id"],
                "author": "visitor",
                "agent": None,
                "text": "hello",
                "at": sent.json()["at"],
            }
        ],
        "state": "open",
        "invite": "Können wir Ihnen helfen? Stellen Sie hier Ihre Frage.",
        "rating": None,
        "seen": 0,
        "online": False,
        "blocked": False,
        "files": OFFERED,
        "persona": None,
    }
    found = await open_conversation(desk.conversations, "shop", VISITOR)
    assert found is not None
    assert (found.rule, found.language) == ("after-wait", "de")


async def test_a_repeat_is_answered_with_the_first_message(desk: DeskServer) -> None:
    client = desk.visitor()
    first = await client.post("messages", json=body())
    again = await client.post("messages", json=body("changed"))
    assert (again.status_code, again.json()) == (200, first.json())
    assert len((await client.get("messages")).json()["messages"]) == 1


async def test_messages_after_an_id_leave_out_what_is_known(desk: DeskServer) -> None:
    client = desk.visitor()
    first = (await client.post("messages", json=body("one"))).json()["id"]
    await client.post("messages", json=body("two", client_id="widget-id-2"))
    read = (await client.get(f"messages?after={first}")).json()
    assert [m["text"] for m in read["messages"]] == ["two"]


async def test_without_a_conversation_there_are_no_messages(desk: DeskServer) -> None:
    found = (await desk.visitor().get("messages")).json()
    assert found == NOTHING


async def test_the_stream_tells_when_agents_come_and_go_also_before_the_first_message(
    desk: DeskServer,
) -> None:
    """field G13: "Nobody is here right now" stood under a live answer."""
    await desk.agents.add("bo", "correct horse battery", site=None, now=desk.service.clock.now())
    async with desk.served() as address, httpx2.AsyncClient(headers={"cookie": desk.cookie()}) as client:
        headers = {"host": "shop.test"}
        async with client.stream("GET", f"{address}stream", headers=headers, timeout=30) as stream:
            told = events(stream, state=True)
            assert json.loads((await anext(told))["data"]) == {"online": False, "blocked": False}
            await desk.agents.seen("bo", desk.service.clock.now())
            assert json.loads((await anext(told))["data"])["online"] is True
            await desk.service.desk_work.set_presence("bo", "away", ["shop"])
            assert json.loads((await anext(told))["data"])["online"] is False
            # At the end of a shift it goes on with the conversations that it has.
            await desk.service.desk_work.set_presence("bo", "leaving", ["shop"])
            talk = await desk.says("hello")
            await desk.service.conversations.take("shop", talk, "bo")
            found = [await anext(told) for _ in range(2)]
            assert [one["event"] for one in found] == ["message", "state"]
            assert json.loads(found[1]["data"])["online"] is True


async def test_a_blocked_visitor_is_told_so_and_its_stream_as_well(desk: DeskServer) -> None:
    client, other = desk.visitor(), desk.visitor("ffffgggghhhhiiiijjjjkkkk33")
    for one in (client, other):
        one.headers["x-test-client"] = "198.51.100.7"
    await client.post("messages", json=body())
    talk, _ = await desk.conversations.visitor_messages("shop", VISITOR)
    assert talk is not None
    work = desk.service.desk_work
    await work.block(talk, 1, network=False, by="bo", why="rude")
    refused = await client.post("messages", json=body("again", client_id="widget-id-3"))
    assert (refused.status_code, refused.json()["reason"]) == (403, "blocked")
    assert (await client.get("messages")).json()["blocked"] is True
    # Others of the network are not, unless that was chosen.
    assert (await other.post("messages", json=body(client_id="widget-id-4"))).status_code == 201
    await work.block(talk, 1, network=True, by="bo", why="rude")
    refused = await other.post("messages", json=body("again", client_id="widget-id-5"))
    assert refused.json()["reason"] == "blocked"
    desk.clock.ahead += 3601
    assert (await other.post("messages", json=body("again", client_id="widget-id-6"))).status_code == 201


async def test_an_open_chat_hears_when_a_block_ends_by_itself_and_when_its_network_is_blocked(
    desk: DeskServer,
) -> None:
    await desk.visitor(SECOND).post("messages", json=body())
    talk, _ = await desk.conversations.visitor_messages("shop", SECOND)
    assert talk is not None
    async with asyncio.timeout(60), desk.served() as address, stream(desk, address, headers=HOME) as response:
        told = events(response, state=True)
        assert json.loads((await anext(told))["data"])["blocked"] is False
        await desk.service.desk_work.block(talk, 1, network=True, by="bo", why="rude")
        assert json.loads((await anext(told))["data"])["blocked"] is True
        # A second before its end; what wakes the stream now is something else.
        desk.clock.ahead += 3599
        desk.service.hub.notify(presence_topic("shop"))
        assert json.loads((await anext(told))["data"])["blocked"] is False
    assert (await desk.visitor().post("messages", json=body("sorry"))).status_code == 201


async def test_another_workers_block_of_a_network_reaches_the_chats_of_it(
    tmp_path: Path, ledger_address: str
) -> None:
    desk, other = (DeskServer(tmp_path, ledger=ledger_address) for _ in range(2))
    async with AsyncExitStack() as running, asyncio.timeout(60):
        for one in (desk, other):
            await one.service.start()
            running.push_async_callback(one.service.stop)
        await other.visitor(SECOND).post("messages", json=body())
        talk, _ = await other.conversations.visitor_messages("shop", SECOND)
        assert talk is not None
        async with desk.served() as address, stream(desk, address, headers=HOME) as response:
            told = events(response, state=True)
            assert json.loads((await anext(told))["data"])["blocked"] is False
            await other.service.desk_work.block(talk, 1, network=True, by="bo", why="rude")
            assert json.loads((await anext(told))["data"])["blocked"] is True


async def test_a_closed_conversation_is_shown_as_closed_and_reopened_by_a_message(desk: DeskServer) -> None:
    client = desk.visitor()
    await client.post("messages", json=body())
    await desk.conversations.close("shop", await desk.says("more"), desk.service.clock.now())
    assert (await client.get("messages")).json()["state"] == "closed"
    await client.post("messages", json=body("again", client_id="widget-id-3"))
    assert (await client.get("messages")).json()["state"] == "open"


@pytest.mark.parametrize("cookie", ["", "clew_visitor=", "clew_visitor=forged", "clew_visitor=" + "A" * 3000])
async def test_without_clews_cookie_nothing_is_read_or_written(desk: DeskServer, cookie: str) -> None:
    client = desk.client()
    client.headers["cookie"] = cookie
    for answer in (
        await client.post("messages", json=body()),
        await client.get("messages"),
        await client.get("stream"),
    ):
        assert "cookie" in await error_of(answer, 403)
    assert await desk.service.ledger.inbox.page("shop") == ()


async def test_a_cookie_of_one_site_is_invalid_at_another(desk: DeskServer) -> None:
    client = desk.client(OTHER)
    client.headers["cookie"] = desk.cookie(base=SHOP)
    await error_of(await client.post("messages", json=body()), 403)


async def test_one_visitor_never_reads_what_another_wrote(desk: DeskServer) -> None:
    await desk.visitor().post("messages", json=body("secret"))
    other = desk.visitor("zzzzbbbbccccddddeeeeffff22")
    assert (await other.get("messages?after=0")).json() == NOTHING


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", ""),
        ("text", " \n\t "),
        ("text", "\x00\x07"),
        ("text", 17),
        ("text", ["a"]),
        ("text", None),
        ("client_id", "short"),
        ("client_id", "x" * 65),
        ("client_id", "with blank"),
        ("client_id", "order:1001"),
        ("client_id", 12345678),
        ("language", "klingon"),
        ("language", {"a": 1}),
        ("rule", 5),
        ("rule", "x" * 65),
    ],
)
async def test_a_wrong_field_is_named_in_the_answer(desk: DeskServer, field: str, value: Any) -> None:
    answer = await desk.visitor().post("messages", json=body(**{field: value}))
    assert (await error_of(answer, 422)).startswith(f"{field}:")


async def test_several_wrong_fields_are_named_at_once(desk: DeskServer) -> None:
    error = await error_of(await desk.visitor().post("messages", json={"text": 1, "client_id": "x"}), 422)
    assert "text:" in error
    assert "client_id:" in error


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"hello",
        b'{"text": "\\ud800", "client_id": "widget-id-1"}',
        b"[" * 20_000,
        b"1" * 20_000,
    ],
)
async def test_a_body_that_is_no_json_is_refused(desk: DeskServer, raw: bytes) -> None:
    answer = await desk.visitor().post("messages", content=raw, headers={"content-type": "application/json"})
    assert "JSON" in await error_of(answer, 400)


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"text"', b"17"])
async def test_json_that_is_no_object_is_refused(desk: DeskServer, raw: bytes) -> None:
    answer = await desk.visitor().post("messages", content=raw, headers={"content-type": "application/json"})
    await error_of(answer, 422)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_only_json_is_taken_since_a_foreign_form_cannot_send_it(desk: DeskServer, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await desk.visitor().post("messages", content=json.dumps(body()).encode(), headers=headers)
    assert "application/json" in await error_of(answer, 415)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": SHOP},
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://shop.test.evil.test"},
        {"origin": "http://shop.test:8080"},
        {"origin": "http://[::1"},
        {"origin": "file://shop.test"},
        {"origin": ""},
    ],
)
async def test_another_sites_page_cannot_write_in_the_visitors_name(
    desk: DeskServer, headers: dict[str, str]
) -> None:
    answer = await desk.visitor().post("messages", json=body(), headers=headers)
    assert "another site" in await error_of(answer, 403)
    assert await desk.service.ledger.inbox.page("shop") == ()


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": SHOP},
        # Fetch metadata is the browser's own word; a proxy before us may have changed the host.
        {"sec-fetch-site": "same-origin", "origin": "https://outer.test"},
        {"origin": SHOP},
        {"origin": "http://SHOP.test:80"},
        # TLS ends at a proxy that we were not told to trust.
        {"origin": "https://shop.test"},
    ],
)
async def test_our_own_page_may_write(desk: DeskServer, headers: dict[str, str]) -> None:
    assert (await desk.visitor().post("messages", json=body(), headers=headers)).status_code == 201


async def test_a_page_without_tls_cannot_write_to_a_site_with_it(desk: DeskServer) -> None:
    desk.scheme = "https"
    answer = await desk.visitor().post("messages", json=body(), headers={"origin": SHOP})
    await error_of(answer, 403)


async def test_an_oversized_body_is_refused_by_its_length_and_by_its_bytes(desk: DeskServer) -> None:
    client = desk.visitor()
    headers = {"content-type": "application/json"}
    long = json.dumps(body("x" * 40_000)).encode()
    assert "32768" in await error_of(await client.post("messages", content=long, headers=headers), 413)

    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 10_000
            yield b" " * 10_000

    assert "32768" in await error_of(await client.post("messages", content=endless(), headers=headers), 413)


@pytest.mark.parametrize("length", ["99999999999999999999", "-1", "1e9", "²"])
async def test_a_wrong_content_length_is_harmless(desk: DeskServer, length: str) -> None:
    headers = {"content-type": "application/json", "content-length": length.encode()}
    answer = await desk.visitor().post("messages", content=json.dumps(body()).encode(), headers=headers)
    assert answer.status_code in (201, 413)


async def test_a_message_longer_than_the_site_allows_is_refused_with_both_numbers(tmp_path: Path) -> None:
    async with desk_server(tmp_path, {"message_length": 100}) as desk:
        client = desk.visitor()
        error = await error_of(await client.post("messages", json=body("x" * 101)), 422)
        assert error == "text: the message has 101 characters, at most 100 can be sent"
        assert (await client.post("messages", json=body("x" * 100))).status_code == 201


async def test_a_visitor_over_the_message_limit_gets_retry_after(tmp_path: Path) -> None:
    async with desk_server(tmp_path, {"messages_per_minute": 3}) as desk:
        client = desk.visitor()
        for number in range(3):
            sent = await client.post("messages", json=body(client_id=f"widget-id-{number}"))
            assert sent.status_code == 201
        refused = await client.post("messages", json=body(client_id="widget-id-9"))
        await error_of(refused, 429)
        wait = int(refused.headers["retry-after"])
        assert 1 <= wait <= 60
        other = desk.visitor("zzzzbbbbccccddddeeeeffff22")
        assert (await other.post("messages", json=body())).status_code == 201
        desk.clock.ahead = wait
        assert (await client.post("messages", json=body(client_id="widget-id-9"))).status_code == 201


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", "9" * 40, "%C2%B2", "1%00"])
async def test_an_invalid_after_parameter_is_refused(desk: DeskServer, after: str) -> None:
    await desk.says("hello")
    client = desk.visitor()
    for door in ("messages", "stream"):
        assert (await error_of(await client.get(f"{door}?after={after}"), 400)).startswith("after:")


async def test_a_rule_that_is_not_of_the_site_is_left_out(desk: DeskServer) -> None:
    assert (await desk.visitor().post("messages", json=body(rule="made-up"))).status_code == 201
    found = await open_conversation(desk.conversations, "shop", VISITOR)
    assert found is not None
    assert found.rule is None


async def test_text_is_kept_as_written_but_for_control_characters(desk: DeskServer) -> None:
    client = desk.visitor()
    written = "  <b>\u00e4\U0001f600</b>\r\nline\ttwo\x00\x1b[31m \u202e  "
    await client.post("messages", json=body(written))
    (message,) = (await client.get("messages")).json()["messages"]
    assert message["text"] == "<b>\u00e4\U0001f600</b>\nline\ttwo[31m \u202e"


VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
KEYS = st.sampled_from(["text", "client_id", "language", "rule", "x"])
JSON = st.recursive(VALUES, lambda v: st.lists(v) | st.dictionaries(KEYS, v), max_leaves=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
async def test_no_bytes_cause_a_fault(desk: DeskServer, raw: bytes) -> None:
    answer = await desk.visitor().post("messages", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (201, 200, 400, 422, 429), answer.text


async def test_a_failing_ledger_is_reported_as_a_temporary_fault(desk: DeskServer) -> None:
    client = desk.visitor()
    await desk.service.ledger.db.transact(executing(text("DROP TABLE messages")))
    answer = await client.post("messages", json=body())
    assert "try again" in await error_of(answer, 503)
    assert answer.headers["retry-after"] == "2"


@asynccontextmanager
async def stream(
    desk: DeskServer, address: str, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[httpx2.Response]:
    """A visitor's open stream."""
    client = httpx2.AsyncClient(headers={"cookie": desk.cookie(), **(headers or {})}, timeout=30)
    async with client, client.stream("GET", f"{address}stream{query}") as response:
        yield response


async def test_messages_arrive_live_and_in_order(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    agent = await desk.agent()
    async with desk.served() as address, stream(desk, address) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-transform" in response.headers["cache-control"]
        live = events(response)
        first = await anext(live)
        message = json.loads(first["data"])
        assert (first["event"], message["text"]) == ("message", "hello")
        assert first["id"] == str(message["id"])
        sent = await desk.visitor().post("messages", json=body("second"))
        assert (await anext(live))["id"] == str(sent.json()["id"])
        page = await agent.get(f"desk/conversations/{talk}")
        fields = {"csrf": hidden(page.text), "text": "third", "client_id": "form-1"}
        await agent.post(f"desk/conversations/{talk}/messages", data=fields)
        third = json.loads((await anext(live))["data"])
        assert (third["author"], third["agent"], third["text"]) == ("agent", None, "third")


@pytest.mark.timeout(300)
async def test_a_stream_of_a_site_that_is_removed_meanwhile_ends_at_once(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reload comes after the request was accepted, and before the stream listens."""
    await desk.visitor().post("messages", json=body())
    agent = await desk.agent()
    settings = desk.service.settings

    async def streamed(client: httpx2.AsyncClient, path: str) -> httpx2.Response:
        limits = desk.service.limits
        held = limits.hold

        def hold_later(*arguments: Any) -> Any:
            desk.service.swap(settings.model_copy(update={"sites": settings.sites[1:]}))
            return held(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(limits, "hold", hold_later)
            answer = await client.get(path)
        desk.service.swap(settings)
        return answer

    for client, path in ((desk.visitor(), "stream"), (agent, "desk/stream")):
        answer = await streamed(client, path)
        assert (answer.status_code, answer.content) == (200, b"retry: 2000\n\n")
    assert len(desk.service.hub) == 0


@pytest.mark.parametrize("how", ["header", "query", "both"])
async def test_a_stream_resumes_after_the_last_message_that_was_received(desk: DeskServer, how: str) -> None:
    await desk.says("one")
    await desk.says("two")
    one, two = (await desk.visitor().get("messages")).json()["messages"]
    headers = {"last-event-id": str(one["id"])} if how != "query" else {}
    # On coming back a browser repeats the address it was first given: its own word is newer.
    query = {"query": f"?after={one['id']}", "both": "?after=0", "header": ""}[how]
    async with desk.served() as address, stream(desk, address, query, headers) as response:
        assert (await anext(events(response)))["id"] == str(two["id"])


@pytest.mark.parametrize("seen", ["", "x", "-1", "9" * 40])
async def test_an_unknown_last_event_id_starts_from_the_beginning(desk: DeskServer, seen: str) -> None:
    await desk.says("one")
    async with desk.served() as address, stream(desk, address, "", {"last-event-id": seen}) as response:
        assert json.loads((await anext(events(response)))["data"])["text"] == "one"


async def test_a_message_written_by_another_process_arrives_too(desk: DeskServer) -> None:
    """No notification is sent: the stream checks by itself."""
    await desk.says("one")
    async with desk.served() as address, stream(desk, address) as response:
        live = events(response)
        await anext(live)
        await desk.says("from elsewhere")
        assert json.loads((await anext(live))["data"])["text"] == "from elsewhere"


async def test_no_stream_is_left_after_a_visitor_disconnects(desk: DeskServer) -> None:
    await desk.says("one")
    async with desk.served() as address:
        async with AsyncExitStack() as tabs:
            streams = [events(await tabs.enter_async_context(stream(desk, address))) for _ in range(5)]
            for live in streams:
                await anext(live)
            assert len(desk.service.hub) == 5
        await until(lambda: len(desk.service.hub) == 0)


async def test_a_visitor_may_have_eight_streams_and_no_more(desk: DeskServer) -> None:
    await desk.says("one")
    async with desk.served() as address, AsyncExitStack() as tabs:
        for _ in range(8):
            await tabs.enter_async_context(stream(desk, address))
        refused = await tabs.enter_async_context(stream(desk, address))
        assert refused.status_code == 429
        assert "streams" in json.loads(await refused.aread())["error"]


async def test_a_server_that_stops_ends_the_streams(desk: DeskServer) -> None:
    await desk.says("one")
    async with desk.served() as address, stream(desk, address) as response:
        live = events(response)
        await anext(live)
        desk.service.hub.close()
        with pytest.raises(StopAsyncIteration):
            await anext(live)


async def test_a_visitor_sees_the_agents_display_name_and_never_the_login(desk: DeskServer) -> None:
    """field E21: in messages that are read, in the stream, and after a change"""
    talk = await desk.says("hello")
    await desk.agents.add(
        "bo.miller", PASSWORD, site=None, now=desk.service.clock.now(), shown="Bo from the shop"
    )
    add = desk.conversations.add_agent_message
    await add("shop", talk, "hi", agent="bo.miller", client_id="a1", now=desk.service.clock.now())
    await desk.agents.add("carla", PASSWORD, site=None, now=desk.service.clock.now())
    now = desk.service.clock.now()
    await add("shop", talk, "me too", agent="carla", client_id="a2", now=now, over="bo.miller")

    async def names() -> list[str | None]:
        answer = await desk.visitor().get("messages")
        assert "bo.miller" not in answer.text
        assert "carla" not in answer.text
        return [message["agent"] for message in answer.json()["messages"]]

    assert await names() == [None, "Bo from the shop", None]
    await desk.agents.rename("bo.miller", "Bo M.")
    assert await names() == [None, "Bo M.", None]
    await desk.agents.rename("bo.miller", "")
    assert await names() == [None, None, None]
    async with desk.served() as address, stream(desk, address) as response:
        live = events(response)
        told = [(await anext(live))["data"] for _ in range(3)]
        assert "bo.miller" not in "".join(told)


async def typed(desk: DeskServer, **more: Any) -> httpx2.Response:
    return await desk.visitor().post("typing", json={"typing": True, **more})


@pytest.mark.parametrize("preview", [True, False])
async def test_what_a_visitor_writes_is_passed_on_only_where_the_site_wants_it(
    tmp_path: Path, preview: bool
) -> None:
    """And is stored nowhere in the ledger."""
    async with desk_server(tmp_path, chat={"typing_preview": preview}) as desk:
        talk = await desk.says("hello")
        asked = {"view": "view-number-1", "url": "http://shop.test/", "language": "de"}
        answer = await desk.visitor().post("decide", json=asked)
        assert answer.json().get("typing_preview", False) is preview
        with desk.service.hub.listen(f"talk/shop/{talk}") as desk_stream:
            before = (tmp_path / "ledger.db").read_bytes()
            assert (await typed(desk, text="is it\x07 blue")).status_code == 204
            (sign,) = desk_stream.given()
            assert sign.data["text"] == ("is it blue" if preview else "")
            assert sign.data["typing"] is True
            await typed(desk, typing=False, text="gone")
            assert [one.data["text"] for one in desk_stream.given()] == [""]
            assert (tmp_path / "ledger.db").read_bytes() == before


async def test_a_blocked_visitor_reaches_agents_by_no_other_door(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"callback": {"country": "DE"}}) as desk:
        talk = await desk.conversations.get("shop", await desk.says("hello"))
        assert talk is not None
        await desk.service.desk_work.block(talk, 1, network=False, by="bo", why="rude")
        client = desk.visitor()
        doors = (("rating", {"rating": 1, "text": "rude words"}), ("reply-to", {"mail": "kim@example.com"}))
        for door, body in doors:
            answer = await client.post(door, json=body)
            assert (door, answer.status_code, answer.json().get("reason")) == (door, 403, "blocked")
        asked = await client.post("callback", data={"phone": "030 901820", "topic": "rude words", "at": ""})
        assert (asked.status_code, await desk.service.ledger.callbacks.count("shop")) == (403, 0)
        assert templates.text("en", "blocked") in asked.text
        found = await desk.conversations.get("shop", talk.id)
        assert found is not None
        assert found.rating is None


async def test_what_a_blocked_visitor_writes_is_shown_to_nobody(tmp_path: Path) -> None:
    async with desk_server(tmp_path, chat={"typing_preview": True}) as desk:
        talk = await desk.conversations.get("shop", await desk.says("hello"))
        assert talk is not None
        await desk.service.desk_work.block(talk, 1, network=False, by="bo", why="rude")
        with desk.service.hub.listen(f"talk/shop/{talk.id}") as desk_stream:
            assert (await typed(desk, text="still rude")).status_code == 204
            assert list(desk_stream.given()) == []
            desk.clock.ahead += 3601
            await typed(desk, text="sorry")
            assert [one.data["text"] for one in desk_stream.given()] == ["sorry"]


async def test_typing_is_bounded(desk: DeskServer) -> None:
    """Without a conversation it tells nobody anything, without a cookie it is refused, and it has limits."""
    assert (await typed(desk)).status_code == 204
    assert (await desk.client().post("typing", json={"typing": True})).status_code == 403
    assert "text" in await error_of(await typed(desk, text="x" * 1001), 422)
    await desk.says("hello")
    answers = [await typed(desk) for _ in range(70)]
    assert {one.status_code for one in answers} == {204, 429}
    assert "retry-after" in answers[-1].headers


async def test_the_visitor_sees_that_its_agent_writes_and_has_read(desk: DeskServer) -> None:
    talk, agent = await desk.says("hello"), await desk.agent()
    await desk.agents.rename("bo", "Anna")
    page = await agent.get(f"desk/conversations/{talk}")
    form = {"csrf": hidden(page.text)}
    message = (await desk.visitor().get("messages")).json()["messages"][0]["id"]
    async with desk.served() as address:
        async with stream(desk, address, headers={"host": "shop.test"}) as response:
            live = events(response)
            assert (await anext(live))["event"] == "message"
            sent = await agent.post(f"desk/conversations/{talk}/typing", data=form)
            assert sent.status_code == 204
            told = await anext(live)
            assert (told["event"], json.loads(told["data"])) == ("typing", {"agent": "Anna", "typing": True})
            assert "id" not in told
            await agent.post(f"desk/conversations/{talk}/seen", data=form | {"message": str(message)})
            told = await anext(live)
            assert (told["event"], json.loads(told["data"])) == ("seen", {"message": message})
        assert (await desk.visitor().get("messages")).json()["seen"] == message
        async with stream(desk, address, headers={"host": "shop.test"}) as response:
            assert json.loads((await anext(events(response)))["data"]) == {"message": message}


async def test_a_read_mark_only_grows_and_not_beyond_what_was_written(desk: DeskServer) -> None:
    talk, agent = await desk.says("hello"), await desk.agent()
    page = await agent.get(f"desk/conversations/{talk}")
    message = (await desk.visitor().get("messages")).json()["messages"][0]["id"]
    for number in (message, message + 1000, message - 1):
        form = {"csrf": hidden(page.text), "message": str(number)}
        assert (await agent.post(f"desk/conversations/{talk}/seen", data=form)).status_code == 204
    assert (await desk.visitor().get("messages")).json()["seen"] == message
    await desk.visitor().post("events", json={"kind": "read", "message": message + 1000})
    await desk.visitor().post("events", json={"kind": "read", "message": message})
    found = await desk.conversations.get("shop", talk)
    assert found is not None
    assert (found.agent_saw, found.visitor_saw) == (message, message)


async def test_who_reads_along_in_anothers_conversation_tells_the_visitor_nothing(desk: DeskServer) -> None:
    talk, agent = await desk.says("hello"), await desk.agent()
    await desk.conversations.claim("shop", talk, "eva", desk.service.clock.now())
    page = await agent.get(f"desk/conversations/{talk}")
    form = {"csrf": hidden(page.text), "message": "1"}
    with desk.service.hub.listen(f"visitor/shop/{VISITOR}") as visitors:
        await agent.post(f"desk/conversations/{talk}/typing", data=form)
        await agent.post(f"desk/conversations/{talk}/seen", data=form)
        assert not list(visitors.given())
    assert (await desk.visitor().get("messages")).json()["seen"] == 0
