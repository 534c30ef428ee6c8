"""Who may do what at the desk: every page has a role, and each role opens what it should and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from apart import DESK, Apart
from clew.desk.app import desk_app
from clew.desk.roles import RULES, NoRuleError, ruled
from clew.stores.ledger.connection import executing
from clew.stores.ledger.outbox import OutboxError
from clew.stores.ledger.roles import ALL_SITES, ROLES, Role
from clew.stores.ledger.schema import postbacks
from desks import DeskServer, desk_server, events, hidden, login
from owner_orders import order, set_call
from roles_table import PAGE, page
from sqlalchemy import update
from starlette.responses import Response
from starlette.routing import Mount, Route
from unasked import nobody

REFUSED = "This needs the role"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, hold={"amounts": False}) as built:
        yield built


@pytest_asyncio.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Apart]:
    built = Apart(tmp_path, "tea", "coffee")
    await built.mount.startup.start(5)
    yield built
    await built.service.stop()


def test_every_page_of_the_desk_has_a_role_and_every_role_a_page() -> None:
    routes = [one for one in desk_app().routes if getattr(one, "path", "").startswith("/desk")]
    served = {
        f"{method} {route.path.removeprefix('/desk')}"
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert len(served) > 40
    assert served == set(RULES)


@pytest.mark.parametrize(
    "route",
    [
        Route("/desk/new", lambda request: Response(), methods=["GET"]),
        Route("/desk/orders", lambda request: Response(), methods=["DELETE"]),
        Mount("/desk/new", routes=[]),
    ],
)
def test_a_page_without_a_role_is_not_served(route: Route | Mount) -> None:
    with pytest.raises(NoRuleError):
        ruled([route])


def test_the_documented_table_is_the_programs() -> None:
    """`make roles` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_opens_its_pages_and_no_others(desk: DeskServer, role: Role) -> None:
    await desk.agent("root")
    client = await desk.agent("bo", role=role)
    csrf = hidden((await client.get("desk/")).text)
    for name, rule in RULES.items():
        method, path = name.split(" ")
        # One's own forms are every role's, and end the session or ask for the password.
        if rule.who not in ROLES or (rule.personal and method == "POST") or "stream" in name:
            continue
        path = "desk" + path.replace("{id}", "1").replace("{name}", "x")
        data = {"csrf": csrf} if method == "POST" else None
        answer = await client.request(method, path, data=data)
        below = ROLES.index(role) < ROLES.index(rule.role)
        assert (REFUSED in answer.text) is below, (name, answer.status_code)
        assert (answer.status_code == 403) is below, (name, answer.text)


async def test_the_links_of_a_page_are_those_that_the_role_opens(desk: DeskServer) -> None:
    await desk.agent("root")
    lead = (await (await desk.agent("bo", role="lead")).get("desk/orders")).text
    owner = (await (await desk.agent("cy")).get("desk/orders")).text
    for path in ("revenue", "partners", "networks", "access"):
        assert f'desk/{path}"' not in lead
        assert f'desk/{path}"' in owner
    assert 'desk/waiting"' in lead


async def test_a_demotion_holds_for_an_open_session_at_once(desk: DeskServer) -> None:
    client = await desk.agent()
    page_ = (await client.get("desk/access")).text
    await desk.agents.set_roles("bo", lambda _: {"shop": "agent"})
    assert (await client.get("desk/access")).status_code == 403
    made = await client.post("desk/access/link", data={"csrf": hidden(page_), "partner": "anna", "days": "1"})
    assert made.status_code == 403
    assert (await client.get("desk/")).status_code == 200
    # With its last role here, the session is worth nothing here.
    await desk.agents.set_roles("bo", lambda _: {"other": "owner"})
    assert (await client.get("desk/")).headers["location"].endswith("/desk/login")


async def test_the_stream_of_somebody_whose_role_is_gone_ends(desk: DeskServer) -> None:
    client = await desk.agent()
    desk.clock.ahead += 1
    async with desk.served() as address:
        token = client.cookies["clew_desk"]
        host = address.removeprefix("http://").partition("/")[0]
        async with httpx2.AsyncClient(base_url=address) as browser:
            again = await login(browser, "bo")
            assert again.status_code == 303, (token, host)
            shown = await browser.get("desk/")
            mark = shown.text.partition('data-mark="')[2].partition('"')[0]
            async with browser.stream("GET", "desk/stream", params={"mark": mark}, timeout=40) as stream:
                assert stream.status_code == 200
                await desk.agents.set_roles("bo", lambda _: {"other": "owner"})
                assert [one async for one in events(stream)] == []


async def test_a_role_at_one_site_opens_nothing_of_another(apart: Apart) -> None:
    """An owner of tea who answers visitors of coffee sees the money of tea alone."""
    client = await apart.agent("bo", "tea")
    await apart.agents.set_roles("bo", lambda _: {"tea": "owner", "coffee": "agent"})
    tea, coffee = f"{DESK}/-/clew/site/tea/desk", f"{DESK}/-/clew/site/coffee/desk"
    assert (await client.get(f"{tea}/revenue")).status_code == 200
    assert (await client.get(f"{coffee}/")).status_code == 200
    for path in ("revenue", "partners", "networks", "access", "orders.csv"):
        assert (await client.get(f"{coffee}/{path}")).status_code == 403, path
    for path in ("revenue", "revenue.csv", "partners", "partners.csv", "networks", "orders.csv"):
        asked = await client.get(f"{tea}/{path}", params={"site": "coffee"})
        assert asked.status_code == 404 or "coffee" not in asked.text.replace("site=coffee", ""), path
        assert "coffee" not in (await client.get(f"{tea}/{path}", params={"site": "all"})).text, path
    # What both roles open is there for both sites.
    assert "coffee" in (await client.get(f"{tea}/orders")).text


async def test_a_role_for_all_sites_and_one_for_a_site_are_joined_to_the_higher_one(apart: Apart) -> None:
    client = await apart.agent("bo", None)
    await apart.agents.set_roles("bo", lambda _: {ALL_SITES: "agent", "tea": "owner"})
    tea, coffee = f"{DESK}/-/clew/site/tea/desk", f"{DESK}/-/clew/site/coffee/desk"
    assert (await client.get(f"{tea}/access")).status_code == 200
    assert (await client.get(f"{coffee}/")).status_code == 200
    assert (await client.get(f"{coffee}/access")).status_code == 403


async def test_a_call_of_another_site_cannot_be_marked_as_reported(tmp_path: Path) -> None:
    """Its id is all that one would have to know."""
    # Opened, not started: nothing delivers the call meanwhile.
    desk = DeskServer(tmp_path, hold={"amounts": False})
    await desk.service.open()
    try:
        outbox, now = desk.service.ledger.outbox, desk.service.clock.now()
        call = await set_call(desk, await order(desk, "1001"), "held")
        by_hand = update(postbacks).where(postbacks.c.id == call.id).values(hold="manual")
        await desk.service.ledger.db.transact(executing(by_hand))
        with pytest.raises(OutboxError):
            await outbox.mark_reported(call.id, now, by="eve", site="other", able=nobody)
        done = await outbox.mark_reported(call.id, now, by="bo", site="shop", able=nobody)
        assert done.state == "delivered"
    finally:
        await desk.service.close()


async def test_the_first_person_of_a_ledger_is_its_owner(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    assert await desk.agents.add("bo", "a long password", site=None, now=now) == {ALL_SITES: "owner"}
    assert await desk.agents.add("cy", "a long password", site="shop", now=now) == {"shop": "agent"}
