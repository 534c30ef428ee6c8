"""A running clew with its desk, without a shop: the real service on temporary SQLite files."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import uvicorn
from argon2 import PasswordHasher
from clew.desk.app import desk_app
from clew.desk.context import RequestContext
from clew.referral.cookie import NAME, Known
from clew.referral.invites import Offered
from clew.service.clock import Clock
from clew.service.origin import Origin
from clew.service.service import Service
from clew.settings.model import Settings
from clew.stores.ledger.agents import Agents
from clew.stores.ledger.roles import Role

SHOP, OTHER = "http://shop.test", "http://other.test"
PASSWORD = "correct horse battery"
VISITOR = "aaaabbbbccccddddeeeeffff22"


class AheadClock(Clock):
    """The real clock, which a test may put forward."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class DeskServer:
    """The desk of two sites, `shop` and `other`, as an ASGI app below `/-/clew/`."""

    def __init__(
        self,
        folder: Path,
        chat: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        hold: dict[str, Any] | None = None,
        webhooks: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        ledger: str | None = None,
    ) -> None:
        rules = [{"name": "after-wait", "action": "invite", "when": []}]
        partners = [{"id": "anna", "param": "aff", "postback": "https://partner.test/?c={click_id}"}]
        token = "s3cret-token-of-the-shop"
        shop = {
            "name": "shop",
            "api_token": token,
            "hosts": ["shop.test", "127.0.0.1"],
            "rules": rules,
            "invites": {"holdout": 0},
            "partners": partners,
        }
        self.clock = AheadClock()
        self.service = Service(
            Settings.model_validate(
                {
                    "secret": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB",
                    "store": f"sqlite:{folder / 'visits.db'}",
                    "ledger": ledger or f"sqlite:{folder / 'ledger.db'}",
                    "limits": limits or {},
                    "sites": [
                        {
                            **shop,
                            "chat": chat or {},
                            "hold": hold or {},
                            "webhooks": webhooks or {},
                            **(more or {}),
                        },
                        {"name": "other", "hosts": ["other.test"]},
                    ],
                }
            ),
            self.clock,
        )
        # Real argon2id with little work; what the parameters are is tested with the ledger's agents.
        light = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.agents = self.service.ledger.agents = Agents(self.service.ledger.db, light)
        self.conversations = self.service.ledger.conversations
        self.scheme: Literal["http", "https"] = "http"
        self._app = desk_app()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode()
        site = self.service.sites.at(host)
        assert site is not None, host
        client = headers.get(b"x-test-client", b"203.0.113.7").decode()
        path = scope["path"].removeprefix(site.prefix.rstrip("/"))
        at = RequestContext(self.service, site, Origin(client, self.scheme, host))
        inner = {**scope, "path": path, "root_path": site.prefix.rstrip("/"), "clew": at}
        await self._app(inner, receive, send)

    def client(self, base: str = SHOP) -> httpx2.AsyncClient:
        """A browser without any page of its own: no `Origin`, no `Sec-Fetch-Site`."""
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self, raise_app_exceptions=False), base_url=f"{base}/-/clew/"
        )

    def visitor(self, visitor: str = VISITOR, base: str = SHOP) -> httpx2.AsyncClient:
        """The browser of a visitor with its cookie."""
        client = self.client(base)
        client.headers["cookie"] = self.cookie(visitor, base)
        return client

    def cookie(self, visitor: str = VISITOR, base: str = SHOP) -> str:
        """The `Cookie` header of a visitor."""
        site = self.service.sites.at(base.removeprefix("http://"))
        assert site is not None
        line = site.cookie.set_cookie(Known(visitor, (), int(time.time())), secure=False).decode()
        assert line.startswith(NAME.decode() + "=")
        return line.partition(";")[0]

    async def agent(
        self, name: str = "bo", site: str | None = None, base: str = SHOP, role: Role = "owner"
    ) -> httpx2.AsyncClient:
        """The browser of an agent who has just logged in. It may do everything, unless a role is given."""
        if all(name != a.name for a in await self.agents.everyone()):
            await self.agents.add(name, PASSWORD, site=site, role=role, now=self.service.clock.now())
        client = self.client(base)
        answer = await login(client, name)
        assert answer.status_code == 303, answer.text
        return client

    async def says(self, text: str, visitor: str = VISITOR, site: str = "shop", **more: Any) -> str:
        """A visitor's message; the conversation's id."""
        added = await self.conversations.add_visitor_message(
            site,
            visitor,
            text,
            **{
                "client_id": f"c{time.monotonic_ns()}",
                "language": "de",
                "rule": None,
                "now": self.service.clock.now(),
                **more,
            },
        )
        return added.conversation.id

    async def invited(self, rule: str, visitor: str = VISITOR, site: str = "shop") -> None:
        """The visitor gets the invite of a rule."""
        now, before = self.service.clock.now(), await self.service.visits.get(site, visitor)
        offers = () if before is None else before.offers
        await self.service.visits.change(site, visitor, [Offered(offers, rule, "view-invited")], now)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The desk on a port of this machine, for streams and browsers; its address below the prefix."""
        server = _Server(uvicorn.Config(self, port=0, lifespan="off", ws="none", log_level="error"))
        serving = asyncio.create_task(server.serve())
        try:
            await server.ready.wait()
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/-/clew/"
        finally:
            self.service.hub.close()
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def desk_server(
    folder: Path,
    chat: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    hold: dict[str, Any] | None = None,
    webhooks: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
) -> AsyncIterator[DeskServer]:
    """A desk for as long as the block runs."""
    built = DeskServer(folder, chat, limits, hold, webhooks, more)
    await built.service.start()
    try:
        yield built
    finally:
        await built.service.stop()


def hidden(page: str, name: str = "csrf") -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"', page)
    assert found is not None, page
    return found[1]


async def login(
    client: httpx2.AsyncClient, name: str, password: str = PASSWORD, **more: str
) -> httpx2.Response:
    """Fill the login form in and send it."""
    form = await client.get("desk/login")
    fields = {"csrf": hidden(form.text), "name": name, "password": password, **more}
    return await client.post("desk/login", data=fields)


def events(response: httpx2.Response, *, state: bool = False) -> AsyncIterator[dict[str, str]]:
    """The events of a stream as they come, with `state` also those of who is there; comments and `retry` are
    left out."""
    return _events(response.aiter_lines(), state)


async def _events(lines: AsyncIterator[str], state: bool) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            if "data" in event and (state or event.get("event") != "state"):
                yield event
            event = {}


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when `true` is; for what nothing can be awaited of. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - looked at from outside, without an event of its own
            await asyncio.sleep(0.01)
