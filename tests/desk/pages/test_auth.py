"""Logging in to the desk, and everything that may not work without it."""

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
import structlog
from clew.stores.ledger.agents import HASHES_WAITING, SESSION_SECONDS
from desks import OTHER, PASSWORD, SHOP, DeskServer, desk_server, hidden, login

WRONG = "Name or password is wrong."
DESK = "/-/clew/desk"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
        yield built


def cookie(answer: httpx2.Response, name: str = "clew_desk") -> "SimpleCookie":
    lines = [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}=")]
    assert len(lines) == 1, lines
    return SimpleCookie(lines[0])


async def test_login_opens_the_inbox(desk: DeskServer) -> None:
    client = desk.client()
    answer = await login(client, "bo")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{DESK}/")
    inbox = await client.get("desk/")
    assert inbox.status_code == 200
    assert "Log out" in inbox.text


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_session_cookie_is_for_the_desk_alone_and_out_of_reach_of_scripts(
    desk: DeskServer, scheme: str
) -> None:
    desk.scheme = "https" if scheme == "https" else "http"
    client = desk.client()
    form = await client.get("desk/login")
    # Over https the cookie is Secure, which this client would not send back over http by itself.
    token = cookie(form, "clew_desk_login")["clew_desk_login"]
    answer = await client.post(
        "desk/login",
        data={"csrf": hidden(form.text), "name": "bo", "password": PASSWORD},
        headers={"cookie": f"clew_desk_login={token.value}"},
    )
    for morsel in (token, cookie(answer)["clew_desk"]):
        assert morsel["httponly"] is True
        assert morsel["samesite"] == "lax"
        assert morsel["path"] == DESK
        assert bool(morsel["secure"]) is (scheme == "https")
    assert int(cookie(answer)["clew_desk"]["max-age"]) == SESSION_SECONDS
    assert len(cookie(answer)["clew_desk"].value) >= 43


@pytest.mark.parametrize("path", ["desk/login", "desk/", "desk/nothing", "desk/conversations/x"])
async def test_every_page_forbids_foreign_code_frames_and_caches(desk: DeskServer, path: str) -> None:
    client = await desk.agent()
    answer = await client.get(path)
    if path != "desk/nothing":
        own = "http://shop.test/-/clew/desk"
        assert answer.headers["content-security-policy"] == (
            f"default-src 'none'; script-src {own}/desk.js; style-src {own}/desk.css; "
            f"connect-src {own} {own}/; img-src data: {own} {own}/; "
            f"frame-src {own} {own}/; form-action {own} {own}/; frame-ancestors 'none'; base-uri 'none'"
        )
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "<script>" not in answer.text
    assert " style=" not in answer.text


PAGES = [
    ("GET", "desk/"),
    ("GET", "desk/conversations/{id}"),
    ("POST", "desk/conversations/{id}/messages"),
    ("POST", "desk/conversations/{id}/take"),
    ("POST", "desk/conversations/{id}/close"),
    ("POST", "desk/conversations/{id}/order"),
    ("POST", "desk/logout"),
]


@pytest.mark.parametrize(("method", "path"), PAGES)
async def test_nothing_is_shown_or_done_without_a_session(desk: DeskServer, method: str, path: str) -> None:
    talk = await desk.says("secret words")
    client = desk.client()
    for token in ("", "forged", "clew_desk", "\u00e9"):
        headers = {"cookie": f"clew_desk={token}".encode("latin-1")}
        answer = await client.request(method, path.format(id=talk), headers=headers)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"{DESK}/login")
        assert "secret words" not in answer.text
    (entry,) = await desk.service.ledger.inbox.page("shop")
    assert (entry.conversation.state, entry.conversation.agent, entry.count) == ("open", None, 1)


@pytest.mark.parametrize("token", ["", "forged"])
async def test_there_is_no_stream_without_a_session(desk: DeskServer, token: str) -> None:
    answer = await desk.client().get("desk/stream", headers={"cookie": f"clew_desk={token}"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_the_login_leads_back_to_the_requested_conversation(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = desk.client()
    asked = await client.get(f"desk/conversations/{talk}")
    form = await client.get(SHOP + asked.headers["location"])
    assert hidden(form.text, "to") == f"/conversations/{talk}"
    answer = await login(client, "bo", to=hidden(form.text, "to"))
    assert answer.headers["location"] == f"{DESK}/conversations/{talk}"


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "javascript:alert(1)",
        "/conversations/../../",
        "\r\nX: y",
    ],
)
async def test_the_login_leads_nowhere_else(desk: DeskServer, to: str) -> None:
    client = desk.client()
    form = await client.get("desk/login", params={"to": to})
    assert hidden(form.text, "to") == ""
    answer = await login(client, "bo", to=to)
    assert answer.headers["location"] == f"{DESK}/"
    assert "x" not in answer.headers


async def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(desk: DeskServer) -> None:
    known = await login(desk.client(), "bo", "wrong password")
    unknown = await login(desk.client(), "eve", "wrong password")
    assert known.status_code == unknown.status_code == 403
    assert WRONG in known.text
    plain = {
        name: page.text.replace(hidden(page.text), "").replace(f'"{who}"', "")
        for name, page, who in (("known", known, "bo"), ("unknown", unknown, "eve"))
    }
    since = 'data-now="'
    assert plain["known"].partition(since)[0] == plain["unknown"].partition(since)[0]
    assert plain["known"].partition("<main")[2] == plain["unknown"].partition("<main")[2]
    assert "clew_desk=" not in "".join(known.headers.get_list("set-cookie"))


async def test_a_password_is_never_shown_again(desk: DeskServer) -> None:
    answer = await login(desk.client(), "bo", "wrong but precious")
    assert "wrong but precious" not in answer.text


async def test_a_name_that_is_markup_is_shown_as_text(desk: DeskServer) -> None:
    answer = await login(desk.client(), '"><script>alert(1)</script>', "wrong password")
    assert "<script>alert(1)" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


async def test_an_agent_of_another_site_gets_the_same_answer_as_a_stranger(desk: DeskServer) -> None:
    await desk.agents.add("cy", PASSWORD, site="other", now=desk.service.clock.now())
    assert WRONG in (await login(desk.client(SHOP), "cy")).text
    assert (await login(desk.client(OTHER), "cy")).status_code == 303


@pytest.mark.parametrize("field", ["missing", "empty", "foreign"])
async def test_a_login_needs_the_token_of_its_own_form(desk: DeskServer, field: str) -> None:
    client = desk.client()
    await client.get("desk/login")
    token = {"missing": {}, "empty": {"csrf": ""}, "foreign": {"csrf": "A" * 43}}[field]
    answer = await client.post("desk/login", data={"name": "bo", "password": PASSWORD, **token})
    assert answer.status_code == 403
    assert "clew_desk=" not in "".join(answer.headers.get_list("set-cookie"))


async def test_a_login_without_cookies_is_refused_even_with_matching_empty_tokens(desk: DeskServer) -> None:
    answer = await desk.client().post("desk/login", data={"name": "bo", "password": PASSWORD, "csrf": ""})
    assert answer.status_code == 403


@pytest.mark.parametrize("headers", [{"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}])
async def test_another_sites_page_cannot_log_anybody_in_or_out(
    desk: DeskServer, headers: dict[str, str]
) -> None:
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    assert (await client.post("desk/logout", data={"csrf": token}, headers=headers)).status_code == 403
    assert (await client.get("desk/")).status_code == 200
    fresh = desk.client()
    form = await fresh.get("desk/login")
    fields = {"csrf": hidden(form.text), "name": "bo", "password": PASSWORD}
    assert (await fresh.post("desk/login", data=fields, headers=headers)).status_code == 403


@pytest.mark.parametrize("path", ["messages", "take", "close", "order"])
@pytest.mark.parametrize("token", ["none", "empty", "other session", "not ascii"])
async def test_an_agents_form_needs_the_token_of_its_own_session(
    desk: DeskServer, path: str, token: str
) -> None:
    talk = await desk.says("hello")
    client, other = await desk.agent(), await desk.agent("cy")
    foreign = hidden((await other.get("desk/")).text)
    csrf = {
        "none": {},
        "empty": {"csrf": ""},
        "other session": {"csrf": foreign},
        "not ascii": {"csrf": "\u00fc"},
    }[token]
    fields = {"text": "hi", "order_id": "1", "total": "1", "currency": "EUR", **csrf}
    answer = await client.post(f"desk/conversations/{talk}/{path}", data=fields)
    assert answer.status_code == 403
    assert "reload the page" in answer.text
    (entry,) = await desk.service.ledger.inbox.page("shop")
    assert (entry.conversation.state, entry.conversation.agent, entry.count) == ("open", None, 1)
    assert await desk.service.ledger.orders.list("shop") == ()


async def test_a_token_planted_before_the_login_is_invalid_after_it(desk: DeskServer) -> None:
    """Session fixation: neither an invented token nor another user's survives the login."""
    eve = await desk.agent("eve")
    for planted in ("A" * 43, eve.cookies["clew_desk"]):
        victim = desk.client()
        victim.cookies.set("clew_desk", planted, domain="shop.test", path=DESK)
        answer = await login(victim, "bo")
        fresh = cookie(answer)["clew_desk"].value
        assert fresh != planted
        thief = desk.client()
        thief.headers["cookie"] = f"clew_desk={planted}"
        assert (await thief.get("desk/")).status_code == 303


async def test_logging_out_ends_the_session_in_the_ledger(desk: DeskServer) -> None:
    client = await desk.agent()
    token = client.cookies["clew_desk"]
    answer = await client.post("desk/logout", data={"csrf": hidden((await client.get("desk/")).text)})
    assert answer.headers["location"] == f"{DESK}/login"
    assert cookie(answer)["clew_desk"]["max-age"] == "0"
    again = desk.client()
    again.headers["cookie"] = f"clew_desk={token}"
    assert (await again.get("desk/")).status_code == 303


async def test_a_session_ends_by_its_age_and_by_removal_of_the_agent(desk: DeskServer) -> None:
    first, second = await desk.agent(), await desk.agent("cy")
    await desk.agents.deactivate("cy")
    assert (await second.get("desk/")).status_code == 303
    assert (await first.get("desk/")).status_code == 200
    desk.clock.ahead = SESSION_SECONDS
    assert (await first.get("desk/")).status_code == 303


async def test_a_session_of_an_agent_of_one_site_opens_no_other(desk: DeskServer) -> None:
    client = await desk.agent("cy", site="shop")
    other = desk.client(OTHER)
    other.headers["cookie"] = f"clew_desk={client.cookies['clew_desk']}"
    assert (await other.get("desk/")).status_code == 303


async def test_after_some_failures_a_name_has_to_wait_before_each_further_try(desk: DeskServer) -> None:
    client = desk.client()
    for _ in range(5):
        assert (await login(client, "bo", "wrong password")).status_code == 403
    for _ in range(3):
        refused = await login(client, "bo")
        assert refused.status_code == 429
        assert "Too many tries" in refused.text
        wait = int(refused.headers["retry-after"])
        assert 1 <= wait <= 60
        desk.clock.ahead += wait
        assert (await login(client, "bo", "wrong password")).status_code == 403
    desk.clock.ahead += 60
    assert (await login(client, "bo")).status_code == 303


async def test_failures_at_all_sites_count_together(desk: DeskServer) -> None:
    """Else who guesses has so many tries more as there are sites."""
    for number, base in enumerate([SHOP, OTHER, SHOP, OTHER, SHOP]):
        client = desk.client(base)
        client.headers["x-test-client"] = f"198.51.{number}.7"
        assert (await login(client, "bo", "wrong password")).status_code == 403
    client = desk.client(OTHER)
    client.headers["x-test-client"] = "198.51.99.7"
    assert (await login(client, "bo", "wrong password")).status_code == 429


async def test_nobody_locks_out_an_agent_who_has_logged_in_from_that_network(desk: DeskServer) -> None:
    """field E3: failing under a name costs nothing, so it must not be what keeps its owner out."""
    assert (await login(desk.client(), "bo")).status_code == 303
    stranger = desk.client()
    for number in range(30):
        stranger.headers["x-test-client"] = f"198.51.100.{number}"
        await login(stranger, "bo", "wrong password")
    assert (await login(stranger, "bo")).status_code == 429
    assert (await login(desk.client(), "bo")).status_code == 303


async def test_names_of_others_are_not_slowed_down(desk: DeskServer) -> None:
    await desk.agents.add("cy", PASSWORD, site=None, now=desk.service.clock.now())
    client = desk.client()
    for _ in range(5):
        await login(client, "bo", "wrong password")
    assert (await login(client, "bo")).status_code == 429
    assert (await login(client, "cy")).status_code == 303


async def test_an_address_that_tries_many_names_has_to_wait(desk: DeskServer) -> None:
    client = desk.client()
    client.headers["x-test-client"] = "198.51.100.9"
    for number in range(20):
        assert (await login(client, f"name{number}", "wrong password")).status_code == 403
    assert (await login(client, "bo")).status_code == 429
    client.headers["x-test-client"] = "198.51.100.10"
    assert (await login(client, "bo")).status_code == 303


async def test_a_flood_of_passwords_is_refused_with_a_clear_page(desk: DeskServer) -> None:
    desk.agents._waiting = HASHES_WAITING
    answer = await login(desk.client(), "bo")
    assert answer.status_code == 503
    assert "Too many logins" in answer.text


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"a" * 40_000, 413),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(50)), 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe=%ff%00&csrf=%ff", 403),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("", b"", 415),
    ],
)
async def test_a_body_that_is_not_a_form_gets_an_error_page(
    desk: DeskServer, kind: str, content: bytes, status: int
) -> None:
    answer = await desk.client().post("desk/login", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 'role="alert"' in answer.text


async def test_a_session_is_for_the_site_and_the_host_it_was_opened_on(desk: DeskServer) -> None:
    """field E1: an agent of all sites; the same cookie with another site's Host, or another host's"""
    client = await desk.agent()
    token = client.cookies["clew_desk"]
    for path in ("desk/", "desk/conversations/x", "desk/stream"):
        for base, answers in (
            (SHOP, (200, 404)),
            ("http://SHOP.test:80", (200, 404)),
            (OTHER, (303, 204)),
            ("http://127.0.0.1", (303, 204)),
            ("http://shop.test:8080", (303, 204)),
        ):
            if path == "desk/stream" and 200 in answers:
                continue
            answer = await desk.client(base).get(path, headers={"cookie": f"clew_desk={token}"})
            assert answer.status_code in answers, (base, path)


async def test_an_unknown_login_name_is_not_logged(desk: DeskServer) -> None:
    """field E20: a user types the password into the name field"""
    with structlog.testing.capture_logs() as told:
        for name in ("my real password", "bo", "nobody"):
            await login(desk.client(), name, "wrong password")
        await login(desk.client(), "bo")
    logins = [(line["agent"], line["accepted"]) for line in told if line["event"] == "login"]
    assert logins == [(None, False), ("bo", False), (None, False), ("bo", True)]
    assert "my real password" not in str(told)


FETCH = {"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}
PASSED_ON = {**FETCH, "sec-fetch-mode": "navigate"}


@pytest.mark.parametrize("path", ["desk/", "desk/conversations/x", "desk/login"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({**FETCH, "sec-fetch-mode": "cors"}, id="a script's fetch"),
        pytest.param(
            {**FETCH, "sec-fetch-mode": "same-origin", "referer": f"{SHOP}{DESK}/"}, id="with a referrer"
        ),
        pytest.param(PASSED_ON, id="a worker that passes a navigation on"),
        pytest.param(
            {**PASSED_ON, "sec-fetch-dest": "document", "service-worker-navigation-preload": "true"},
            id="a worker's preload",
        ),
        pytest.param({**PASSED_ON, "sec-fetch-dest": "iframe"}, id="a frame"),
        pytest.param({**FETCH, "sec-fetch-mode": "cors", "x-clew-csrf": "guess"}, id="a guessed token"),
    ],
)
async def test_on_the_shops_origin_the_desks_pages_are_for_navigations_alone(
    desk: DeskServer, path: str, headers: dict[str, str]
) -> None:
    """field E2: a script that got into the shop, or its service worker, runs on the desk's origin"""
    client = await desk.agent()
    answer = await client.get(path, headers=headers)
    # A script that follows the way to the login gets nothing to read there.
    assert answer.status_code == 403 or (path, answer.status_code, answer.text) == ("desk/login", 204, "")
    assert 'name="csrf"' not in answer.text


async def test_the_desks_own_script_and_a_navigation_get_the_page(desk: DeskServer) -> None:
    client = await desk.agent()
    page = await client.get("desk/", headers={**PASSED_ON, "sec-fetch-dest": "document"})
    token = {"x-clew-csrf": hidden(page.text)}
    for path in ("desk/", "desk"):
        answer = await client.get(path, headers={**FETCH, "sec-fetch-mode": "cors", **token})
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["l.js", "w.js", "desk/desk.js", "desk/"])
async def test_nothing_below_the_prefix_becomes_a_service_worker(desk: DeskServer, path: str) -> None:
    """field E2"""
    answer = await (await desk.agent()).get(path, headers={"service-worker": "script"})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["192.0.2.7", "[2001:db8::7]:8080", "a_b.test"])
async def test_a_host_that_a_policy_cannot_name_is_self(desk: DeskServer, host: str) -> None:
    settings = desk.service.settings
    shop = settings.sites[0]
    shop = shop.model_copy(update={"hosts": [*shop.hosts, host]})
    desk.service.swap(settings.model_copy(update={"sites": [shop, *settings.sites[1:]]}))
    answer = await desk.client().get("desk/login", headers={"host": host})
    assert "script-src 'self'" in answer.headers["content-security-policy"]
