"""`decide`, `events`, `orders` and the doors for those who run clew, through the whole mount."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
import pytest_asyncio
from clew import templates
from clew.chat.hours import OfficeHours
from clew.desk.app import desk_app
from clew.middleware.asgi.mount import ClewMiddleware
from clew.referral.cookie import Known, VisitorCookie
from clew.referral.domains import CookieDomains
from clew.service.facts import AgentLoad
from clew.settings.model import Hours, Settings
from clew.stores.watch import LIVE_SECONDS
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route

TOKEN = "token-of-the-shop-0123456789"
RULES: list[dict[str, Any]] = [
    {
        "name": "no-coupons",
        "when": ['has(partner.id) && partner.id == "coupons"'],
        "action": "hide",
        "priority": 9,
    },
    {
        "name": "waits",
        "when": ["visit.seconds >= 90"],
        "action": "invite",
        "text": {"en": "Help?", "de": "Hilfe?"},
    },
    {"name": "asks", "when": ['page.path == "/help"'], "action": "invite", "priority": 5},
    {"name": "thanks", "when": ['page.path == "/thanks"'], "action": "invite", "priority": 5},
]


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[ClewMiddleware]:
    database = f"sqlite:{tmp_path / 'clew.db'}"
    site = {
        "name": "shop",
        "api_token": TOKEN,
        "rules": RULES,
        "invites": {"holdout": 0},
        "page_types": {"/thanks": "confirmation"},
        "partners": [
            {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"},
            {"id": "coupons", "param": "cp", "postback": "http://127.0.0.1:9/{click_id}"},
        ],
    }
    settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]}
    app = ClewMiddleware(Starlette(), Settings.model_validate(settings))
    await app.service.open()
    app.startup.started = True  # nothing is delivered here
    yield app
    await app.service.close()


@pytest_asyncio.fixture
async def browser(app: ClewMiddleware) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example/-/clew/") as browser:
        yield browser


def ask(path: str = "/", view: str = "view-0001", **more: object) -> dict[str, object]:
    return {"view": view, "url": f"https://shop.example{path}", "title": "T", "language": "de-AT", **more}


async def test_the_first_answer_makes_the_visitor_known(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("decide", json=ask())
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    for flag in ("clew_visitor=", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=34560000"):
        assert flag in cookie
    assert answer.headers["cache-control"] == "no-store"
    again = await browser.post("decide", json=ask(view="view-0002"))
    assert "set-cookie" not in again.headers


OLD = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"


async def test_a_cookie_under_a_previous_secret_is_renewed_by_decide(
    app: ClewMiddleware, browser: httpx2.AsyncClient
) -> None:
    """field E14"""
    old = VisitorCookie(OLD, (), "shop", CookieDomains()).set_cookie(
        Known("v" * 26, (), 1_700_000_000), secure=True
    )
    site = app.service.sites["shop"]
    site.cookie = VisitorCookie("s" * 40, (OLD,), "shop", CookieDomains())
    answer = await browser.post("decide", json=ask(), headers={"cookie": old.decode().partition(";")[0]})
    renewed = VisitorCookie("s" * 40, (), "shop", CookieDomains()).read(
        [answer.headers["set-cookie"].encode()]
    )
    assert renewed == Known("v" * 26, (), 1_700_000_000)
    again = await browser.post("decide", json=ask(view="view-0002"))
    assert "set-cookie" not in again.headers


METRICS = "m8Zq2Lx0Vb7Rk4Tn1Yw5"


@pytest.mark.parametrize("fails", [False, True])
async def test_ready_shows_other_machines_only_its_status(
    app: ClewMiddleware, browser: httpx2.AsyncClient, fails: bool
) -> None:
    """field E22: details are for the metrics token and this machine"""
    app.service.settings = app.service.settings.model_copy(update={"metrics_token": SecretStr(METRICS)})
    app.service.ready = not fails
    status, key = (503, "why") if fails else (200, "postbacks")
    answer = await browser.get("ready")
    assert (answer.status_code, answer.json()) == (status, {"ready": not fails})
    wrong = await browser.get("ready", headers={"authorization": "Bearer wrong"})
    assert wrong.json() == {"ready": not fails}
    right = await browser.get("ready", headers={"authorization": f"Bearer {METRICS}"})
    assert (right.status_code, set(right.json())) == (status, {"ready", "orders_waiting", key})
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop.example/-/clew/") as here:
        assert set((await here.get("ready")).json()) == {"ready", "orders_waiting", key}
        relayed = await here.get("ready", headers={"x-forwarded-for": "192.0.2.9"})
        assert relayed.json() == {"ready": not fails}


ROUTES = sorted({route.path for route in desk_app().routes if isinstance(route, Route)})


@pytest.mark.parametrize("path", ROUTES)
async def test_no_route_is_redirected_to_another_spelling(browser: httpx2.AsyncClient, path: str) -> None:
    """field E19: with a slash too many or too few, by every method"""
    path = path.replace("{id}", "x")
    for spelling in {f"{path}/", path.rstrip("/")} - {*ROUTES, path}:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT"):
            answer = await browser.request(
                method, spelling.removeprefix("/"), headers={"authorization": f"Bearer {TOKEN}"}
            )
            assert answer.status_code in (404, 405), (method, spelling)
            assert "location" not in answer.headers


async def test_the_answer_has_retry_after_for_a_waiting_rule(
    app: ClewMiddleware, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(app.service.clock, "now", lambda: now[0])
    first = (await browser.post("decide", json=ask())).json()
    assert (first["action"], first["rule"], first["retry_after"]) == ("show", None, 90)
    now[0] += 90
    second = (await browser.post("decide", json=ask())).json()
    assert (second["action"], second["invite"]["text"], second["language"]) == ("invite", "Hilfe?", "de")


async def test_a_partners_visitors_can_be_spared_the_chat(browser: httpx2.AsyncClient) -> None:
    """feature A4"""
    answer = (await browser.post("decide", json=ask("/help?cp=1"))).json()
    assert (answer["action"], answer["rule"]) == ("hide", "no-coupons")


async def test_an_invite_is_made_once_a_visit_and_none_after_a_dismissal(browser: httpx2.AsyncClient) -> None:
    assert (await browser.post("decide", json=ask("/help"))).json()["action"] == "invite"
    told = await browser.post("events", json={"kind": "dismissed", "rule": "asks"})
    assert told.status_code == 204
    later = (await browser.post("decide", json=ask("/help", "view-0002"))).json()
    assert (later["action"], later["retry_after"]) == ("show", None)


def with_rules(app: ClewMiddleware, *rules: dict[str, Any], **invites: Any) -> None:
    """Swap the rules and their policy of a running clew."""
    settings = app.service.settings.model_dump(mode="python")
    site = settings["sites"][0]
    site["rules"], site["invites"] = (
        [{"action": "invite", **rule} for rule in rules],
        {"holdout": 0, **invites},
    )
    app.service.sites.swap(Settings.model_validate(settings))


async def test_two_tabs_that_ask_at_once_get_one_invite_each_visit(
    app: ClewMiddleware, browser: httpx2.AsyncClient
) -> None:
    """Each reads the same record; whoever writes second is asked again. In the store that has to be waited
    for too."""
    with_rules(app, *({"name": n, "when": [f"page.path == '/{n}'"]} for n in "ab"), per_visit=1, pause=0)
    await browser.post("decide", json=ask("/", "view-0000"))  # the first answer, without a record
    await browser.post("events", json={"kind": "read", "message": 0})
    for at_once in (True, False):
        if not at_once:
            browser.cookies.clear()
            await browser.post("decide", json=ask("/", "view-0000"))
            app.service.visits.update_at_once = lambda *given: None  # type: ignore[attr-defined]
        asks = (browser.post("decide", json=ask(f"/{name}", f"view-000{name}")) for name in "ab")
        first, second = await asyncio.gather(*asks)
        assert sorted(answer.json()["action"] for answer in (first, second)) == ["invite", "show"]


async def test_the_hold_out_sees_no_invite_of_any_rule_and_no_visit_changes_that(
    app: ClewMiddleware, browser: httpx2.AsyncClient
) -> None:
    with_rules(app, {"name": "a"}, {"name": "b", "forced": True}, holdout=50, per_visitor=30, per_visit=30)
    policy = app.service.sites["shop"].invites
    seen = set()
    for _ in range(40):
        browser.cookies.clear()
        answers = [
            (await browser.post("decide", json=ask("/", f"view-000{number}"))).json() for number in range(2)
        ]
        known = app.service.sites["shop"].cookie.open(browser.cookies["clew_visitor"])
        assert known is not None
        arm = policy.holdout.arm(known.visitor)
        assert {answer["action"] for answer in answers} == {"show" if arm == "holdout" else "invite"}
        seen.add(arm)
    assert seen == {"holdout", "invited"}


async def test_a_visitor_keeps_its_text_also_in_the_conversation_that_it_began(
    app: ClewMiddleware, browser: httpx2.AsyncClient
) -> None:
    texts = {"one": {"en": "One?", "de": "Eins?"}, "two": "Two?"}
    variants = [{"name": name, "text": text} for name, text in texts.items()]
    with_rules(app, {"name": "a", "variants": variants, "pages": 9})
    found = set()
    for _ in range(30):
        browser.cookies.clear()
        answers = [
            (await browser.post("decide", json=ask("/", f"view-000{number}"))).json() for number in range(3)
        ]
        words = {answer["invite"]["text"] for answer in answers}
        assert words in ({"Eins?"}, {"Two?"})
        sent = await browser.post(
            "messages", json={"text": "Yes", "client_id": "client-0001", "language": "de", "rule": "a"}
        )
        assert sent.status_code == 201
        told = (await browser.get("messages")).json()
        assert {told["invite"]} == words
        found |= words
        if len(found) == 2:
            break
    assert found == {"Eins?", "Two?"}


async def test_nobody_is_invited_during_a_talk(browser: httpx2.AsyncClient) -> None:
    await browser.post("decide", json=ask())
    sent = await browser.post(
        "messages", json={"text": "Hello", "client_id": "client-0001", "language": "de"}
    )
    assert sent.status_code == 201
    answer = (await browser.post("decide", json=ask("/help", "view-0002"))).json()
    assert (answer["action"], answer["conversation"]) == ("show", True)


async def test_a_touch_that_only_the_browser_saw_is_kept(
    app: ClewMiddleware, browser: httpx2.AsyncClient
) -> None:
    answer = await browser.post(
        "decide", json=ask("/?ref=c%2F1", referrer="https://search.example/?q=espresso")
    )
    known = app.service.sites["shop"].cookie.read([answer.headers["set-cookie"].partition(";")[0].encode()])
    assert known is not None
    assert known.touches[0].clicks[0].value == "c/1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"consent":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, 400),
        (b"[]", 422),
        (b'{"view": 7}', 422),
        (b'{"view": "<script>"}', 422),
        (b'{"seconds": -1}', 422),
        (b'{"url": "' + b"x" * 9000 + b'"}', 422),
        (b'{"title": "' + b"x" * 40000 + b'"}', 413),
    ],
)
async def test_bad_bodies_get_a_clear_answer(browser: httpx2.AsyncClient, body: bytes, status: int) -> None:
    answer = await browser.post("decide", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        ask("/"),
        {"url": "javascript:alert(1)"},
        {"url": "https://[bad"},
        {"url": f"http://[v1.{'a' * 3000}]/x"},
    ],
)
async def test_decide_accepts_bodies_with_missing_or_invalid_fields(
    browser: httpx2.AsyncClient, body: dict[str, object]
) -> None:
    assert (await browser.post("decide", json=body)).status_code == 200


async def test_a_page_left_open_for_long_is_no_new_arrival(
    app: ClewMiddleware, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(app.service.clock, "now", lambda: now[0])
    await browser.post("decide", json=ask("/?utm_source=mail"))
    now[0] += 3600
    again = await browser.post("decide", json=ask("/?utm_source=mail", seconds=3600))
    assert "set-cookie" not in again.headers


async def test_a_visit_store_that_fails_costs_no_answer(
    app: ClewMiddleware, browser: httpx2.AsyncClient
) -> None:
    await browser.post("decide", json=ask())
    await app.service.visits.close()
    answer = await browser.post("decide", json=ask(view="view-0002"))
    assert (answer.status_code, answer.json()["action"]) == (200, "show")
    told = await browser.post("events", json={"kind": "seen", "rule": "asks"})
    assert told.status_code == 503
    assert told.json()["error"]


async def test_a_fault_of_clew_is_answered_and_recorded(
    app: ClewMiddleware, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.service.sites["shop"].rules, "decide", fail)
    answer = await browser.post("decide", json=ask())
    assert (answer.status_code, answer.json()) == (500, {"error": "something failed here; it was noted"})
    assert [(n.event, n.key) for n in app.service.events.take_noted()] == [("fault", "/decide")]


async def test_a_page_of_another_site_may_not_ask(browser: httpx2.AsyncClient) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert (await browser.post("decide", json=ask(), headers=headers)).status_code == 403


async def test_a_forged_cookie_is_a_new_visitor(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("decide", json=ask(), headers={"cookie": "clew_visitor=" + "A" * 200})
    assert answer.status_code == 200
    assert "clew_visitor=" in answer.headers["set-cookie"]


ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


async def test_the_shops_server_may_report_an_order_repeatedly(browser: httpx2.AsyncClient) -> None:
    landed = await browser.post("decide", json=ask("/?ref=c1"))
    visitor = landed.headers["set-cookie"].partition(";")[0].partition("=")[2]
    first = await browser.post("orders", json={**ORDER, "visitor": visitor}, headers=BEARER)
    assert first.status_code == 201
    assert first.json() == {
        "id": "1001",
        "total": "59.90",
        "currency": "EUR",
        "state": "placed",
        "channel": "web",
        "created": True,
    }
    again = await browser.post("orders", json=ORDER, headers=BEARER)
    assert (again.status_code, again.json()) == (200, first.json() | {"created": False})
    corrected = await browser.post("orders", json={**ORDER, "total": "1.00"}, headers=BEARER)
    assert (corrected.status_code, corrected.json()["total"]) == (200, "1.00")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"authorization": "Bearer wrong"}, 401), ({"authorization": f"Basic {TOKEN}"}, 401)],
)
async def test_orders_want_the_sites_token(
    browser: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await browser.post("orders", json=ORDER, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"total": "-1"}, "total"),
        ({"total": "NaN"}, "total"),
        ({"currency": "EURO"}, "currency"),
        ({"id": ""}, "id"),
        ({"id": "a\u0000b"}, "id"),
        ({"channel": "pigeon"}, "channel"),
    ],
)
async def test_a_wrong_order_is_refused_by_the_field(
    browser: httpx2.AsyncClient, change: dict[str, str], field: str
) -> None:
    answer = await browser.post("orders", json={**ORDER, **change}, headers=BEARER)
    assert answer.status_code == 422
    assert field in answer.json()["error"]


async def test_numbers_keep_all_digits(browser: httpx2.AsyncClient) -> None:
    body = b'{"id": "1002", "total": 100000000000.07, "currency": "EUR"}'
    answer = await browser.post("orders", content=body, headers=BEARER | {"content-type": "application/json"})
    assert answer.json()["total"] == "100000000000.07"


async def test_a_visitor_who_talks_is_there_as_long_as_its_page_gives_signs(
    app: ClewMiddleware, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.post("decide", json=ask())  # the first answer, without a record
    await browser.post("decide", json=ask())
    known = app.service.sites["shop"].cookie.open(browser.cookies["clew_visitor"])
    assert known is not None
    await browser.post("messages", json={"text": "Hello?", "client_id": "here-0001", "language": "en"})
    # A page on which nothing happens asks again before the desk would say that the visitor has left.
    asks_again = (await browser.post("decide", json=ask())).json()["retry_after"]
    assert 0 < asks_again < LIVE_SECONDS
    later = app.service.clock.now() + 100
    monkeypatch.setattr(app.service.clock, "now", lambda: later)
    assert (await browser.post("events", json={"kind": "here"})).status_code == 204
    stored = await app.service.visits.get("shop", known.visitor)
    assert stored is not None
    assert stored.seen_at == later
    assert (stored.pages, stored.visits) == (1, 1)


async def test_the_page_hears_when_somebody_is_there_again(
    app: ClewMiddleware, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    hours = Hours(time_zone="Europe/Berlin", mon=["09:00-17:00"], tue=["09:00-17:00"])
    site = app.service.sites.get("shop")
    monkeypatch.setattr(site, "hours", OfficeHours(hours, "UTC"))
    now = datetime(2026, 11, 30, 8, 59, 30, 250_000, berlin)
    monkeypatch.setattr(app.service.clock, "now", lambda: now.timestamp())
    closed = (await browser.post("decide", json=ask())).json()
    opening = datetime(2026, 11, 30, 9, 0, tzinfo=berlin).timestamp()
    assert (closed["online"], closed["back"], closed["retry_after"]) == (False, opening, 30)
    now += timedelta(seconds=30)
    answer = (await browser.post("decide", json=ask())).json()
    assert "back" not in answer
    load = AgentLoad(desk=1, places=3)
    monkeypatch.setattr(app.service.agents, "of", lambda site, at: load)
    now += timedelta(hours=10)
    answer = (await browser.post("decide", json=ask())).json()
    # Somebody who stayed is there.
    assert answer["online"] is True
    assert "back" not in answer


async def test_the_language_is_the_pages_else_the_browsers_else_the_sites(
    browser: httpx2.AsyncClient,
) -> None:
    accepting = {"accept-language": "nb-NO, sv;q=0.8, it;q=0.9"}
    for page, headers, language in (
        ("da-DK", accepting, "da"),
        ("nb", accepting, "it"),
        ("", accepting, "it"),
        ("nb", {}, "en"),
    ):
        answer = await browser.post("decide", json=ask() | {"language": page}, headers=headers)
        assert answer.json()["language"] == language
        file = await browser.get(f"w.js?{language}")
        assert templates.text(language, "message") in file.text
    assert templates.text("en", "message") in (await browser.get("w.js?" + "x" * 2000)).text


async def test_loader_and_widget_are_constant_and_revalidate(browser: httpx2.AsyncClient) -> None:
    """injection 3.6, 5.8, 6.15: of a type and from an origin that every page accepts, for an hour."""
    for name in ("l.js", "w.js"):
        first = await browser.get(name)
        assert first.headers["content-type"].startswith("text/javascript")
        assert first.headers["x-content-type-options"] == "nosniff"
        assert first.headers["cache-control"] == "public, max-age=3600"
        assert first.headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in first.headers
        for etag in (
            first.headers["etag"],
            "W/" + first.headers["etag"],
            '"other", ' + first.headers["etag"],
        ):
            again = await browser.get(name, headers={"if-none-match": etag})
            assert (again.status_code, again.content) == (304, b"")


async def test_the_widget_is_compressed_for_who_takes_it_in_the_language_of_the_page(
    browser: httpx2.AsyncClient,
) -> None:
    for query, language in (("?fi", "fi"), ("", "en"), ("?%00", "en")):
        packed = await browser.get(f"w.js{query}", headers={"accept-encoding": "br;q=1, gzip;q=0.5"})
        plain = await browser.get(f"w.js{query}", headers={"accept-encoding": "identity, gzip;q=0"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.text == plain.text == templates.widget(language).body.decode()
        assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
        etag = packed.headers["etag"]
        assert etag != plain.headers["etag"]
        again = await browser.get(f"w.js{query}", headers={"accept-encoding": "gzip", "if-none-match": etag})
        assert again.status_code == 304


async def test_the_loaders_address_answers_also_where_clew_is_switched_off(tmp_path: Path) -> None:
    """injection 5.7: pages with the tag may lie in caches for months; they get a script that does nothing."""
    database = f"sqlite:{tmp_path / 'clew.db'}"
    site = {"name": "shop", "inject": False}
    settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]}
    app = ClewMiddleware(Starlette(), Settings.model_validate(settings))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example/-/clew/") as browser:
        answer = await browser.get("l.js")
    await app.service.stop()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.text.startswith("//")
    assert answer.text.count("\n") == 1


async def test_health_and_ready_show_the_state(app: ClewMiddleware, browser: httpx2.AsyncClient) -> None:
    assert (await browser.get("health")).status_code == 200
    assert (await browser.get("ready")).status_code == 503, "not started yet"
    app.service.ready = True
    assert (await browser.get("ready")).json()["ready"] is True
    await app.service.ledger.db.close()
    app.service.ready = False


async def test_metrics_are_for_this_machine_or_for_a_bearer(app: ClewMiddleware, tmp_path: Path) -> None:
    async def get(address: str, **headers: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(app, client=(address, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example") as client:
            return await client.get("/-/clew/metrics", headers=headers)

    assert (await get("192.0.2.7")).status_code == 403
    assert (await get("127.0.0.1", **{"x-forwarded-for": "192.0.2.7"})).status_code == 403
    here = await get("127.0.0.1")
    assert here.status_code == 200
    assert 'clew_postbacks{site="shop",state="due"} 0.0' in here.text


async def test_an_unknown_page_of_ours_is_a_404_and_never_the_shops(browser: httpx2.AsyncClient) -> None:
    answer = await browser.get("no/such/page")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
