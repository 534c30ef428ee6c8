"""A desk with two partners, and the browsers of partners that opened a link or logged in."""

import re
from decimal import Decimal
from typing import Any

import httpx2
from clew.orders.model import OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.partner_links import PartnerLink, PartnerLinks
from clew.stores.ledger.orders import StoredOrder
from desks import PASSWORD, SHOP, DeskServer, hidden

PARTNERS: list[dict[str, Any]] = [
    {"id": name, "param": param, "postback": "https://partner.test/?c={click_id}&e={event}"}
    for name, param in (("anna", "aff"), ("blog", "ref"))
]
OWN = "/-/clew/desk/partner"
PARAM = {"anna": "aff", "blog": "ref"}
VISITORS = {"anna": "a" * 26, "blog": "b" * 26}


def token(desk: DeskServer, partner: str = "anna", *, days: float = 30, generation: int = 0) -> str:
    """The key of a link."""
    until = int(desk.service.clock.now() + days * 86400)
    return PartnerLinks(desk.service.settings, "shop").token(PartnerLink(partner, generation, until))


async def by_link(desk: DeskServer, partner: str = "anna", base: str = SHOP) -> httpx2.AsyncClient:
    """The browser of a partner that has just opened its link."""
    client = desk.client(base)
    answer = await client.get("desk/partner/enter", params={"key": token(desk, partner)})
    assert answer.status_code == 303, answer.text
    return client


async def by_password(desk: DeskServer, name: str = "anna-p", partner: str = "anna") -> httpx2.AsyncClient:
    """The browser of a partner that has just logged in."""
    now = desk.service.clock.now()
    await desk.agents.add(name, PASSWORD, site="shop", partner=partner, now=now)
    client = desk.client()
    answer = await log_in(client, name)
    assert answer.status_code == 303, answer.text
    return client


async def log_in(client: httpx2.AsyncClient, name: str, password: str = PASSWORD) -> httpx2.Response:
    """Fill the login form of partners in and send it."""
    form = await client.get("desk/partner/login")
    fields = {"csrf": hidden(form.text), "name": name, "password": password}
    return await client.post("desk/partner/login", data=fields)


async def order(
    desk: DeskServer,
    number: str,
    total: str = "100.00",
    partner: str = "anna",
    *,
    days: float = 0,
    visitor: str | None = None,
    currency: str = "EUR",
    **more: Any,
) -> StoredOrder:
    """An order of a visitor whom the partner referred, placed some days ago."""
    now = desk.service.clock.now() - days * 86400
    visitor = visitor or VISITORS[partner]
    touch = Touch(int(now) - 3600, (Click("", PARAM[partner], f"click-of-{partner}", partner),), {}, "", "/")
    await desk.service.visits.change("shop", visitor, [Touched(touch), Shopped()], desk.service.clock.now())
    seen = OrderSeen(
        number,
        Decimal(total),
        currency,
        "api",
        **{"spelling": number, "placed_at": now, "email_hash": "e" * 64, **more},
    )
    return (await desk.service.ordering.record(desk.service.sites["shop"], seen, visitor=visitor)).order


def text_of(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text)).replace("\xa0", " ")
