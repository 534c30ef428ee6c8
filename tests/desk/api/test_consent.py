"""Consent through the whole mount: what landings and `decide` set, keep and delete."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tc_strings
from clew.middleware.asgi.mount import ClewMiddleware
from clew.orders.model import OrderSeen
from clew.referral.touches import UNNEEDED
from clew.settings.model import Settings
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

YES, NO = {"cmplz_marketing": "allow"}, {"cmplz_marketing": "deny"}
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
LANDING = "https://shop.example/?ref=A1"


def shop(request: Any) -> HTMLResponse:
    return HTMLResponse("<html><head><title>Shop</title></head><body>mug</body></html>")


@asynccontextmanager
async def clew(folder: Path, mode: str, **consent: Any) -> AsyncIterator[tuple[ClewMiddleware, Any]]:
    database = f"sqlite:{folder / f'{mode}.db'}"
    site = {
        "name": "shop",
        "partners": [
            {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"},
            {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1"}},
        ],
        "consent": {"mode": mode, **consent},
    }
    settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]}
    app = ClewMiddleware(Starlette(routes=[Route("/", shop)]), Settings.model_validate(settings))
    await app.service.open()
    app.startup.started = True
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example") as client:
        yield app, client
    await app.service.close()


async def decide(client: Any, cookies: dict[str, str] | None = None, **body: Any) -> Any:
    for name, value in (cookies or {}).items():
        client.cookies.set(name, value, domain="shop.example")
    return await client.post("/-/clew/decide", json={"url": LANDING, "view": "view-0001", **body})


async def land(client: Any, cookies: dict[str, str] | None = None, **headers: str) -> Any:
    for name, value in (cookies or {}).items():
        client.cookies.set(name, value, domain="shop.example")
    return await client.get("/?ref=A1", headers={**NAVIGATION, **headers})


def ours(answer: Any) -> list[str]:
    return [v.partition("=")[0] for v in answer.headers.get_list("set-cookie")]


@pytest.mark.parametrize(
    ("mode", "cookies", "gpc", "expected"),
    [
        ("assume", NO, "1", ["clew_visitor"]),
        ("ask", {}, "0", []),
        ("ask", YES, "0", ["clew_visitor"]),
        ("ask", NO, "0", []),
        ("ask", {}, "1", []),
        ("ask", YES, "1", []),
        ("strict", YES, "0", ["clew_visitor"]),
        ("strict", {"CookieConsent": "-1"}, "0", []),
        ("ask", {"CookieConsent": "-1"}, "0", ["clew_visitor"]),
    ],
)
async def test_a_landing_sets_cookies_with_consent_alone(
    tmp_path: Path, mode: str, cookies: dict[str, str], gpc: str, expected: list[str]
) -> None:
    async with clew(tmp_path, mode) as (_, client):
        assert ours(await land(client, cookies, **{"Sec-GPC": gpc})) == expected


@pytest.mark.parametrize("setting", ["always", "us", "ignore"])
async def test_a_setting_controls_global_privacy_control(tmp_path: Path, setting: str) -> None:
    european = "{necessary:true%2Cmarketing:true%2Cregion:'de'%2Cutc:1}"
    async with clew(tmp_path, "ask", gpc=setting) as (_, client):
        answer = await land(client, {"CookieConsent": european}, **{"Sec-GPC": "1"})
        assert ours(answer) == ([] if setting == "always" else ["clew_visitor"])


async def test_the_loader_gets_the_consent_state_only_if_the_site_asks(tmp_path: Path) -> None:
    async with clew(tmp_path, "assume") as (_, client):
        assert "consent" not in (await decide(client)).json()
    async with clew(tmp_path, "ask") as (_, client):
        pending = await decide(client)
        assert pending.json()["consent"] == {"state": "pending", "sure": False, "landing": False}
        assert ours(pending) == []
        granted = await decide(client, YES)
        assert granted.json()["consent"] == {"state": "granted", "sure": True, "landing": True}
        assert ours(granted) == ["clew_visitor"]
        known = await decide(client)
        assert known.json()["consent"] == {"state": "granted", "sure": True, "landing": False}


async def test_the_landing_of_the_visit_is_credited_when_consent_comes_later(tmp_path: Path) -> None:
    async with clew(tmp_path, "ask") as (app, client):
        await decide(client, {}, url="https://shop.example/three")
        await decide(client, {}, url="https://shop.example/three", consent={"choice": "granted"})
        await decide(
            client, {}, url="https://shop.example/three", landing=LANDING, consent={"choice": "granted"}
        )
        known = app.service.sites["shop"].cookie
        found = known.open(client.cookies["clew_visitor"])
        assert found is not None
        assert [click.value for touch in found.touches for click in touch.clicks] == ["A1"]
        assert found.agreed
        # An address that is none of the shop's is no arrival.
        await decide(client, {}, landing="https://elsewhere.example/?ref=B2", consent={"choice": "granted"})
        later = known.open(client.cookies["clew_visitor"])
        assert later is not None
        assert [(touch.clicks[0].value, bool(touch.doubt)) for touch in later.touches] == [
            ("A1", False),
            ("B2", True),
        ]


@pytest.mark.parametrize("mode", ["ask", "assume"])
async def test_a_refusal_deletes_the_stored_data(tmp_path: Path, mode: str) -> None:
    async with clew(tmp_path, mode) as (app, client):
        await land(client, YES)
        await decide(client)
        visitor = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert visitor is not None
        assert await app.service.visits.get("shop", visitor.visitor) is not None
        answer = await decide(client, {} if mode == "assume" else NO, consent={"choice": "denied"})
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert "clew_visitor" not in client.cookies
        assert await app.service.visits.get("shop", visitor.visitor) is None


async def test_gpc_alone_deletes_nothing_before_the_page_reports_its_consent(tmp_path: Path) -> None:
    """A tool that keeps the choice in the browser may say that the visitor is in Europe and agreed."""
    async with clew(tmp_path, "ask") as (_, client):
        await decide(client, {}, consent={"choice": "granted"})
        client.headers["Sec-GPC"] = "1"
        answer = await decide(client)
        assert answer.json()["consent"] == {"state": "denied", "sure": False, "landing": False}
        assert ours(answer) == []
        gone = await decide(client, {}, consent={"gdpr": True, "mode": {"ad_storage": "denied"}})
        assert "Max-Age=0" in gone.headers["set-cookie"]


async def test_cookies_from_before_the_site_asked_for_consent_are_ignored(tmp_path: Path) -> None:
    async with clew(tmp_path, "assume") as (_, client):
        await land(client)
        old = client.cookies["clew_visitor"]
    async with clew(tmp_path, "ask") as (_, client):
        answer = await decide(client, {"clew_visitor": old})
        assert answer.json()["consent"]["state"] == "pending"


@pytest.mark.parametrize(
    "consent", ["granted", 5, [], {"choice": "GRANTED"}, {"tcf": "x" * 9000}, {"mode": {"ad_storage": [1]}}]
)
async def test_a_message_that_says_nothing_changes_nothing(tmp_path: Path, consent: Any) -> None:
    async with clew(tmp_path, "ask") as (_, client):
        answer = await decide(client, {}, consent=consent)
        assert answer.status_code == 200
        assert answer.json()["consent"]["state"] == "pending"


CASHBACK = "/?awc=1_2_a&sn=1&ref=A1&utm_source=mail"


@pytest.mark.parametrize("cookies", [{}, NO])
@pytest.mark.parametrize(
    ("address", "setting", "expected"),
    [
        (CASHBACK, True, {"sn_awc", "clew_visitor"}),
        (CASHBACK, False, set()),
        ("/?awc=1_2_a&sn=0", True, set()),
        ("/?awc=1_2_a", True, set()),
        ("/?ref=A1&sn=1", True, set()),
    ],
)
async def test_a_click_marked_as_necessary_follows_the_sites_setting(
    tmp_path: Path, cookies: dict[str, str], address: str, setting: bool, expected: set[str]
) -> None:
    async with clew(tmp_path, "ask", necessary_clicks=setting) as (app, client):
        client.cookies.update(cookies)
        assert set(ours(await client.get(address, headers=NAVIGATION))) == expected
        if not expected:
            return
        known = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert known is not None
        ((click,), campaign, referrer) = ((t := known.touches[0]).clicks, t.campaign, t.referrer)
        assert (click.param, campaign, referrer) == ("awc", {}, "")
        assert (known.agreed, known.necessary) == (False, True)
        # Pages are not stored; a refusal leaves it, a consent makes it an ordinary one.
        answer = await decide(client, {}, consent={"choice": "denied"}, url="https://shop.example/")
        assert ours(answer) == []
        stored = await app.service.visits.get("shop", known.visitor)
        assert stored is None or not stored.trail
        await decide(client, {}, consent={"choice": "granted"}, url="https://shop.example/")
        later = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert later is not None
        assert (later.visitor, later.agreed, later.necessary) == (known.visitor, True, False)


def tc_string(*vendors: tuple[int, int]) -> str:
    return tc_strings.tc_string(at=time.time(), consents=[1, 7], vendor_consents=list(vendors))


@pytest.mark.parametrize("setting", [True, False])
@pytest.mark.parametrize("by", ["landing", "decide"])
async def test_a_necessary_click_stays_where_its_network_is_refused_and_others_are_not(
    tmp_path: Path, setting: bool, by: str
) -> None:
    """A TC string refuses Awin (vendor 907) and grants the rest; the landing has clicks of both."""
    async with clew(tmp_path, "ask", necessary_clicks=setting) as (app, client):
        client.cookies.set("euconsent-v2", tc_string((1, 906)), domain="shop.example")
        if by == "landing":
            await client.get(CASHBACK, headers=NAVIGATION)
        else:
            await decide(client, url=f"https://shop.example{CASHBACK}")
        assert ("sn_awc" in client.cookies) == setting
        known = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert known is not None
        clicks = [c.param for t in known.touches for c in t.clicks]
        assert clicks == (["awc", "ref"] if setting else ["ref"])


async def test_a_necessary_click_alone_is_kept_as_one_that_needs_no_consent(tmp_path: Path) -> None:
    async with clew(tmp_path, "ask", necessary_clicks=True) as (app, client):
        client.cookies.set("euconsent-v2", tc_string((1, 906)), domain="shop.example")
        await client.get("/?awc=1_2_a&sn=1", headers=NAVIGATION)
        known = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert known is not None
        assert [t.consent for t in known.touches] == [UNNEEDED]


@pytest.mark.parametrize("cookies", [{}, NO])
async def test_a_necessary_click_on_a_page_from_a_cache_is_kept_too(
    tmp_path: Path, cookies: dict[str, str]
) -> None:
    """The server does not see the landing: the script tells of it."""
    async with clew(tmp_path, "ask", necessary_clicks=True) as (app, client):
        answer = await decide(client, cookies, url=f"https://shop.example{CASHBACK}")
        assert set(ours(answer)) == {"sn_awc", "clew_visitor"}
        known = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert known is not None
        assert (known.necessary, known.agreed) == (True, False)
        ((click,), campaign) = known.touches[0].clicks, known.touches[0].campaign
        assert (click.param, campaign) == ("awc", {})
        # The same page again sets nothing; another page neither.
        assert ours(await decide(client, {}, url=f"https://shop.example{CASHBACK}", view="view-0002")) == []
        assert ours(await decide(client, {}, url="https://shop.example/", view="view-0003")) == []
    async with clew(tmp_path, "strict") as (_, client):
        assert ours(await decide(client, cookies, url=f"https://shop.example{CASHBACK}")) == []


async def test_withdrawing_takes_the_visitor_out_of_its_orders(tmp_path: Path) -> None:
    async with clew(tmp_path, "ask") as (app, client):
        await land(client, YES)
        await decide(client)
        visitor = app.service.sites["shop"].cookie.open(client.cookies["clew_visitor"])
        assert visitor is not None
        order = OrderSeen("1001", Decimal("59.90"), "EUR", "api")
        await app.service.ordering.record(app.service.sites["shop"], order, visitor=visitor.visitor)
        await decide(client, NO, consent={"choice": "denied"})
        await app.service.tasks.stop()
        found = await app.service.ledger.orders.get("shop", "1001")
        assert found is not None
        assert (found.visitor, found.partner) == (None, "blog")
        assert found.click is not None
        assert found.click.value == "A1"
        (decision,) = await app.service.ledger.histories.decisions(found.row)
        assert decision.inputs.forgotten
        assert decision.inputs.touches == ()


async def test_who_goes_on_before_it_has_told_of_its_landing_is_asked_again(tmp_path: Path) -> None:
    async with clew(tmp_path, "ask") as (app, client):
        now = app.service.clock.now()
        app.service.clock.now = lambda: now
        page = {"url": "https://shop.example/three"}
        assert (await decide(client, YES, **page)).json()["consent"]["landing"]
        again = await decide(client, {}, view="view-0002", url="https://shop.example/four")
        assert again.json()["consent"]["landing"], "the answer to the first page came too late"
        told = await decide(client, {}, view="view-0002", url="https://shop.example/four", landing=LANDING)
        assert not (await decide(client, {}, view="view-0003", **page)).json()["consent"]["landing"]
        assert "clew_visitor" in told.headers["set-cookie"]
    async with clew(tmp_path, "strict") as (app, client):
        now = app.service.clock.now()
        app.service.clock.now = lambda: now
        assert (await decide(client, YES, **page)).json()["consent"]["landing"]
        now += 61
        later = await decide(client, {}, view="view-0002", url="https://shop.example/four")
        assert not later.json()["consent"]["landing"], "who came without a link is not asked for ever"
