"""The door to a partner's pages: links, logins, and that a partner's session opens nothing else."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import structlog
from clew.desk.app import desk_app
from clew.referral.cookie import Known
from clew.service.partner_links import PartnerLink, PartnerLinks
from clew.settings.model import Settings
from clew.stores.ledger.agents import SESSION_SECONDS
from clew.stores.ledger.partner_access import MOST
from desks import OTHER, PASSWORD, SHOP, DeskServer, desk_server, hidden, login
from partner_desks import OWN, PARTNERS, by_link, by_password, log_in, token
from starlette.routing import Route

SECRETS = ("secret words", VISITOR := "aaaabbbbccccddddeeeeffff22", "blog-order-77")


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more={"partners": PARTNERS}) as built:
        yield built


def cookie_of(client: httpx2.AsyncClient) -> str:
    found = client.cookies.get("clew_desk_partner")
    assert found
    return found


# -- links


async def test_a_link_becomes_a_session_at_once_and_its_key_leaves_the_address(desk: DeskServer) -> None:
    client, key = desk.client(), token(desk)
    answer = await client.get("desk/partner/enter", params={"key": key})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{OWN}/")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("clew_desk_partner=")]
    assert key not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Path={OWN}" in cookie
    page = await client.get("desk/partner/")
    assert page.status_code == 200
    assert "anna" in page.text


async def test_a_look_at_a_link_without_opening_it_begins_nothing(desk: DeskServer) -> None:
    answer = await desk.client().head("desk/partner/enter", params={"key": token(desk)})
    assert (answer.status_code, answer.headers.get_list("set-cookie")) == (200, [])


@pytest.mark.parametrize("change", ["first", "last", "cut", "longer", "case", "empty", "other bytes", "huge"])
async def test_a_link_that_was_changed_is_refused(desk: DeskServer, change: str) -> None:
    key = token(desk)
    changed = {
        "first": ("A" if key[0] != "A" else "B") + key[1:],
        "last": key[:-1] + ("A" if key[-1] != "A" else "B"),
        "cut": key[:-4],
        "longer": key + "AAAA",
        "case": key.swapcase(),
        "empty": "",
        "other bytes": "é/../\x00",
        "huge": "A" * 5000,
    }[change]
    answer = await desk.client().get("desk/partner/enter", params={"key": changed})
    assert (answer.status_code, answer.headers.get_list("set-cookie")) == (403, [])
    assert "not valid" in answer.text


async def test_a_link_is_read_in_one_spelling_only(desk: DeskServer) -> None:
    """The bits that base64 leaves over, padding and white space make no second key of one link."""
    key, links = token(desk), PartnerLinks(desk.service.settings, "shop")
    assert links.open(key) is not None
    spare = {0: 1, 2: 16, 3: 4}[len(key) % 4]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = letters.index(key[-1])
    others = [letters[place // spare * spare + n] for n in range(spare)] if spare > 1 else []
    for other in [key[:-1] + o for o in others if o != key[-1]] + [key + "=", key + "\n", f" {key}"]:
        assert links.open(other) is None, other


async def test_a_link_expires(desk: DeskServer) -> None:
    key = token(desk, days=1)
    client = desk.client()
    assert (await client.get("desk/partner/enter", params={"key": key})).status_code == 303
    desk.clock.ahead = 86400 + 1
    assert (await client.get("desk/partner/")).status_code == 303
    answer = await desk.client().get("desk/partner/enter", params={"key": key})
    assert answer.status_code == 403
    assert "expired" in answer.text


async def test_a_session_does_not_outlive_its_link(desk: DeskServer) -> None:
    client = desk.client()
    answer = await client.get("desk/partner/enter", params={"key": token(desk, days=1 / 24)})
    (line,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("clew_desk_partner=")]
    found = re.search(r"Max-Age=(\d+)", line)
    assert found is not None
    assert int(found[1]) <= 3600 < SESSION_SECONDS
    desk.clock.ahead = 3601
    assert (await client.get("desk/partner/")).status_code == 303


async def test_revoking_ends_all_links_of_that_partner_and_their_sessions(desk: DeskServer) -> None:
    agent, key = await desk.agent(), token(desk)
    mine, others, logged_in = await by_link(desk), await by_link(desk, "blog"), await by_password(desk)
    page = await agent.get("desk/access")
    await agent.post("desk/access/revoke", data={"csrf": hidden(page.text), "partner": "anna"})
    assert (await mine.get("desk/partner/")).status_code == 303
    assert (await desk.client().get("desk/partner/enter", params={"key": key})).status_code == 403
    for still in (others, logged_in):
        assert (await still.get("desk/partner/")).status_code == 200
    fresh = token(desk, generation=1)
    assert (await desk.client().get("desk/partner/enter", params={"key": fresh})).status_code == 303


async def test_a_link_of_one_site_or_secret_is_nothing_at_another(desk: DeskServer) -> None:
    elsewhere = await desk.client(OTHER).get("desk/partner/enter", params={"key": token(desk)})
    assert elsewhere.status_code == 403
    old = Settings.model_validate(
        {"secret": "another secret, long enough for the settings", "sites": [{"name": "shop"}]}
    )
    forged = PartnerLinks(old, "shop").token(PartnerLink("anna", 0, int(desk.service.clock.now()) + 999))
    assert (await desk.client().get("desk/partner/enter", params={"key": forged})).status_code == 403


async def test_a_link_of_before_the_secret_was_changed_still_works(desk: DeskServer) -> None:
    key, settings = token(desk), desk.service.settings
    new = {
        "secret": "the new secret, long enough for the settings",
        "previous_secrets": [settings.secret.get_secret_value()],
    }
    rotated = Settings.model_validate({**new, "sites": [{"name": "shop"}]})
    found = PartnerLinks(rotated, "shop").open(key)
    assert found is not None
    assert found.partner == "anna"


async def test_a_partner_that_left_the_settings_has_no_pages(desk: DeskServer) -> None:
    client, key = await by_link(desk, "blog"), token(desk, "blog")
    site = desk.service.settings.sites[0]
    less = site.model_copy(update={"partners": site.partners[:1]})
    sites = [less, *desk.service.settings.sites[1:]]
    desk.service.swap(desk.service.settings.model_copy(update={"sites": sites}))
    assert (await client.get("desk/partner/")).status_code == 303
    assert (await desk.client().get("desk/partner/enter", params={"key": key})).status_code == 403


async def test_guesses_are_limited_and_keep_no_partner_out(tmp_path: Path) -> None:
    limits = {"partner_links": {"client": 3, "site": 5, "all": 5}, "logins": {"site": 1, "all": 1}}
    async with desk_server(tmp_path, limits=limits, more={"partners": PARTNERS}) as desk:

        async def guess(client: str) -> int:
            headers = {"x-test-client": client}
            answer = await desk.client().get("desk/partner/enter", params={"key": "x" * 60}, headers=headers)
            return answer.status_code

        assert [await guess("198.51.100.1") for _ in range(4)] == [403, 403, 403, 429]
        assert [await guess("198.51.100.2") for _ in range(3)] == [403, 403, 429]
        await by_link(desk)
        await desk.agent()


@pytest.mark.parametrize("dest", ["image", "iframe", "script", "empty"])
async def test_a_foreign_page_uses_up_no_limit_with_pictures_of_a_link(tmp_path: Path, dest: str) -> None:
    limits = {
        name: {"client": 2, "site": 2, "all": 2} for name in ("partner_links", "partner_pages", "logins")
    }
    async with desk_server(tmp_path, limits=limits, more={"partners": PARTNERS}) as desk:
        client, right = desk.client(), token(desk)
        for key in ("x", "x" * 60, right) * 3:
            answer = await client.get(
                "desk/partner/enter", params={"key": key}, headers={"sec-fetch-dest": dest}
            )
            assert (answer.status_code, answer.headers.get_list("set-cookie")) == (403, [])
        await desk.agent()
        page = await client.get(
            "desk/partner/enter", params={"key": "x"}, headers={"sec-fetch-dest": "document"}
        )
        assert page.status_code == 403
        assert "not valid" in page.text
        assert (await client.get("desk/partner/enter", params={"key": right})).status_code == 303


async def test_opening_links_again_and_again_is_limited(tmp_path: Path) -> None:
    async with desk_server(
        tmp_path, limits={"partner_pages": {"client": 1}}, more={"partners": PARTNERS}
    ) as desk:
        await by_link(desk)
        answer = await desk.client().get("desk/partner/enter", params={"key": token(desk)})
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


async def test_the_oldest_sessions_of_a_partner_end_where_there_are_many(desk: DeskServer) -> None:
    first, other = await by_link(desk), await by_link(desk, "blog")
    access, now = desk.service.ledger.partner_access, desk.service.clock.now()
    for n in range(MOST):
        await access.enter("shop", "anna", "shop.test", now + 1 + n, generation=0, until=now + 9999)
    assert await rows(desk, "SELECT count(*) FROM partner_sessions WHERE partner = 'anna'") == MOST
    assert (await first.get("desk/partner/")).status_code == 303
    assert (await other.get("desk/partner/")).status_code == 200


async def rows(desk: DeskServer, query: str) -> Any:
    from sqlalchemy import text

    async with desk.service.ledger.db.read() as connection:
        return await connection.scalar(text(query))


async def test_the_log_has_no_key_and_no_token(desk: DeskServer) -> None:
    with structlog.testing.capture_logs() as log:
        client = await by_link(desk)
        await client.get("desk/partner/")
        await desk.client().get("desk/partner/enter", params={"key": token(desk, generation=7)})
    written = json.dumps(log, default=str)
    assert {line["event"] for line in log} == {"partner_entered"}
    assert [line["accepted"] for line in log] == [True, False]
    for key in (token(desk), token(desk, generation=7), cookie_of(client)):
        assert key not in written
        assert key[:20] not in written


async def test_a_session_planted_before_is_worth_nothing_after(desk: DeskServer) -> None:
    attacker = await by_link(desk, "blog")
    planted = cookie_of(attacker)
    victim = desk.client()
    victim.cookies.set("clew_desk_partner", planted, domain="shop.test", path=OWN)
    await victim.get("desk/partner/enter", params={"key": token(desk)})
    assert cookie_of(victim) != planted
    assert (await attacker.get("desk/partner/")).status_code == 303
    again = await victim.get("desk/partner/")
    assert (again.status_code, "anna" in again.text) == (200, True)


async def test_a_session_is_worth_nothing_at_another_site_or_host(desk: DeskServer) -> None:
    stolen = {"cookie": f"clew_desk_partner={cookie_of(await by_link(desk))}"}
    for base in (OTHER, "http://127.0.0.1"):
        answer = await desk.client(base).get("desk/partner/", headers=stolen)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{OWN}/login")


# -- logins


async def test_a_partner_may_log_in_with_a_password(desk: DeskServer) -> None:
    client = await by_password(desk)
    page = await client.get("desk/partner/")
    assert (page.status_code, "anna" in page.text) == (200, True)
    answer = await client.post("desk/partner/logout", data={"csrf": hidden(page.text)})
    assert answer.headers["location"] == f"{OWN}/login"
    assert (await client.get("desk/partner/")).status_code == 303


async def test_an_agent_and_a_partner_each_have_their_own_login(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    await desk.agents.add("bo", PASSWORD, site=None, now=now)
    await desk.agents.add("anna-p", PASSWORD, site="shop", partner="anna", now=now)
    assert (await login(desk.client(), "anna-p")).status_code == 403
    assert (await log_in(desk.client(), "bo")).status_code == 403
    assert (await log_in(desk.client(), "anna-p", "wrong password")).status_code == 403
    assert (await log_in(desk.client(OTHER), "anna-p")).status_code == 403
    assert (await log_in(desk.client(), "anna-p")).status_code == 303


@pytest.mark.parametrize("change", ["password", "removed"])
async def test_a_changed_account_ends_its_sessions(desk: DeskServer, change: str) -> None:
    client = await by_password(desk)
    if change == "password":
        await desk.agents.change_password("anna-p", "another good password")
    else:
        await desk.agents.deactivate("anna-p")
    assert (await client.get("desk/partner/")).status_code == 303


async def test_wrong_passwords_of_partners_are_limited_as_those_of_agents(desk: DeskServer) -> None:
    await desk.agents.add("anna-p", PASSWORD, site="shop", partner="anna", now=desk.service.clock.now())
    client = desk.client()
    answers = [(await log_in(client, "anna-p", "wrong password")).status_code for _ in range(7)]
    assert answers == [403] * 5 + [429] * 2


async def test_a_form_of_another_session_is_refused(desk: DeskServer) -> None:
    mine, other = await by_link(desk), await by_link(desk, "blog")
    csrf = hidden((await other.get("desk/partner/")).text)
    assert (await mine.post("desk/partner/logout", data={"csrf": csrf})).status_code == 403
    assert (await mine.get("desk/partner/")).status_code == 200


async def test_a_script_of_the_shop_cannot_read_a_partners_pages(desk: DeskServer) -> None:
    client = await by_link(desk)
    for dest in ("empty", "iframe", "script", "image"):
        answer = await client.get("desk/partner/", headers={"sec-fetch-dest": dest})
        assert answer.status_code == 403, dest


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("en-GB", "en"),
        ("fr,de;q=0.3,en;q=0.2", "de"),
        ("fr", "en"),
        ("de;q=0,en", "en"),
        ("de;q=x", "en"),
        ("", "en"),
    ],
)
async def test_the_pages_are_in_the_language_of_the_browser(
    desk: DeskServer, asked: str, language: str
) -> None:
    client = await by_link(desk)
    answer = await client.get("desk/partner/", headers={"accept-language": asked})
    assert f'<html lang="{language}">' in answer.text
    assert {"en": "Log out", "de": "Abmelden"}[language] in answer.text


# -- what a partner's session opens

# Anybody may ask for these of the desk.
PUBLIC = {
    *("GET /desk/desk.css", "GET /desk/desk.js", "GET /desk/login", "POST /desk/login"),
    *("GET /desk/join", "POST /desk/join", "GET /desk/reset", "POST /desk/reset"),
    *("GET /desk/chat-order", "POST /desk/chat-order"),
}


def routes() -> list[tuple[str, str]]:
    """Every method and path of the desk's app, with a plausible id."""
    found = []
    for route in desk_app().routes:
        assert isinstance(route, Route), route
        path = re.sub(r"\{[^}]*\}", "1", route.path)
        found += [(method, path) for method in sorted((route.methods or {"GET"}) - {"HEAD"})]
    return found


async def test_a_partners_session_opens_no_page_call_or_stream_of_anybody_else(desk: DeskServer) -> None:
    """All routes there are, also those that others add: with the partner's token in every place where a
    session or an API token is looked for."""
    await desk.says("secret words", VISITOR)
    stolen = cookie_of(await by_link(desk))
    csrf = hidden((await (await by_link(desk)).get("desk/partner/")).text)
    sessions = ("clew_desk", "clew_desk_partner", "__Host-clew_desk")
    headers = {
        "cookie": "; ".join(f"{name}={stolen}" for name in sessions),
        "authorization": f"Bearer {stolen}",
        "x-clew-csrf": csrf,
    }
    client, seen = desk.client(), set[str]()
    for method, path in routes():
        if path.startswith("/desk/partner/"):
            continue
        name, address = f"{method} {path}", path.removeprefix("/")
        more: dict[str, Any] = {"data": {"csrf": csrf, "partner": "anna"}} if method == "POST" else {}
        answer = await client.request(method, address, headers=headers, **more)
        nobody = await desk.client().request(method, address, **more)
        assert answer.status_code == nobody.status_code, name
        assert not any(secret in answer.text for secret in SECRETS), name
        seen.add(path)
        if path.startswith("/desk") and name not in PUBLIC:
            assert answer.status_code in (204, 303, 404), (name, answer.status_code)
            if answer.status_code == 303:
                assert answer.headers["location"].startswith("/-/clew/desk/login"), name
    assert {"/desk/", "/desk/orders", "/desk/stream", "/desk/access/link", "/desk/postbacks/1"} <= seen
    assert await rows(desk, "SELECT count(*) FROM partner_links") == 0


async def test_an_agents_session_opens_no_partners_page(desk: DeskServer) -> None:
    agent = await desk.agent()
    stolen = agent.cookies.get("clew_desk")
    for method, path in routes():
        if not path.startswith("/desk/partner/") or path.endswith(("/enter", "/login")):
            continue
        headers = {"cookie": f"clew_desk_partner={stolen}; clew_desk={stolen}"}
        answer = await desk.client().request(method, path.removeprefix("/"), headers=headers)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith(f"{OWN}/login"), path


# -- the owner


async def test_the_owner_makes_a_link_with_a_button(desk: DeskServer) -> None:
    agent = await desk.agent()
    page = await agent.get("desk/access")
    with structlog.testing.capture_logs() as log:
        fields = {"csrf": hidden(page.text), "partner": "blog", "days": "7"}
        made = await agent.post("desk/access/link", data=fields)
    found = re.search(r'readonly value="([^"]+)"', made.text)
    assert found is not None
    address = found[1]
    assert address.startswith(f"{SHOP}{OWN}/enter?key=")
    (event,) = log
    assert (event["event"], event["partner"], event["by"], event["days"]) == ("partner_link", "blog", "bo", 7)
    assert address.partition("key=")[2] not in json.dumps(log, default=str)
    client = desk.client()
    assert (await client.get(address)).headers["location"] == f"{OWN}/"
    assert "blog" in (await client.get("desk/partner/")).text
    desk.clock.ahead = 7 * 86400 + 5
    assert "expired" in (await desk.client().get(address)).text


@pytest.mark.parametrize("days", ["", "0", "-1", "401", "1e2", "٣", "99999"])
async def test_a_link_for_no_sensible_time_is_not_made(desk: DeskServer, days: str) -> None:
    agent = await desk.agent()
    page = await agent.get("desk/access")
    fields = {"csrf": hidden(page.text), "partner": "blog", "days": days}
    made = await agent.post("desk/access/link", data=fields)
    assert made.status_code == 422
    assert "enter?key=" not in made.text


async def test_no_link_is_made_for_a_partner_that_is_not_there(desk: DeskServer) -> None:
    agent = await desk.agent()
    page = await agent.get("desk/access")
    for path in ("desk/access/link", "desk/access/revoke"):
        fields = {"csrf": hidden(page.text), "partner": "nobody", "days": "7"}
        assert (await agent.post(path, data=fields)).status_code == 404


async def test_the_visitor_of_a_partners_browser_is_noted_as_the_partner(desk: DeskServer) -> None:
    """So that its own orders are held as a self-referral; the page of a stranger notes nothing."""
    client = desk.client()
    site = desk.service.sites["shop"]
    known = Known(VISITOR, (), int(desk.clock.now()))
    value = site.cookie.set_cookie(known, False).partition(b";")[0].decode().partition("=")[2]
    client.cookies.set("clew_visitor", value)
    await client.get("desk/partner/")
    assert await desk.service.visits.get("shop", VISITOR) is None
    await client.get("desk/partner/enter", params={"key": token(desk)})
    await client.get("desk/partner/")
    visitor = await desk.service.visits.get("shop", VISITOR)
    assert visitor is not None
    assert visitor.own == ("anna",)
