"""Arrivals through the proxy: which values are clicks, and what is kept of addresses."""

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.service.clock import Clock
from clew.settings.model import Settings
from clew.stores.visits_record import unpacked
from raw_http import Client, Response, Shop, answering, get, serving
from structlog.testing import capture_logs

TOKEN = "token-of-the-shop-0123456789"
PAGE = b"<!doctype html><html><head></head><body></body></html>"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html")
OUTSIDE = b"Referer: https://partner.example/"
PARTNERS = [
    {"id": name, "param": param, "postback": "http://127.0.0.1:9/?c={click_id}"}
    for name, param in (("good", "ref"), ("evil", "evil"), ("tracker", "clickid"))
]


@dataclass
class Visit:
    """A browser at the shop, and what clew has written down of it."""

    client: Client
    proxy: ReverseProxy
    folder: Path
    cookie: bytes = b""
    number: int = 0
    answers: list[Response] = field(default_factory=list)

    async def _ask(self, request: bytes) -> Response:
        answer = await self.client.ask(request)
        for line in answer.all("set-cookie"):
            if line.startswith(b"clew_visitor="):
                self.cookie = line.partition(b";")[0]
        return answer

    async def goes_to(self, target: str, *lines: bytes, navigation: Sequence[bytes] = NAVIGATION) -> Response:
        cookie = (b"Cookie: " + self.cookie,) if self.cookie else ()
        return await self._ask(get(target.encode(), *navigation, *cookie, *lines))

    async def decides(self, url: str, referrer: str = "", **more: Any) -> Response:
        self.number += 1
        body = json.dumps(
            {"view": f"view-{self.number:04}", "url": url, "referrer": referrer, **more}
        ).encode()
        head = [
            b"POST /-/clew/decide HTTP/1.1",
            b"Host: shop.example",
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
        ]
        if self.cookie:
            head.append(b"Cookie: " + self.cookie)
        answer = await self._ask(b"\r\n".join([*head, b"", body]))
        assert answer.status == 200
        return answer

    async def orders(self, number: str = "1001", **more: Any) -> None:
        """Report an order as the shop's server."""
        visitor = self.cookie.partition(b"=")[2].decode()
        order = {"id": number, "total": "59.90", "currency": "EUR", "visitor": visitor, **more}
        body = json.dumps(order).encode()
        head = [
            b"POST /-/clew/orders HTTP/1.1",
            b"Host: shop.example",
            b"Authorization: Bearer " + TOKEN.encode(),
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
        ]
        answer = await self.client.ask(b"\r\n".join([*head, b"", body]))
        assert answer.status == 201, answer.body

    @property
    def credited(self) -> tuple[str | None, str]:
        """Who earned the last order by which click, and what became of all touches."""
        with closing(sqlite3.connect(self.folder / "clew.db")) as database:
            partner, click, reason, considered = database.execute(
                "SELECT s.partner, s.click, d.reason, d.considered FROM decisions d "
                "LEFT JOIN shares s ON s.decision = d.id ORDER BY d.id DESC"
            ).fetchone()
        return (f"{partner} {json.loads(click)[2]}" if partner else None), f"{reason} {considered}"

    def stored(self) -> str:
        """All that the visit store holds."""
        with closing(sqlite3.connect(self.folder / "clew.db")) as database:
            rows = database.execute("SELECT data FROM visits").fetchall()
        return " ".join(json.dumps(unpacked(row[0]).to_json()) for row in rows)


@asynccontextmanager
async def arriving(folder: Path, **site: Any) -> AsyncIterator[Visit]:
    database = f"sqlite:{folder / 'clew.db'}"
    async with Shop(answering(HTML)) as shop:
        settings = {
            "name": "shop",
            "hosts": ["shop.example", "www.shop.example"],
            "upstream": shop.url,
            "api_token": TOKEN,
            "partners": PARTNERS,
            "page_types": {"/checkout*": "checkout", "/thanks": "confirmation"},
        }
        sites = [settings | site]
        proxy = ReverseProxy(
            Settings.model_validate(
                {"secret": "s" * 40, "store": database, "ledger": database, "sites": sites}
            )
        )
        async with serving(proxy, lifespan="on") as port, Client(port) as client:
            yield Visit(client, proxy, folder)


# -- field E11: a click arrives from outside


@pytest.mark.parametrize(
    ("target", "lines", "why"),
    [
        ("/checkout?evil=7", (OUTSIDE,), "checkout"),
        ("/thanks?evil=7", (OUTSIDE,), "checkout"),
        ("/checkout/pay&evil=7", (OUTSIDE,), "checkout"),
        ("/thanks?evil=7", (b"Referer: https://www.paypal.com/",), "checkout"),
        ("/mug?evil=7", (b"Referer: http://shop.example/",), "own pages"),
        ("/mug?evil=7", (b"Referer: https://www.shop.example/cart",), "own pages"),
        ("/mug?evil=7", (b"Sec-Fetch-Site: same-origin",), "own pages"),
        ("/mug?x=1&amp;EVIL=7", (b"Referer: http://shop.example/",), "own pages"),
    ],
)
async def test_a_click_that_did_not_come_from_outside_is_recorded_and_earns_nothing(
    tmp_path: Path, target: str, lines: tuple[bytes, ...], why: str
) -> None:
    """field E11"""
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1", OUTSIDE)
        with capture_logs() as log:
            await visit.goes_to(target, *lines)
            await visit.decides("http://shop.example" + target)
        await visit.orders()
    earner, reasons = visit.credited
    assert earner == "good A1"
    assert "suspicious: " in reasons
    assert why in reasons
    (told,) = [line for line in log if line["event"] == "click_suspicious"]
    assert (told["partner"], why in told["why"]) == ("evil", True)


@pytest.mark.parametrize(
    ("url", "referrer"),
    [
        ("http://not-this-shop/?evil=7", "https://partner.example/"),
        ("https://shop.example.not-this-shop.example/?evil=7", ""),
        ("https://shop.example@not-this-shop.example/?evil=7", ""),
        ("https://not-this-shop.example/#evil=7", ""),
        ("http://shop.example/checkout?evil=7", "https://partner.example/"),
        ("http://shop.example/thanks#evil=7", ""),
        ("http://shop.example/mug?evil=7", "http://shop.example/"),
        ("http://shop.example/mug#evil=7", "https://www.shop.example/"),
    ],
)
async def test_no_script_moves_the_credit_by_naming_an_address(
    tmp_path: Path, url: str, referrer: str
) -> None:
    """field E11"""
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1", OUTSIDE)
        await visit.decides("http://shop.example/?ref=A1", "https://partner.example/")
        await visit.decides(url, referrer)
        await visit.orders()
    assert visit.credited[0] == "good A1"


async def test_a_partner_with_inside_clicks_earns_by_a_click_inside_the_shop(tmp_path: Path) -> None:
    """field E11"""
    partners = [{**p, "inside_clicks": p["id"] == "evil"} for p in PARTNERS]
    async with arriving(tmp_path, partners=partners) as visit:
        await visit.goes_to("/?ref=A1", OUTSIDE)
        await visit.goes_to("/checkout?evil=7", b"Referer: http://shop.example/")
        await visit.orders()
        assert visit.credited[0] == "evil 7"
        # The address of another host is nobody's terms.
        await visit.decides("http://not-this-shop/?evil=8")
        await visit.orders("1002")
    assert visit.credited[0] == "evil 7"


@pytest.mark.parametrize(
    "lines",
    [
        (),  # typed, from an app, or under no-referrer
        (b"Sec-Fetch-Site: none",),
        (b"Sec-Fetch-Site: cross-site",),
        (b"Referer: android-app://com.example.shop.example/",),
        (b"Referer: https://shop.example.partner.example/",),
        (b"Referer: https://blog.other.example/", b"Sec-Fetch-Site: cross-site"),
        (b"Referer: https://www.klarna.com/stores",),  # pays, and sends customers too
    ],
)
async def test_clicks_from_outside_earn(tmp_path: Path, lines: tuple[bytes, ...]) -> None:
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/mug?ref=A1", *lines)
        await visit.orders()
    assert visit.credited[0] == "good A1"


async def test_a_landing_page_from_a_cache_in_front_is_seen_by_decide(tmp_path: Path) -> None:
    async with arriving(tmp_path) as visit:
        await visit.decides("http://shop.example/mug?ref=A1", "https://partner.example/")
        await visit.orders()
    assert visit.credited[0] == "good A1"


async def test_an_id_that_the_shop_hands_on_is_the_same_click_and_no_suspicion(tmp_path: Path) -> None:
    """field E11: many shops keep the parameters of the landing page in their links."""
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1&clickid=9", OUTSIDE)
        with capture_logs() as log:
            for target in ("/mug?ref=A1&clickid=9", "/cart?clickid=9", "/checkout?ref=A1"):
                answer = await visit.goes_to(target, b"Referer: http://shop.example/")
                assert answer.all("set-cookie") == []
        await visit.orders()
    assert visit.credited[0] == "tracker 9"
    assert not [line for line in log if line["event"] in ("touch", "click_suspicious")]


async def test_a_click_that_was_suspicious_once_counts_when_it_comes_from_outside(tmp_path: Path) -> None:
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/mug?evil=7", b"Referer: http://shop.example/")
        await visit.goes_to("/mug?evil=7", OUTSIDE)
        await visit.orders()
    assert visit.credited[0] == "evil 7"


async def test_suspicious_clicks_push_no_real_one_out(tmp_path: Path) -> None:
    """field E11"""
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1", OUTSIDE)
        for number in range(60):
            await visit.goes_to(f"/mug?evil={number:0200}", b"Referer: http://shop.example/")
        await visit.orders()
    assert visit.credited[0] == "good A1"


# -- field B2: addresses as link builders leave them

BENT = {
    "/?ref=AB12?ref=AB12": "AB12",
    "/?x=1?ref=A": "A",
    "/?a=1&amp;ref=X": "X",
    "/?a=1&amp;amp;ref=X": "X",
    "/?a=1&amp%3Bref=X": "X",
    "/?a=1;ref=X": "X",
    "/??ref=X": "X",
    "/?ref=X?": "X",
    "/?ref=AB12?utm_source=mail": "AB12",
    "/?ref%3DX%26a%3D1": "X",
    "/?%3Fref%3DX": "X",
    "/mug&ref=X": "X",
    "/mug%3Fref=X": "X",
    "/mug%3Fref%3DX%26a%3D1": "X",
    "/?&&ref=X&": "X",
    "/?REF=X": "X",
    "/?Ref=X": "X",
    "/?" + "&".join(f"p{n}=1" for n in range(1000)) + "&ref=X": "X",
}


async def test_a_click_is_read_from_an_address_that_a_link_builder_bent(tmp_path: Path) -> None:
    """field B2, B4"""
    async with arriving(tmp_path) as visit:
        for number, (target, click) in enumerate(BENT.items()):
            visit.cookie = b""
            await visit.goes_to(target, OUTSIDE)
            await visit.orders(str(number))
            assert visit.credited[0] == f"good {click}", target


async def test_a_click_behind_the_hash_is_read_by_decide(tmp_path: Path) -> None:
    """field B2"""
    async with arriving(tmp_path) as visit:
        for number, address in enumerate(
            (
                "/mug#ref=A",
                "/mug#?ref=A",
                "/#/mug?ref=A",
                "/#!/mug?ref=A&x=1",
                "/?x=1#038;ref=A",
                "/#top&ref=A",
            )
        ):
            visit.cookie = b""
            await visit.goes_to(address.partition("#")[0], OUTSIDE)
            await visit.decides(f"http://shop.example{address}", "https://partner.example/")
            await visit.orders(str(number))
            assert visit.credited[0] == "good A", address


async def test_an_address_inside_an_address_is_not_parsed_for_parameters(tmp_path: Path) -> None:
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1&back=/mug?evil=7", OUTSIDE)
        await visit.orders()
    assert visit.credited[0] == "good A1"


# -- field B3: what is no click

NONE = {
    **dict.fromkeys(
        ("{clickid}", "%7Bclickid%7D", "%257Bclickid%257D", "[CLICK_ID]", "${clickid}"), "unfilled"
    ),
    **dict.fromkeys(
        ("%%CLICK%%", "{{click.id}}", "%3Cclickid%3E", "__CLICKID__", "%25CLICKID%25"), "unfilled"
    ),
    **dict.fromkeys(("a_{click}_b", "%5BCLICK_ID%5D", "*|CLICK|*"), "unfilled"),
    **dict.fromkeys(
        ("null", "NULL", "undefined", "none", "NaN", "0", "clickid", "(not%20set)", "-"), "nothing"
    ),
    **dict.fromkeys(("", "%20"), "empty"),
    "a" * 600: "too long",
}
IDS = (
    *("1001_1763859600_0123456789abcdef", "0::12345::ref::::1405418672", "Cj0KCQiA_wcB-x", "a%5B1%5D"),
    *("%7B3F2504E0-4F89-11D3-9A0C-0305E82C3301%7D", "00", "nullable", "__x", "123.abc", "<3", "%7B12%7D"),
)


async def test_an_unfilled_macro_is_no_click_and_takes_no_credit(tmp_path: Path) -> None:
    """field B3"""
    with capture_logs() as log:
        async with arriving(tmp_path) as visit:
            await visit.goes_to("/?ref=A1", OUTSIDE)
            for number, value in enumerate(NONE):
                await visit.goes_to(f"/mug?clickid={value}", OUTSIDE)
                await visit.orders(str(number))
                assert visit.credited[0] == "good A1", value
    told = [line for line in log if line["event"] == "click_dropped"]
    assert {(line["partner"], line["param"]) for line in told} == {("tracker", "clickid")}
    assert sorted(line["why"] for line in told) == sorted(set(NONE.values()))


async def test_click_ids_of_networks_are_accepted(tmp_path: Path) -> None:
    """field B3: nothing real is dropped."""
    async with arriving(tmp_path) as visit:
        for number, value in enumerate(IDS):
            await visit.goes_to(f"/mug?clickid={value}", OUTSIDE)
            await visit.orders(str(number))
            assert visit.credited[0] == f"tracker {unquote(value)}"


# -- field E13 and B5: what is a landing


@pytest.mark.parametrize(
    "lines",
    [
        (b"Sec-Purpose: prefetch", b"Sec-Fetch-Dest: document", b"Sec-Fetch-Mode: navigate"),
        (b"Sec-Purpose: prefetch;prerender", b"Sec-Fetch-Dest: document", b"Sec-Fetch-Mode: navigate"),
        (b"Sec-Purpose: prefetch;anonymous-client-ip", b"Sec-Fetch-Dest: empty"),
        (b"Purpose: prefetch", b"Sec-Fetch-Dest: empty"),
        (b"X-Moz: prefetch",),
        (b"X-Purpose: preview",),
    ],
)
async def test_a_prefetched_page_is_not_a_landing_until_it_is_shown(
    tmp_path: Path, lines: tuple[bytes, ...]
) -> None:
    """field E13"""
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1", OUTSIDE)
        answer = await visit.goes_to(
            "/?evil=7", OUTSIDE, b"Sec-Fetch-Site: cross-site", navigation=(*lines, b"Accept: text/html")
        )
        assert b"l.js" in answer.body
        assert answer.all("set-cookie") == []
        await visit.orders()
        assert visit.credited[0] == "good A1"
        await visit.decides("http://shop.example/?evil=7", "https://partner.example/")
        await visit.orders("1002")
    assert visit.credited[0] == "evil 7"


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ((b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Mode: navigate", b"Upgrade-Insecure-Requests: 1"), True),
        ((b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Site: same-origin"), True),
        ((b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Mode: same-origin", b"Upgrade-Insecure-Requests: 1"), True),
        ((b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Mode: cors"), False),
        ((b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Mode: navigate", b"HX-Request: true"), False),
        ((b"Sec-Fetch-Dest: iframe", b"Sec-Fetch-Mode: navigate", b"Upgrade-Insecure-Requests: 1"), False),
    ],
)
async def test_a_service_workers_fetch_for_a_navigation_counts_as_one(
    tmp_path: Path, lines: tuple[bytes, ...], seen: bool
) -> None:
    """field B5"""
    async with arriving(tmp_path) as visit:
        answer = await visit.goes_to("/?ref=A1", OUTSIDE, navigation=(*lines, b"Accept: text/html"))
        assert (b"l.js" in answer.body) is seen
        if seen:
            await visit.orders()
            assert visit.credited[0] == "good A1"


# -- field B1: one visitor on all hosts


async def test_a_visitor_is_one_on_all_hosts_of_a_site(tmp_path: Path) -> None:
    """field B1"""
    awin = {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1", "api_key": "k"}}
    async with arriving(tmp_path, partners=[*PARTNERS, awin]) as visit:
        landing = await visit.goes_to("/?awc=1_2_ab", OUTSIDE)
        assert [b"; Domain=shop.example" in line for line in landing.all("set-cookie")] == [True, True]
        shown = await visit.decides("http://shop.example/?ref=A1#ref=A2", "https://partner.example/")
        assert [b"; Domain=shop.example" in line for line in shown.all("set-cookie")] == [True]
    async with arriving(tmp_path, hosts=["shop.example", "shop.test"]) as visit:
        landing = await visit.goes_to("/?ref=A1", OUTSIDE)
        assert [b"Domain" in line for line in landing.all("set-cookie")] == [False]


# -- field C6 and E10: what is kept of addresses


async def test_no_token_of_an_address_is_stored_or_logged(tmp_path: Path) -> None:
    """field C6, E10"""
    secrets = "?token=S3CRET&user_token=S3CRET&email=S3CRET@x.example&ref=clickid-0123456789&utm_source=mail"
    with capture_logs() as log:
        async with arriving(tmp_path) as visit:
            await visit.goes_to(
                "/reset/S3CRETPATH" + secrets, b"Referer: https://mail.example/read/S3CRETxyz0?u=S3CRET"
            )
            await visit.decides(
                f"http://shop.example/reset/S3CRETPATH{secrets}#access_token=S3CRET",
                "https://mail.example/read?u=S3CRET",
                title="Hello S3CRET@x.example",
            )
            await visit.orders()
    stored = visit.stored()
    assert "S3CRET@" not in stored + str(log)
    assert "=S3CRET" not in stored + str(log)
    assert "S3CRETPATH" not in stored + str(log)
    for kept in ("user_token", "utm_source=mail", "clickid-0123456789"):
        assert kept in stored
    assert "clickid-0123456789" not in str(log)
    assert visit.credited[0] == "good clickid-0123456789"


async def test_rules_see_the_values_that_are_not_stored(tmp_path: Path) -> None:
    """field C6"""
    rule = {"name": "r", "when": ['page.query["colour"] == "red"'], "action": "invite", "text": "Red?"}
    async with arriving(tmp_path, rules=[rule], invites={"holdout": 0}, keep_query=["size"]) as visit:
        for _ in range(2):  # the first one leaves nothing in the store
            answer = await visit.decides("http://shop.example/mug?colour=red&size=m")
    assert json.loads(answer.body)["rule"] == "r"
    assert "mug?colour&size=m" in visit.stored()


# -- field B6: the clock


async def test_a_click_from_before_the_clock_was_set_back_keeps_the_credit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field B6"""
    now, steady = [1_800_000_000.0], [0.0]
    async with arriving(tmp_path) as visit:
        clock = Clock(lambda: now[0], lambda: steady[0])
        clock.jumped = visit.proxy.service.clock.jumped
        monkeypatch.setattr(visit.proxy.service, "clock", clock)
        await visit.goes_to("/?ref=A1", OUTSIDE)
        now[0] -= 3600
        with capture_logs() as log:
            await visit.goes_to("/checkout")
            await visit.orders()
            assert visit.credited[0] == "good A1"
            now[0] += 600
            steady[0] += 600
            await visit.orders("1002")
    assert visit.credited[0] == "good A1"
    (told,) = [line for line in log if line["event"] == "clock_jump"]
    assert (told["key"], told["seconds"]) == ("back", -3600)


# -- field E7: who is stored


async def test_a_landing_and_a_decide_without_cookies_leave_nothing(tmp_path: Path) -> None:
    """field E7: the longest that a landing can bring, from a client that keeps no cookies."""
    long = "%ff" * 500
    async with arriving(tmp_path) as visit:
        landing = await visit.goes_to(f"/?ref={long}&gclid={long}&utm_source={'x' * 900}", OUTSIDE)
        visit.cookie = b""
        await visit.decides(f"http://shop.example/{'y' * 1500}", "https://partner.example/")
        assert visit.stored() == ""
    cookie = landing.all("set-cookie")[0]
    assert len(cookie) < 3100


async def test_the_cookie_of_a_first_sign_of_life_carries_all_that_the_second_one_stores(
    tmp_path: Path,
) -> None:
    """field E7: click, first page view and the counts of rules are as if they had been stored at once."""
    rule = {"name": "second", "when": ["visit.pages == 2", 'visit.landing == "/mug"'], "action": "hide"}
    async with arriving(tmp_path, rules=[rule]) as visit:
        await visit.decides("http://shop.example/mug", "https://www.google.com/", title="A mug")
        assert visit.stored() == ""
        answer = await visit.decides("http://shop.example/bowl", "http://shop.example/mug", title="A bowl")
        assert json.loads(answer.body)["rule"] == "second"
        again = await visit.decides("http://shop.example/cup", "http://shop.example/bowl")
        assert json.loads(again.body)["rule"] is None
    stored = visit.stored()
    assert "A mug" in stored
    assert "www.google.com" in stored
    assert len(stored) < 1024


async def test_a_click_on_a_first_landing_is_credited_though_nothing_was_stored(tmp_path: Path) -> None:
    """field E7"""
    async with arriving(tmp_path) as visit:
        await visit.goes_to("/?ref=A1", OUTSIDE)
        assert visit.stored() == ""
        await visit.orders()
    assert visit.credited[0] == "good A1"
