"""A visitor goes from the shop's host to that of its checkout, in a real browser, and stays who it is."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browsers
import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.referral.cookie import Known
from clew.service import handing
from clew.settings.model import Settings
from playwright.async_api import BrowserContext, Page, Response
from raw_http import PATIENCE, Shop, read_request, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINK = '<a id="go" href="{pay}/checkout?step=1&q=a+b%2f#top" {more}>Checkout</a>'
FORM = (
    '<form action="{pay}/checkout?old=1" method="{method}"><input name="step" value="1">'
    '<input name="append"><button id="go">Checkout</button></form>'
)
BUTTON = (
    '<form action="/save" method="post"><input name="step" value="1">'
    '<button>Save</button><button id="go" formaction="{pay}/checkout?step=1">Checkout</button></form>'
)
ORDER = (
    '<script type="application/ld+json">{"@type":"Order","orderNumber":"1001","price":"59.90",'
    '"priceCurrency":"EUR"}</script>'
)
SHARED = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"


def html(body: str) -> bytes:
    return f"<!doctype html><html lang=en><head><title>Shop</title></head><body>{body}</body></html>".encode()


@dataclass
class World:
    """A shop on `shop.test` with its checkout on `pay.test`."""

    upstream: Shop
    pages: dict[bytes, bytes]
    shop: str
    pay: str
    proxies: Sequence[ReverseProxy]

    async def known(self, context: BrowserContext, address: str) -> Known | None:
        """The visitor by the browser's cookie of a host."""
        found = [c for c in await context.cookies(address) if c.get("name") == "clew_visitor"]
        site = self.proxies[-1 if address == self.pay else 0].service.sites.at(
            address.removeprefix("http://")
        )
        assert site is not None
        return site.cookie.open(found[0].get("value", "")) if found else None

    async def landed(self, page: Page, body: str) -> None:
        """The visitor came by a partner's link, and looks at a page with this body."""
        self.pages[b"/cart"] = html(body)
        async with page.expect_response("**/-/clew/decide"):
            await page.goto(f"{self.shop}/?ref=A1")
        async with page.expect_response("**/-/clew/handover", timeout=PATIENCE * 1000) as token:
            await page.goto(f"{self.shop}/cart")
        await (await token.value).finished()

    def named(self, path: bytes) -> list[str | None]:
        """Who the requests for a path were from, by the header for the checkout's shop."""
        carrier = self.proxies[-1].service.sites[f"shop{len(set(self.proxies)) - 1}"].carrier
        found = [r for r in self.upstream.requests if r.target.partition(b"?")[0] == path]
        return [carrier.open(b"".join(r.all("X-Clew-Referral")).decode()) for r in found]

    def asked(self, path: bytes) -> list[bytes]:
        return [r.target for r in self.upstream.requests if r.target.partition(b"?")[0] == path]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy the machine is says nothing about what is joined."""
    monkeypatch.setattr(handing, "JOIN_SECONDS", 20.0)


@asynccontextmanager
async def world(folder: Path, *, two: bool = False, **changes: Any) -> AsyncIterator[World]:
    pages: dict[bytes, bytes] = {}

    async def script(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            shop.requests.append(request)
            body = pages.get(request.target.partition(b"?")[0], html("Shop"))
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            await writer.drain()

    async with Shop(script) as upstream:
        partners = [{"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/?c={click_id}"}]
        site = {
            "upstream": upstream.url,
            "partners": partners,
            "order": {"page": "/thanks", "confirm": "none"},
            **changes,
        }
        secrets = {"checkout_secret": SHARED} if two else {}
        hosts = [["shop.test"], ["pay.test"]] if two else [["shop.test", "pay.test"]]

        def settings(number: int, checkout: list[str]) -> Settings:
            own = {"name": f"shop{number}", "hosts": hosts[number], "checkout_hosts": checkout, **secrets}
            database = f"sqlite:{folder / f'clew{number}.db'}"
            top = {"secret": f"{number}" + "s" * 40, "store": database, "ledger": database}
            return Settings.model_validate({**top, "sites": [{**site, **own}]})

        proxies = [ReverseProxy(settings(n, [])) for n in range(len(hosts))]
        async with serving(proxies[0], lifespan="on") as first, serving(proxies[-1], lifespan="on") as last:
            checkout = [f"pay.test:{last}"]
            proxies[0].service.swap(settings(0, checkout))
            if two:
                proxies[1].service.swap(settings(1, [f"shop.test:{first}"]))
            yield World(upstream, pages, f"http://shop.test:{first}", f"http://pay.test:{last}", proxies)


async def arrived(page: Page) -> None:
    """The page has asked what to show, after which its address is as the shop made it."""
    await page.wait_for_load_state()
    await page.wait_for_function("!location.search.includes('clew_handover')")


async def click(page: Page) -> Page:
    async with page.expect_navigation(url=re.compile("pay.test")):
        await page.click("#go")
    return page


async def press(page: Page) -> Page:
    await page.focus("#go")
    async with page.expect_navigation(url=re.compile("pay.test")):
        await page.keyboard.press("Enter")
    return page


async def middle(page: Page) -> Page:
    async with page.context.expect_page() as opened:
        await page.click("#go", button="middle")
    return await opened.value


async def new_tab(page: Page) -> Page:
    async with page.context.expect_page() as opened:
        await page.click("#go")
    return await opened.value


async def inside_a_component(page: Page) -> Page:
    """The link is in the shadow tree of a component."""
    await page.evaluate(
        """() => {
          const host = document.body.appendChild(document.createElement("div"));
          host.attachShadow({ mode: "open" }).append(document.querySelector("#go"));
        }"""
    )
    return await click(page)


@pytest.mark.parametrize(
    ("body", "go", "target"),
    [
        (LINK, click, rb"/checkout\?step=1&q=a\+b%2f&clew_handover=[\w-]+"),
        (LINK, press, rb"/checkout\?step=1&q=a\+b%2f&clew_handover=[\w-]+"),
        (LINK, inside_a_component, rb"/checkout\?step=1&q=a\+b%2f&clew_handover=[\w-]+"),
        (LINK.replace("{more}", 'target="_blank"'), new_tab, rb"/checkout\?.*&clew_handover=[\w-]+"),
        (LINK.replace("{more}", 'target="_blank" rel="noopener noreferrer"'), new_tab, rb".*handover=[\w-]+"),
        (LINK.replace("{more}", 'referrerpolicy="no-referrer"'), click, rb".*clew_handover=[\w-]+"),
        (FORM.replace("{method}", "get"), click, rb"/checkout\?step=1&append=&clew_handover=[\w-]+"),
        (FORM.replace("{method}", "post"), click, rb"/checkout\?old=1&clew_handover=[\w-]+"),
        (BUTTON, click, rb"/checkout\?step=1&clew_handover=[\w-]+"),
    ],
)
async def test_links_and_forms_take_the_visitor_along(
    tmp_path: Path, context: BrowserContext, body: str, go: Any, target: bytes
) -> None:
    await taken_along(tmp_path, context, body, go, target)


async def test_a_link_that_the_middle_button_opens_takes_the_visitor_along(tmp_path: Path) -> None:
    # Of the shell, every third time no tab comes.
    async with browsers.chromium(browsers.WHOLE) as browser:
        context = await browser.new_context()
        context.set_default_timeout(60_000)
        await taken_along(tmp_path, context, LINK, middle, rb"/checkout\?step=1&.*&clew_handover=[\w-]+")


async def taken_along(
    tmp_path: Path, context: BrowserContext, body: str, go: Callable[[Page], Awaitable[Page]], target: bytes
) -> None:
    """The other host knows whose order it is that comes by this link or form."""
    page = await context.new_page()
    async with world(tmp_path) as at:
        await at.landed(page, body.replace("{pay}", at.pay).replace("{more}", ""))
        before = await page.evaluate("document.querySelector('#go').closest('form,a').outerHTML")
        there = await go(page)
        (asked,) = at.asked(b"/checkout")
        assert re.fullmatch(target, asked)
        mine, theirs = await at.known(context, at.shop), await at.known(context, at.pay)
        assert mine is not None
        assert theirs is not None
        assert theirs.visitor == mine.visitor
        assert [click.value for touch in theirs.touches for click in touch.clicks] == ["A1"]
        await arrived(there)
        if there is not page and go is not inside_a_component:
            # The page behind still has the link as the shop wrote it.
            after = await page.evaluate("document.querySelector('#go').closest('form,a').outerHTML")
            assert after == before


@pytest.mark.parametrize("two", [False, True], ids=["one site", "another clew"])
async def test_the_order_at_the_checkout_is_credited_to_the_click_in_the_shop(
    tmp_path: Path, context: BrowserContext, two: bool
) -> None:
    page = await context.new_page()
    async with world(tmp_path, two=two, carry={"header": True}) as at:
        await at.landed(page, LINK.format(pay=at.pay, more=""))
        await click(page)
        await arrived(page)
        came = await at.known(context, at.shop)
        assert came is not None
        assert at.named(b"/checkout") == [came.visitor]  # the request that brings the token, too
        at.pages[b"/thanks"] = html(ORDER)
        await page.goto(f"{at.pay}/thanks")
        ledger, name = at.proxies[-1].service.ledger, f"shop{int(two)}"
        async with asyncio.timeout(PATIENCE * 2):
            # The page is read after it was sent.
            while (order := await ledger.orders.get(name, "1001")) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert order.partner == "blog"
        mine = await at.known(context, at.shop)
        assert mine is not None
        assert order.visitor == mine.visitor
        # The shop's own host is no referrer that could take the credit.
        stored = await at.proxies[-1].service.visits.get(name, mine.visitor)
        assert stored is not None
        assert [t.referrer for t in stored.touches if t.referrer] == []


async def test_a_page_that_is_in_caches_holds_no_token(tmp_path: Path, context: BrowserContext) -> None:
    page = await context.new_page()
    async with world(tmp_path) as at:
        seen: list[Response] = []
        page.on("response", lambda response: seen.append(response))
        await at.landed(page, LINK.format(pay=at.pay, more=""))
        (cart,) = [r for r in seen if r.url == f"{at.shop}/cart"]
        assert "clew_handover" not in await cart.text()
        assert "private" not in (cart.headers.get("cache-control") or "")
        assert "clew_handover" not in await page.content()


async def test_a_token_counts_once_and_not_from_elsewhere(tmp_path: Path, context: BrowserContext) -> None:
    page = await context.new_page()
    async with world(tmp_path) as at:
        await at.landed(page, LINK.format(pay=at.pay, more=""))
        await click(page)
        (used,) = at.asked(b"/checkout")
        await arrived(page)
        await context.clear_cookies()
        thief = await context.new_page()
        await thief.goto(at.pay + used.decode(), referer=f"{at.shop}/cart")
        found = await at.known(context, at.pay)
        assert found is None or found.touches == ()
        # An attacker's own token, in a link on a page of its own, makes nobody the attacker.
        attacker = Known("attackerattackerattacker22", (), 1_700_000_000)
        site = at.proxies[0].service.sites["shop0"]
        host, now = at.pay.removeprefix("http://"), at.proxies[0].service.clock.now()
        token = site.handovers.token(attacker, at.shop.removeprefix("http://"), host, now)
        for referer in ("http://evil.test/", None):
            victim = await context.new_page()
            await victim.goto(
                f"{at.pay}/checkout?clew_handover={token}", **({"referer": referer} if referer else {})
            )
            await victim.wait_for_load_state()
            found = await at.known(context, at.pay)
            assert found is None or found.visitor != attacker.visitor


async def test_without_consent_there_is_no_token(tmp_path: Path, context: BrowserContext) -> None:
    page = await context.new_page()
    async with world(tmp_path, consent={"mode": "ask"}) as at:
        at.pages[b"/cart"] = html(LINK.format(pay=at.pay, more=""))
        await page.goto(f"{at.shop}/?ref=A1")
        async with page.expect_response("**/-/clew/decide"):
            await page.goto(f"{at.shop}/cart")
        there = await click(page)
        await there.wait_for_load_state()
        assert at.asked(b"/checkout") == [b"/checkout?step=1&q=a+b%2f"]
        assert await at.known(context, at.pay) is None


async def test_consent_is_taken_along(tmp_path: Path, context: BrowserContext) -> None:
    page = await context.new_page()
    async with world(tmp_path, consent={"mode": "ask"}) as at:
        await page.add_init_script("if (location.host.startsWith('shop')) window.clewConsent = 'granted'")
        await at.landed(page, LINK.format(pay=at.pay, more=""))
        await click(page)
        await arrived(page)
        mine, theirs = await at.known(context, at.shop), await at.known(context, at.pay)
        assert mine is not None
        assert theirs is not None
        assert theirs.agreed
        assert theirs.visitor == mine.visitor
