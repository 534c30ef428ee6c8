"""The visitor's consent at the order: stored with each report, used for the credit, sent to partners."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tc_strings
from clew.credit.decision import decide
from clew.credit.inputs import Inputs
from clew.credit.terms import Policy, Terms
from clew.middleware.asgi.mount import ClewMiddleware
from clew.orders.history import project
from clew.orders.model import OrderSeen
from clew.orders.sighting import Consented, Sighting, adds_nothing
from clew.postbacks.due import email_for, reports
from clew.postbacks.render import render
from clew.referral.networks_file import load
from clew.referral.touches import UNNEEDED, Click, Touch
from clew.service.ordering.story import lines
from clew.service.service import Service
from clew.settings.model import Partner, Settings
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

YES, NO = {"cmplz_marketing": "allow"}, {"cmplz_marketing": "deny"}
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
THANKS = (
    """<html><head><title>Thanks</title></head><body><b id="n">1001</b><b id="t">59.90</b></body></html>"""
)
POSTBACK = "http://127.0.0.1:9/{click_id}?c={consent}"
AWIN = {"advertiser_id": "1", "conversion": "s2s_get"}


def page(request: Any) -> HTMLResponse:
    return HTMLResponse(THANKS)


@asynccontextmanager
async def clew(folder: Path, mode: str = "ask", **consent: Any) -> AsyncIterator[tuple[Service, Any]]:
    site = {
        "name": "shop",
        "api_token": "token-of-the-shop-0123456789",
        "order": {"page": "/thanks", "id": "#n", "total": "#t", "currency": "EUR"},
        "partners": [
            {"id": "blog", "param": "ref", "postback": POSTBACK},
            {"id": "awin", "network": "awin", "settings": AWIN},
        ],
        "consent": {"mode": mode, **consent},
    }
    files = {"store": f"sqlite:{folder / 'visits.db'}", "ledger": f"sqlite:{folder / 'clew.db'}"}
    settings = Settings.model_validate({"secret": "s" * 40, **files, "sites": [site]})
    app = ClewMiddleware(Starlette(routes=[Route("/{rest:path}", page)]), settings)
    await app.service.open()
    app.startup.started = True
    transport = httpx2.ASGITransport(app=app)
    base = "https://shop.example"
    async with httpx2.AsyncClient(transport=transport, base_url=base, headers=NAVIGATION) as client:
        yield app.service, client
    await app.service.tasks.stop()
    await app.service.close()


def choose(client: Any, cookies: dict[str, str]) -> None:
    for name, value in cookies.items():
        client.cookies.set(name, value, domain="shop.example")


async def came(client: Any, address: str = "/?ref=A1") -> None:
    await client.get(address)
    await client.post("/-/clew/decide", json={"url": f"https://shop.example{address}", "view": "view-0001"})


async def credit_of(service: Service, number: str = "1001") -> tuple[str, str | None, str]:
    """The order's consent in its decision, who earned it, and the time line."""
    story = await service.ledger.stories.of("shop", number)
    assert story is not None
    text = "\n".join(f"{line.text}\n{line.details}" for line in lines(story, str))
    return story.decisions[-1].inputs.consent, story.order.partner, text


async def test_the_state_at_the_order_is_kept_and_the_partner_is_told(tmp_path: Path) -> None:
    async with clew(tmp_path) as (service, client):
        choose(client, YES)
        await came(client)
        await client.get("/thanks")
        await service.tasks.stop()
        consent, partner, text = await credit_of(service)
        assert (consent, partner) == ("granted", "blog")
        assert "consent granted: cookie cmplz_marketing" in text
        (due,) = await service.ledger.outbox.list()
        found = service.sites["shop"].partners["blog"]
        call = render(found, due.report, None, 0.0, postback_id=due.id)
        assert call.url.endswith("?c=granted")


async def test_the_shops_server_has_what_the_visitors_record_says(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer token-of-the-shop-0123456789", "Content-Type": "application/json"}
    async with clew(tmp_path) as (service, client):
        choose(client, YES)
        await came(client)
        await came(client, "/")
        cookie = client.cookies["clew_visitor"]
        order = {"id": "1001", "total": "59.90", "currency": "EUR", "visitor": cookie}
        assert (await client.post("/-/clew/orders", json=order, headers=headers)).status_code == 201
        consent, partner, text = await credit_of(service)
        assert (consent, partner) == ("granted", "blog")
        assert "consent granted: cookie cmplz_marketing" in text
        nobody = {"id": "1002", "total": "59.90", "currency": "EUR"}
        await client.post("/-/clew/orders", json=nobody, headers=headers)
        assert (await credit_of(service, "1002"))[0] == "unknown"


async def test_where_nobody_is_asked_consent_is_assumed_and_no_network_is_told_of_it(tmp_path: Path) -> None:
    async with clew(tmp_path, "assume") as (service, client):
        await came(client)
        await client.get("/thanks")
        await service.tasks.stop()
        assert (await credit_of(service))[:2] == ("assumed", "blog")


async def test_who_refuses_before_it_orders_is_credited_to_nobody(tmp_path: Path) -> None:
    """Though the shop's server sends the cookie that it has kept."""
    headers = {"Authorization": "Bearer token-of-the-shop-0123456789", "Content-Type": "application/json"}
    async with clew(tmp_path) as (service, client):
        choose(client, YES)
        await came(client)
        cookie = client.cookies["clew_visitor"]
        choose(client, NO)
        await client.get("/thanks")
        await service.tasks.stop()
        assert (await credit_of(service))[:2] == ("denied", None)
        order = {"id": "1001", "total": "59.90", "currency": "EUR", "visitor": cookie}
        assert (await client.post("/-/clew/orders", json=order, headers=headers)).status_code == 200
        consent, partner, text = await credit_of(service)
        assert (consent, partner) == ("denied", None)
        assert "consent was refused at the order" in text


async def test_a_click_that_needs_no_consent_earns_though_the_visitor_refused(tmp_path: Path) -> None:
    async with clew(tmp_path, necessary_clicks=True) as (service, client):
        choose(client, NO)
        await came(client, "/?awc=1_2_a&sn=1")
        await client.get("/thanks")
        await service.tasks.stop()
        consent, partner, text = await credit_of(service)
        assert (consent, partner) == ("denied", "awin"), text


AT = 1_700_000_000
ORDER = OrderSeen("1001", Decimal("59.90"), "EUR", "page")


def seen(state: Any = None, visitor: str | None = None, **more: Any) -> Sighting:
    consent = None if state is None else Consented(state, "here")
    values: dict[str, Any] = {"site": "shop", "at": float(AT), "visitor": visitor, **more}
    return Sighting.of(ORDER, consent=consent, **values)


def server(state: Any, visitor: str) -> Sighting:
    return replace(seen(state, visitor, at=AT + 30.0), source="api")


@pytest.mark.parametrize(
    ("sightings", "state"),
    [
        ([seen()], "unknown"),
        ([seen("granted", "v")], "granted"),
        # A stranger who opens the page later, or earlier without a name, says nothing of the visitor.
        ([seen("granted", "v"), seen("denied", "w", at=AT + 9.0)], "granted"),
        ([seen("denied", at=AT - 9.0), seen("granted", "v")], "granted"),
        # The browser's report has precedence over the stored consent; a page without cookies has none.
        ([seen("denied"), server("granted", "v")], "denied"),
        ([seen("pending"), server("granted", "v")], "granted"),
        ([seen("granted", "v"), server("unknown", "v")], "granted"),
        ([seen("denied", "w"), server("granted", "v")], "granted"),
        # Where the visitor's own say nothing, the page that showed the order first does.
        ([seen("denied"), seen("unknown", "v")], "denied"),
        ([seen("denied"), seen("granted", at=AT + 9.0), seen(None, "v")], "denied"),
    ],
)
def test_the_visitors_own_reports_say_what_it_has_consented_to(sightings: list[Sighting], state: str) -> None:
    assert project(sightings).consent.state == state
    assert project(sightings[::-1]).consent.state == state


def test_the_same_report_with_another_consent_says_nothing_new() -> None:
    assert adds_nothing([seen("granted", "v")], seen("denied", "v"))
    again = Sighting.from_json(seen("granted", "v").to_json())
    assert again == seen("granted", "v")


def touch(at: int, click: str, consent: str) -> Touch:
    return Touch(at, (Click("", "ref", click, "blog"),), consent=consent)


def test_a_refusal_leaves_only_what_needs_no_consent() -> None:
    policy = Policy(Terms({"blog": 30}))
    both = (touch(AT - 90, "n", UNNEEDED), touch(AT - 50, "c", "cookie x"))
    asked = decide(Inputs(AT, AT, both, consent="granted"), policy)
    refused = decide(Inputs(AT, AT, both, consent="denied"), policy)
    assert [s.click.value for s in asked.shares if s.click] == ["c"]
    assert [s.click.value for s in refused.shares if s.click] == ["n"]
    assert [one.verdict for one in refused.considered][1] == "consent was refused at the order"
    none = decide(Inputs(AT, AT, both[1:], consent="denied"), policy)
    assert (none.shares, len(none.considered)) == ((), 1)
    assert "refused consent" in none.reason


@pytest.mark.parametrize(("state", "cons"), [("granted", "cons=1"), ("denied", "cons=0"), ("assumed", None)])
def test_networks_that_take_consent_get_it(state: Any, cons: str | None) -> None:
    order = project([seen(state, "v")])
    policy = Policy(Terms({"awin": 30}))
    click = Touch(AT - 5, (Click("awin", "awc", "1_2_a", "awin"),), consent=UNNEEDED)
    decision = decide(Inputs(AT, AT, (click,), consent=state), policy)
    (report,) = reports(order, decision, "web").values()
    partner = Partner.model_validate({"id": "awin", "network": "awin", "settings": AWIN})
    url = render(partner, report, load().networks["awin"], AT, postback_id="pb").url
    assert ("cons=" in url) == (cons is not None)
    assert cons is None or f"&{cons}" in url


def test_networks_that_take_a_tc_string_get_it() -> None:
    order = project([seen("granted", "v")])
    assert order.consent.tcf == ""
    with_string = Sighting.of(ORDER, site="shop", at=float(AT), consent=Consented("granted", "", "CPXx"))
    click = Touch(AT - 5, (Click("kwanko", "mclic", "abc", "k"),))
    decision = decide(Inputs(AT, AT, (click,)), Policy(Terms({"k": 30})))
    (report,) = reports(project([with_string]), decision, "web").values()
    network = load().networks["kwanko"]
    settings = {s: "1" for c in network.calls for s in c.missing({})}
    partner = Partner.model_validate({"id": "k", "network": "kwanko", "settings": settings})
    url = render(partner, report, network, AT, postback_id="pb").url
    assert "gdpr=1" in url
    assert "gdpr_consent=CPXx" in url


MAIL = "a" * 64


@pytest.mark.parametrize(
    ("network", "state", "tcf", "expected"),
    [
        ("meta", "granted", "", MAIL),
        ("google_ads", "granted", "", MAIL),
        ("awin", "granted", "", ""),
        (None, "granted", "", ""),
        *(("meta", state, "", "") for state in ("denied", "pending", "assumed", "unknown")),
        ("meta", "granted", "unreadable", MAIL),  # not a vendor of the TCF
        ("google_ads", "granted", "unreadable", ""),
        ("google_ads", "granted", "vendor", MAIL),
        ("google_ads", "granted", "other vendor", ""),
    ],
)
def test_the_hash_of_the_address_goes_to_networks_that_take_it_and_with_consent_only(
    network: str | None, state: Any, tcf: str, expected: str
) -> None:
    if (vendor := {"vendor": 755, "other vendor": 21}.get(tcf)) is not None:
        given: dict[str, Any] = {"consents": {1, 7, 9}, "interests": {7, 9}}
        ranges = [(vendor, vendor)]
        tcf = tc_strings.tc_string(at=AT, vendor_consents=ranges, vendor_interests=ranges, **given)
    sighting = Sighting.of(
        replace(ORDER, email_hash=MAIL), site="shop", at=float(AT), consent=Consented(state, "", tcf)
    )
    rest: dict[str, Any] = {"network": network} if network else {"param": "r", "postback": POSTBACK}
    partner = Partner.model_validate({"id": "p", **rest})
    assert email_for(project([sighting]), partner, load().networks) == expected
    assert email_for(project([seen(state)]), partner, load().networks) == ""
    assert email_for(project([sighting]), None, load().networks) == ""
