"""What the doors under the prefix do over a limit."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.referral.cookie import new_visitor_id
from clew.settings.addresses import Patterns
from clew.settings.model import Order
from desks import SHOP, VISITOR, DeskServer, desk_server
from talks import open_by_agent

FLOOD, CUSTOMER = "198.51.100.9", "203.0.113.50"
ASK = {"view": "view-number-1", "url": "http://shop.test/", "language": "de"}
ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


def stored(desk: DeskServer) -> int:
    visits: Any = desk.service.visits
    return int(visits._db.execute("SELECT count(*) FROM visits").fetchone()[0])


async def stranger(desk: DeskServer, address: str = FLOOD) -> tuple[httpx2.AsyncClient, httpx2.Response]:
    """A client without a cookie that calls `decide`, and the response; the client keeps the cookie."""
    client = desk.client()
    client.headers["x-test-client"] = address
    return client, await client.post("decide", json=ASK)


async def write(client: httpx2.AsyncClient, text: str = "hello", number: int = 1) -> httpx2.Response:
    return await client.post("messages", json={"text": text, "client_id": f"widget-id-{number}"})


async def test_a_flood_from_one_address_leaves_the_inbox_to_the_customers(desk: DeskServer) -> None:
    """field E3: 210 visitors made by one address, each with a message, and a customer after them."""
    for _ in range(210):
        client, answer = await stranger(desk)
        assert (answer.status_code, answer.json()["action"]) == (200, "invite")
        sent = await write(client)
        assert sent.status_code in (201, 429)
    assert stored(desk) <= 121
    assert "retry-after" in sent.headers
    counts = await open_by_agent(desk.service.ledger.inbox, "shop")
    assert counts == {None: 20}
    customer, answer = await stranger(desk, CUSTOMER)
    assert (await write(customer, "is it blue?")).status_code == 201
    assert "is it blue?" in (await (await desk.agent()).get("desk/")).text


async def test_a_new_visitor_over_the_limit_gets_an_answer_and_is_not_stored(tmp_path: Path) -> None:
    """field E3: nor does the cookie that it got store it later, while the limit holds."""
    async with desk_server(tmp_path, limits={"visitors": {"client": 2}}) as desk:
        for _ in range(2):
            client, _ = await stranger(desk)
            await client.post("decide", json=ASK)
        before = stored(desk)
        client, answer = await stranger(desk)
        assert answer.json()["action"] == "invite"
        assert answer.json()["widget"]["color"]
        assert "clew_visitor" in answer.headers["set-cookie"]
        assert (await client.post("decide", json=ASK)).status_code == 200
        assert stored(desk) == before
        assert (await stranger(desk, CUSTOMER))[1].status_code == 200
        desk.clock.ahead = 60
        assert (await client.post("decide", json=ASK)).status_code == 200
        assert stored(desk) > before


async def test_decide_over_the_limit_answers_without_a_look_at_the_stores(tmp_path: Path) -> None:
    """field E3: the page does not break, and asks again later."""
    async with desk_server(tmp_path, limits={"decides": {"client": 1}}) as desk:
        client, _ = await stranger(desk)
        await desk.service.visits.close()
        answer = await client.post("decide", json=ASK)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["action"], body["invite"], body["language"]) == ("show", None, "de")
        assert 15 <= body["retry_after"] <= 60
        labels = {"site": "shop", "limit": "decides", "scope": "client"}
        assert desk.service.registry.get_sample_value("clew_limited_total", labels) == 1
        assert desk.service.registry.get_sample_value(
            "clew_events_total", {"site": "shop", "event": "fault"}
        ) in (None, 0)
        await desk.service.visits.open()


async def test_new_visitors_of_many_networks_are_bounded_by_the_site(tmp_path: Path) -> None:
    """field E3: an attacker has as many networks as it likes, the site has one limit."""
    async with desk_server(tmp_path, limits={"conversations": {"client": 3, "site": 5}}) as desk:
        taken = []
        for number in range(8):
            client, _ = await stranger(desk, f"2001:db8:{number:x}::1")
            taken.append((await write(client)).status_code)
        assert taken == [201] * 5 + [429] * 3


async def test_an_open_conversation_continues_while_new_ones_are_refused(tmp_path: Path) -> None:
    async with desk_server(tmp_path, limits={"conversations": {"client": 1}}) as desk:
        first, _ = await stranger(desk)
        second, _ = await stranger(desk)
        assert (await write(first)).status_code == 201
        assert (await write(second)).status_code == 429
        assert (await write(first, "and more", 2)).status_code == 201
        assert await open_by_agent(desk.service.ledger.inbox, "shop") == {None: 1}


async def test_the_text_that_visitors_write_in_a_day_is_limited(tmp_path: Path) -> None:
    """field E3: the ledger does not grow without bound by what strangers write."""
    async with desk_server(tmp_path, limits={"text": {"client": 10_000}}) as desk:
        client = desk.visitor()
        statuses = [(await write(client, "x" * 4000, n)).status_code for n in range(5)]
        assert statuses == [201, 201, 429, 429, 429]
        desk.clock.ahead = 86400
        assert (await write(client, "x" * 4000, 9)).status_code == 201


@pytest.mark.parametrize("door", ["messages", "stream"])
async def test_reading_is_bounded(tmp_path: Path, door: str) -> None:
    limits = {"reads": {"client": 3}}
    async with desk_server(tmp_path, limits=limits) as desk, AsyncExitStack() as stack:
        address = await stack.enter_async_context(desk.served())
        client = await stack.enter_async_context(httpx2.AsyncClient(headers={"cookie": desk.cookie()}))
        statuses = []
        for _ in range(4):
            async with client.stream("GET", f"{address}{door}") as answer:
                statuses.append(answer.status_code)
        assert statuses[-1] == 429
        assert 429 not in statuses[:3]


async def test_events_are_bounded(tmp_path: Path) -> None:
    async with desk_server(tmp_path, limits={"events": {"client": 2}}) as desk:
        client = desk.visitor()
        event = {"kind": "seen", "rule": "after-wait"}
        assert [(await client.post("events", json=event)).status_code for _ in range(3)] == [204, 204, 429]


async def test_orders_from_browsers_are_limited(tmp_path: Path) -> None:
    """field E3, E12: each would wait for a person."""
    async with desk_server(tmp_path, limits={"browser_orders": {"client": 2}}) as desk:
        site = desk.service.sites["shop"]
        site.settings = site.settings.model_copy(update={"order": Order(page="/thanks", id="jsonld")})
        site.order_page = Patterns(["/thanks"])
        client, page = desk.visitor(), {"url": f"{SHOP}/thanks"}
        assert [(await client.post("order-page", json=page)).status_code for _ in range(3)] == [204, 204, 429]


async def test_open_streams_are_limited_by_network_for_any_visitor(tmp_path: Path) -> None:
    """field E6: a visitor id is free, so eight streams for each is no bound."""
    async with desk_server(tmp_path, limits={"streams": {"client": 3}}) as desk, AsyncExitStack() as tabs:
        address = await tabs.enter_async_context(desk.served())
        for number in range(4):
            visitor = new_visitor_id()
            await desk.says("hello", visitor)
            client = await tabs.enter_async_context(
                httpx2.AsyncClient(headers={"cookie": desk.cookie(visitor)})
            )
            answer = await tabs.enter_async_context(client.stream("GET", f"{address}stream"))
            assert answer.status_code == (200 if number < 3 else 429)
        assert answer.headers["retry-after"] == "30"
        assert desk.service.limits.held("streams") == 3
    assert desk.service.limits.held("streams") == 0


async def test_guesses_of_the_api_token_are_limited_and_reported(
    desk: DeskServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """field E23: over the limit even the right token is not checked, but the shop's own server continues."""

    async def post(token: str, address: str) -> int:
        client = desk.client()
        headers = {"authorization": f"Bearer {token}", "x-test-client": address}
        return (await client.post("orders", json=ORDER, headers=headers)).status_code

    right = "s3cret-token-of-the-shop"
    for _ in range(50):
        assert await post(right, CUSTOMER) in (200, 201)
    guesses = [await post(f"guess-{n}", FLOOD) for n in range(25)]
    assert guesses == [401] * 20 + [429] * 5
    assert await post(right, FLOOD) == 429
    assert await post(right, CUSTOMER) == 200
    told = [line for line in capsys.readouterr().out.splitlines() if "token_refused" in line]
    assert len(told) == 1
    assert FLOOD in told[0]
    labels = {"site": "shop", "event": "token_refused"}
    assert desk.service.registry.get_sample_value("clew_events_total", labels) == 20


async def test_a_flood_of_token_guesses_from_everywhere_does_not_shut_the_shop_out(tmp_path: Path) -> None:
    """field E23."""
    async with desk_server(tmp_path, limits={"tokens": {"site": 5}}) as desk:
        headers = {"authorization": "Bearer s3cret-token-of-the-shop"}
        assert (await desk.client().post("orders", json=ORDER, headers=headers)).status_code == 201
        for number in range(8):
            wrong = {"authorization": "Bearer wrong", "x-test-client": f"198.51.100.{number}"}
            refused = await desk.client().post("orders", json=ORDER, headers=wrong)
            assert refused.status_code == (401 if number < 5 else 429)
        assert (await desk.client().post("orders", json=ORDER, headers=headers)).status_code == 200


async def test_a_flood_of_token_guesses_does_not_shut_out_a_shop_that_was_not_seen_before_it(
    tmp_path: Path,
) -> None:
    """field E23: right after a start, or from another machine of the shop's"""
    async with desk_server(tmp_path, limits={"tokens": {"client": 3, "site": 5}}) as desk:
        for number in range(8):
            wrong = {"authorization": "Bearer wrong", "x-test-client": f"198.51.100.{number}"}
            refused = await desk.client().post("orders", json=ORDER, headers=wrong)
            assert refused.status_code == (401 if number < 5 else 429)
        headers = {"authorization": "Bearer s3cret-token-of-the-shop"}
        assert (await desk.client().post("orders", json=ORDER, headers=headers)).status_code == 201


async def test_an_order_without_a_token_does_not_count_as_a_guess(desk: DeskServer) -> None:
    for _ in range(40):
        assert (await desk.client(SHOP).post("orders", json=ORDER)).status_code == 401


async def test_messages_over_the_limit_say_when(tmp_path: Path) -> None:
    """field E3: in the header for the widget, in words for people."""
    async with desk_server(tmp_path, limits={"messages": {"client": 1}}) as desk:
        assert (await write(desk.visitor(VISITOR))).status_code == 201
        refused = await write(desk.visitor(new_visitor_id()))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "60"
        assert refused.json()["error"].startswith("too many messages from this network: try again in ")
