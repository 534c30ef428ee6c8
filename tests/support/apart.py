"""clew with shops and a desk of its own host, without a server."""

from pathlib import Path
from typing import Any

import httpx2
from argon2 import PasswordHasher
from clew.middleware.asgi.mount import ClewMiddleware
from clew.settings.model import Settings
from clew.stores.ledger.agents import Agents
from clew.stores.ledger.roles import Role
from desks import PASSWORD, hidden

TEA, COFFEE, DESK = "http://tea.test", "http://coffee.test", "http://desk.test"
GOOD = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"


def settings(folder: Path, *names: str, **site: Any) -> Settings:
    database = f"sqlite:{folder / 'clew.db'}"
    sites = [{"name": name, "hosts": [f"{name}.test"], **site} for name in names]
    values = {"secret": GOOD, "desk_host": "desk.test", "store": database, "ledger": database, "sites": sites}
    return Settings.model_validate(values)


class Apart:
    """clew with two shops and a desk of its own; `forwarded` is what reached the shops' app."""

    def __init__(self, folder: Path, *names: str, **site: Any) -> None:
        self.forwarded: list[str] = []
        self.mount = ClewMiddleware(self._shop, settings(folder, *names, **site))
        self.service = self.mount.service
        light = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.agents = self.service.ledger.agents = Agents(self.service.ledger.db, light)

    async def _shop(self, scope: Any, receive: Any, send: Any) -> None:
        self.forwarded.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"shop"})

    def client(self, base: str = DESK) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.mount), base_url=base)

    async def agent(
        self, name: str, site: str | None, at: str = "/-/clew/desk/login", role: Role = "owner"
    ) -> httpx2.AsyncClient:
        await self.agents.add(name, PASSWORD, site=site, role=role, now=self.service.clock.now())
        client = self.client()
        form = await client.get(at)
        fields = {"csrf": hidden(form.text), "name": name, "password": PASSWORD}
        answer = await client.post(at, data=fields)
        assert answer.status_code == 303, answer.text
        return client
