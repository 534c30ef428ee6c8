"""From a partner's link to the partner's receipt: a real browser, a real shop, and both mounts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import chat_steps
import httpx2
import oscar_guest
import pytest
from clews import AGENT, PASSWORD, ClewFolder, ClewServe
from mount_chat import files_and_pages_go_both_ways
from oscar_shops import OscarShop
from playwright.async_api import Browser, BrowserContext, Page, Response, expect
from processes import Program
from receiver import Receiver

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

CLICK_ID = "1001_1700000000_5f9d3b0c8A7e6d5c4b3a29181706f5e4"
INVITE = "Shall we help you choose?"
QUESTION = "Does it grind fine enough for a lever machine?"
ANSWER = "It does: from Turkish to filter."
DAY = 24 * 3600

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "sqlite:{path}/clew.db"
ledger = "sqlite:{path}/clew.db"

[[sites]]
name = "oscar"
{upstream}

[[sites.partners]]
id = "awin-uk"
network = "awin"
settings = {{ advertiser_id = "1001", api_key = "env:AWIN_KEY" }}
endpoint = "{receiver}"

[sites.cobrowsing]
enabled = true

[sites.invites]
holdout = 0

[[sites.rules]]
name = "hesitates"
when = ["partner.network == 'awin'", "visit.seconds >= 3"]
action = "invite"
text = "{invite}"

[sites.cart]
value = ".basket-mini"

[sites.order]
page = "/checkout/thank-you/"
id = "p.lead strong"
total = "#basket_totals h3.price_color"
currency = "GBP"
"""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A shop with clew: where visitors go, where the shop alone answers, who runs clew, where it lives."""

    address: str
    shop: str
    program: Program
    folder: ClewFolder


def _folder(path: Path, receiver: Receiver, upstream: str = "") -> ClewFolder:
    text = SETTINGS.format(path=path, upstream=upstream, receiver=receiver.address, invite=INVITE)
    folder = ClewFolder(path, text, {"AWIN_KEY": "key-of-the-advertiser"})
    folder.add_agent()
    return folder


@pytest.fixture(params=["serve", "middleware"])
def mounted(
    request: pytest.FixtureRequest,
    oscar_shop: OscarShop,
    oscar_folder: Path,
    tmp_path: Path,
    receiver: Receiver,
) -> Iterator[Mounted]:
    """The shop behind `clew serve`, and with `ClewMiddleware` in its own process."""
    if request.param == "serve":
        folder = _folder(tmp_path / "clew", receiver, f'upstream = "{oscar_shop.address}"')
        with ClewServe(folder) as clew:
            yield Mounted(clew.address, oscar_shop.address, clew, folder)
        return
    folder = _folder(tmp_path / "clew", receiver)
    # The second server is the same shop, over the same database, with clew inside.
    environ = {**folder.environ, "CLEW_SETTINGS": str(folder.settings)}
    with OscarShop(oscar_folder, "with_clew", environ) as shop:
        yield Mounted(shop.address, oscar_shop.address, shop, folder)


async def test_files_and_the_visitors_page_pass_both_mounts(mounted: Mounted) -> None:
    await files_and_pages_go_both_ways(mounted.address, AGENT, PASSWORD)


async def test_an_order_closed_in_the_chat_is_reported_once_to_the_partner_who_sent_the_visitor(
    mounted: Mounted, context: BrowserContext, chromium: Browser, receiver: Receiver
) -> None:
    page = await context.new_page()
    await _land(page, mounted)
    await _check_cookies(context)
    await chat_steps.ask_in_the_invite(page, INVITE, QUESTION)
    await chat_steps.answer_at_the_desk(chromium, mounted.address, QUESTION, ANSWER, seen=CLICK_ID)
    await chat_steps.read_the_answer(page, ANSWER)

    await page.goto(f"{mounted.address}/go/{oscar_guest.PRODUCT_SLUG}/")
    await oscar_guest.put_into_basket(page)
    bought = await oscar_guest.check_out(page)
    await receiver.waited()
    await page.reload()
    await expect(page.locator("p.lead strong")).to_have_text(bought.number)
    # To end it is to wait for what it still had to do with the reloaded page.
    mounted.program.end()

    _check_ledger(mounted.folder, bought)
    _check_call(receiver, bought)


async def _land(page: Page, mounted: Mounted) -> None:
    redirects: list[Response] = []
    page.on("response", lambda r: redirects.append(r) if r.status == 302 else None)
    await page.goto(f"{mounted.address}/go/{oscar_guest.PRODUCT_SLUG}/?awc={CLICK_ID}")
    assert "awc" not in page.url
    (redirect,) = redirects
    cookies = [h["value"] for h in await redirect.headers_array() if h["name"].lower() == "set-cookie"]
    assert sorted(c.partition("=")[0] for c in cookies) == ["awc", "clew_visitor"]
    await page.goto(f"{mounted.address}/catalogue/")


async def _check_cookies(context: BrowserContext) -> None:
    cookies = {c["name"]: c for c in await context.cookies()}
    now = await _now(context)
    visitor, awc = cookies["clew_visitor"], cookies["awc"]
    assert (visitor["httpOnly"], visitor["sameSite"], visitor["path"]) == (True, "Lax", "/")
    assert visitor["expires"] - now == pytest.approx(400 * DAY, abs=60)
    assert awc["value"] == CLICK_ID
    assert awc["httpOnly"]
    assert awc["expires"] - now == pytest.approx(365 * DAY, abs=60)


async def _now(context: BrowserContext) -> float:
    return float(await context.pages[0].evaluate("Date.now() / 1000"))


def _check_ledger(folder: ClewFolder, bought: oscar_guest.Bought) -> None:
    (order,) = folder.rows("SELECT * FROM orders")
    assert (order["order_id"], order["total"], order["currency"]) == (bought.number, "289.90", "GBP")
    assert (order["channel"], order["source"]) == ("chat", "page")
    (credit,) = folder.rows("SELECT * FROM shares")
    assert credit["partner"] == "awin-uk"
    assert credit["click"] == ["awin", "awc", CLICK_ID, "awin-uk"]
    (postback,) = folder.rows("SELECT * FROM postbacks")
    assert (postback["state"], postback["attempts"]) == ("delivered", 1)
    assert postback["report"]["channel"] == "chat"


def _check_call(receiver: Receiver, bought: oscar_guest.Bought) -> None:
    (call,) = receiver.calls
    assert (call.method, call.path) == ("POST", "/s2s/advertiser/1001/orders")
    assert call.headers["x-api-key"] == "key-of-the-advertiser"
    (order,) = call.json()["orders"]
    assert order["orderReference"] == bought.number
    assert order["amount"] == 289.9
    assert order["currency"] == "GBP"
    # Awin's `channel` is the marketing channel; the closing one goes to the publisher beside it (feature A9).
    assert (order["channel"], order["custom"]) == ("aw", {"1": "chat"})
    assert order["awc"] == CLICK_ID


PAGES = (
    "/catalogue/",
    "/catalogue/category/grinders_4/",
    f"/catalogue/{oscar_guest.PRODUCT_SLUG}_4/",
    "/search/?q=grinder",
    "/basket/",
    "/accounts/login/",
    "/nothing-here/",
)
TAG = re.compile(rb'<script async src="/-/clew/l\.js" data-clew="1"[^>]{0,90}></script>')
# What the shop itself writes anew for each answer.
CHANGING = re.compile(
    rb'(?<=name="csrfmiddlewaretoken" value=")[^"]+|(?<=<meta name="created" content=")[^"]+'
)
OWN_HEADERS = {"date", "content-length", "set-cookie"}


async def test_every_page_is_the_shops_own_but_for_the_tag(mounted: Mounted) -> None:
    headers = {
        "host": mounted.address.removeprefix("http://"),
        "accept": "text/html",
        "accept-encoding": "identity",
        "cookie": "csrftoken=" + "c" * 32,
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    async with httpx2.AsyncClient(timeout=30) as client:
        for path in PAGES:
            theirs = await client.get(mounted.shop + path, headers=headers)
            ours = await client.get(mounted.address + path, headers=headers)
            assert ours.status_code == theirs.status_code, path
            edited = ours.content
            (tag,) = TAG.findall(edited)
            assert CHANGING.sub(b"", edited.replace(tag, b"")) == CHANGING.sub(b"", theirs.content), path
            assert int(ours.headers["content-length"]) == len(edited), path
            assert _headers(ours) == _headers(theirs), path


def _headers(response: httpx2.Response) -> list[tuple[str, str]]:
    return sorted((k, v) for k, v in response.headers.multi_items() if k not in OWN_HEADERS)
