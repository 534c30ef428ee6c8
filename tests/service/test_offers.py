"""Links and offers that agents send: where they lead, who clicked them, and which order followed."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen
from clew.service.conversations import MessageError
from clew.service.offers import OfferError, Wanted, target
from clew.service.service import Service
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.errors import NoConversationError
from clew.stores.ledger.offers import PER_CONVERSATION, NewOffer, NoCodeError, Offer, add
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting import NOW, PARTNER, Shop, site

HOUR = 3600.0
COUPONS = [
    {"name": "welcome", "code": "WELCOME10", "label": "Ten percent off"},
    {"name": "own"},
    {"name": "back", "return_unused": True},
]
OFFERS = {"coupon_url": "/discount/{code}?redirect={page}", "cart_url": "/cart/{cart}", "coupons": COUPONS}


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    partner = {**PARTNER, "codes": ["PARTNER5"]}
    built = Shop(tmp_path, site(hosts=["shop.test"], partners=[partner], offers=OFFERS), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


async def talk(shop: Shop, visitor: str = "ada") -> str:
    shop.now += 1
    added = await shop.service.ledger.conversations.add_visitor_message(
        "shop", visitor, "hello", client_id=f"c{shop.now}-xxxx", language="en", rule=None, now=shop.now
    )
    return added.conversation.id


async def sent(shop: Shop, conversation: str, visitor: str = "ada", **changes: str) -> Offer:
    shop.now += 1
    values: dict[str, Any] = {"page": "/mug", "label": "The green mug", "coupon": "", "cart": ""}
    wanted = Wanted(**{"client_id": None, **values, **changes}, origin="https://shop.test")
    return await shop.service.offers.send(shop.service.sites["shop"], conversation, visitor, "bo", wanted)


async def click(shop: Shop, offer: Offer, visitor: str | None = "ada") -> str:
    """Follow a link; where it leads."""
    one = shop.service.sites["shop"]
    found, valid = await shop.service.offers.followed(one, offer.code, visitor)
    assert found is not None
    return target(one, found) if valid else found.page


async def now(shop: Shop, offer: Offer) -> Offer:
    found = await shop.service.ledger.offers.get("shop", offer.code)
    assert found is not None
    return found


def order(number: str = "1001", **changes: Any) -> OrderSeen:
    return OrderSeen(number, Decimal("119.00"), "EUR", "api", **{"state": "placed", **changes})


async def test_an_offer_is_a_message_with_its_label_and_a_link_under_the_shops_prefix(shop: Shop) -> None:
    conversation = await talk(shop)
    offer = await sent(shop, conversation, label="  The   green mug ")
    _, messages = await shop.service.ledger.conversations.visitor_messages("shop", "ada")
    assert messages[-1].text == f"The green mug\nhttps://shop.test/-/clew/o/{offer.code}"
    assert messages[-1].agent == "bo"


@pytest.mark.parametrize(
    ("changes", "leads"),
    [
        ({}, "/mug"),
        ({"page": "https://shop.test/mug?size=2#top"}, "/mug?size=2#top"),
        ({"page": "/tasse/größe"}, "/tasse/gr%C3%B6%C3%9Fe"),
        ({"coupon": "welcome"}, "/discount/WELCOME10?redirect=%2Fmug"),
        ({"cart": "4711:2,4712:1"}, "/cart/4711:2,4712:1"),
        ({"cart": "4711:2", "coupon": "welcome"}, "/discount/WELCOME10?redirect=%2Fcart%2F4711%3A2"),
    ],
)
async def test_a_link_leads_to_the_shops_page_with_its_coupon_and_cart(
    shop: Shop, changes: dict[str, str], leads: str
) -> None:
    offer = await sent(shop, await talk(shop), **changes)
    assert await click(shop, offer) == leads


@pytest.mark.parametrize(
    "page",
    [
        *(
            "https://evil.test/",
            "//evil.test/",
            "/\\evil.test",
            "\\\\evil.test",
            "https:evil.test",
            "evil.test",
        ),
        *(
            "javascript:alert(1)",
            "/\t/evil.test",
            "/a b",
            "https://shop.test@evil.test/",
            "https://[",
            "///x",
        ),
        *("/-/clew/desk", "/" + "a" * 1001, "https://shop.test.evil.test/", "data:text/html,x", "/a\nb"),
    ],
)
async def test_a_link_leads_nowhere_else(shop: Shop, page: str) -> None:
    with pytest.raises(OfferError, match="page: "):
        await sent(shop, await talk(shop), page=page)


@settings(max_examples=300)
@given(st.text(max_size=40))
def test_no_text_leads_to_another_host(text: str) -> None:
    from urllib.parse import urljoin, urlsplit

    from clew.service.offers import offered_page

    try:
        page = offered_page(_runtime(), text, "", NOW)
    except OfferError:
        return
    assert urlsplit(urljoin("https://shop.test/-/clew/o/x", page)).netloc == "shop.test"
    assert page.isascii()
    assert page.isprintable()


def _runtime() -> Any:
    if not _RUNTIME:
        from clew.referral.networks_file import load
        from clew.service.site import SiteRuntime
        from clew.settings.model import Settings

        made = Settings.model_validate(
            {"secret": "s" * 40, "store": "sqlite:x", "sites": [site(hosts=["shop.test"], offers=OFFERS)]}
        )
        _RUNTIME.append(SiteRuntime(made, made.sites[0], load()))
    return _RUNTIME[0]


_RUNTIME: list[Any] = []


@pytest.mark.parametrize("query", ["ref=c9", "utm_source=desk", "awc=1_2_3"])
async def test_a_link_with_a_click_in_it_is_refused(shop: Shop, query: str) -> None:
    with pytest.raises(OfferError, match="is no arrival of a partner"):
        await sent(shop, await talk(shop), page=f"/mug?{query}")


async def test_only_its_visitors_click_counts(shop: Shop) -> None:
    offer = await sent(shop, await talk(shop))
    await click(shop, offer, None)
    await click(shop, offer, "eve")
    found = await now(shop, offer)
    assert (found.clicks, found.others, found.clicked_at) == (0, 2, None)
    await click(shop, offer)
    await click(shop, offer)
    found = await now(shop, offer)
    assert (found.clicks, found.others, found.clicked_at) == (2, 2, shop.now)


async def test_after_its_time_a_link_leads_to_its_page_without_the_coupon_and_counts_nothing(
    shop: Shop,
) -> None:
    offer = await sent(shop, await talk(shop), coupon="welcome")
    shop.now += 73 * HOUR
    assert await click(shop, offer) == "/mug"
    assert (await now(shop, offer)).clicks == 0


async def test_a_code_of_another_site_or_of_nobody_is_unknown(shop: Shop) -> None:
    one = shop.service.sites["shop"]
    for code in ("x" * 22, "", "../..", "x" * 5000, "%00"):
        assert await shop.service.offers.followed(one, code, "ada") == (None, False)


async def test_an_order_of_the_visitor_within_the_window_follows_from_its_click(shop: Shop) -> None:
    await shop.bought("ada")
    offer = await sent(shop, await talk(shop))
    await shop.record(order("1000"), "ada")
    assert (await now(shop, offer)).order is None, "nobody has clicked yet"
    await click(shop, offer)
    await shop.record(order("1001"), "eve")
    assert (await now(shop, offer)).order is None, "another visitor's"
    shop.now += HOUR
    await shop.record(order("1002"), "ada")
    found = await now(shop, offer)
    assert (found.order, found.followed_by) == ("1002", "click")


async def test_an_order_after_the_window_does_not_follow(shop: Shop) -> None:
    offer = await sent(shop, await talk(shop))
    await click(shop, offer)
    shop.now += 73 * HOUR
    await shop.record(order(), "ada")
    assert (await now(shop, offer)).order is None


async def test_an_order_with_a_code_that_one_offer_has_follows_from_it_whoever_ordered(shop: Shop) -> None:
    await shop.service.offers.add_codes(shop.service.sites["shop"], "own", "AAA-1\n\n AAA-2 \nAAA-1\n")
    offer = await sent(shop, await talk(shop), coupon="own")
    assert offer.coupon_code == "AAA-1"
    await shop.record(order(coupon="aaa-1"), None)
    found = await now(shop, offer)
    assert (found.order, found.followed_by, found.clicks) == ("1001", "coupon", 0)


async def test_an_order_with_a_code_for_everybody_follows_only_from_the_visitors_offer(shop: Shop) -> None:
    offer = await sent(shop, await talk(shop), coupon="welcome")
    await shop.record(order("1", coupon="WELCOME10"), "eve")
    assert (await now(shop, offer)).order is None
    await shop.record(order("2", coupon="WELCOME10"), "ada")
    assert ((await now(shop, offer)).order, (await now(shop, offer)).followed_by) == ("2", "coupon")


async def test_an_order_that_is_cancelled_followed_from_nothing(shop: Shop) -> None:
    offer = await sent(shop, await talk(shop))
    await click(shop, offer)
    await shop.record(order(), "ada")
    assert (await now(shop, offer)).order == "1001"
    await shop.record(OrderSeen("1001", None, None, "api", state="cancelled"), "ada")
    assert (await now(shop, offer)).order is None
    (total,) = await shop.service.ledger.offers.sums("shop")
    assert (total.sent, total.clicked, total.orders) == (1, 1, 0)


async def test_an_offer_moves_no_commission(shop: Shop) -> None:
    """The partner's click earns the order as it did before, with and without an offer in between."""
    await shop.bought("ada")
    await shop.bought("eve", "c2")
    offer = await sent(shop, await talk(shop), coupon="welcome")
    before = await shop.service.visits.get("shop", "ada")
    await click(shop, offer)
    after = await shop.service.visits.get("shop", "ada")
    assert before is not None
    assert after is not None
    assert after.touches == before.touches
    await shop.record(order("1", coupon="WELCOME10"), "ada")
    await shop.record(order("2"), "eve")
    orders = {o.order_id: o for o in await shop.service.ledger.orders.list("shop")}
    assert [orders[n].partner for n in "12"] == ["blog", "blog"]
    assert orders["1"].click is not None
    assert orders["1"].click.value == "c1"
    await shop.deliver()
    assert sorted(shop.calls) == [("order", "1", "119.00"), ("order", "2", "119.00")]


async def test_a_partners_own_code_cannot_be_loaded_as_a_coupon(shop: Shop) -> None:
    with pytest.raises(OfferError, match="partner5 is a code of the partner blog"):
        await shop.service.offers.add_codes(shop.service.sites["shop"], "own", "X1\npartner5")


@pytest.mark.parametrize("text", ["", "a b", "<b>", "x" * 101])
async def test_what_is_no_code_is_refused_and_named(shop: Shop, text: str) -> None:
    with pytest.raises(OfferError, match="codes: "):
        await shop.service.offers.add_codes(shop.service.sites["shop"], "own", text)


def new(shop: Shop, code: str, **changes: Any) -> NewOffer:
    values: dict[str, Any] = {
        "code": code,
        "site": "shop",
        "conversation": code,
        "visitor": "ada",
        "agent": "bo",
        "client_id": None,
        "label": "x",
        "page": "/",
        "cart": None,
        "coupon": "own",
        "coupon_code": None,
        "pooled": True,
        "returned": False,
        "made_at": shop.now,
        "expires_at": shop.now + HOUR,
    }
    return NewOffer(**{**values, **changes})


async def made(ledger: Ledger, new: NewOffer) -> Offer:
    await ledger.db.transact(lambda tx: add(tx, new))
    found = await ledger.offers.get(new.site, new.code)
    assert found is not None
    return found


async def test_each_single_use_code_is_handed_out_once_over_two_processes(
    shop: Shop, ledger_address: str
) -> None:
    other = Service(shop.service.settings)
    await other.open()
    try:
        ledgers = (shop.service.ledger, other.ledger)
        books = shop.service.ledger.offers
        await books.add_codes("shop", "own", [f"C{n}" for n in range(30)], shop.now)
        wanted = [made(ledgers[n % 2], new(shop, f"o{n}")) for n in range(40)]
        found = await asyncio.gather(*wanted, return_exceptions=True)
    finally:
        await other.close()
    codes = [one.coupon_code for one in found if isinstance(one, Offer)]
    assert sorted(codes, key=str) == sorted((f"C{n}" for n in range(30)), key=str)
    assert sum(isinstance(one, NoCodeError) for one in found) == 10
    assert (await books.pools("shop"))["own"].free == 0


async def test_a_form_that_is_sent_twice_at_once_takes_one_code(shop: Shop) -> None:
    books, conversation = shop.service.ledger.offers, await talk(shop)
    await books.add_codes("shop", "own", ["C1", "C2"], shop.now)
    twice = [sent(shop, conversation, coupon="own", client_id="form-1") for _ in range(2)]
    first, second = await asyncio.gather(*twice)
    assert first.code == second.code
    assert (await books.pools("shop"))["own"].free == 1
    _, messages = await shop.service.ledger.conversations.visitor_messages("shop", "ada")
    assert len(messages) == 2


@pytest.mark.parametrize("why", ["held", "too long", "deleted", "the ledger fails"])
async def test_an_offer_that_was_not_sent_takes_no_code(
    shop: Shop, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, conversation = shop.service.ledger.offers, await talk(shop)
    await books.add_codes("shop", "own", ["C1"], shop.now)
    if why == "held":
        await shop.service.conversations.take("shop", conversation, "cy")
    elif why == "too long":
        monkeypatch.setattr("clew.service.conversations.plain_text", _too_long)
    elif why == "deleted":
        await shop.service.own_talk.forget(shop.service.sites["shop"], "ada", None)
    else:
        monkeypatch.setattr("clew.stores.ledger.conversations._add", _failing)
    with pytest.raises((OfferError, MessageError, NoConversationError, OSError)):
        await sent(shop, conversation, coupon="own")
    assert (await books.pools("shop"))["own"].free == 1
    assert await books.of_conversation("shop", conversation) == ()


def _too_long(*_: Any) -> str:
    raise MessageError("too long")


async def _failing(*_: Any) -> None:
    raise OSError("the disk is full")


async def test_a_conversation_has_no_more_offers_than_it_may_even_at_the_same_time(shop: Shop) -> None:
    conversation = await talk(shop)
    for _ in range(PER_CONVERSATION - 1):
        await sent(shop, conversation)
    last = await asyncio.gather(*(sent(shop, conversation) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(one, OfferError) for one in last) == 3
    assert len(await shop.service.ledger.offers.of_conversation("shop", conversation)) == PER_CONVERSATION


@pytest.mark.parametrize(
    ("returned", "clicked", "again"), [(True, False, True), (True, True, False), (False, False, False)]
)
async def test_a_code_that_nobody_followed_comes_back_if_its_pool_says_so(
    shop: Shop, returned: bool, clicked: bool, again: bool
) -> None:
    books = shop.service.ledger.offers
    await books.add_codes("shop", "back", ["C1"], shop.now)
    await made(shop.service.ledger, new(shop, "o1", coupon="back", returned=returned))
    with pytest.raises(NoCodeError):
        await made(shop.service.ledger, new(shop, "o2", coupon="back", returned=returned))
    if clicked:
        await books.clicked("shop", "o1", shop.now, shop.now + HOUR)
    shop.now += 2 * HOUR
    if not again:
        with pytest.raises(NoCodeError):
            await made(shop.service.ledger, new(shop, "o3", coupon="back", returned=returned))
        return
    third = await made(shop.service.ledger, new(shop, "o3", coupon="back", returned=returned))
    assert third.coupon_code == "C1"
    await shop.record(order(coupon="C1"), None)
    first, last = await books.get("shop", "o1"), await books.get("shop", "o3")
    assert first is not None
    assert last is not None
    assert (first.order, last.order) == (None, "1001")


async def test_the_agent_is_told_that_no_code_is_left(shop: Shop) -> None:
    with pytest.raises(OfferError, match="no code of own is left"):
        await sent(shop, await talk(shop), coupon="own")


async def test_exports_and_events_have_each_step_of_an_offer(shop: Shop) -> None:
    from clew.postbacks.outgoing import event_of
    from clew.stores.ledger.exports import Wanted as Rows

    async def last() -> tuple[str, Any]:
        found = (await shop.service.ledger.exports.entries("offers", Rows("shop"), None, 10))[-1]
        event = event_of("shop", "offers", found.rows, found.cursor, None, personal=False)
        assert event is not None
        assert "visitor" not in event.data
        return event.type, found.rows[0]["order_id"]

    offer = await sent(shop, await talk(shop), coupon="welcome")
    assert await last() == ("offer.sent", None)
    await click(shop, offer)
    assert await last() == ("offer.clicked", None)
    await shop.record(order(), "ada")
    assert await last() == ("offer.ordered", "1001")
    page = await shop.service.ledger.exports.page("offers", Rows("shop"), None, 10)
    assert [row["coupon_code"] for row in page.rows] == ["WELCOME10"]


async def test_a_person_who_is_forgotten_is_in_no_offer(shop: Shop) -> None:
    offer = await sent(shop, await talk(shop), page="/for-ada", label="For Ada")
    await click(shop, offer)
    await shop.record(order(), "ada")
    person = await shop.service.ledger.forgetting.person("shop", visitor="ada")
    await shop.service.ledger.forgetting.mark(person, shop.now)
    await shop.service.ledger.forgetting.forget(person, shop.now)
    found = await now(shop, offer)
    assert (found.visitor, found.conversation, found.label, found.page) == (None, None, "", "/")
    assert found.order == "1001"


async def test_a_visitor_who_deletes_its_conversation_is_in_no_offer(shop: Shop) -> None:
    offer = await sent(shop, await talk(shop), page="/for-ada", label="For Ada", cart="4711:2")
    other = await sent(shop, await talk(shop, "ben"), "ben")
    await click(shop, offer)
    await shop.record(order(), "ada")
    assert await shop.service.own_talk.forget(shop.service.sites["shop"], "ada", None)
    found = await now(shop, offer)
    assert (found.visitor, found.conversation, found.label, found.page, found.cart) == (
        *(None, None, "", "/", None),
    )
    assert found.order == "1001"
    assert (await now(shop, other)).label == "The green mug"
