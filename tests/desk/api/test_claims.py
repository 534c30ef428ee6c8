"""Orders of agents: who is credited, what is refused, and what clew tells an agent of a visitor."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Agreed, Touched
from desks import VISITOR, DeskServer, desk_server

AWIN = {"id": "awin-uk", "network": "awin", "settings": {"advertiser_id": "1", "api_key": "k"}}
ANNA = {"id": "anna", "param": "aff", "postback": "https://partner.test/?c={click_id}"}
SITE = {
    "partners": [ANNA, AWIN],
    "api_tokens": [
        {"name": "chat", "token": "kT9vQ2xLrW7mZc4JpYb8", "scopes": ["attribution"]},
        {"name": "shop", "token": "NfHsD3gAeU6iXoR5tVnB", "scopes": ["orders:write"]},
    ],
}
ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}


def client_of(desk: DeskServer, token: str = "s3cret-token-of-the-shop") -> httpx2.AsyncClient:
    client = desk.client()
    client.headers["authorization"] = f"Bearer {token}"
    return client


async def credited(desk: DeskServer, claim: Any = None, **more: Any) -> str | None:
    body = ORDER | more | ({} if claim is None else {"affiliate_attribution": claim})
    answer = await client_of(desk).post("orders", json=body)
    # 202: this machine is busy, and the order waits on its disk until the ledger has it.
    assert answer.status_code in (200, 201, 202), answer.text
    assert "atp_" not in answer.text
    async with asyncio.timeout(20):
        while (found := await desk.service.ledger.orders.get("shop", body["id"])) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found.partner


@pytest.mark.parametrize(
    ("provider", "partner"),
    [
        ("awin", "awin-uk"),
        ("Awin.com", "awin-uk"),
        ("www.awin.com", "awin-uk"),
        ("awin-uk", "awin-uk"),
        ("ANNA", "anna"),
        ("impact.com", None),
        ("", None),
    ],
)
async def test_the_provider_names_the_partner(tmp_path: Path, provider: str, partner: str | None) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        if not provider:
            assert await credited(desk, None) is None
        else:
            assert await credited(desk, {"provider": provider, "token": "atp_1"}) == partner


async def test_claims_are_ignored_where_the_settings_say_so(tmp_path: Path) -> None:
    """They are kept and shown, and a claimed campaign does not take the order from a partner either."""
    rule = {"name": "mail", "arrivals": ["mail"], "then": "take"}
    credit = {"claims": "ignore", "channels": [rule]}
    async with desk_server(tmp_path, more={**SITE, "credit": credit}) as desk:
        assert await credited(desk, {"provider": "anna", "token": "atp_1"}) is None
        found = await desk.service.ledger.orders.get("shop", ORDER["id"])
        assert found is not None
        assert "what an agent claims of an order does not count at this shop" in found.reason
        now = int(desk.service.clock.now())
        own = Touch(now - 3600, (Click("", "aff", "own-1", "anna"),), {}, "", "/")
        await desk.service.visits.change("shop", VISITOR, [Touched(own)], now)
        told = {"id": "1002", "visitor": VISITOR, "attribution": {"utm_medium": "email", "utm_source": "x"}}
        assert await credited(desk, **told) == "anna"


async def test_an_order_that_only_a_claim_credits_waits_where_the_settings_say_so(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={**SITE, "credit": {"claims": "hold"}}) as desk:
        assert await credited(desk, {"provider": "anna", "token": "atp_1"}) == "anna"
        found = await desk.service.ledger.orders.get("shop", ORDER["id"])
        assert found is not None
        assert [doubt.kind for doubt in found.doubts] == ["claim"]
        (call,) = await desk.service.ledger.histories.postbacks(found.row)
        assert (call.state, call.hold) == ("held", "claim")


async def test_a_networks_publisher_is_no_click(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        assert await credited(desk, {"provider": "awin", "publisher_id": "77"}) is None
        assert await credited(desk, {"provider": "anna", "publisher_id": "77"}, id="1002") == "anna"


async def test_the_first_claim_counts_whatever_comes_later(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        assert await credited(desk) is None
        assert await credited(desk, {"provider": "awin", "token": "atp_1"}) == "awin-uk"
        assert await credited(desk, {"provider": "anna", "token": "atp_2"}) == "awin-uk"
        assert await credited(desk, {"provider": "anna", "token": "atp_3"}, total="49.90") == "awin-uk"


async def test_both_touch_points_are_weighed_by_the_sites_model(tmp_path: Path) -> None:
    both = [
        {"provider": "awin", "token": "atp_1", "touchpoint": "first"},
        {"provider": "anna", "token": "atp_2", "touchpoint": "last"},
    ]
    for model, partner in (("last", "anna"), ("first", "awin-uk")):
        folder = tmp_path / model
        folder.mkdir()
        async with desk_server(folder, more={**SITE, "credit": {"model": model}}) as desk:
            assert await credited(desk, both) == partner


async def test_a_claim_that_has_expired_or_is_later_than_the_order_counts_as_none(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        old = {"provider": "awin", "token": "atp_1", "expires_at": "2025-01-01T00:00:00Z"}
        late = {"provider": "awin", "token": "atp_1", "issued_at": "2199-01-01T00:00:00Z"}
        assert await credited(desk, old) is None
        assert await credited(desk, late, id="1002") is None
        long_ago = {"provider": "awin", "token": "atp_1", "issued_at": "2020-01-01T00:00:00Z"}
        assert await credited(desk, long_ago, id="1003") is None  # outside the partner's window


@pytest.mark.parametrize(
    "issued",
    ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1999-12-31T00Z"],
)
async def test_a_claim_of_an_impossible_time_is_one_without_a_time(tmp_path: Path, issued: str) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        assert await credited(desk, {"provider": "awin", "token": "atp_1", "issued_at": issued}) == "awin-uk"


@pytest.mark.parametrize("name", ["issued_at", "expires_at"])
@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+23:59", "1e9", "+" * 40])
async def test_no_time_of_a_claim_keeps_an_order_out(tmp_path: Path, name: str, time: str) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        await credited(desk, {"provider": "awin", "token": "atp_1", name: time})


async def test_ucp_names_clicks_as_addresses_do(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        assert await credited(desk, attribution={"aff": "A1", "campaign_source": "chat"}) == "anna"
        story = await desk.service.ledger.stories.of("shop", "1001")
        assert story is not None
        (touch,) = story.decisions[-1].inputs.touches
        assert dict(touch.campaign) == {"utm_source": "chat"}
        assert [click.value for click in touch.clicks] == ["A1"]


async def test_a_refusal_says_what_and_records_nothing(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=SITE) as desk:
        claim = {"provider": "awin", "token": "atp_1", "metadata": {"user_email": "jo@shop.example"}}
        answer = await client_of(desk).post("orders", json={**ORDER, "affiliate_attribution": claim})
        assert answer.status_code == 400
        assert {name: answer.json()[name] for name in ("type", "code", "param")} == {
            "type": "invalid_request",
            "code": "pii_not_allowed",
            "param": "$.affiliate_attribution.metadata.user_email",
        }
        assert "jo@" not in answer.text
        assert await desk.service.ledger.orders.get("shop", "1001") is None


async def test_a_key_with_another_body_is_a_conflict(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        client = client_of(desk)
        client.headers["idempotency-key"] = "key-1"
        assert (await client.post("orders", json=ORDER)).status_code == 201
        assert (await client.post("orders", json=ORDER)).status_code == 200
        other = await client.post("orders", json={**ORDER, "total": "1.00"})
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
        client.headers["idempotency-key"] = "key-2"
        assert (await client.post("orders", json={**ORDER, "total": "1.00"})).status_code == 200


async def test_an_agent_gets_what_led_a_visitor_to_the_shop(tmp_path: Path) -> None:
    clicks = Click("awin", "awc", "1_2_a", "awin-uk"), Click("", "aff", "A9", "anna")
    touches = [
        Touched(Touch(1_795_000_000, clicks[:1], {"utm_campaign": "spring"})),
        Touched(Touch(1_795_100_000, clicks[1:], {"utm_source": "blog", "utm_term": "jo@shop.example"})),
    ]
    async with desk_server(tmp_path, more=SITE) as desk:
        await desk.service.visits.change("shop", VISITOR, touches, 1_795_200_000.0)
        agent = client_of(desk, "kT9vQ2xLrW7mZc4JpYb8")
        token = desk.service.sites["shop"].carrier.token(VISITOR)
        for named in (VISITOR, token):
            answer = await agent.get(f"visitors/{named}/attribution")
            assert answer.json() == {
                "affiliate_attribution": [
                    {
                        "provider": "awin",
                        "token": "1_2_a",
                        "touchpoint": "first",
                        "issued_at": "2026-11-18T11:06:40Z",
                    },
                    {
                        "provider": "anna",
                        "token": "A9",
                        "touchpoint": "last",
                        "issued_at": "2026-11-19T14:53:20Z",
                    },
                ],
                "attribution": {"aff": "A9", "utm_source": "blog"},
            }
        assert (
            await client_of(desk, "NfHsD3gAeU6iXoR5tVnB").get(f"visitors/{VISITOR}/attribution")
        ).status_code == 403
        assert (await agent.get("visitors/nobody/attribution")).status_code == 422
        # What it says is what another clew understands.
        assert await credited(desk, answer.json()["affiliate_attribution"]) == "anna"


async def test_without_consent_an_agent_gets_nothing(tmp_path: Path) -> None:
    touched = [Touched(Touch(1_795_000_000, (Click("", "aff", "A9", "anna"),)))]
    async with desk_server(tmp_path, more={**SITE, "consent": {"mode": "ask"}}) as desk:
        agent = client_of(desk, "kT9vQ2xLrW7mZc4JpYb8")
        await desk.service.visits.change("shop", VISITOR, touched, 1_795_200_000.0)
        answer = await agent.get(f"visitors/{VISITOR}/attribution")
        assert answer.json() == {"affiliate_attribution": [], "attribution": {}}
        await desk.service.visits.change("shop", VISITOR, [Agreed("Cookiebot")], 1_795_200_000.0)
        assert (await agent.get(f"visitors/{VISITOR}/attribution")).json()["attribution"] == {"aff": "A9"}
