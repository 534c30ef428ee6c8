"""What rules do, and what their invites say, as a browser gets it from the whole mount."""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.middleware.asgi.mount import ClewMiddleware
from clew.orders.model import OrderSeen
from clew.referral.visitor import CartSeen
from clew.settings.model import Settings
from starlette.applications import Starlette

PARTNER = {"id": "blog", "name": "Anna's blog", "param": "aff", "postback": "https://p.test/?c={click_id}"}
PHONE = {"phone": {"number": "+49 30 1234567"}}
OTHER = {"number": {"tel": "+442079460018", "shown": "+44 20 7946 0018"}}
COUPONS = {"coupons": [{"name": "summer", "label": "10 % off"}], "coupon_url": "/cart?coupon={code}"}


class Shop:
    """A shop with rules, by the whole mount."""

    def __init__(self, folder: Path, **site: Any) -> None:
        database = f"sqlite:{folder / 'clew.db'}"
        settings = {"secret": "s" * 40, "store": database, "ledger": database}
        site = {"name": "shop", "hosts": ["shop.example"], "invites": {"holdout": 0}, **site}
        self.clew = ClewMiddleware(Starlette(), Settings.model_validate({**settings, "sites": [site]}))
        self.service = self.clew.service
        self.site = self.service.sites["shop"]
        self.views = 0

    def browser(self, address: str = "192.0.2.7") -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.clew, client=(address, 1))
        return httpx2.AsyncClient(transport=transport, base_url="https://shop.example/-/clew/")

    async def ask(
        self, browser: httpx2.AsyncClient, path: str = "/", view: str | None = None, **more: Any
    ) -> dict[str, Any]:
        self.views += 1
        url = f"https://shop.example{path}"
        body = {"view": view or f"{self.views:06}-view", "url": url, "title": "T", "language": "en", **more}
        answer = await browser.post("decide", json=body)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    def visitor(self, browser: httpx2.AsyncClient) -> str:
        known = self.site.cookie.open(browser.cookies["clew_visitor"])
        assert known is not None
        return known.visitor


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Shop] = []

    async def make(rules: Sequence[dict[str, Any]], **site: Any) -> Shop:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Shop(folder, rules=[{"name": "r", "action": "invite", **rule} for rule in rules], **site))
        await made[-1].service.open()
        made[-1].clew.startup.started = True
        return made[-1]

    yield make
    for shop in made:
        await shop.service.close()


@pytest.mark.parametrize("default", ["show", "hide"])
async def test_a_rule_that_does_nothing_stops_the_rules_after_it(make: Any, default: str) -> None:
    rules = [
        {"name": "control", "action": "nothing", "priority": 5, "when": ["page.path == '/a'"]},
        {"name": "other"},
    ]
    shop = await make(rules, widget={"default": default})
    async with shop.browser() as browser:
        found = await shop.ask(browser, "/a")
        assert (found["action"], found["rule"], found["invite"]) == (default, "control", None)
        assert (await shop.ask(browser, "/b"))["action"] == "invite"


async def test_the_chat_opens_by_itself_once_in_a_visit(make: Any) -> None:
    shop = await make(
        [{"action": "open", "text": "Hello"}, {"name": "s", "action": "open"}],
        invites={"holdout": 0, "pause": 0},
    )
    async with shop.browser() as browser:
        opens = []
        for number in range(4):
            found = await shop.ask(browser, view=f"{number}-view-of-page")
            again = await shop.ask(browser, view=f"{number}-view-of-page")
            assert (found["action"], found["rule"]) == (again["action"], again["rule"])
            await browser.post("events", json={"kind": "seen", "rule": found["rule"]})
            opens.append("open" in (found["invite"] or {}).get("more", {}))
        assert opens == [True, False, False, False]
    async with shop.browser() as browser:
        assert (await shop.ask(browser))["invite"]["more"] == {"open": True}


async def test_for_visitors_without_consent_it_is_an_invite(make: Any) -> None:
    shop = await make([{"action": "open", "text": "Hello"}], consent={"mode": "ask"})
    async with shop.browser() as browser:
        found = await shop.ask(browser, consent={"choice": "denied"})
        assert (found["action"], found["invite"]["text"]) == ("invite", "Hello")
        assert "more" not in found["invite"]


async def test_opening_counts_as_the_invite_that_it_is(make: Any) -> None:
    shop = await make([{"action": "open"}, {"name": "s"}], invites={"holdout": 0, "per_visit": 1, "pause": 0})
    async with shop.browser() as browser:
        await shop.ask(browser)
        await browser.post("events", json={"kind": "dismissed", "rule": "r"})
        assert (await shop.ask(browser))["action"] == "show"
    await shop.service.exposures.write()
    rows = await shop.service.ledger.exposures.count("shop", now=shop.service.clock.now(), window=1.0)
    assert [(one.rule, one.assigned, one.rendered, one.dismissed) for one in rows] == [("r", 1, 1, 1)]


@pytest.mark.parametrize(
    ("rule", "site", "hours", "shown"),
    [
        ({}, PHONE, None, {"number": {"tel": "+49301234567", "shown": "+49 30 1234567"}}),
        ({"number": "+44 20 7946 0018"}, PHONE, None, OTHER),
        ({"number": "+49301234567"}, {"callback": {}}, {}, {"callback": True}),
        ({"number": "+49301234567", "closed": "nothing"}, {"callback": {}}, {}, None),
        ({"number": "+49301234567"}, {}, {}, None),
    ],
    ids=["site", "rule", "closed-callback", "closed-nothing", "closed-without-callback"],
)  # fmt: skip
async def test_a_number_is_shown_while_somebody_answers_it(
    make: Any, rule: dict[str, Any], site: dict[str, Any], hours: dict[str, Any] | None, shown: Any
) -> None:
    later = {"name": "later", "text": "Or ask here"}
    shop = await make(
        [{"action": "number", "text": "Call us", "priority": 5, **rule}, later],
        **site,
        **({} if hours is None else {"hours": hours}),
    )
    async with shop.browser() as browser:
        found = await shop.ask(browser)
        if shown is None:
            assert found["rule"] == "later"
        else:
            expected = {"rule": "r", "text": "Call us", "question": False, "more": shown}
            assert found["invite"] == expected


async def test_an_invite_to_be_called_has_no_other_field(make: Any) -> None:
    shop = await make([{"action": "callback", "text": "Shall we call?"}], callback={"country": "DE"})
    async with shop.browser() as browser:
        found = await shop.ask(browser)
        assert found["invite"] == {
            "rule": "r",
            "text": "Shall we call?",
            "question": False,
            "more": {"callback": True},
        }


async def test_a_persona_invites_in_the_visitors_language_and_in_the_conversation(make: Any) -> None:
    personas = {
        "anna": {"name": {"en": "Anna", "de": "Anna aus Köln"}, "picture": "/anna.jpg"},
        "team": {"name": "The team"},
    }
    rules = [{"persona": "anna", "text": "I am {agent}.", "when": ["page.path == '/a'"]}, {"name": "s"}]
    shop = await make(rules, personas=personas, invites={"holdout": 0, "persona": "team", "pause": 0})
    async with shop.browser() as browser:
        found = await shop.ask(browser, "/a", language="de")
        anna = {"name": "Anna aus Köln", "picture": "/anna.jpg"}
        assert found["invite"]["more"] == {"persona": anna}
        assert found["invite"]["text"] == "I am Anna aus Köln."
        assert (await shop.ask(browser, "/b"))["invite"]["more"] == {
            "persona": {"name": "The team", "picture": None}
        }
        said = {"text": "Hello", "client_id": "client-id-1", "rule": "r", "language": "de"}
        assert (await browser.post("messages", json=said)).status_code == 201
        talk = (await browser.get("messages")).json()
        assert (talk["persona"], talk["invite"]) == (anna, "I am Anna aus Köln.")


# -- texts


async def test_texts_have_what_is_known_of_the_visitor(make: Any) -> None:
    text = (
        "{visitor|There}, {product|nothing}, {cart|nothing}, {items|0}, {keyword|nothing}, {partner|nobody}"
    )
    shop = await make(
        [{"text": text, "keywords": ["coffee mill"], "pages": 50}],
        partners=[PARTNER],
        page_types={"/p/*": "product"},
        facts={"customer.first_name": {"header": "x-name"}},
        invites={"holdout": 0, "pause": 0},
    )  # fmt: skip
    async with shop.browser() as browser:
        found = await shop.ask(browser)
        assert found["invite"]["text"] == "There, nothing, nothing, 0, nothing, nobody"
        await shop.ask(
            browser,
            "/p/1?aff=c1&utm_term=best+Coffee+MILL+ever",
            title="Mill No. 1",
            referrer="https://blog.test/",
        )
        cart = CartSeen({"value": "1234.50", "currency": "EUR", "items": "2"}, "/cart")
        await shop.service.visits.change("shop", shop.visitor(browser), [cart], shop.service.clock.now())
        browser.headers["x-name"] = "Kim"
        found = await shop.ask(browser, language="de")
        expected = "Kim, Mill No. 1, 1.234,50 €, 2, coffee mill, Anna's blog"
        assert found["invite"]["text"] == expected
        said = {"text": "Hello", "client_id": "client-id-1", "rule": "r", "language": "de"}
        assert (await browser.post("messages", json=said)).status_code == 201
        assert (await browser.get("messages")).json()["invite"] == expected


INSULT = "%3Cscript%3Ealert(1)%3C/script%3E+%E2%80%AEyour+shop+is+a+scam"


async def test_a_partners_link_cannot_make_the_shop_say_anything(make: Any) -> None:
    text = "[{keyword|}] [{search|}] [{partner|}] [{visitor|}] [{product|}]"
    shop = await make(
        [{"text": text, "keywords": ["mugs"], "pages": 50}],
        page_types={"/search*": "search", "/p/*": "product"},
        facts={"customer.first_name": {"cookie": "name"}},
        invites={"holdout": 0, "pause": 0},
    )
    async with shop.browser() as browser:
        await shop.ask(browser)
        query = f"utm_term={INSULT}&utm_source={INSULT}&utm_campaign={INSULT}&q={INSULT}&name={INSULT}"
        for path in (f"/?{query}", f"/search?{query}", f"/?{query}"):
            found = await shop.ask(browser, path, referrer=f"https://www.bing.com/search?q={INSULT}")
        assert found["invite"]["text"] == "[] [] [] [] []"


async def test_a_text_with_a_gap_is_not_said(make: Any) -> None:
    rules = [
        {"when": ["page.path == '/a'"], "text": "Your {cart}?", "text_plain": {"en": "A question?"}},
        {"name": "s", "text": "{visitor}!"},
    ]  # fmt: skip
    shop = await make(rules, invites={"holdout": 0, "pause": 0})
    async with shop.browser() as browser:
        assert (await shop.ask(browser, "/a"))["invite"]["text"] == "A question?"
        assert (await shop.ask(browser, "/b"))["invite"]["text"].startswith("Can we help you?")


# -- offers


async def code_for(browser: httpx2.AsyncClient, rule: str = "r") -> httpx2.Response:
    return await browser.post("coupon", json={"rule": rule, "page": "/p/1?utm_source=x"})


async def fill_pool(shop: Shop, *codes: str) -> None:
    assert await shop.service.ledger.offers.add_codes("shop", "summer", codes, 1.0) == len(codes)


async def free(shop: Shop) -> int:
    return (await shop.service.ledger.offers.pools("shop"))["summer"].free


async def test_only_who_asks_in_an_invite_gets_a_code_and_one_alone(make: Any) -> None:
    shop = await make([{"offer": "summer", "text": "10 % for you"}], offers=COUPONS)
    await fill_pool(shop, "A1", "A2", "A3")
    async with shop.browser() as browser:
        assert (await code_for(browser)).status_code == 403
        # Before the visitor is known there is no record that could tell whom the rule has invited.
        found = await shop.ask(browser)
        assert (found["action"], found["retry_after"]) == ("show", 1.0)
        found = await shop.ask(browser)
        assert found["invite"]["more"] == {"offer": "10 % off"}
        for _ in range(3):
            await shop.ask(browser)
        assert await free(shop) == 3
        given = [(await code_for(browser)).json() for _ in range(3)]
        assert given[0] == given[1] == given[2]
        assert (given[0]["code"], given[0]["label"]) == ("A1", "10 % off")
        assert await free(shop) == 2
        led = await browser.get(given[0]["link"])
        assert led.headers["location"] == "/cart?coupon=A1"
        # The visitor's invite, the agent's page and the order know of it.
        said = {"text": "Hello", "client_id": "client-id-1", "rule": "r"}
        assert (await browser.post("messages", json=said)).status_code == 201
        talk = (await browser.get("messages")).json()
        assert talk["invite"] == "10 % for you\n10 % off: A1"
        visitor = shop.visitor(browser)
        conversation = await shop.service.ledger.conversations.own("shop", visitor)
        assert conversation is not None
        (offer,) = await shop.service.ledger.offers.of_conversation("shop", conversation.id, visitor)
        assert (offer.rule, offer.agent, offer.coupon_code, offer.page) == ("r", "", "A1", "/p/1")
    order = OrderSeen("7", Decimal(10), "EUR", "api", coupon="a1")
    await shop.service.ordering.record(shop.site, order, visitor=None)
    (one,) = await shop.service.ledger.offers.sums("shop")
    assert (one.rule, one.agent, one.sent, one.clicked, one.orders) == ("r", "", 1, 1, 1)


async def test_a_stranger_does_not_drain_a_pool(make: Any) -> None:
    """Programs that load pages get no code; those that also ask for one get as many as the limits allow."""
    shop = await make([{"offer": "summer"}], offers=COUPONS)
    await fill_pool(shop, *(f"C{n}" for n in range(30)))
    now = [1000.0]
    shop.service.limits._clock = lambda: now[0]

    async def asks(times: int) -> list[int]:
        statuses = []
        for _ in range(times):
            async with shop.browser() as browser:
                await shop.ask(browser)
                await shop.ask(browser)
                statuses.append((await code_for(browser)).status_code)
        return statuses

    assert await asks(23) == [200] * 20 + [429] * 3
    # An hour and a half later there is one more of the day's.
    now[0] += 5400
    assert await asks(3) == [200, 429, 429]
    assert await free(shop) == 9


async def test_who_only_says_that_it_was_invited_gets_no_code(make: Any) -> None:
    """What a page tells of an invite is believed for the visitor's own limits, and never for a code."""
    shop = await make([{"offer": "summer", "when": ["cart.value > 500"]}], offers=COUPONS)
    await fill_pool(shop, "A1")
    async with shop.browser() as browser:
        for _ in range(2):
            assert (await shop.ask(browser))["action"] == "show"
        for kind in ("seen", "accepted"):
            assert (await browser.post("events", json={"kind": kind, "rule": "r"})).status_code == 204
            assert (await code_for(browser)).status_code == 403
        await shop.ask(browser)
        assert (await code_for(browser)).status_code == 403
        assert await free(shop) == 1


@pytest.mark.parametrize("out", ["nothing", "invite"])
async def test_an_empty_pool_is_told_and_the_rule_does_as_it_says(make: Any, out: str) -> None:
    shop = await make([{"offer": "summer", "offer_out": out}], offers=COUPONS)
    await fill_pool(shop, "A1")
    async with shop.browser("192.0.2.1") as first, shop.browser("192.0.2.2") as second:
        for browser in (first, second):
            await shop.ask(browser)
            await shop.ask(browser)
        assert (await code_for(first)).status_code == 200
        assert (await code_for(second)).status_code == 409
        assert "coupons_out" in {notice for _, notice, _ in shop.service.events._noted}
        found = await shop.ask(second)
        assert found["action"] == ("show" if out == "nothing" else "invite")
        assert "more" not in (found["invite"] or {})


async def test_an_offer_with_a_code_for_all_needs_no_pool(make: Any) -> None:
    offers = {"coupons": [{"name": "summer", "label": "10 % off", "code": "SUMMER"}]}
    shop = await make([{"offer": "summer"}], offers=offers)
    async with shop.browser() as browser:
        await shop.ask(browser)
        await shop.ask(browser)
        given = await code_for(browser)
        assert given.json() == {"code": "SUMMER", "label": "10 % off", "link": None}
        assert (await code_for(browser, "other")).status_code == 404
