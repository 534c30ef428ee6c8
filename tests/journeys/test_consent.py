"""Consent in a real browser, with the cookies of real consent tools: which data is stored, and when."""

import asyncio
import json
import re
import sqlite3
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import tc_strings
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from clew.stores.visits_record import unpacked
from playwright.async_api import BrowserContext, Page, Response
from raw_http import PATIENCE, serving
from small_shops import SmallShop, html, redirect

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRIVACY = (Path(__file__).parents[2] / "docs/privacy.md").read_text("utf-8")
THANKS = html("<b id=id>4711</b><b id=total>99.50</b>")
NOW = time.time()


def _b64(data: object) -> str:
    return b64encode(json.dumps(data).encode()).decode()


def _json(data: object) -> str:
    return quote(json.dumps(data))


def _tc(*consents: int) -> str:
    return tc_strings.tc_string(at=NOW, consents=consents)


def _onetrust(marketing: int) -> list[str]:
    groups = f"C0001%3A1%2CC0002%3A0%2CC0004%3A{marketing}"
    value = f"isGpcEnabled=0&version=202409.2.0&interactionCount=1&groups={groups}"
    return [f"OptanonConsent={value}", "OptanonAlertBoxClosed=2026-11-18T11:06:40.000Z"]


def _cookiebot(marketing: str) -> list[str]:
    value = (
        f"{{stamp:%27a/9==%27%2Cnecessary:true%2Cpreferences:true%2Cstatistics:true%2Cmarketing:{marketing}"
    )
    return [
        f"CookieConsent={value}%2Cmethod:%27explicit%27%2Cver:1%2Cutc:{NOW * 1000:.0f}%2Cregion:%27de%27}}"
    ]


def _cookieyes(marketing: str) -> list[str]:
    return [f"cookieyes-consent=consentid:T0N,consent:yes,action:yes,necessary:yes,advertisement:{marketing}"]


def _borlabs(**consents: list[str]) -> list[str]:
    consents["essential"] = ["borlabs-cookie"]
    return [f"borlabs-cookie={_json({'consents': consents, 'domainPath': 'shop/', 'v3': True})}"]


# Accepting and refusing, as the tools write it.
TOOLS: dict[str, tuple[list[str], list[str]]] = {
    "cookiebot": (_cookiebot("true"), _cookiebot("false")),
    "onetrust": (_onetrust(1), _onetrust(0)),
    "cookieyes": (_cookieyes("yes"), _cookieyes("no")),
    "complianz": (["cmplz_marketing=allow"], ["cmplz_marketing=deny"]),
    "borlabs": (_borlabs(marketing=["awin"]), _borlabs()),
    "didomi": (
        [f"didomi_token={_b64({'version': 2, 'purposes': {}})}", f"euconsent-v2={_tc(1, 7)}"],
        [f"didomi_token={_b64({'version': 2, 'purposes': {}})}", f"euconsent-v2={_tc()}"],
    ),
    "klaro": ([f"klaro={_json({'clew': True})}"], [f"klaro={_json({'clew': False})}"]),
}


SUMS = ("alembic_version", "marks", "leases", "partner_clicks")


@dataclass
class World:
    """A shop that asks for consent, behind clew; a partner's site; what clew has stored."""

    address: str
    partner: str
    database: Path

    def visitors(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.database)) as database:
            return [unpacked(data).to_json() for (data,) in database.execute("SELECT data FROM visits")]

    def written(self) -> dict[str, int]:
        """The number of rows of each table with data of visitors; clicks of partners are sums by day."""
        with closing(sqlite3.connect(self.database)) as database:
            names = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {n: database.execute(f'SELECT count(*) FROM "{n}"').fetchone()[0] for n in names}
        return {n: c for n, c in counts.items() if c and n not in SUMS}

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - another program's file has no event
                await asyncio.sleep(0.02)


@asynccontextmanager
async def world(folder: Path, head: str = "", **consent: Any) -> AsyncIterator[World]:
    database = f"sqlite:{folder / 'clew.db'}"
    links = "<a id=two href=/two>2</a><a id=three href=/three>3</a><a id=thanks href=/thanks>4</a>"
    pages = {f"/{name}": html(links, head) for name in ("", "two", "three")}
    moved = {"/old": redirect("/older"), "/older": redirect("/two")}
    with SmallShop({**pages, **moved, "/thanks": THANKS}) as shop, SmallShop({}) as partner:
        site = {
            "name": "shop",
            "upstream": shop.address,
            "partners": [
                {"id": "blog", "param": "ref", "postback": partner.address + "/?c={click_id}"},
                {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1"}},
            ],
            "order": {
                "page": "/thanks",
                "id": "#id",
                "total": "#total",
                "currency": "EUR",
                "confirm": "none",
            },
            "consent": {"mode": "ask", **consent},
        }
        proxy = ReverseProxy(
            Settings.model_validate(
                {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]}
            )
        )
        async with serving(proxy, lifespan="on") as port:
            address = f"http://shop.test:{port}"
            partner.pages = {
                "/": html(f"<a href='{address}/?ref=A1'>shop</a>"),
                "/redirected": html(f"<a href='{address}/old?ref=A1'>shop</a>"),
            }
            yield World(address, f"http://partner.test:{partner.port}", folder / "clew.db")


async def asked(page: Page, act: Any, path: str) -> dict[str, Any]:
    """The answer of the `decide` for the page at `path` to which `act` leads."""

    def wanted(response: Response) -> bool:
        body = response.request.post_data_json if response.url.endswith("/decide") else None
        return body is not None and urlsplit(body["url"]).path == path

    async with page.expect_response(wanted) as found:
        await act
    answer = await (await found.value).json()
    assert isinstance(answer, dict)
    return answer


async def gone(at: World, page: Page) -> None:
    """Waits until clew's cookie and record are deleted."""
    async with asyncio.timeout(PATIENCE):
        # Another program's file and cookies have no event.
        while at.visitors() or "clew_visitor" in [c["name"] for c in await page.context.cookies()]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def third_page(at: World, context: BrowserContext) -> Page:
    """A visitor who came by the partner's link and is on its third page, without having chosen."""
    page = await context.new_page()
    await page.goto(at.partner)
    for link, path in (("a", "/"), ("#two", "/two"), ("#three", "/three")):
        answer = await asked(page, page.click(link), path)
        assert answer["consent"]["state"] == "pending"
    assert await nothing_stored(at, page) == []
    return page


async def nothing_stored(at: World, page: Page, but: tuple[str, ...] = ()) -> list[str]:
    """What there is, of what must not be: cookies, browser storage, rows."""
    found = [c["name"] for c in await page.context.cookies(at.address) if c["name"] not in but]
    found += await page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    found += await page.evaluate("(async () => (await indexedDB.databases()).map((d) => d.name))()")
    found += await page.evaluate("name ? ['window.name'] : []")
    return [*found, *at.written()]


def choose(cookies: list[str]) -> str:
    return "".join(f"document.cookie = {json.dumps(c + '; path=/')};" for c in cookies)


async def stored_touches(at: World, page: Page) -> str:
    await at.until(lambda: '"A1"' in json.dumps(at.visitors()))
    return json.dumps(at.visitors())


def considered(at: World) -> str:
    with closing(sqlite3.connect(at.database)) as database:
        ((found,),) = database.execute("SELECT considered FROM decisions")
    return str(json.loads(found)[0]["consent"])


def credited(at: World) -> list[str]:
    with closing(sqlite3.connect(at.database)) as database:
        return [partner for (partner,) in database.execute("SELECT partner FROM shares")]


@pytest.mark.parametrize("tool", TOOLS)
async def test_consent_on_the_third_page_credits_the_first_landing(
    tmp_path: Path, context: BrowserContext, tool: str
) -> None:
    async with world(tmp_path) as at:
        page = await third_page(at, context)
        await page.evaluate(choose(TOOLS[tool][0]))
        await stored_touches(at, page)
        names = [c["name"] for c in await context.cookies(at.address)]
        assert "clew_visitor" in names
        await page.goto(f"{at.address}/thanks")
        await at.until(lambda: credited(at))
        assert credited(at) == ["blog"]
        # What shows the consent is kept with the decision.
        assert TOOLS[tool][0][-1].partition("=")[0].replace("AlertBoxClosed", "Consent") in considered(at)


@pytest.mark.parametrize("later", [False, True], ids=["at once", "on the next page"])
async def test_a_landing_that_redirects_is_credited_when_consent_comes(
    tmp_path: Path, context: BrowserContext, later: bool
) -> None:
    """The shop's redirects leave the click out, and nothing may be stored before the visitor has chosen."""
    async with world(tmp_path) as at:
        page = await context.new_page()
        await page.goto(at.partner + "/redirected")
        answer = await asked(page, page.click("a"), "/two")
        assert answer["consent"]["state"] == "pending"
        if later:
            await asked(page, page.click("#three"), "/three")
        assert await nothing_stored(at, page) == []
        if later:
            await page.evaluate(choose(TOOLS["complianz"][0]))
        else:
            await asked(page, page.evaluate(choose(TOOLS["complianz"][0])), "/two")
            # The cookie has to come back once.
            await asked(page, page.click("#three"), "/three")
        await stored_touches(at, page)
        await page.goto(f"{at.address}/thanks")
        await at.until(lambda: credited(at))
        assert credited(at) == ["blog"]


@pytest.mark.parametrize("tool", TOOLS)
async def test_refusal_on_the_third_page_leaves_nothing(
    tmp_path: Path, context: BrowserContext, tool: str
) -> None:
    async with world(tmp_path) as at:
        page = await third_page(at, context)
        cookies = TOOLS[tool][1]
        answer = await asked(page, page.evaluate(choose(cookies)), "/three")
        assert answer["consent"]["state"] == "denied"
        answer = await asked(page, page.click("#two"), "/two")
        assert answer["consent"]["state"] == "denied"
        own = tuple(c.partition("=")[0] for c in cookies)
        assert await nothing_stored(at, page, own) == []


@pytest.mark.parametrize("tool", ["cookiebot", "didomi"])
async def test_withdrawal_deletes_cookies_visitor_and_touches(
    tmp_path: Path, context: BrowserContext, tool: str
) -> None:
    async with world(tmp_path) as at:
        page = await third_page(at, context)
        await page.evaluate(choose(TOOLS[tool][0]))
        await stored_touches(at, page)
        own = tuple(c.partition("=")[0] for c in TOOLS[tool][1])
        await page.evaluate(choose(TOOLS[tool][1]))
        await gone(at, page)
        await asked(page, page.click("#two"), "/two")
        assert await nothing_stored(at, page, own) == []
        await page.goto(f"{at.address}/thanks")
        await at.until(lambda: at.written().get("orders"))
        assert credited(at) == []


async def test_a_visitor_with_earlier_consent_is_recognised_at_the_landing(
    tmp_path: Path, context: BrowserContext
) -> None:
    async with world(tmp_path) as at:
        page = await context.new_page()
        for cookie in TOOLS["cookiebot"][0]:
            name, _, value = cookie.partition("=")
            await context.add_cookies([{"name": name, "value": value, "url": at.address}])
        await page.goto(at.partner)
        async with page.expect_response(lambda r: "ref=A1" in r.url) as landing:
            await page.click("a")
        assert "clew_visitor=" in (await (await landing.value).all_headers()).get("set-cookie", "")
        await asked(page, page.click("#two"), "/two")
        await stored_touches(at, page)


TCFAPI = """<script>
  const listeners = [];
  let data = { eventStatus: "cmpuishown", gdprApplies: true, tcString: "%s" };
  window.__tcfapi = (command, version, callback) => {
    if (command === "addEventListener") { listeners.push(callback); callback(data, true); }
  };
  window.choose = (tcString) => {
    data = { eventStatus: "useractioncomplete", gdprApplies: true, tcString };
    listeners.forEach((callback) => callback(data, true));
  };
</script>"""
MODE = """<script>
  window.google_tag_data = { ics: { entries: { ad_storage: { default: false } } } };
  window.choose = (update) => { google_tag_data.ics.entries.ad_storage.update = update; };
</script>"""


@pytest.mark.parametrize(
    ("head", "accept", "refuse"),
    [
        pytest.param("", "clew.consent('granted')", "clew.consent('denied')", id="clew.consent"),
        pytest.param(TCFAPI % _tc(1, 7), f"choose('{_tc(1, 7)}')", f"choose('{_tc(2)}')", id="__tcfapi"),
        pytest.param(MODE, "choose(true)", "choose(false)", id="Consent Mode"),
    ],
)
async def test_the_page_reads_consent_tools_that_store_the_choice_in_the_browser(
    tmp_path: Path, context: BrowserContext, head: str, accept: str, refuse: str
) -> None:
    async with world(tmp_path, head) as at:
        page = await third_page(at, context)
        await page.evaluate(accept)
        await stored_touches(at, page)
        await page.evaluate(refuse)
        await gone(at, page)
        assert await nothing_stored(at, page) == []


async def test_a_call_before_the_script_is_there_counts_too(tmp_path: Path, context: BrowserContext) -> None:
    async with world(tmp_path, "<script>window.clewConsent = 'granted'</script>") as at:
        page = await context.new_page()
        await page.goto(at.partner)
        answer = await asked(page, page.click("a"), "/")
        assert answer["consent"]["state"] == "granted"
        await asked(page, page.click("#two"), "/two")
        await stored_touches(at, page)


async def test_the_global_privacy_control_leaves_nothing(tmp_path: Path, context: BrowserContext) -> None:
    async with world(tmp_path) as at:
        await context.set_extra_http_headers({"Sec-GPC": "1"})
        page = await context.new_page()
        await page.goto(at.partner)
        for link, path in (("a", "/"), ("#two", "/two"), ("#three", "/three")):
            answer = await asked(page, page.click(link), path)
            assert answer["consent"]["state"] == "denied"
        assert await nothing_stored(at, page) == []
        # In Europe a choice of the visitor's own is more specific.
        await page.evaluate(choose(TOOLS["cookiebot"][0]))
        await stored_touches(at, page)


async def test_a_visitor_who_refuses_can_chat_with_a_cookie_for_that_only(
    tmp_path: Path, context: BrowserContext
) -> None:
    async with world(tmp_path) as at:
        page = await third_page(at, context)
        await asked(page, page.evaluate(choose(TOOLS["complianz"][1])), "/three")
        sent = await page.evaluate(
            """async () => {
              const body = JSON.stringify({ text: "Do you have it in red?", client_id: "12345678" });
              const headers = { "Content-Type": "application/json" };
              const answer = await fetch("/-/clew/messages", { method: "POST", headers, body });
              const read = await fetch("/-/clew/messages?after=0");
              return [answer.status, (await read.json()).messages.length];
            }"""
        )
        assert sent[0] == 201
        assert sent[1] >= 1
        (cookie,) = [c for c in await context.cookies(at.address) if c["name"] == "clew_visitor"]
        assert cookie["expires"] == -1, "until the browser is closed"
        # The conversation goes on from page to page; what the visitor does otherwise is not stored.
        await page.goto(f"{at.address}/two?ref=A1")
        answer = await asked(page, page.click("#three"), "/three")
        assert answer["conversation"] is True
        (visitor,) = at.visitors()
        assert not visitor.get("touches")
        assert not visitor.get("trail")
        await page.goto(f"{at.address}/thanks")
        await at.until(lambda: at.written().get("orders"))
        assert credited(at) == []


async def test_a_browser_gets_the_cookies_that_the_privacy_page_lists_and_no_others(
    tmp_path: Path, context: BrowserContext
) -> None:
    row = re.compile(r"^\| (?:cookies of networks, such as )?(`clew_visitor`|`awc`)", re.MULTILINE)
    listed = {name.strip("`") for name in row.findall(PRIVACY)}
    async with world(tmp_path, mode="assume") as at:
        page = await context.new_page()
        await page.goto(f"{at.address}/?awc=1_2_abc&ref=A1")
        await asked(page, page.click("#two"), "/two")
        assert {c["name"] for c in await context.cookies(at.address)} == listed == {"clew_visitor", "awc"}
        assert await page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


async def test_a_network_that_the_tc_string_refuses_gets_no_cookie_and_no_credit(
    tmp_path: Path, context: BrowserContext
) -> None:
    refused = tc_strings.tc_string(at=NOW, consents=[1, 7], vendor_consents=[(1, 906)])
    permitted = tc_strings.tc_string(
        at=NOW, consents=[1, 7], interests=[7], vendor_consents=[(907, 907)], vendor_interests=[(907, 907)]
    )
    async with world(tmp_path) as at:
        for string, names in ((refused, {"clew_visitor"}), (permitted, {"clew_visitor", "awc"})):
            await context.clear_cookies()
            await context.add_cookies([{"name": "euconsent-v2", "value": string, "url": at.address}])
            page = await context.new_page()
            await page.goto(f"{at.address}/?awc=1_2_abc&ref=A1")
            await asked(page, page.click("#two"), "/two")
            cookies = {c["name"] for c in await context.cookies(at.address)}
            assert cookies - {"euconsent-v2"} == names
            await at.until(lambda: at.visitors())
            clicks = [c[1] for v in at.visitors() for t in v["touches"] for c in t["c"]]
            assert ("awc" in clicks) == ("awc" in names)


async def test_a_necessary_click_is_credited_without_consent(tmp_path: Path, context: BrowserContext) -> None:
    async with world(tmp_path, necessary_clicks=True) as at:
        await context.add_cookies([{"name": "cmplz_marketing", "value": "deny", "url": at.address}])
        page = await context.new_page()
        await page.goto(f"{at.address}/?awc=1_2_abc&sn=1&ref=A1")
        await asked(page, page.click("#two"), "/two")
        await page.click("#thanks")
        await at.until(lambda: credited(at))
        assert credited(at) == ["awin"]
        assert [v.get("trail") for v in at.visitors()] in ([], [None])
