"""A site with another company's chat: what its pages get, and what they tell."""

from pathlib import Path
from typing import Any

import pytest
from desks import VISITOR, desk_server

ASK = {"view": "view-number-1", "url": "http://shop.test/tea/?x=1", "language": "de"}
CRISP = {"provider": "crisp", "ids": {"website_id": "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"}}
HEARD = {"kind": "chat", "event": "started", "id": "session_1"}
ORDER = {"id": "1001", "total": "59.90", "currency": "EUR"}


async def test_the_page_gets_the_token_and_what_the_owner_allows(tmp_path: Path) -> None:
    more = {"chat": CRISP | {"attributes": ["page", "partner"], "load": "page", "mail": "help@shop.test"}}
    async with desk_server(tmp_path, more=more) as desk:
        chat = (await desk.visitor().post("decide", json=ASK)).json()["chat"]
        attributes = chat.pop("attributes")
        assert chat == {"load": "page", "says": True, "blocked": False, "mail": "help@shop.test"}
        assert desk.service.sites["shop"].carrier.open(attributes.pop("clew_ref")) == VISITOR
        assert attributes["clew_page"] == "/tea/"
        script = await desk.client().get("p.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert CRISP["ids"]["website_id"] in script.text  # type: ignore[index]


async def test_nothing_is_loaded_or_told_before_consent(tmp_path: Path) -> None:
    more = {"chat": CRISP | {"attributes": ["page"]}, "consent": {"mode": "ask"}}
    async with desk_server(tmp_path, more=more) as desk:
        chat = (await desk.client().post("decide", json=ASK)).json()["chat"]
        assert chat == {"load": "click", "says": True, "blocked": True, "attributes": {}}


async def test_a_site_with_clews_own_chat_has_no_provider(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        assert "chat" not in (await desk.visitor().post("decide", json=ASK)).json()
        assert (await desk.client().get("p.js")).status_code == 404
        assert (await desk.visitor().post("events", json=HEARD)).status_code == 204
        assert await desk.service.ledger.conversations.visitor_talked("shop", VISITOR, 0, 2e9) is None


async def order_of(desk: Any) -> Any:
    client = desk.client()
    client.headers["authorization"] = "Bearer s3cret-token-of-the-shop"
    token = desk.service.sites["shop"].carrier.token(VISITOR)
    assert (await client.post("orders", json=ORDER | {"visitor": token})).status_code == 201
    return await desk.service.ledger.orders.get("shop", "1001")


async def test_an_order_after_a_talk_there_is_one_of_the_chat(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"chat": CRISP}) as desk:
        visitor = desk.visitor()
        for event in ("opened", "started", "sent", "sent", "ended"):
            body = {"kind": "chat", "event": event, "id": "session_1" if event != "started" else None}
            assert (await visitor.post("events", json=body)).status_code == 204
        order = await order_of(desk)
        assert order.channel == "chat"
        assert order.conversation is not None
        # It is nobody's to answer here.
        inbox = desk.service.ledger.inbox
        assert await inbox.numbers("shop") == (0, 0)
        assert await inbox.closed("shop") == ()
        talks = await inbox.of_visitor("shop", VISITOR)
        assert len(talks) == 1


@pytest.mark.parametrize("event", ["opened", "failed", "online", "received"])
async def test_a_chat_that_was_only_looked_at_is_no_talk(tmp_path: Path, event: str) -> None:
    async with desk_server(tmp_path, more={"chat": CRISP}) as desk:
        await desk.visitor().post("events", json=HEARD | {"event": event})
        assert (await order_of(desk)).channel == "web"


@pytest.mark.parametrize("body", [{"event": "sneezed"}, {"id": "x" * 101}, {"id": "a\u202eb"}, {"id": ""}])
async def test_what_no_provider_tells_is_refused(tmp_path: Path, body: dict[str, str]) -> None:
    async with desk_server(tmp_path, more={"chat": CRISP}) as desk:
        assert (await desk.visitor().post("events", json=HEARD | body)).status_code == 422


async def test_nobody_takes_another_visitors_conversation(tmp_path: Path) -> None:
    """Ids are numbers in turn at some providers: a stranger could tell the next ones first."""
    async with desk_server(tmp_path, more={"chat": CRISP}) as desk:
        stranger = desk.visitor("bbbbccccddddeeeeffff2222aa")
        assert (await stranger.post("events", json=HEARD)).status_code == 204
        assert (await desk.visitor().post("events", json=HEARD)).status_code == 204
        assert (await order_of(desk)).channel == "chat"
