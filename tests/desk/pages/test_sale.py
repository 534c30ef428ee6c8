"""The order form at the desk: prefilled from the cart, undone within a minute, shown in the inbox."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio
from clew.referral.touches import Click, Touch
from clew.referral.visitor import CartSeen, Touched
from clew.stores.ledger.audit import WantedLines
from clew.stores.ledger.schema import postbacks
from desks import SHOP, VISITOR, DeskServer, desk_server, hidden
from sqlalchemy import select


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


async def came_by_partner(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    touch = Touch(int(now), (Click("plain", "aff", "x1", "anna"),))
    cart = CartSeen({"value": "129.90", "currency": "EUR"}, "/cart")
    await desk.service.visits.change("shop", VISITOR, [Touched(touch), cart], now)


async def recorded(desk: DeskServer, client: httpx2.AsyncClient, talk: str, total: str = "129.90") -> str:
    """Record an order; the page after it."""
    token = hidden((await client.get(f"desk/conversations/{talk}")).text)
    fields = {"csrf": token, "order_id": "1001", "total": total, "currency": "EUR"}
    answer = await client.post(f"desk/conversations/{talk}/order", data=fields)
    assert answer.status_code == 303
    return (await client.get(SHOP + answer.headers["location"])).text


async def undone(client: httpx2.AsyncClient, talk: str, page: str) -> str:
    fields = {n: hidden(page, n) for n in ("csrf", "key", "order_id")}
    fields["why"] = "Wrong number or amount"
    answer = await client.post(f"desk/conversations/{talk}/undo", data=fields)
    assert answer.status_code == 303
    return (await client.get(SHOP + answer.headers["location"])).text


async def states(desk: DeskServer) -> list[str]:
    async with desk.service.ledger.db.read() as connection:
        listed = select(postbacks).order_by(postbacks.c.sequence)
        return [row.state for row in (await connection.execute(listed)).all()]


async def test_the_form_has_the_total_of_the_cart_and_says_from_when_it_is(desk: DeskServer) -> None:
    await came_by_partner(desk)
    talk = await desk.says("I take it")
    page = (await (await desk.agent()).get(f"desk/conversations/{talk}")).text
    assert re.search(r'id="total"[^>]* value="129.90"', page)
    assert re.search(r'id="currency"[^>]* value="EUR"', page)
    assert re.search(r"those of the visitor.s cart, \d\d:\d\d", page)


async def test_without_a_cart_the_form_says_nothing_of_one(desk: DeskServer) -> None:
    talk = await desk.says("I take it")
    page = (await (await desk.agent()).get(f"desk/conversations/{talk}")).text
    assert re.search(r'id="total"[^>]* value=""', page)
    assert "from-cart" not in page


async def test_an_agent_undoes_an_order_within_the_minute(desk: DeskServer) -> None:
    await came_by_partner(desk)
    talk = await desk.says("I take it")
    client = await desk.agent(role="agent")
    page = await recorded(desk, client, talk)
    assert re.search(r"partners are notified at \d\d:\d\d:\d\d, in <b[^>]*>(5\d s|1 min)<", page)
    assert '<animate attributeName="width"' in page, "the countdown works without JavaScript"
    assert await states(desk) == ["due"]
    page = await undone(client, talk, page)
    assert "The order is undone" in page
    assert await states(desk) == ["superseded"]
    listed = (await (await desk.agent("boss", role="owner")).get("desk/orders")).text
    assert 'data-name="State">undone</td>' in listed
    assert 'data-name="Channel">chat</td>' in listed
    assert re.search(r"nobody: undone by \w+: Wrong number or amount", listed)
    page = await recorded(desk, client, talk, "12.90")
    assert "The order is recorded" in page
    assert await states(desk) == ["superseded", "due"]
    (order,) = await desk.service.ledger.orders.list("shop")
    assert str(order.total) == "12.90"
    trail = await desk.service.ledger.audit.page(WantedLines(["shop"]), 10)
    assert [line.action for line in trail if line.action.startswith("order.")] == [
        "order.recorded",
        "order.undone",
        "order.recorded",
    ]


async def test_a_minute_later_the_page_says_that_it_is_too_late(desk: DeskServer) -> None:
    talk = await desk.says("I take it")
    client = await desk.agent()
    page = await recorded(desk, client, talk)
    desk.clock.ahead = 61
    assert "Not undone" in await undone(client, talk, page)
    assert "partners are notified at" not in (await client.get(f"desk/conversations/{talk}")).text


async def test_a_key_of_another_conversation_undoes_nothing(desk: DeskServer) -> None:
    talk = await desk.says("I take it")
    other = await desk.says("me too", "x" * 25)
    client = await desk.agent()
    page = await recorded(desk, client, talk)
    assert "Not undone" in await undone(client, other, page)
    (order,) = await desk.service.ledger.orders.list("shop")
    assert order.state == "placed"


async def test_the_inbox_shows_who_has_bought(desk: DeskServer) -> None:
    talk = await desk.says("I take it")
    client = await desk.agent()
    assert 'class="tag bought"' not in (await client.get("desk/")).text
    page = await recorded(desk, client, talk)
    assert re.search(r'class="tag bought"[^>]*>bought<', (await client.get("desk/")).text)
    await undone(client, talk, page)
    assert 'class="tag bought"' not in (await client.get("desk/")).text


async def test_a_site_may_send_at_once(tmp_path: Path) -> None:
    async with desk_server(tmp_path, chat={"undo_seconds": 0}) as desk:
        talk = await desk.says("I take it")
        page = await recorded(desk, await desk.agent(), talk)
        assert "The order is recorded" in page
        assert "partners are notified at" not in page
