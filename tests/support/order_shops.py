"""A shop with a few pages behind the middleware, its visitors, and the ledger."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from clew.middleware.asgi.mount import ClewMiddleware
from clew.postbacks.model import Postback
from clew.settings.model import Settings
from clew.stores.ledger.orders import StoredOrder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

TOKEN = "t" * 24
BEARER = {"authorization": f"Bearer {TOKEN}"}
NAVIGATION = {"sec-fetch-dest": "document", "sec-fetch-mode": "navigate", "accept": "text/html"}
TYPED = {**NAVIGATION, "sec-fetch-site": "none"}
INSIDE = {**NAVIGATION, "sec-fetch-site": "same-origin"}
ELSEWHERE = {**NAVIGATION, "sec-fetch-site": "cross-site", "referer": "https://partner.example/"}
SELECTORS = {"page": "/thank-you*", "id": "#number", "total": "#total", "currency": "EUR"}


def page(body: str, head: str = "") -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><html><head><title>T</title>{head}</head><body>{body}</body></html>")


def ordered(number: str = "1001", total: str = "59.90 €") -> HTMLResponse:
    return page(f'<p id="number">{number}</p><p id="total">{total}</p>')


def linked(**order: str) -> HTMLResponse:
    told = {"@type": "Order", "orderNumber": "1001", "price": "59.90", "priceCurrency": "EUR", **order}
    return page("", f'<script type="application/ld+json">{json.dumps(told)}</script>')


class Shop:
    """A shop's pages behind clew, its visitors, and the ledger."""

    def __init__(self, folder: Path, **site: Any) -> None:
        self.pages: dict[str, Response] = {"/": page("home"), "/checkout": page("pay"), "/tea": page("tea")}
        database = f"sqlite:{folder / 'clew.db'}"
        partner = {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"}
        shop = {"name": "shop", "api_token": TOKEN, "partners": [partner], "order": SELECTORS, **site}
        settings = {"secret": "s3cr3t-" * 6, "store": database, "ledger": database, "sites": [shop]}
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST", "HEAD"])])
        self.clew = ClewMiddleware(app, Settings.model_validate(settings))

    async def _answer(self, request: Request) -> Response:
        return self.pages.get(request.url.path, Response(status_code=404))

    def visitor(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.clew, client=("192.0.2.7", 1))
        return httpx2.AsyncClient(transport=transport, base_url="https://shop.example")

    @asynccontextmanager
    async def landed(self, click: str = "c1") -> AsyncIterator[httpx2.AsyncClient]:
        """A visitor who came by the partner's link."""
        async with self.visitor() as visitor:
            await visitor.get(f"/?ref={click}", headers=ELSEWHERE)
            yield visitor

    async def settled(self) -> None:
        """Wait for the work after the pages were sent."""
        while self.clew.service.tasks._work:
            await asyncio.gather(*list(self.clew.service.tasks._work))

    async def orders(self) -> tuple[StoredOrder, ...]:
        await self.settled()
        return await self.clew.service.ledger.orders.list("shop")

    async def postbacks(self) -> tuple[Postback, ...]:
        """Those that hold."""
        await self.settled()
        found = await self.clew.service.ledger.outbox.list()
        return tuple(row for row in found if row.state != "superseded")

    async def notices(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        await self.settled()
        await self.clew.service.write_notices()
        found = await self.clew.service.ledger.notices.list(["shop"])
        return {(n.event, n.key): n.details for n in found}

    async def report(self, **order: Any) -> httpx2.Response:
        async with self.visitor() as server:
            told = {"id": "1001", "total": "59.90", "currency": "EUR", **order}
            return await server.post("/-/clew/orders", json=told, headers=BEARER)


@asynccontextmanager
async def order_shops(folder: Path) -> AsyncIterator[Any]:
    """Makes shops, `await make(**site)`, whose ledgers are below the folder."""
    made: list[Shop] = []

    async def make(**site: Any) -> Shop:
        shop = Shop(folder / str(len(made)), **site)
        (folder / str(len(made))).mkdir()
        await shop.clew.service.open()
        # On a slow machine the ledger takes an order later than its journal.
        await shop.clew.service.journal.open()
        shop.clew.startup.started = True  # nothing is delivered here
        made.append(shop)
        return shop

    yield make
    for shop in made:
        await shop.settled()
        await shop.clew.service.close()
