"""The audit trail: what is in it, what never is, who sees it, and that strangers cannot fill it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from apart import DESK, Apart
from clew.desk.roles import RULES
from clew.service.auditing import STRANGERS
from clew.stores.ledger.audit import Act, Line, WantedLines
from clew.stores.ledger.retention import KINDS, Retention
from clew.stores.ledger.schema import audit
from desks import PASSWORD, DeskServer, desk_server, hidden, login
from owner_orders import order
from sqlalchemy import select

TOKEN = "s3cret-token-of-the-shop"


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


async def lines(desk: DeskServer | Apart, *sites: str) -> list[Line]:
    """All lines, the oldest first."""
    wanted = WantedLines(sites or ("shop", "other", ""))
    return list(reversed(await desk.service.ledger.audit.page(wanted, 1000)))


async def act(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    csrf = hidden((await client.get("desk/account")).text)
    return await client.post(path, data={"csrf": csrf, **fields})


async def test_what_is_done_is_written_with_who_what_when_and_from_where(desk: DeskServer) -> None:
    client = await desk.agent()
    stored = await order(desk, "1001")
    await act(client, "desk/access/link", partner="anna", days="3")
    await act(client, f"desk/orders/{stored.row}/correct", state="cancelled", why="Mrs Smith called")
    await act(client, "desk/people/invite", role="lead", sites="shop", note="Cy")
    assert (await client.get("desk/orders.csv", params={"state": "placed"})).status_code == 200
    found = [(one.action, one.who, one.subject, one.network) for one in await lines(desk)]
    assert found == [
        ("login", "bo", "", "203.0.113.7"),
        ("partner.link", "bo", "anna", "203.0.113.7"),
        ("credit.corrected", "bo", str(stored.row), "203.0.113.7"),
        ("invitation.made", "bo", "lead", "203.0.113.7"),
        ("export.orders", "bo", "", "203.0.113.7"),
    ]
    details = [dict(one.details) for one in await lines(desk)]
    assert details[1:] == [
        {"partner": "anna", "days": "3"},
        {"state": "cancelled"},
        {"role": "lead", "sites": "shop", "note": "Cy"},
        {"state": "placed"},
    ]
    assert all(abs(one.at - desk.service.clock.now()) < 60 for one in await lines(desk))


async def test_what_was_refused_is_not_written_as_done(desk: DeskServer) -> None:
    await desk.agent("root")
    client = await desk.agent("bo", role="agent")
    before = await lines(desk)
    assert (await act(client, "desk/access/link", partner="anna", days="3")).status_code == 403
    assert (await client.get("desk/orders.csv")).status_code == 403
    owner = await desk.agent("root")
    assert (await act(owner, "desk/access/link", partner="anna", days="x")).status_code == 422
    assert [one.action for one in (await lines(desk))[len(before) :]] == ["login"]


async def test_what_changed_nothing_is_not_written_as_done(desk: DeskServer) -> None:
    """An agent must not write that it has a second factor which it has not."""
    client = await desk.agent()
    await desk.agent("cy", role="agent")
    before = await lines(desk)
    for path, fields in (
        ("account/factor/confirm", {"code": "123456"}),
        ("account/factor/codes", {"password": PASSWORD}),
        ("account/sessions", {"session": "0123456789abcdef"}),
        ("people/cy/factor", {}),
        ("people/cy/sessions", {"session": "0123456789abcdef"}),
        ("needs", {"notice": "7"}),
    ):
        assert (await act(client, f"desk/{path}", **fields)).status_code == 303
    assert (await client.head("desk/orders.csv")).status_code == 200
    assert await lines(desk) == before


async def test_no_secret_is_ever_in_it(desk: DeskServer) -> None:
    client = await desk.agent()
    wrong = "my-other-secret-password"
    await login(desk.client(), wrong, "x" * 12)
    await login(desk.client(), "bo", wrong)
    made = await act(client, "desk/people/invite", role="lead", sites="shop")
    key = made.text.partition("join?key=")[2].partition('"')[0]
    joining = desk.client()
    await joining.get("desk/join", params={"key": key})
    form = await joining.get("desk/join")
    fields = {"csrf": hidden(form.text), "name": "cy", "password": wrong, "again": wrong}
    assert (await joining.post("desk/join", data=fields)).status_code == 303
    shown = await act(client, "desk/account/factor", password=PASSWORD)
    secret = shown.text.partition('class="key">')[2].partition("<")[0]
    await act(client, "desk/account/password", password=PASSWORD, new=wrong, again=wrong)
    async with desk.service.ledger.db.read() as connection:
        text = str([tuple(row) for row in (await connection.execute(select(audit))).all()])
    assert len(key) == 43
    assert len(secret) == 32
    for one in (wrong, key, secret, PASSWORD, hidden(shown.text), TOKEN):
        assert one not in text
    assert "invitation.accepted" in text


def test_no_rule_keeps_a_field_that_holds_a_secret() -> None:
    kept = {name for rule in RULES.values() for name in rule.kept}
    assert kept.isdisjoint({"password", "new", "again", "code", "csrf", "key", "token", "why", "text"})


async def test_strangers_cannot_fill_it(desk: DeskServer) -> None:
    for number in range(120):
        client = desk.client()
        client.headers["x-test-client"] = f"198.51.{number}.7"
        await login(client, f"stranger{number}", "wrong password")
    found = await lines(desk)
    assert len(found) == STRANGERS.count
    assert {one.who for one in found} == {""}
    assert not any("stranger" in str(one) for one in found)
    # A failure under a name that somebody has is not lost among them, and what was left out is told later.
    await desk.agent()
    client = desk.client()
    client.headers["x-test-client"] = "198.51.200.7"
    await login(client, "bo", "wrong password")
    assert (await lines(desk))[-1].who == "bo"
    desk.clock.ahead += 3600
    await login(desk.client(), "one-more", "wrong password")
    assert (await lines(desk))[-1].details["more"] == 120 - STRANGERS.count


async def test_tokens_of_programs_are_named_and_their_exports_written_once_an_hour(desk: DeskServer) -> None:
    client = desk.client()
    client.headers["authorization"] = f"Bearer {TOKEN}"
    for _ in range(3):
        assert (await client.get("export/orders")).status_code == 200
    body = {"visitor": "a" * 26}
    assert (await client.post("forget", json=body)).status_code == 200
    found = [(one.action, one.who, one.subject) for one in await lines(desk)]
    assert found == [
        ("export.api", "token api_token", "orders"),
        ("person.forgotten", "token api_token", "forget_person"),
    ]
    assert "a" * 26 not in str(await lines(desk))


async def test_new_settings_are_written_with_their_tokens_by_name(desk: DeskServer) -> None:
    settings = desk.service.settings
    shop = settings.sites[0]
    tokens: list[dict[str, Any]] = [{"name": "crm", "token": "a-token-of-the-crm", "scopes": ["export"]}]
    new = type(settings).model_validate(
        {**settings.model_dump(), "sites": [{**shop.model_dump(), "api_tokens": tokens, "api_token": None}]}
    )
    desk.service.announce_swap(desk.service.swap(new))
    async with asyncio.timeout(20):
        # Written in the background, one after the other.
        while len(await lines(desk)) < 3:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.01)
    found = [(one.site, one.action, one.subject) for one in await lines(desk)]
    assert found == [
        ("", "settings.reloaded", ""),
        ("shop", "token.removed", "api_token"),
        ("shop", "token.added", "crm"),
    ]
    assert "a-token-of-the-crm" not in str(await lines(desk))


async def test_an_owner_reads_filters_and_exports_it(desk: DeskServer) -> None:
    client = await desk.agent()
    await login(desk.client(), "bo", "wrong password")
    now = desk.service.clock.now()
    trail = desk.service.ledger.audit
    await trail.add(Act("shop", "=HYPERLINK(1)", "login", "\u202eevil\n", "", {"n": "=1+1"}), now)
    await trail.add(Act("other", "bo", "login", "of the other shop"), now)
    page = (await client.get("desk/audit")).text
    assert "login.failed" in page
    assert "of the other shop" not in page
    assert "\u202e" not in page
    assert "login.failed" in (await client.get("desk/audit", params={"action": "login"})).text
    assert "Nothing matches" in (await client.get("desk/audit", params={"who": "nobody"})).text
    assert "Nothing matches" in (await client.get("desk/audit", params={"until": "2001-01-01"})).text
    sheet = list(csv.reader(io.StringIO((await client.get("desk/audit.csv")).text)))
    assert sheet[0] == ["at", "site", "who", "action", "subject", "network", "details"]
    assert sheet[2][2] == "'=HYPERLINK(1)"
    text = (await client.get("desk/audit.ndjson", params={"who": "bo"})).text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["action"] for row in rows] == [*["export.audit"] * 2, "login.failed", "login"]
    assert rows[-1]["network"] == "203.0.113.7"


async def test_the_page_goes_on_to_older_lines(desk: DeskServer) -> None:
    client = await desk.agent()
    for number in range(60):
        await desk.service.ledger.audit.add(Act("shop", "bo", "login", f"n{number:03}"), 1000.0 + number)
    page = (await client.get("desk/audit")).text
    assert ("n059" in page, "n000" in page) == (True, False)
    older = page.partition("audit?before=")[2].partition('"')[0]
    assert "n000" in (await client.get("desk/audit", params={"before": older})).text


async def test_a_site_shows_its_own_lines_and_the_programs_only_to_owners_of_all(apart: Apart) -> None:
    one, every = await apart.agent("bo", "tea"), await apart.agent("all", None)
    now = apart.service.clock.now()
    for site in ("tea", "coffee", ""):
        await apart.service.ledger.audit.add(Act(site, "x", "login", f"line of {site or 'all'}"), now)
    for client, path in ((one, "audit"), (one, "audit.csv"), (one, "audit.ndjson")):
        text = (await client.get(f"{DESK}/-/clew/site/tea/desk/{path}")).text
        assert ("line of tea" in text, "line of coffee" in text, "line of all" in text) == (
            True,
            False,
            False,
        )
        assert (await client.get(f"{DESK}/-/clew/site/coffee/desk/{path}")).status_code in (303, 403)
    text = (await every.get(f"{DESK}/-/clew/site/tea/desk/audit")).text
    assert ("line of tea" in text, "line of coffee" in text, "line of all" in text) == (True, False, True)


async def test_lines_go_after_their_time_and_in_no_other_way(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    trail = desk.service.ledger.audit
    for days in (800, 1):
        await trail.add(Act("shop", "bo", "login", f"{days}"), now - days * 86400)
    gone = await Retention(desk.service.ledger.db).apply({"audit": 730}, now, pause=0)
    assert gone == {"audit": 1}
    assert [one.subject for one in await lines(desk)] == ["1"]
    assert "audit" in KINDS
    public = {name for name in dir(trail) if not name.startswith("_")}
    assert public == {"add", "page"}


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if name.startswith("POST")))
def test_what_changes_money_access_or_people_is_audited(name: str) -> None:
    rule = RULES[name]
    # Conversations are kept as they are; a secret that was shown is nothing until a code confirms it.
    # One's own answers and presence are one's own, and a preview sets nothing.
    free = ("/conversations", "/close", "/logout", "/login", "/join", "/reset", "/partner/")
    if (
        rule.who in ("anyone", "partner")
        or any(part in name for part in free)
        or name
        in (
            "POST /account/factor",
            "POST /canned",
            "POST /canned/remove",
            "POST /presence",
            "POST /rules/preview",
            "POST /rules/try",
        )
    ):
        return
    assert rule.audit, name
