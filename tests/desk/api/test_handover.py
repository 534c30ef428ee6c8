"""`POST handover` gives out a token for another host; `decide` takes it where a page came from a cache."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.referral.cookie import NAME, Known
from clew.referral.visitor import Forgotten
from clew.service import handing
from clew.service.effects import JoinVisitor
from clew.service.handing import joined
from clew.service.service import Service
from clew.settings.model import Settings
from database_servers import Redis
from desks import VISITOR, DeskServer, desk_server

SHOP, PAY = "http://shop.test", "http://pay.test"
HOSTS = {"hosts": ["shop.test", "pay.test"], "checkout_hosts": ["pay.test"]}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the tests may be slow."""
    monkeypatch.setattr(handing, "JOIN_SECONDS", 20.0)


@asynccontextmanager
async def desks(folder: Path, **changes: Any) -> AsyncIterator[DeskServer]:
    async with desk_server(folder, more={**HOSTS, **changes}) as desk:
        yield desk


async def token_of(desk: DeskServer) -> str:
    answer = await desk.visitor().post("handover", json={"host": "pay.test"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert 60 <= answer.json()["seconds"] < 300
    found = answer.json()["token"]
    assert isinstance(found, str)
    return found


async def arrives(
    desk: DeskServer, token: str, referrer: str = f"{SHOP}/cart", cookie: str = ""
) -> Known | None:
    """A page of the checkout that came from a cache asks what to show; whom its browser is known as then."""
    client = desk.client(PAY)
    if cookie:
        client.headers["cookie"] = cookie
    url = f"{PAY}/checkout?clew_handover={token}"
    answer = await client.post("decide", json={"view": "view-number-1", "url": url, "referrer": referrer})
    assert answer.status_code == 200
    site = desk.service.sites["shop"]
    lines = [line for line in answer.headers.get_list("set-cookie") if line.startswith(NAME.decode())]
    return site.cookie.open(lines[-1].partition(";")[0].partition("=")[2]) if lines else None


async def test_the_answer_names_the_hosts(tmp_path: Path) -> None:
    ask = {"view": "view-number-1", "url": f"{SHOP}/"}
    async with desks(tmp_path) as desk:
        assert (await desk.client().post("decide", json=ask)).json()["checkout"] == ["pay.test"]
        there = await desk.client(PAY).post("decide", json={**ask, "url": f"{PAY}/"})
        assert there.json()["checkout"] == []
    async with desks(tmp_path, consent={"mode": "ask"}) as desk:
        assert "checkout" not in (await desk.client().post("decide", json=ask)).json()


async def test_a_cached_page_of_the_checkout_joins_the_visitor(tmp_path: Path) -> None:
    async with desks(tmp_path) as desk:
        token = await token_of(desk)
        found = await arrives(desk, token)
        assert found is not None
        assert found.visitor == VISITOR
        # A reload, and a browser that does not keep the cookie.
        assert await arrives(desk, token, cookie=desk.cookie()) is None
        again = await arrives(desk, token)
        assert again is None or again.visitor != VISITOR


async def test_a_visitor_of_the_checkout_goes_on_as_that_of_the_shop_with_its_own_arrivals(
    tmp_path: Path,
) -> None:
    async with desks(tmp_path) as desk:
        other = desk.client(PAY)
        url = f"{PAY}/?aff=A9"
        answer = await other.post("decide", json={"view": "view-number-0", "url": url, "referrer": ""})
        cookie = answer.headers["set-cookie"].partition(";")[0]
        found = await arrives(desk, await token_of(desk), cookie=cookie)
        assert found is not None
        assert found.visitor == VISITOR
        assert [click.value for touch in found.touches for click in touch.clicks] == ["A9"]


@pytest.mark.parametrize("applied", [True, False], ids=["the answer is late", "the write is late"])
async def test_a_page_of_a_slow_store_is_joined_by_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    async with desks(tmp_path) as desk:
        service, token = desk.service, await token_of(desk)
        site, now, go_on = service.sites["shop"], service.clock.now(), asyncio.Event()
        query, referrer = f"clew_handover={token}".encode(), f"{SHOP}/cart".encode()
        handover = site.handovers.read(query, "pay.test", referrer, now)
        assert handover is not None
        join, update, ended = JoinVisitor(handover, joined(handover, None), None), service.visits.update, []

        async def slow(*given: Any) -> Any:
            if not applied:
                await go_on.wait()
            found = await update(*given)
            await go_on.wait()
            ended.append(found)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(service.visits, "update", slow)
            patched.setattr(handing, "JOIN_SECONDS", 0.01)
            await service.handing.join(site, join)
        assert not join.joined
        go_on.set()
        async with asyncio.timeout(20):
            while True:
                if ended:
                    break
                await asyncio.sleep(0.01)
        service.events.take_noted()
        found = await arrives(desk, token)
        assert found is not None
        assert found.visitor == VISITOR
        assert "handover_refused" not in {one.event for one in service.events.take_noted()}
        # Neither the script nor a page gets it a second time.
        again = await arrives(desk, token)
        assert again is None or again.visitor != VISITOR
        await service.handing.join(site, join)
        assert not join.joined


async def test_a_token_that_a_page_has_used_counts_for_no_script(tmp_path: Path) -> None:
    """Whoever takes the token from that page's address gets nothing, whoever's script asks."""
    async with desks(tmp_path) as desk:
        service, token = desk.service, await token_of(desk)
        site, referrer = service.sites["shop"], f"{SHOP}/cart".encode()
        query = f"clew_handover={token}".encode()
        handover = site.handovers.read(query, "pay.test", referrer, service.clock.now())
        assert handover is not None
        join = JoinVisitor(handover, joined(handover, None), None)
        await service.handing.join(site, join)
        assert join.joined
        service.events.take_noted()
        found = await arrives(desk, token)
        assert found is None or found.visitor != VISITOR
        assert [one.event for one in service.events.take_noted()] == ["handover_refused"]


@pytest.mark.parametrize("referrer", ["", "https://evil.test/shop.test", "http://shop.test@evil.test/"])
async def test_a_token_in_a_link_of_somebody_else_joins_nobody(tmp_path: Path, referrer: str) -> None:
    async with desks(tmp_path) as desk:
        found = await arrives(desk, await token_of(desk), referrer)
        assert found is None or found.visitor != VISITOR
        # It was not used up either.
        assert (await arrives(desk, await token_of(desk))) is not None


async def test_who_is_not_known_or_has_not_agreed_gets_none(tmp_path: Path) -> None:
    async with desks(tmp_path) as desk:
        for client, host in (
            (desk.client(), "pay.test"),
            (desk.visitor(), "evil.test"),
            (desk.visitor(), "shop.test"),
            (desk.visitor(), "x.pay.test"),
        ):
            assert (await client.post("handover", json={"host": host})).status_code == 204
        elsewhere = {"sec-fetch-site": "cross-site"}
        refused = await desk.visitor().post("handover", json={"host": "pay.test"}, headers=elsewhere)
        assert refused.status_code == 403
        now = desk.service.clock.now()
        await desk.service.visits.change("shop", VISITOR, [Forgotten()], now)
        assert (await desk.visitor().post("handover", json={"host": "pay.test"})).status_code == 204
    async with desks(tmp_path, consent={"mode": "ask"}) as desk:
        assert (await desk.visitor().post("handover", json={"host": "pay.test"})).status_code == 204


@pytest.mark.parametrize("engine", ["sqlite", "redis"])
async def test_of_two_machines_one_takes_a_token(tmp_path: Path, engine: str, redis_server: Redis) -> None:
    store = redis_server.url(7) if engine == "redis" else f"sqlite:{tmp_path / 'visits.db'}"

    def settings(number: int) -> Settings:
        return Settings.model_validate(
            {
                "secret": "s" * 40,
                "store": store,
                "ledger": f"sqlite:{tmp_path / f'ledger{number}.db'}",
                "sites": [{"name": "shop", **HOSTS}],
            }
        )

    machines = [Service(settings(number)) for number in range(2)]
    for machine in machines:
        await machine.start()
    try:
        site, now = machines[0].sites["shop"], machines[0].clock.now()
        token = site.handovers.token(Known(VISITOR, (), int(now)), "shop.test", "pay.test", now)
        query, referrer = f"clew_handover={token}".encode(), f"{SHOP}/".encode()
        joins = []
        for _ in range(10):
            handover = site.handovers.read(query, "pay.test", referrer, now)
            assert handover is not None
            joins.append(JoinVisitor(handover, joined(handover, None), None))
        await asyncio.gather(
            *(machines[n % 2].handing.join(machines[n % 2].sites["shop"], one) for n, one in enumerate(joins))
        )
        assert sum(one.joined for one in joins) == 1
    finally:
        for machine in machines:
            await machine.stop()
