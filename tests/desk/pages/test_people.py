"""People of the desk: invitations, second factors, passwords, sessions; and who tries to get in by them."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pyotp
import pytest
import pytest_asyncio
from apart import DESK, Apart
from clew.service.second_factor import PERIOD, FactorCipher, digest, right_step
from clew.settings.model import Settings
from clew.stores.ledger import desk_links as desk_links_of
from clew.stores.ledger.agents import MOST_SESSIONS, AgentError, Decider, Place
from clew.stores.ledger.roles import ALL_SITES
from clew.stores.ledger.schema import desk_links, recovery_codes, second_factors
from clew.stores.ledger.second_factor import STEP_SECONDS, TRIES, TRIES_SECONDS
from desks import OTHER, PASSWORD, DeskServer, desk_server, hidden, login
from sqlalchemy import select

GONE = "This link has been used, has expired, or was revoked."
NEW = "another long password"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


@pytest_asyncio.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Apart]:
    built = Apart(tmp_path, "tea", "coffee")
    await built.mount.startup.start(5)
    yield built
    await built.service.stop()


async def act(
    client: httpx2.AsyncClient, path: str, page: str = "desk/account", **fields: str
) -> httpx2.Response:
    csrf = hidden((await client.get(page)).text)
    return await client.post(path, data={"csrf": csrf, **fields})


def key_of(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    found = re.search(r'<input id="link" readonly value="([^"]+)"', answer.text)
    assert found is not None, answer.text
    return parse_qs(urlsplit(found[1]).query)["key"][0]


async def invited(owner: httpx2.AsyncClient, role: str = "agent", sites: str = "shop") -> str:
    return key_of(await act(owner, "desk/people/invite", "desk/people", role=role, sites=sites, note="Cy"))


async def joined(
    client: httpx2.AsyncClient, key: str, name: str = "cy", password: str = NEW, way: str = "join"
) -> httpx2.Response:
    opened = await client.get(f"desk/{way}", params={"key": key})
    assert opened.status_code == 303, opened.text
    assert opened.headers["location"].endswith(f"/desk/{way}")
    form = await client.get(f"desk/{way}")
    if form.status_code != 200:
        return form
    fields = {"csrf": hidden(form.text), "name": name, "password": password, "again": password}
    return await client.post(f"desk/{way}", data=fields)


async def enrolled(desk: DeskServer, client: httpx2.AsyncClient) -> tuple[str, list[str]]:
    """The secret of an authenticator that was set up, and the recovery codes."""
    shown = await act(client, "desk/account/factor", password=PASSWORD)
    assert shown.status_code == 200, shown.text
    found = re.search(r'<code class="key">([A-Z2-7]{32})</code>', shown.text)
    assert found is not None, shown.text
    assert 'src="data:image/svg+xml' in shown.text
    done = await act(client, "desk/account/factor/confirm", code=code_of(desk, found[1]))
    codes = re.findall(r"<li><code>([a-z2-7-]{19})</code></li>", done.text)
    assert len(codes) == 10, done.text
    return found[1], codes


def code_of(desk: DeskServer, secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(desk.service.clock.now() + steps * PERIOD)


async def first_half(desk: DeskServer, name: str = "bo", password: str = PASSWORD) -> httpx2.AsyncClient:
    client = desk.client()
    answer = await login(client, name, password)
    assert answer.headers["location"].endswith("/desk/login/code"), answer.headers
    assert "clew_desk" not in client.cookies
    return client


async def give(client: httpx2.AsyncClient, code: str) -> httpx2.Response:
    form = await client.get("desk/login/code")
    if form.status_code != 200:
        return form
    return await client.post("desk/login/code", data={"csrf": hidden(form.text), "code": code})


# -- who is removed, or may do less, keeps no way back


@pytest.mark.parametrize("how", ["remove", "role"])
async def test_what_somebody_invited_ends_with_its_role(desk: DeskServer, how: str) -> None:
    """Else one who is about to go invites itself."""
    owner, leaving = await desk.agent("bo"), await desk.agent("eve")
    key = await invited(leaving, "owner")
    await act(owner, "desk/people/eve/role", role="owner", where="site")
    assert (await desk.client().get("desk/join", params={"key": key})).status_code == 303
    done = await act(owner, f"desk/people/eve/{how}", role="lead", where="all")
    assert done.status_code == 303, done.text
    if how == "role":
        # The owner's role at the site, which she has beside it, is taken away as well.
        await act(owner, "desk/people/eve/role", role="lead", where="site")
    answer = await joined(desk.client(), key, "mallory")
    assert (answer.status_code, GONE in answer.text) == (410, True)


async def test_a_link_for_a_password_ends_when_its_account_gets_another_role(apart: Apart) -> None:
    """Who made it was the owner of all that the account could do then, and is not of what it can do now."""
    now, links = apart.service.clock.now(), apart.service.ledger.desk_links
    await apart.agents.add("cy", PASSWORD, site="tea", role="agent", now=now)
    key = await links.reset("cy", now, by="bo")
    other = await links.reset("cy", now, by="bo")
    assert await links.find(key, "password", now) is None
    assert await links.find(other, "password", now) is not None
    await apart.agents.set_roles("cy", lambda before: {**before, "coffee": "owner"})
    assert await links.find(other, "password", now) is None


async def test_of_two_owners_who_remove_each_other_at_once_one_remains(desk: DeskServer) -> None:
    first, second = await desk.agent("bo"), await desk.agent("eve")
    forms = [(first, "eve"), (second, "bo")]
    tokens = [hidden((await client.get("desk/account")).text) for client, _ in forms]
    answers = await asyncio.gather(
        *(
            client.post(f"desk/people/{name}/remove", data={"csrf": csrf})
            for (client, name), csrf in zip(forms, tokens, strict=True)
        )
    )
    assert sum(one.headers.get("location", "").endswith("done=removed") for one in answers) == 1
    left = [one.name for one in await desk.agents.everyone() if one.active]
    assert len(left) == 1


async def test_who_has_lost_the_role_decides_about_nobody(desk: DeskServer) -> None:
    """In a transaction of its own: the request may have begun before."""
    await desk.agent("bo")
    await desk.agent("eve")
    await desk.agents.set_roles("eve", lambda before: {ALL_SITES: "lead"})
    by = Decider("eve", lambda roles: roles.get(ALL_SITES) == "owner")
    with pytest.raises(AgentError, match="meanwhile"):
        await desk.agents.set_roles("bo", lambda before: {ALL_SITES: "agent"}, by=by)
    with pytest.raises(AgentError, match="meanwhile"):
        await desk.agents.deactivate("bo", by=by)
    await desk.agents.deactivate("eve")
    with pytest.raises(AgentError, match="meanwhile"):
        await desk.agents.deactivate("bo", by=Decider("eve", lambda roles: True))


async def test_one_owners_links_push_out_nobody_elses(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_links_of, "MOST", 3)
    links, now = desk.service.ledger.desk_links, desk.service.clock.now()
    kept = await links.invite("agent", ["other"], now, by="ann")
    for n in range(5):
        await links.invite("agent", ["shop"], now + n, by="bo")
    assert await links.find(kept, "invitation", now) is not None
    assert len([one for one in await links.open(now + 5) if one.by == "bo"]) == 3


# -- invitations


async def test_an_invitation_makes_one_account_with_its_role(desk: DeskServer) -> None:
    owner = await desk.agent()
    key = await invited(owner, "lead")
    answer = await joined(desk.client(), key)
    assert answer.headers["location"].endswith("/login?done=joined")
    client = desk.client()
    assert (await login(client, "cy", NEW)).status_code == 303
    assert (await client.get("desk/waiting")).status_code == 200
    assert (await client.get("desk/people")).status_code == 403
    again = await joined(desk.client(), key, "eve")
    assert (again.status_code, GONE in again.text) == (410, True)
    assert await desk.agents.find("eve") is None


async def test_two_who_use_an_invitation_at_once_get_one_account(desk: DeskServer) -> None:
    """Both have the form open before the first sends it."""
    key = await invited(await desk.agent())
    forms = []
    for name in ("cy", "eve"):
        client = desk.client()
        await client.get("desk/join", params={"key": key})
        form = await client.get("desk/join")
        forms.append((client, {"csrf": hidden(form.text), "name": name, "password": NEW, "again": NEW}))
    answers = [await client.post("desk/join", data=fields) for client, fields in forms]
    assert [one.status_code for one in answers] == [303, 410]
    assert await desk.agents.find("eve") is None


@pytest.mark.parametrize("how", ["expired", "revoked", "forged", "empty"])
async def test_an_invitation_that_ended_opens_nothing(desk: DeskServer, how: str) -> None:
    owner = await desk.agent()
    key = await invited(owner)
    if how == "expired":
        desk.clock.ahead += 7 * 86400 + 1
    elif how == "revoked":
        page = (await owner.get("desk/people")).text
        found = re.search(r"/people/invitations/([0-9a-f]{16})/revoke", page)
        assert found is not None
        revoked = await act(owner, f"desk/people/invitations/{found[1]}/revoke", "desk/people")
        assert revoked.status_code == 303
    else:
        key = "x" * 43 if how == "forged" else ""
    answer = await joined(desk.client(), key)
    assert (answer.status_code, GONE in answer.text) == (410, True)


async def test_a_mistake_does_not_use_an_invitation_up(desk: DeskServer) -> None:
    key = await invited(await desk.agent())
    client = desk.client()
    for name, password in (("bo", NEW), ("c y", NEW), ("cy", "short")):
        assert (await joined(client, key, name, password)).status_code == 422
    assert (await joined(client, key)).status_code == 303


async def test_an_invitation_does_not_take_over_the_name_of_somebody_removed(desk: DeskServer) -> None:
    owner = await desk.agent()
    await desk.agents.add("cy", PASSWORD, site="shop", now=0)
    await desk.agents.deactivate("cy")
    assert (await joined(desk.client(), await invited(owner))).status_code == 422


async def test_an_invitation_for_another_site_is_worth_nothing_here(desk: DeskServer) -> None:
    key = await invited(await desk.agent())
    answer = await joined(desk.client(OTHER), key)
    assert (answer.status_code, GONE in answer.text) == (410, True)


async def test_the_ledger_has_no_key_of_a_link(desk: DeskServer) -> None:
    key = await invited(await desk.agent())
    async with desk.service.ledger.db.read() as connection:
        (row,) = (await connection.execute(select(desk_links))).all()
    assert key not in str(tuple(row))


async def test_what_looks_at_links_uses_nothing_up_and_scripts_get_nothing(desk: DeskServer) -> None:
    key = await invited(await desk.agent())
    client = desk.client()
    assert (await client.head("desk/join", params={"key": key})).status_code == 200
    image = await client.get("desk/join", params={"key": key}, headers={"sec-fetch-dest": "image"})
    assert (image.status_code, image.headers.get_list("set-cookie")) == (403, [])
    assert (await joined(client, key)).status_code == 303


async def test_guesses_of_links_are_limited(desk: DeskServer) -> None:
    client = desk.client()
    answers = [await joined(client, "x" * 43) for _ in range(25)]
    assert {one.status_code for one in answers} == {410, 429}


@pytest.mark.parametrize("path", ["join", "reset"])
async def test_a_form_without_this_browsers_token_does_nothing(desk: DeskServer, path: str) -> None:
    owner = await desk.agent()
    key = await invited(owner)
    if path == "reset":
        await desk.agents.add("cy", PASSWORD, site="shop", now=0)
        key = key_of(await act(owner, "desk/people/cy/password", "desk/people"))
    client = desk.client()
    await client.get(f"desk/{path}", params={"key": key})
    fields = {"csrf": "x" * 43, "name": "cy", "password": NEW, "again": NEW}
    assert (await client.post(f"desk/{path}", data=fields)).status_code == 403
    elsewhere = await client.post(f"desk/{path}", data=fields, headers={"sec-fetch-site": "cross-site"})
    assert elsewhere.status_code == 403
    assert not await desk.agents.verify("cy", NEW, "shop")


# -- sites


async def test_an_owner_of_one_site_neither_invites_to_another_nor_takes_its_people(apart: Apart) -> None:
    owner = await apart.agent("bo", "tea")
    tea = f"{DESK}/-/clew/site/tea/desk"
    now = apart.service.clock.now()
    await apart.agents.add("both", PASSWORD, site=None, sites=["tea", "coffee"], role="agent", now=now)
    await apart.agents.add("di", PASSWORD, site="coffee", role="agent", now=now)
    await apart.agents.add("all", PASSWORD, site=None, role="agent", now=now)
    csrf = hidden((await owner.get(f"{tea}/people")).text)
    for sites in ("coffee", "*", "", "nothing"):
        fields = {"csrf": csrf, "role": "owner", "sites": sites}
        assert (await owner.post(f"{tea}/people/invite", data=fields)).status_code == 422, sites
    for name in ("both", "all"):
        for what in ("password", "factor", "remove", "sessions"):
            answer = await owner.post(f"{tea}/people/{name}/{what}", data={"csrf": csrf})
            assert answer.status_code == 403, (name, what)
    for what in ("", "/role", "/password", "/factor", "/remove", "/sessions"):
        method = "POST" if what else "GET"
        answer = await owner.request(method, f"{tea}/people/di{what}", data={"csrf": csrf, "role": "lead"})
        assert answer.status_code == 404, what
    role = {"csrf": csrf, "role": "owner"}
    assert (await owner.post(f"{tea}/people/both/role", data=role)).status_code == 303
    assert (await owner.post(f"{tea}/people/all/role", data={**role, "where": "all"})).status_code == 403
    found = {one.name: dict(one.roles) for one in await apart.agents.everyone()}
    assert found["both"] == {"tea": "owner", "coffee": "agent"}
    assert found["all"] == {ALL_SITES: "agent"}
    assert await apart.service.ledger.desk_links.open(now) == ()


async def test_a_link_of_another_site_cannot_be_revoked(apart: Apart) -> None:
    tea, coffee = f"{DESK}/-/clew/site/tea/desk", f"{DESK}/-/clew/site/coffee/desk"
    owner, other = await apart.agent("bo", "tea"), await apart.agent("di", "coffee")
    csrf = hidden((await owner.get(f"{tea}/people")).text)
    made = await owner.post(f"{tea}/people/invite", data={"csrf": csrf, "role": "agent", "sites": "tea"})
    assert made.status_code == 200
    (link,) = await apart.service.ledger.desk_links.open(apart.service.clock.now())
    theirs = hidden((await other.get(f"{coffee}/people")).text)
    answer = await other.post(f"{coffee}/people/invitations/{link.id}/revoke", data={"csrf": theirs})
    assert answer.status_code == 404
    assert "Invitation" not in (await other.get(f"{coffee}/people")).text
    assert len(await apart.service.ledger.desk_links.open(apart.service.clock.now())) == 1


async def test_an_owner_cannot_lock_itself_out(desk: DeskServer) -> None:
    owner = await desk.agent()
    for path, fields in (("role", {"role": "agent"}), ("remove", {}), ("factor", {}), ("password", {})):
        assert (await act(owner, f"desk/people/bo/{path}", "desk/people", **fields)).status_code == 403
    assert (await owner.get("desk/people")).status_code == 200


# -- new passwords


async def test_a_link_sets_a_password_once_and_ends_all_sessions(desk: DeskServer) -> None:
    owner, agent = await desk.agent(), await desk.agent("cy", role="agent")
    first = key_of(await act(owner, "desk/people/cy/password", "desk/people"))
    key = key_of(await act(owner, "desk/people/cy/password", "desk/people"))
    # Only the last one is good.
    assert (await joined(desk.client(), first, way="reset")).status_code == 410
    assert (await joined(desk.client(), key, way="reset")).status_code == 303
    assert (await agent.get("desk/")).status_code == 303
    assert (await login(desk.client(), "cy", NEW)).headers["location"].endswith("/desk/")
    assert (await login(desk.client(), "cy", PASSWORD)).status_code == 403
    assert (await joined(desk.client(), key, password="a third password", way="reset")).status_code == 410


async def test_a_link_for_a_password_is_no_invitation_and_ends_with_any_new_password(
    desk: DeskServer,
) -> None:
    owner = await desk.agent()
    await desk.agent("cy", role="agent")
    key = key_of(await act(owner, "desk/people/cy/password", "desk/people"))
    assert (await joined(desk.client(), key, "eve")).status_code == 410
    assert (await joined(desk.client(), await invited(owner), way="reset")).status_code == 410
    await desk.agents.change_password("cy", NEW)
    assert (await joined(desk.client(), key, way="reset")).status_code == 410


async def test_ones_own_password_needs_the_present_one(desk: DeskServer) -> None:
    client = await desk.agent()
    wrong = {"password": "not the password", "new": NEW, "again": NEW}
    assert (await act(client, "desk/account/password", **wrong)).status_code == 403
    right = {"password": PASSWORD, "new": NEW, "again": NEW}
    answer = await act(client, "desk/account/password", **right)
    assert answer.headers["location"].endswith("/desk/login?done=password")
    assert (await client.get("desk/")).status_code == 303


# -- second factor


async def test_a_login_with_a_second_factor_needs_a_code_that_is_good_once(desk: DeskServer) -> None:
    secret, _ = await enrolled(desk, await desk.agent())
    desk.clock.ahead += 2 * PERIOD
    client = await first_half(desk)
    assert (await client.get("desk/")).headers["location"].endswith("/desk/login")
    code = code_of(desk, secret)
    assert (await give(client, code)).headers["location"].endswith("/desk/")
    assert (await client.get("desk/")).status_code == 200
    # Replayed, by another login at once.
    assert (await give(await first_half(desk), code)).status_code == 403
    # One from before is worth nothing after a later one, though the clock would allow it.
    assert (await give(await first_half(desk), code_of(desk, secret, -1))).status_code == 403
    assert (await give(await first_half(desk), code_of(desk, secret, 1))).status_code == 303


@pytest.mark.parametrize(("steps", "right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
async def test_the_clock_of_a_telephone_may_be_off_by_one_step(
    desk: DeskServer, steps: int, right: bool
) -> None:
    secret, _ = await enrolled(desk, await desk.agent())
    desk.clock.ahead += 10 * PERIOD
    answer = await give(await first_half(desk), code_of(desk, secret, steps))
    assert answer.status_code == (303 if right else 403)


async def test_the_code_that_set_it_up_is_used(desk: DeskServer) -> None:
    client = await desk.agent()
    secret, _ = await enrolled(desk, client)
    assert (await give(await first_half(desk), code_of(desk, secret))).status_code == 403


async def test_each_recovery_code_is_good_once_however_it_is_typed(desk: DeskServer) -> None:
    _, codes = await enrolled(desk, await desk.agent())
    assert (await give(await first_half(desk), f" {codes[0].upper().replace('-', ' ')}")).status_code == 303
    assert (await give(await first_half(desk), codes[0])).status_code == 403
    client = await first_half(desk)
    assert (await give(client, codes[1])).status_code == 303
    assert "8 of your recovery codes are left" in (await client.get("desk/account/factor")).text
    renewed = await act(client, "desk/account/factor/codes", password=PASSWORD)
    assert "Recovery codes" in renewed.text
    assert (await give(await first_half(desk), codes[2])).status_code == 403


async def test_wrong_codes_are_bounded_by_person_over_all_networks_and_logins(desk: DeskServer) -> None:
    secret, codes = await enrolled(desk, await desk.agent())
    desk.clock.ahead += 10 * PERIOD
    for number in range(TRIES):
        client = desk.client()
        client.headers["x-test-client"] = f"198.51.100.{number}"
        # Below the rate of passwords under one name.
        desk.clock.ahead += 61
        assert (await login(client, "bo")).status_code == 303
        assert (await give(client, "000000")).status_code in (403, 303)
    client = desk.client()
    client.headers["x-test-client"] = "198.51.100.99"
    await login(client, "bo")
    for code in (code_of(desk, secret), codes[0]):
        refused = await give(client, code)
        assert (refused.status_code, "Too many wrong codes" in refused.text) == (429, True)
    desk.clock.ahead += TRIES_SECONDS
    client = await first_half(desk)
    assert (await give(client, code_of(desk, secret))).status_code == 303


async def test_wrong_codes_count_for_the_network(desk: DeskServer) -> None:
    await enrolled(desk, await desk.agent())
    client = await first_half(desk)
    answers = [await give(client, "000000") for _ in range(25)]
    assert answers[-1].status_code == 429


async def test_a_login_that_waits_for_its_code_ends(desk: DeskServer) -> None:
    secret, _ = await enrolled(desk, await desk.agent())
    late = await first_half(desk)
    desk.clock.ahead += STEP_SECONDS + PERIOD
    assert (await give(late, code_of(desk, secret))).headers["location"].endswith("/desk/login")
    changed = await first_half(desk)
    await desk.agents.change_password("bo", NEW)
    assert (await give(changed, code_of(desk, secret, 1))).headers["location"].endswith("/desk/login")


async def test_a_login_that_waits_is_no_session_and_is_for_its_place_alone(desk: DeskServer) -> None:
    secret, _ = await enrolled(desk, await desk.agent())
    client = await first_half(desk)
    step = client.cookies["clew_desk_step"]
    desk.clock.ahead += 2 * PERIOD
    as_session = await desk.client().get("desk/", headers={"cookie": f"clew_desk={step}"})
    assert as_session.headers["location"].endswith("/desk/login")
    other = desk.client(OTHER)
    form = await other.get("desk/login")
    cookies = f"clew_desk_step={step}; clew_desk_login={other.cookies['clew_desk_login']}"
    fields = {"csrf": hidden(form.text), "code": code_of(desk, secret)}
    stolen = await other.post("desk/login/code", data=fields, headers={"cookie": cookies})
    assert stolen.headers["location"].endswith("/desk/login")
    assert "clew_desk" not in other.cookies


async def test_a_session_that_was_planted_before_the_code_is_worth_nothing(desk: DeskServer) -> None:
    """Fixation: the token after the code is always a new one."""
    secret, _ = await enrolled(desk, await desk.agent())
    desk.clock.ahead += 2 * PERIOD
    client = await first_half(desk)
    planted = "p" * 43
    form = await client.get("desk/login/code")
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    answer = await client.post(
        "desk/login/code",
        data={"csrf": hidden(form.text), "code": code_of(desk, secret)},
        headers={"cookie": f"{cookies}; clew_desk={planted}"},
    )
    assert answer.status_code == 303
    assert client.cookies["clew_desk"] != planted
    assert (await desk.client().get("desk/", headers={"cookie": f"clew_desk={planted}"})).status_code == 303


async def test_setting_it_up_ends_the_sessions_that_began_without_it(desk: DeskServer) -> None:
    before, client = await desk.agent(), await desk.agent()
    await enrolled(desk, client)
    assert (await before.get("desk/")).status_code == 303
    assert (await client.get("desk/")).status_code == 200


async def test_an_open_desk_alone_neither_sets_it_up_nor_turns_it_off(desk: DeskServer) -> None:
    client = await desk.agent()
    assert (await act(client, "desk/account/factor", password="not the password")).status_code == 403
    secret, codes = await enrolled(desk, client)
    for fields in (
        {"password": "not the password", "code": codes[0]},
        {"password": PASSWORD, "code": "000000"},
    ):
        assert (await act(client, "desk/account/factor/remove", **fields)).status_code == 403
    # Nor can another secret be put in its place.
    await act(client, "desk/account/factor", password=PASSWORD)
    desk.clock.ahead += 2 * PERIOD
    assert (await give(await first_half(desk), code_of(desk, secret))).status_code == 303
    off = {"password": PASSWORD, "code": codes[0]}
    assert (await act(client, "desk/account/factor/remove", **off)).status_code == 303
    assert (await login(desk.client(), "bo")).headers["location"].endswith("/desk/")


async def test_an_owner_takes_a_lost_second_factor_away(desk: DeskServer) -> None:
    owner, client = await desk.agent("root"), await desk.agent("bo", role="agent")
    await enrolled(desk, client)
    assert (await act(owner, "desk/people/bo/factor", "desk/people")).status_code == 303
    assert (await client.get("desk/")).status_code == 303
    assert (await login(desk.client(), "bo")).headers["location"].endswith("/desk/")


async def test_the_ledger_has_neither_secret_nor_recovery_code_in_plain(desk: DeskServer) -> None:
    secret, codes = await enrolled(desk, await desk.agent())
    async with desk.service.ledger.db.read() as connection:
        (factor,) = (await connection.execute(select(second_factors))).all()
        kept = (await connection.execute(select(recovery_codes.c.code))).scalars().all()
    cipher = FactorCipher(desk.service.settings)
    assert secret not in str(tuple(factor))
    assert cipher.open(factor.secret, "bo") == secret
    # The secret of one is not that of another whose row it is copied into.
    assert cipher.open(factor.secret, "eve") is None
    assert sorted(kept) == sorted(digest(code, "bo") for code in codes)


def test_secrets_stay_readable_after_the_settings_secret_was_changed() -> None:
    site = {"sites": [{"name": "shop"}]}
    old = Settings.model_validate({"secret": "a" * 40, **site})
    new = Settings.model_validate({"secret": "b" * 40, "previous_secrets": ["a" * 40], **site})
    other = Settings.model_validate({"secret": "b" * 40, **site})
    sealed = FactorCipher(old).seal("JBSWY3DPEHPK3PXP", "bo")
    assert FactorCipher(new).open(sealed, "bo") == "JBSWY3DPEHPK3PXP"
    assert FactorCipher(other).open(sealed, "bo") is None
    assert FactorCipher(other).open("no ciphertext", "bo") is None


@pytest.mark.parametrize(("now", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_codes_are_those_of_rfc_6238(now: int, code: str) -> None:
    """Appendix B, for SHA-1, of which the last six digits are asked."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert right_step(secret, code, now) == now // PERIOD
    assert right_step(secret, "١٢٣٤٥٦", now) is None


@pytest.mark.parametrize(
    ("top", "own", "role", "asked"),
    [
        ("off", None, "owner", False),
        ("owners", None, "owner", True),
        ("owners", None, "lead", False),
        ("all", None, "agent", True),
        ("all", "off", "owner", False),
        ("off", "all", "agent", True),
    ],
)
async def test_the_settings_ask_for_a_second_factor(
    tmp_path: Path, top: str, own: str | None, role: str, asked: bool
) -> None:
    more = {} if own is None else {"desk": {"second_factor": own}}
    async with desk_server(tmp_path, more=more) as desk:
        settings = desk.service.settings
        asking = settings.desk.model_copy(update={"second_factor": top})
        desk.service.swap(settings.model_copy(update={"desk": asking}))
        client = await desk.agent(role=role)  # type: ignore[arg-type]
        for path in ("desk/", "desk/orders"):
            answer = await client.get(path)
            assert (answer.status_code == 303) is asked, path
            assert answer.headers.get("location", "").endswith("/account/factor?done=wanted") is asked
        if asked:
            talk = await desk.says("hello")
            assert (await act(client, f"desk/conversations/{talk}/take")).status_code == 303
            assert (await desk.conversations.get("shop", talk)).agent is None  # type: ignore[union-attr]
            await enrolled(desk, client)
            assert (await client.get("desk/")).status_code == 200


# -- sessions


async def test_sessions_are_listed_and_ended_one_by_one_or_all(desk: DeskServer) -> None:
    browsers = []
    for agent in ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "<b>evil</b>"):
        client = desk.client()
        client.headers["user-agent"] = agent
        if not browsers:
            await desk.agents.add("bo", PASSWORD, site=None, now=desk.service.clock.now())
        assert (await login(client, "bo")).status_code == 303
        browsers.append(client)
    own, other = browsers
    page = (await own.get("desk/account")).text
    assert "Firefox on Linux" in page
    assert "203.0.113.7" in page
    assert "evil" not in page
    ids = re.findall(r'name="session" value="([0-9a-f]{16})"', page)
    assert len(ids) == 2
    third = await desk.agent("bo")
    assert (await act(own, "desk/account/sessions")).status_code == 303
    assert [(await one.get("desk/")).status_code for one in (own, other, third)] == [200, 303, 303]


async def test_nobody_ends_the_session_of_somebody_else_by_its_id(desk: DeskServer) -> None:
    bo = await desk.agent("bo")
    cy = await desk.agent("cy", role="agent")
    (session,) = await desk.agents.sessions("bo", desk.service.clock.now())
    assert (await act(cy, "desk/account/sessions", session=session.id)).status_code == 303
    assert (await bo.get("desk/")).status_code == 200
    # An owner does, of the person that the page is of.
    (theirs,) = await desk.agents.sessions("cy", desk.service.clock.now())
    assert (await act(bo, "desk/people/cy/sessions", "desk/people", session=session.id)).status_code == 303
    assert (await bo.get("desk/")).status_code == 200
    assert (await act(bo, "desk/people/cy/sessions", "desk/people", session=theirs.id)).status_code == 303
    assert (await cy.get("desk/")).status_code == 303


async def test_the_id_of_a_session_opens_nothing(desk: DeskServer) -> None:
    await desk.agent("bo")
    (session,) = await desk.agents.sessions("bo", desk.service.clock.now())
    answer = await desk.client().get("desk/", headers={"cookie": f"clew_desk={session.id}"})
    assert answer.status_code == 303


async def test_open_sessions_of_a_person_are_bounded(desk: DeskServer) -> None:
    await desk.agents.add("bo", PASSWORD, site=None, now=0)
    verified, now = await desk.agents.verify("bo", PASSWORD, "shop"), desk.service.clock.now()
    assert verified is not None
    for number in range(MOST_SESSIONS + 5):
        assert await desk.agents.start_session("bo", Place("shop", "shop.test"), now + number, verified)
    assert len(await desk.agents.sessions("bo", now)) == MOST_SESSIONS


async def test_every_form_needs_the_token_of_its_session(desk: DeskServer) -> None:
    client = await desk.agent()
    for path in ("name", "password", "sessions", "factor", "factor/confirm", "factor/codes", "factor/remove"):
        assert (await client.post(f"desk/account/{path}", data={"csrf": "x"})).status_code == 403, path
    for path in ("people/invite", "people/bo/role", "people/bo/remove", "people/bo/password"):
        assert (await client.post(f"desk/{path}", data={"csrf": "x"})).status_code == 403, path
