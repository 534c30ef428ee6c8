"""Links and offers at the desk: the form, the link as its visitor follows it, and single-use codes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.stores.ledger.offers import Offer
from desks import SHOP, DeskServer, desk_server, hidden

OFFERS = {
    "coupon_url": "/discount/{code}?redirect={page}",
    "coupons": [{"name": "welcome", "code": "WELCOME10", "label": "Ten percent"}, {"name": "own"}],
}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more={"offers": OFFERS}) as built:
        yield built


async def send(client: httpx2.AsyncClient, talk: str, **fields: str) -> httpx2.Response:
    form = (await client.get(f"desk/conversations/{talk}/offers")).text
    values = {"label": "The mug", "page": "/mug", "coupon": "", **fields}
    values |= {name: hidden(form, name) for name in ("csrf", "client_id")}
    return await client.post(f"desk/conversations/{talk}/offers", data=values)


async def only(desk: DeskServer, talk: str) -> Offer:
    (one,) = await desk.service.ledger.offers.of_conversation("shop", talk)
    return one


async def test_an_agent_sends_an_offer_and_sees_what_became_of_it(desk: DeskServer) -> None:
    talk = await desk.says("is there a discount?")
    client = await desk.agent(role="agent")
    answer = await send(client, talk, coupon="welcome")
    assert answer.status_code == 303
    page = (await client.get(SHOP + answer.headers["location"].partition("#")[0])).text
    assert "Not clicked yet" in page
    offer = await only(desk, talk)
    assert f"/-/clew/o/{offer.code}" in page
    async with desk.visitor() as visitor:
        followed = await visitor.get(f"o/{offer.code}")
    assert followed.status_code == 302
    assert followed.headers["location"] == "/discount/WELCOME10?redirect=%2Fmug"
    assert followed.headers["cache-control"] == "no-store"
    assert "set-cookie" not in followed.headers
    page = (await client.get(f"desk/conversations/{talk}")).text
    assert re.search(r"Clicked \d\d:\d\d", page)


async def test_whoever_only_looks_at_a_link_has_not_clicked_it(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    await send(await desk.agent(), talk)
    offer = await only(desk, talk)
    async with desk.visitor() as visitor:
        await visitor.head(f"o/{offer.code}")
        await visitor.get(f"o/{offer.code}", headers={"sec-purpose": "prefetch;prerender"})
    one = await only(desk, talk)
    assert (one.clicks, one.others) == (0, 0)


async def test_others_are_led_to_the_page_too_and_do_not_count(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    await send(await desk.agent(), talk)
    offer = await only(desk, talk)
    for browser in (desk.client(), desk.visitor("x" * 25)):
        assert (await browser.get(f"o/{offer.code}")).headers["location"] == "/mug"
    one = await only(desk, talk)
    assert (one.clicks, one.others) == (0, 2)


@pytest.mark.parametrize("code", ["A" * 22, "a%2F..%2Fb", "x", "%00" * 9, "desk"])
async def test_a_guessed_code_leads_to_the_shops_first_page(desk: DeskServer, code: str) -> None:
    answer = await desk.client().get(f"o/{code}")
    assert answer.status_code in (302, 404)
    assert answer.headers.get("location", "/") == "/"


async def test_another_sites_link_is_unknown_here(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    await send(await desk.agent(), talk)
    offer = await only(desk, talk)
    answer = await desk.client("http://other.test").get(f"o/{offer.code}")
    assert answer.headers["location"] == "/"


async def test_a_link_that_was_withdrawn_leads_to_its_page_without_the_coupon(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    await send(client, talk, coupon="welcome")
    offer = await only(desk, talk)
    token = hidden((await client.get(f"desk/conversations/{talk}")).text)
    fields = {"csrf": token, "offer": offer.code}
    await client.post(f"desk/conversations/{talk}/offers/withdraw", data=fields)
    assert (await desk.visitor().get(f"o/{offer.code}")).headers["location"] == "/mug"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"page": "https://evil.test/"}, "page: "),
        ({"page": "/mug?aff=c9"}, "leave out aff"),
        ({"label": " "}, "label: "),
        ({"coupon": "nope"}, "coupon: "),
        ({"coupon": "own"}, "no code of own is left"),
        ({"cart": "1:1"}, "cart: "),
    ],
)
async def test_what_cannot_be_sent_is_said_and_kept_in_the_form(
    desk: DeskServer, fields: dict[str, str], told: str
) -> None:
    talk = await desk.says("hello")
    answer = await send(await desk.agent(), talk, **fields)
    assert answer.status_code == 422
    assert told in answer.text
    assert await desk.service.ledger.offers.of_conversation("shop", talk) == ()


async def test_an_agent_sends_nothing_in_another_ones_conversation(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    assert (await send(await desk.agent(), talk)).status_code == 303
    answer = await send(await desk.agent("cy", role="agent"), talk, coupon="welcome")
    assert answer.status_code == 409
    assert "bo has this conversation" in answer.text
    await only(desk, talk)


async def test_sending_the_same_form_again_sends_nothing_twice(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    form = (await client.get(f"desk/conversations/{talk}/offers")).text
    values = {"label": "The mug", "page": "/mug", "coupon": ""}
    values |= {name: hidden(form, name) for name in ("csrf", "client_id")}
    for _ in range(2):
        assert (await client.post(f"desk/conversations/{talk}/offers", data=values)).status_code == 303
    await only(desk, talk)
    read = (await desk.visitor().get("messages")).json()["messages"]
    assert [m["author"] for m in read] == ["visitor", "agent"]


async def test_a_lead_loads_codes_and_each_goes_out_once(desk: DeskServer) -> None:
    client = await desk.agent("lea", role="lead")
    form = (await client.get("desk/coupons")).text
    fields = {"csrf": hidden(form), "coupon": "own", "codes": "A-1\r\nA-2\r\nA-1\r\n"}
    answer = await client.post("desk/coupons", data=fields)
    assert "2 new codes were added" in (await client.get(SHOP + answer.headers["location"])).text
    got = []
    for visitor in ("v" * 25, "w" * 25):
        talk = await desk.says("hello", visitor)
        assert (await send(client, talk, coupon="own")).status_code == 303
        got.append((await only(desk, talk)).coupon_code)
    assert sorted(map(str, got)) == ["A-1", "A-2"]
    third = await desk.says("hello", "z" * 25)
    assert (await send(client, third, coupon="own")).status_code == 422
    assert "link only" not in (await client.get("desk/coupons")).text


async def test_an_agent_may_not_load_codes(desk: DeskServer) -> None:
    client = await desk.agent(role="agent")
    assert (await client.get("desk/coupons")).status_code == 403
