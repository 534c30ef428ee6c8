"""A desk with two partners, and the browsers of partners that opened a link or logged in."""

from typing import Any

import httpx2
from clew.service.partner_links import PartnerLink, PartnerLinks
from desks import PASSWORD, SHOP, DeskServer, hidden

PARTNERS: list[dict[str, Any]] = [
    {"id": name, "param": param, "postback": "https://partner.test/?c={click_id}&e={event}"}
    for name, param in (("anna", "aff"), ("blog", "ref"))
]
OWN = "/-/clew/desk/partner"


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
