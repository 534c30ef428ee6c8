"""The money of an order, from a partner's link to the books of the network: an order of three items from the
chat, and a refund of one of them."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import chat_steps
import httpx2
import oscar_guest
import pytest
import pytest_asyncio
from clews import ClewFolder, ClewServe, wait_for_event
from hooks import SECRETS, as_json, module_order, signed
from oscar_shops import OscarShop
from playwright.async_api import Browser, BrowserContext, expect
from receiver.serving import NetworksReceiver

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

CLICK_ID = "1001_1700000000_5f9d3b0c8A7e6d5c4b3a29181706f5e4"
INVITE = "Shall we help you choose?"
QUESTION = "Do the two grinders take the same beans?"
ANSWER = "They do."
# What is bought: slug, number at the shop, group, price.
ITEMS = (
    ("conica-64-burr-grinder", "KC-0004", "Grinders", Decimal("289.90")),
    ("pocket-hand-grinder", "KC-0005", "Grinders", Decimal("64.95")),
    ("walnut-tamper-58-mm", "KC-0006", "Accessories", Decimal("34.00")),
)
TOTAL, BACK, LEFT = Decimal("388.85"), Decimal("64.95"), Decimal("323.90")

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "sqlite:{path}/clew.db"
ledger = "sqlite:{path}/clew.db"

[[sites]]
name = "oscar"
upstream = "{upstream}"

[sites.credit]
terms = [
  {{ name = "grinders", when = ['item.category == "Grinders"'], percent = 8 }},
  {{ name = "rest", percent = 5 }},
  {{ name = "chat-month", when = ['order.channel == "chat"'], pay = 100 }},
  {{ name = "shop", pay = 50 }},
]

[sites.webhooks.magento]
secret = "{secret}"

[[sites.partners]]
id = "awin-uk"
network = "awin"
settings = {{ advertiser_id = "1001", api_key = "env:AWIN_KEY", access_token = "env:AWIN_TOKEN" }}
commission_groups = {{ Grinders = "GRINDERS" }}
endpoint = "{receiver}/awin"

[sites.invites]
holdout = 0

[[sites.rules]]
name = "hesitates"
when = ["partner.network == 'awin'", "visit.seconds >= 1"]
action = "invite"
text = "{invite}"

[sites.order]
page = "/checkout/thank-you/"
id = "p.lead strong"
total = "#basket_totals h3.price_color"
currency = "GBP"
"""


@pytest.fixture
def network() -> Iterator[NetworksReceiver]:
    with NetworksReceiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(loop_scope="session")
async def clew(oscar_shop: OscarShop, tmp_path: Path, network: NetworksReceiver) -> Any:
    path = tmp_path / "clew"
    text = SETTINGS.format(
        path=path,
        upstream=oscar_shop.address,
        secret=SECRETS["magento"],
        receiver=network.address,
        invite=INVITE,
    )
    folder = ClewFolder(path, text, {"AWIN_KEY": "key", "AWIN_TOKEN": "token"})
    folder.add_agent()
    with ClewServe(folder) as running:
        yield Running(folder, running)


class Running:
    """A running clew, and what its command line says."""

    def __init__(self, folder: ClewFolder, program: ClewServe) -> None:
        self.folder = folder
        self.program = program
        self.address = program.address

    def told(self, number: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.folder.run("explain", "order", number, "--json"))
        return found


def hook(number: str, refunds: list[dict[str, Any]]) -> bytes:
    """What the shop's module sends of the order."""
    items = [
        {"id": sku, "name": slug, "category": group, "price": str(price)} for slug, sku, group, price in ITEMS
    ]
    amounts = {"total": str(TOTAL), "currency": "GBP", "tax": "0.00", "shipping": "0.00"}
    return as_json(
        module_order(id=number, items=items, refunds=refunds, placed_at=None, updated_at=None, **amounts)
    )


async def test_an_order_of_three_items_from_the_chat_and_its_refund_are_in_the_networks_books_to_the_cent(
    clew: Running, context: BrowserContext, chromium: Browser, network: NetworksReceiver
) -> None:
    """issue "How it must be shown" """
    page = await context.new_page()
    await page.goto(f"{clew.address}/go/{ITEMS[0][0]}/?awc={CLICK_ID}")
    await chat_steps.ask_in_the_invite(page, INVITE, QUESTION)
    await chat_steps.answer_at_the_desk(chromium, clew.address, QUESTION, ANSWER)
    await chat_steps.read_the_answer(page, ANSWER)
    for slug, *_ in ITEMS:
        await page.goto(f"{clew.address}/go/{slug}/")
        await oscar_guest.put_into_basket(page)
    bought = await oscar_guest.check_out(page)
    await network.waited(1)
    books = network.networks["awin"].books
    assert (books.orders[bought.number].amount, books.sums()) == (TOTAL, {"GBP": TOTAL})

    refund = {"id": "000000002", "amount": str(BACK), "items": [{"id": ITEMS[1][1], "amount": str(BACK)}]}
    async with httpx2.AsyncClient(timeout=30) as shop:
        for refunds in ([], [refund], [refund]):
            now = float(await page.evaluate("Date.now() / 1000"))
            sent = signed("magento", hook(bought.number, refunds), now=now)
            address = f"{clew.address}/-/clew/hooks/magento"
            answer = await shop.post(address, content=sent.body, headers=dict(sent.headers))
            assert answer.status_code == 200, answer.text
    wait_for_event(clew.program, "webhook")
    await network.waited(2)

    assert books.sums() == {"GBP": LEFT}
    assert (books.orders[bought.number].times, books.refused) == (1, [])
    order = clew.told(bought.number)
    assert (order["total"], order["refunded"], order["state"]) == (str(TOTAL), str(BACK), "part_refunded")
    assert order["channel"] == "chat"
    (share,) = order["decisions"][-1]["shares"]
    assert (share["partner"], share["part"]) == ("awin-uk", "1")
    await _check_the_partners_page(clew, chromium, bought.number)
    # 8 % of the grinder that stayed, 5 % of the tamper: 23.19 and 1.70.
    assert share["commission"]["amount"] == "24.89"


async def _check_the_partners_page(clew: Running, chromium: Browser, number: str) -> None:
    """The partner opens its pages by a link, in a browser of its own."""
    link = clew.folder.run("partner", "link", "awin-uk", "--url", clew.address).strip()
    context = await chromium.new_context(locale="en-GB")
    page = await context.new_page()
    await page.goto(link)
    await page.goto(f"{clew.address}/-/clew/desk/partner/orders")
    row = page.get_by_role("row").filter(has_text=number)
    for shown in ("323.90", "64.95", "chat", "24.89", "100 % of the terms"):
        await expect(row).to_contain_text(shown)
    await context.close()
