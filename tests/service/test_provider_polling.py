"""Who is there by a provider's API: a stand-in answers as the provider documents, errors included."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.chat.presence import AGENTS, PresenceError
from clew.chat.providers import Provider, providers
from clew.postbacks.client import Client
from clew.service import provider_polling
from clew.service.provider_polling import ProviderPolling
from reporting import Shop, site
from vendors import VENDORS

WITH = {name: one for name, one in providers().items() if one.presence is not None}
TOKEN = "name:k3y-of-the-shop"

# As the providers document them: who is there in each is `THERE`.
ANSWERS: dict[str, tuple[Any, int]] = {
    "livechat": (
        [
            {"agent_id": "ann@shop.test", "status": "accepting_chats"},
            {"agent_id": "bo@shop.test", "status": "not_accepting_chats"},
            {"agent_id": "cy@shop.test", "status": "offline"},
        ],
        1,
    ),
    "crisp": ({"error": False, "reason": "resolved", "data": {"status": "online", "since": 1}}, 1),
    "intercom": (
        {
            "type": "admin.list",
            "admins": [
                {"id": "1", "away_mode_enabled": False, "has_inbox_seat": True},
                {"id": "2", "away_mode_enabled": True, "has_inbox_seat": True},
                {"id": "3", "away_mode_enabled": False, "has_inbox_seat": False},
                {"id": "4", "away_mode_enabled": False, "has_inbox_seat": True},
            ],
        },
        2,
    ),
    "chatwoot": (
        [
            {"id": 1, "availability_status": "online", "role": "agent"},
            {"id": 2, "availability_status": "busy", "role": "agent"},
            {"id": 3, "availability_status": "offline", "role": "administrator"},
        ],
        1,
    ),
    "zendesk_messaging": (
        {
            "data": [
                {"id": "10", "type": "agent_availabilities", "attributes": {"agent_id": 10}},
                {"id": "11", "type": "agent_availabilities", "attributes": {"agent_id": 11}},
            ],
            "meta": {"has_more": False},
        },
        2,
    ),
    "freshchat": (
        {
            "agents": [
                {"id": "a", "availability_status": "AVAILABLE", "is_deactivated": False},
                {"id": "b", "availability_status": "UNAVAILABLE", "is_deactivated": False},
            ]
        },
        1,
    ),
    "rocketchat": (
        {
            "users": [
                {"_id": "1", "username": "ann", "status": "online", "statusLivechat": "available"},
                {"_id": "2", "username": "bo", "status": "online", "statusLivechat": "not-available"},
                {"_id": "3", "username": "cy", "status": "offline", "statusLivechat": "available"},
            ],
            "success": True,
        },
        1,
    ),
    "livehelperchat": ({"isonline": True}, 1),
    "tiledesk": (
        [
            {"_id": "5df2240cecd41b00173a06bc", "role": "owner", "user_available": True},
            {"_id": "5df34ab80bc923001792e274", "role": "admin", "user_available": False},
        ],
        1,
    ),
}
# When nobody is there any more: an empty list is no answer of those that speak of the whole team.
NOBODY: dict[str, Any] = {
    "crisp": {"error": False, "data": {"status": "offline"}},
    "intercom": {"admins": []},
    "zendesk_messaging": {"data": []},
    "freshchat": {"agents": []},
    "rocketchat": {"users": []},
    "livehelperchat": {"isonline": False},
}
# What only the API asks for of an account.
MORE_IDS = {
    "chatwoot": {"account_id": "1"},
    "zendesk_messaging": {"subdomain": "shop"},
    "freshchat": {"account": "shop"},
}
# Where the token stands; elsewhere it is that of the Basic or the Bearer scheme.
TOKENS = {
    "chatwoot": [f"api_access_token: {TOKEN}"],
    "rocketchat": ["X-User-Id: name\r", "X-Auth-Token: k3y-of-the-shop\r"],
}


class Api:
    """A provider's API on this machine."""

    def __init__(self) -> None:
        self.answer: bytes = b"[]"
        self.status = 200
        self.more = ""
        self.asked: list[str] = []
        self.address = ""

    def says(self, data: object) -> None:
        self.status, self.answer = 200, json.dumps(data).encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.answer)}\r\n{self.more}\r\n"
        writer.write(head.encode() + self.answer)
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Api"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with Api().served() as built:
        yield built


@asynccontextmanager
async def asking(
    folder: Path, api: Api, name: str, ledger: str | None = None
) -> AsyncIterator[tuple[Shop, ProviderPolling]]:
    """A shop that uses a provider whose API is the stand-in."""
    ids = VENDORS[name].ids | MORE_IDS.get(name, {})
    chat = {"provider": name, "ids": ids, "presence_token": TOKEN}
    shop = Shop(folder, site(chat=chat), ledger)
    await shop.service.open()
    try:
        yield shop, polling(shop, api, name)
    finally:
        await shop.service.close()


def polling(shop: Shop, api: Api, name: str) -> ProviderPolling:
    """Another process that asks."""
    presence = WITH[name].presence
    assert presence is not None
    path = re.sub(r"^(https?://[^/]+|\{base_url\})/", "", presence.url)
    here = presence.model_copy(update={"url": f"{api.address}/{path}"})
    known: dict[str, Provider] = {name: WITH[name].model_copy(update={"presence": here})}
    service = shop.service
    return ProviderPolling(
        service.ledger, service.events, service.clock, lambda: service.settings.sites, lambda: known
    )


async def ask(*processes: ProviderPolling) -> None:
    async with Client(10.0, 4) as client:
        await asyncio.gather(*(one.step(client) for one in processes))


async def present(shop: Shop) -> int | None:
    return (await shop.service.ledger.provider_talks.present(shop.now)).get("shop")


def test_each_provider_with_an_api_has_an_answer_here() -> None:
    assert set(ANSWERS) == set(WITH)


@pytest.mark.parametrize("name", sorted(ANSWERS))
async def test_the_api_tells_how_many_agents_are_there(
    tmp_path: Path, api: Api, name: str, ledger_address: str
) -> None:
    answer, there = ANSWERS[name]
    api.says(answer)
    async with asking(tmp_path, api, name, ledger_address) as (shop, polls):
        await ask(polls)
        assert await present(shop) == there
        api.says(NOBODY.get(name, []))
        shop.now += 31
        await ask(polls)
        assert await present(shop) == 0
    request, _ = api.asked
    basic = base64.b64encode(TOKEN.encode()).decode()
    if name in TOKENS:
        assert all(token.lower() in request.lower() for token in TOKENS[name])
    else:
        assert f"Basic {basic}" in request or f"Bearer {TOKEN}" in request
    if name == "crisp":
        assert (
            f"/v1/website/{VENDORS[name].ids['website_id']}/availability/status" in request.partition("\r")[0]
        )


async def test_who_goes_is_away_and_who_is_not_told_of_any_more_too(tmp_path: Path, api: Api) -> None:
    async with asking(tmp_path, api, "livechat") as (shop, polls):
        for agents, there in (
            ([("ann", "accepting_chats"), ("bo", "accepting_chats")], 2),
            ([("ann", "offline"), ("bo", "accepting_chats")], 1),
            ([("ann", "offline")], 0),
        ):
            api.says([{"agent_id": agent, "status": status} for agent, status in agents])
            await ask(polls)
            assert await present(shop) == there
            shop.now += provider_polling.EVERY


async def test_one_process_at_a_time_asks(tmp_path: Path, api: Api, ledger_address: str) -> None:
    api.says(ANSWERS["crisp"][0])
    async with asking(tmp_path, api, "crisp", ledger_address) as (shop, first):
        second = polling(shop, api, "crisp")
        await ask(first, second)
        assert len(api.asked) == 1
        shop.now += provider_polling.EVERY
        await ask(first, second)
        assert len(api.asked) == 2
        # One of them ends: the other one goes on.
        shop.now += 4 * provider_polling.EVERY
        await ask(second)
        assert len(api.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, b"{}", "status 401: is the token right"),
        (500, b"", "status 500"),
        (429, b"", "status 429"),
        (302, b"", "status 302"),
        (200, b"<html>", "the answer cannot be read"),
        (200, b'{"data": {}}', "an agent in the answer has no state"),
        (200, b"[" * 100_000, "the answer broke off, or is too long"),
    ],
)
async def test_an_api_that_fails_is_an_event_and_asked_again_later(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str], status: int, body: bytes, why: str
) -> None:
    api.status, api.answer = status, body
    async with asking(tmp_path, api, "crisp") as (shop, polls):
        await ask(polls)
        assert await present(shop) is None
        said = capsys.readouterr().out
        assert "presence_failed" in said
        assert why in said
        assert TOKEN not in said
        shop.now += provider_polling.EVERY
        await ask(polls)
        assert len(api.asked) == 1, "the pause grows"
        shop.now += provider_polling.EVERY
        await ask(polls)
        assert len(api.asked) == 2


async def test_it_waits_as_long_as_the_api_says(tmp_path: Path, api: Api) -> None:
    api.status, api.more = 429, "Retry-After: 300\r\n"
    async with asking(tmp_path, api, "crisp") as (shop, polls):
        await ask(polls)
        shop.now += 299
        await ask(polls)
        assert len(api.asked) == 1
        shop.now += 1
        await ask(polls)
        assert len(api.asked) == 2


async def test_after_ten_minutes_of_failures_nobody_counts_as_there(tmp_path: Path, api: Api) -> None:
    api.says(ANSWERS["crisp"][0])
    async with asking(tmp_path, api, "crisp") as (shop, polls):
        await ask(polls)
        assert await present(shop) == 1
        api.status = 503
        shop.now += provider_polling.EVERY
        await ask(polls)
        assert await present(shop) == 1, "it may be short"
        shop.now += provider_polling.STALE_AFTER
        await ask(polls)
        assert await present(shop) == 0
        api.says(ANSWERS["crisp"][0])
        shop.now += provider_polling.LONGEST_PAUSE
        await ask(polls)
        assert await present(shop) == 1


async def test_a_site_without_a_token_is_not_asked_for(tmp_path: Path, api: Api) -> None:
    shop = Shop(tmp_path, site(chat={"provider": "crisp", "ids": VENDORS["crisp"].ids}))
    await shop.service.open()
    await ask(polling(shop, api, "crisp"))
    await shop.service.close()
    assert api.asked == []


def test_more_agents_than_a_shop_has_are_left_out() -> None:
    presence = WITH["livechat"].presence
    assert presence is not None
    many = [{"agent_id": str(n), "status": "offline"} for n in range(10 * AGENTS)]
    assert len(presence.read(json.dumps(many).encode())) == AGENTS
    with pytest.raises(PresenceError):
        presence.read(b'{"agents": "none"}')
