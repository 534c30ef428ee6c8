"""A shop that has Crisp: its visitors, its agents, its policy, and the partner who sent the visitor."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from clew.chat.providers import providers
from clews import ClewFolder, ClewServe, wait_for_event
from playwright.async_api import BrowserContext, Page, Route, expect
from provider_hooks import SECRETS, Sent, talk
from receiver import Receiver
from small_shops import SmallShop, html
from vendors import HELPERS, VENDORS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

POLICY = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'"
# Playwright's own waiting needs unsafe-eval.
GOT_DATA = """() => new Promise((done) => {
  const look = () => {
    const found = (window.heard ?? []).find((one) => one[1] === "session:data");
    if (found) done(found[2]);
    else setTimeout(look, 50);
  };
  look();
})"""
META = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "sqlite:{path}/clew.db"
ledger = "sqlite:{path}/clew.db"

[[sites]]
name = "shop"
upstream = "{shop}"

[[sites.partners]]
id = "anna"
param = "aff"
postback = "{receiver}/?c={{click_id}}&o={{order_id}}&a={{amount}}&channel={{channel}}"
allow_private = true

[sites.cart]
value = ".cart"
currency = "EUR"

[sites.chat]
provider = "crisp"
ids.website_id = "{website}"
secret = "{secret}"
csp = "{csp}"
"""


@pytest.fixture
def shop() -> Iterator[SmallShop]:
    body = '<h1>Tea</h1><p class="cart">59,90 €</p>'
    pages = {
        "/": html(body, META, ("Content-Security-Policy", POLICY)),
        "/plain": html(body),
    }
    pages = {path: replace(one, body=one.body.replace(b"lang=de", b"lang=en")) for path, one in pages.items()}
    with SmallShop(pages) as built:
        yield built


def folder_of(path: Path, shop: SmallShop, receiver: Receiver, csp: str) -> ClewFolder:
    text = SETTINGS.format(
        path=path,
        shop=shop.address,
        receiver=receiver.address,
        website=VENDORS["crisp"].ids["website_id"],
        secret=SECRETS["crisp"],
        csp=csp,
    )
    return ClewFolder(path, text)


async def crisp_answers(page: Page, host: str) -> list[str]:
    """The provider's servers as the page meets them; what they were asked for."""
    asked: list[str] = []

    async def answer(route: Route) -> None:
        asked.append(route.request.url)
        script = f"(() => {{ {HELPERS} {VENDORS['crisp'].script} }})();"
        await route.fulfill(content_type="text/javascript", body=script)

    await page.route(lambda url: urlsplit(url).netloc != host, answer)
    return asked


async def told(clew: ClewServe, hook: Sent) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{clew.address}/-/clew/hooks/{hook.path}", content=hook.body, headers=dict(hook.headers)
        )
    assert answer.status_code == 200, answer.text


async def test_an_order_told_in_crisp_is_the_partners_once(
    tmp_path: Path, context: BrowserContext, shop: SmallShop, receiver: Receiver
) -> None:
    """Past a policy in the header and one in the page, which are made longer by what Crisp needs."""
    folder = folder_of(tmp_path / "clew", shop, receiver, "extend")
    with ClewServe(folder) as clew:
        page = await context.new_page()
        asked = await crisp_answers(page, urlsplit(clew.address).netloc)
        await page.goto(f"{clew.address}/?aff=c-77")
        await page.goto(f"{clew.address}/")
        await page.get_by_role("button", name="Ask us").click()
        heard = await page.evaluate(GOT_DATA)
        assert asked == ["https://client.crisp.chat/l.js"]
        ((key, token),) = heard[0]
        assert (key, token[:5]) == ("clew_ref", "clw1_")
        async with page.expect_response(lambda answer: answer.url.endswith("/events")):
            await page.evaluate(
                f"(() => {{ {HELPERS.replace('window.tell =', 'const unused =')} "
                f"{VENDORS['crisp'].start} }})()"
            )
        for _ in range(2):
            for hook in talk("crisp", token, "/order 1001 59.90", time.time() - 5):
                await told(clew, hook)
        await receiver.waited()
        (call,) = receiver.calls
        query = parse_qs(urlsplit(call.target).query)
        assert query == {"c": ["c-77"], "o": ["1001"], "a": ["59.90"], "channel": ["chat"]}
        clew.end()
    (found,) = folder.rows("SELECT * FROM conversations")
    assert (found["provider"], found["external"], found["state"]) == ("crisp", "session_1", "closed")
    assert (found["agent"], found["said"]) == ("crisp:Ann", 2)
    (order,) = folder.rows("SELECT * FROM orders")
    assert (order["channel"], order["currency"], order["agent"]) == ("chat", "EUR", "crisp:Ann")
    assert len(receiver.calls) == 1


async def test_without_it_the_visitor_gets_clews_chat_and_the_owner_hears_what_is_missing(
    tmp_path: Path, context: BrowserContext, shop: SmallShop, receiver: Receiver
) -> None:
    folder = folder_of(tmp_path / "clew", shop, receiver, "report")
    with ClewServe(folder) as clew:
        page = await context.new_page()
        asked = await crisp_answers(page, urlsplit(clew.address).netloc)
        await page.goto(f"{clew.address}/")
        event = wait_for_event(clew, "provider_forbidden")
        assert event["hosts"]
        await page.get_by_role("button", name="Ask us").click()
        await expect(page.get_by_role("dialog")).to_contain_text("cannot be loaded", timeout=20_000)
        assert asked == []
        wait_for_event(clew, "provider_failed")
        assert META in await page.evaluate("(async () => await (await fetch('/')).text())()")


async def test_pages_are_the_same_with_and_without_a_policy(
    tmp_path: Path, shop: SmallShop, receiver: Receiver
) -> None:
    folder = folder_of(tmp_path / "clew", shop, receiver, "extend")
    needed = providers()["crisp"].hosts(VENDORS["crisp"].ids)
    with ClewServe(folder) as clew:
        async with httpx2.AsyncClient() as client:
            headers = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
            plain = await client.get(f"{clew.address}/plain", headers=headers)
            strict = await client.get(f"{clew.address}/", headers=headers)
    assert "content-security-policy" not in plain.headers
    for text in (strict.headers["content-security-policy"], strict.text):
        for host in needed["script-src"]:
            assert host in text
    assert strict.text.count("Content-Security-Policy") == 1
