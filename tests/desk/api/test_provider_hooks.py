"""What chat providers tell by webhook: conversations of ours, and the orders closed in them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import sqlalchemy as sa
from clew.referral.touches import Click, Touch
from clew.referral.visitor import CartSeen, Touched, Visitor
from clew.service.order_links import OrderLink, order_link_address
from desks import VISITOR, DeskServer, desk_server
from provider_hooks import SECRETS, SIGNING, Sent, sent, signed, talk
from structlog.testing import capture_logs
from vendors import VENDORS

OTHER = "bbbbccccddddeeeeffff2222aa"
HEARD = {"kind": "chat", "event": "started"}


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def chat_of(name: str, **more: Any) -> dict[str, Any]:
    return {"provider": name, "ids": VENDORS[name].ids, "secret": SECRETS[name], **more}


@pytest_asyncio.fixture
async def crisp(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more={"chat": chat_of("crisp")}) as desk:
        await came_by_partner(desk)
        yield desk


async def came_by_partner(desk: DeskServer, visitor: str = VISITOR, currency: str | None = "EUR") -> None:
    """A visitor who came by a partner's link, and has a cart."""
    now = desk.service.clock.now()
    touch = Touch(int(now) - 60, (Click("", "aff", "c1", "anna"),), {}, "", "/")
    cart = {"value": "59.90", **({} if currency is None else {"currency": currency})}
    await desk.service.visits.change("shop", visitor, [Touched(touch), CartSeen(cart)], now)


async def post(desk: DeskServer, hook: Sent) -> httpx2.Response:
    async with desk.client() as client:
        return await client.post(f"hooks/{hook.path}", content=hook.body, headers=dict(hook.headers))


async def tell(desk: DeskServer, *hooks: Sent) -> None:
    for hook in hooks:
        answer = await post(desk, hook)
        assert answer.status_code == 200, answer.text


async def rows(desk: DeskServer, query: str) -> list[tuple[Any, ...]]:
    async with desk.service.ledger.db.read() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(query))]


def token(desk: DeskServer, visitor: str = VISITOR) -> str:
    return desk.service.sites["shop"].carrier.token(visitor)


async def talks(desk: DeskServer) -> list[tuple[Any, ...]]:
    query = "SELECT visitor, state, said, agent, rating, tied FROM conversations ORDER BY started_at, id"
    return await rows(desk, query)


async def postbacks(desk: DeskServer) -> list[tuple[Any, ...]]:
    query = (
        "SELECT p.partner, p.event, o.channel, o.visitor, o.agent FROM postbacks p "
        'JOIN orders o ON o.id = p."order"'
    )
    return await rows(desk, query)


@pytest.mark.parametrize("name", SIGNING)
async def test_an_order_told_in_the_chat_is_the_partners_once(tmp_path: Path, name: str) -> None:
    """For each provider that signs its webhooks and tells the agents' words."""
    async with desk_server(tmp_path, more={"chat": chat_of(name)}) as desk:
        await came_by_partner(desk)
        hooks = talk(name, token(desk), "/order 1001 59.90", time.time() - 10)
        for _ in range(2):
            await tell(desk, *hooks)
        (found,) = await talks(desk)
        assert found[:2] == (VISITOR, "closed")
        assert found[3] is not None
        (line,) = await postbacks(desk)
        assert line[:4] == ("anna", "order", "chat", VISITOR)
        assert line[4].startswith(f"{name}:")
        order = await desk.service.ledger.orders.get("shop", "1001")
        assert order is not None
        assert (str(order.total), order.currency) == ("59.90", "EUR")
        texts = await rows(desk, "SELECT DISTINCT text FROM messages")
        assert texts == [("",)]


@pytest.mark.parametrize("name", SIGNING)
async def test_in_whatever_order_they_come(tmp_path: Path, name: str) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of(name)}) as desk:
        await came_by_partner(desk)
        hooks = talk(name, token(desk), "/order 1001 59.90 EUR", time.time() - 10)
        await tell(desk, *reversed(hooks))
        await tell(desk, *hooks)
        (found,) = await talks(desk)
        assert found[:2] == (VISITOR, "closed")
        (line,) = await postbacks(desk)
        assert line[:4] == ("anna", "order", "chat", VISITOR)


@pytest.mark.parametrize("name", sorted(SECRETS))
async def test_nothing_counts_without_the_secret(tmp_path: Path, name: str) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of(name)}) as desk:
        hook = talk(name, token(desk), "/order 1001 59.90", time.time() - 10)[0]
        for wrong in (
            hook.changed(body=hook.body + b" ") if hook.signs else hook.forged(),
            hook.forged(),
            hook.changed(headers={"content-type": "application/json"}, path=name, body=b"{}"),
        ):
            assert (await post(desk, wrong)).status_code == 401
        assert await talks(desk) == []
        assert (await post(desk, hook)).status_code == 200


async def test_messages_agent_rating_and_end_are_kept(crisp: DeskServer) -> None:
    now = time.time()
    await tell(
        crisp,
        sent("crisp", "session:set_data", {"data": {"clew_ref": token(crisp)}}, now),
        sent("crisp", "message:send", {"from": "user", "content": "Hello", "fingerprint": 1}, now),
    )
    assert await talks(crisp) == [(VISITOR, "open", 1, None, None, "attr")]
    await tell(
        crisp,
        sent(
            "crisp",
            "message:received",
            {"from": "operator", "content": "Hi", "fingerprint": 2, "user": {"nickname": "Ann"}},
            now + 1,
        ),
        sent("crisp", "session:sync:rating", {"rating": {"stars": 4}}, now + 2),
        sent("crisp", "session:set_state", {"state": "resolved"}, now + 3),
    )
    assert await talks(crisp) == [(VISITOR, "closed", 2, "crisp:Ann", 4, "attr")]
    assert await rows(crisp, "SELECT author, agent, text FROM messages ORDER BY id") == [
        ("visitor", None, ""),
        ("agent", "crisp:Ann", ""),
    ]
    assert await crisp.service.ledger.inbox.numbers("shop") == (0, 0)


async def test_texts_are_kept_only_where_the_owner_wants_them(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of("crisp", texts=True)}) as desk:
        said = {"from": "user", "content": "Is it in stock?\0", "fingerprint": 1}
        await tell(desk, sent("crisp", "message:send", said, time.time()))
        assert await rows(desk, "SELECT text FROM messages") == [("Is it in stock?",)]


async def test_data_alone_is_no_talk(crisp: DeskServer) -> None:
    await tell(crisp, sent("crisp", "session:set_data", {"data": {"clew_ref": token(crisp)}}, time.time()))
    assert await talks(crisp) == []
    assert await crisp.conversations.visitor_talked("shop", VISITOR, 0, 4e9) is None


async def test_the_same_many_times_at_once_is_one_talk_and_one_order(crisp: DeskServer) -> None:
    hooks = talk("crisp", token(crisp), "/order 1001 59.90", time.time())
    await asyncio.gather(*(tell(crisp, hook) for hook in hooks for _ in range(5)))
    (found,) = await talks(crisp)
    assert found[0] == VISITOR
    assert len(await postbacks(crisp)) == 1


async def test_a_visitor_cannot_order_by_a_command(crisp: DeskServer) -> None:
    said = {"from": "user", "content": "/order 1001 59.90", "fingerprint": 1}
    await tell(crisp, sent("crisp", "message:send", said, time.time()))
    assert await crisp.service.ledger.orders.get("shop", "1001") is None


async def test_an_order_without_a_visitor_gets_its_partner_when_the_visitor_is_known(
    crisp: DeskServer, logged: list[Any]
) -> None:
    now = time.time()
    said = {
        "from": "operator",
        "content": "/order 1001 59.90 EUR",
        "fingerprint": 1,
        "user": {"nickname": "A"},
    }
    await tell(crisp, sent("crisp", "message:received", said, now))
    assert await postbacks(crisp) == []
    assert (await talks(crisp))[0][0] == ""
    await tell(crisp, sent("crisp", "session:set_state", {"state": "resolved"}, now + 1))
    assert [line for line in logged if line["event"] == "talk_unknown"]
    await tell(crisp, sent("crisp", "session:set_data", {"data": {"clew_ref": token(crisp)}}, now + 2))
    assert [line[:4] for line in await postbacks(crisp)] == [("anna", "order", "chat", VISITOR)]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("/order 1001", "write the number and the total"),
        ("/order 1001 1.299,00", "is no amount"),
        ("/order 1001 59.90 EURO", "currency"),
        ("/order", "write the number and the total"),
    ],
)
async def test_a_command_that_cannot_be_read_is_told(
    crisp: DeskServer, logged: list[Any], typed: str, why: str
) -> None:
    said = {"from": "operator", "content": typed, "fingerprint": 1, "user": {"nickname": "Ann"}}
    await tell(crisp, sent("crisp", "message:received", said, time.time()))
    (line,) = [line for line in logged if line["event"] == "chat_order_unread"]
    assert why in line["why"]
    assert line["by"] == "crisp:Ann"


@pytest.mark.parametrize(
    "typed",
    [
        "/order\t1001 59.90",
        "/order\n/order\xa01001  59.90",
        "/ORDER: 1001 59,90 eur",
        "/order 1001 59.90\n\nThank you, Ann",
        "Thank you!\n  /order 1001 59.90",
    ],
)
async def test_a_command_is_a_line_of_its_own(crisp: DeskServer, typed: str) -> None:
    await tell(crisp, *talk("crisp", token(crisp), typed, time.time()))
    order = await crisp.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert (str(order.total), order.currency) == ("59.90", "EUR")


@pytest.mark.parametrize(
    "typed",
    [
        "> /order 1001 59.90 EUR",
        "Write “/order 1001 59.90 EUR”",
        "<blockquote>They wrote:<blockquote>x</blockquote><br>/order 1001 59.90 EUR</blockquote>No.",
        "<blockquote class=q>/order 1001 59.90 EUR",
    ],
)
async def test_a_command_that_is_quoted_is_none(tmp_path: Path, typed: str) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of("intercom")}) as desk:
        await tell(desk, *talk("intercom", token(desk), typed, time.time()))
        assert await desk.service.ledger.orders.get("shop", "1001") is None


async def test_a_command_that_names_another_amount_is_told(crisp: DeskServer, logged: list[Any]) -> None:
    def said(typed: str, name: int) -> Sent:
        who = {"from": "operator", "fingerprint": name, "user": {"nickname": "Ann"}}
        return sent("crisp", "message:received", {**who, "content": typed}, time.time())

    await tell(crisp, said("/order 1001 59.9 EUR", 1), said("/order 1001 59.90", 2))
    await tell(crisp, said("/order 1001 69.90", 3), said("/order 1001 59.90 USD", 4))
    order = await crisp.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert (str(order.total), order.currency) == ("59.90", "EUR")
    told = [line["why"] for line in logged if line["event"] == "chat_order_unread"]
    assert [why.partition("the command ")[2] for why in told] == ["'1001 69.90'", "'1001 59.90 USD'"]


async def test_an_implausible_order_waits_as_at_the_desk(crisp: DeskServer) -> None:
    hooks = talk("crisp", token(crisp), "/order 1001 5990.00", time.time())
    await tell(crisp, *hooks)
    (state,) = await rows(crisp, "SELECT state FROM postbacks")
    assert state == ("held",)


async def test_the_page_says_whose_conversation_it_is(crisp: DeskServer) -> None:
    now = time.time()
    body = HEARD | {"id": "session_1"}
    assert (await crisp.visitor().post("events", json=body)).status_code == 204
    said = {"from": "user", "content": "Hello", "fingerprint": 1}
    await tell(crisp, sent("crisp", "message:send", said, now))
    assert await talks(crisp) == [(VISITOR, "open", 1, None, None, "id")]


async def test_the_page_may_say_so_after_the_webhook(crisp: DeskServer) -> None:
    said = {"from": "user", "content": "Hello", "fingerprint": 1}
    await tell(crisp, sent("crisp", "message:send", said, time.time()))
    assert (await talks(crisp))[0][0] == ""
    await crisp.visitor().post("events", json=HEARD | {"id": "session_1"})
    assert await talks(crisp) == [(VISITOR, "open", 1, None, None, "id")]


@pytest.mark.parametrize("before", [True, False])
async def test_of_two_visitors_who_claim_a_conversation_none_has_it_but_by_its_token(
    crisp: DeskServer, before: bool
) -> None:
    """Ids are numbers in turn at some providers: a stranger may claim the next one."""
    now, body = time.time(), HEARD | {"id": "session_1"}
    said = {"from": "user", "content": "Hello", "fingerprint": 1}
    await crisp.visitor(OTHER).post("events", json=body)
    if before:
        await crisp.visitor().post("events", json=body)
    await tell(crisp, sent("crisp", "message:send", said, now))
    await crisp.visitor().post("events", json=body)
    told = [line for line in await talks(crisp) if line[5] is not None]
    assert [line[0] for line in told] == [""]
    await tell(crisp, sent("crisp", "session:set_data", {"data": {"clew_ref": token(crisp)}}, now))
    told = [line for line in await talks(crisp) if line[5] is not None]
    assert [line[0] for line in told] == [VISITOR]


@pytest.mark.parametrize("event", ["loaded", "opened"])
async def test_a_code_that_was_said_ties_it(tmp_path: Path, event: str) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of("tawk")}) as desk:
        await came_by_partner(desk)
        visitor = desk.visitor()
        decided = await visitor.post("decide", json={"view": "view-number-1", "url": "http://shop.test/"})
        code = decided.json()["chat"]["attributes"]["clew_code"]
        await visitor.post("events", json={"kind": "chat", "event": event})
        hooks = talk("tawk", "", "/order 1001 59.90 EUR", time.time(), extra=f"It is {code.upper()}.")
        await tell(desk, *hooks)
        assert [line[:4] for line in await postbacks(desk)] == [("anna", "order", "chat", VISITOR)]


async def test_a_token_is_found_wherever_it_is(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of("tawk")}) as desk:
        await came_by_partner(desk)
        await tell(desk, *talk("tawk", "", "/order 1001 59.90", time.time(), extra=token(desk)))
        assert [line[:4] for line in await postbacks(desk)] == [("anna", "order", "chat", VISITOR)]


async def test_what_a_page_of_the_provider_reports_waits_for_the_shop(tmp_path: Path) -> None:
    """iAdvize hears of orders by a page, so a visitor can invent them."""
    async with desk_server(tmp_path, more={"chat": chat_of("iadvize")}) as desk:
        await came_by_partner(desk)
        await desk.visitor().post("events", json=HEARD | {"id": "i-5"})
        order = {"conversationId": "i-5", "externalId": "1001", "amount": 59.9, "operatorId": 15253}
        await tell(desk, sent("iadvize", "transaction.attributed", order, time.time()))
        assert await rows(desk, "SELECT state FROM postbacks") == [("held",)]
        client = desk.client()
        client.headers["authorization"] = "Bearer s3cret-token-of-the-shop"
        body = {"id": "1001", "total": "59.90", "currency": "EUR", "visitor": token(desk)}
        assert (await client.post("orders", json=body)).status_code in (200, 201)
        assert await rows(desk, "SELECT state FROM postbacks") == [("due",)]


async def test_agents_of_a_provider_are_facts(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"chat": chat_of("iadvize")}) as desk:
        now = time.time() - 60

        async def online() -> int | None:
            await desk.service.agents.refresh()
            load = desk.service.agents.of("shop", desk.service.clock.now())
            assert load is not None
            return load.elsewhere

        assert await online() is None
        await tell(desk, sent("iadvize", "user.connected", {"userId": 1}, now))
        await tell(desk, sent("iadvize", "user.connected", {"userId": 2}, now))
        assert await online() == 2
        await tell(desk, sent("iadvize", "user.disconnected", {"userId": 1}, now + 2))
        # What was said before comes late.
        await tell(desk, sent("iadvize", "user.connected", {"userId": 1}, now + 1))
        assert await online() == 1


async def test_pages_say_whether_the_chat_is_staffed(crisp: DeskServer) -> None:
    async def online() -> int | None:
        await crisp.service.agents.refresh()
        load = crisp.service.agents.of("shop", crisp.service.clock.now())
        assert load is not None
        return load.elsewhere

    for client, event in (("198.51.100.1", "offline"), ("203.0.113.9", "online"), ("192.0.2.1", "online")):
        browser = crisp.visitor()
        await browser.post("events", json=HEARD | {"event": event}, headers={"x-test-client": client})
    assert await online() == 1
    browser = crisp.visitor()
    for client in ("203.0.113.9", "192.0.2.1"):
        await browser.post("events", json=HEARD | {"event": "offline"}, headers={"x-test-client": client})
    assert await online() == 0


async def visitor_of(desk: DeskServer) -> Visitor:
    found = await desk.service.visits.get("shop", VISITOR)
    assert found is not None
    return found


async def test_rules_hear_of_the_talk_and_of_a_chat_that_does_not_come(tmp_path: Path) -> None:
    rules = [
        {"name": "talks", "action": "hide", "when": ["chat.open"], "priority": 3},
        {
            "name": "failed",
            "action": "invite",
            "when": ["chat.failed"],
            "text": "Shall we call?",
            "priority": 2,
        },
    ]
    async with desk_server(tmp_path, more={"chat": chat_of("crisp"), "rules": rules}) as desk:
        visitor = desk.visitor()

        async def action(view: str) -> str:
            body = {"view": view, "url": "http://shop.test/"}
            found = (await visitor.post("decide", json=body)).json()["action"]
            assert isinstance(found, str)
            return found

        assert await action("view-number-1") == "show"
        await visitor.post("events", json={"kind": "chat", "event": "failed"})
        assert await action("view-number-2") == "invite"
        said = {"from": "user", "content": "Hello", "fingerprint": 1}
        await tell(
            desk,
            sent("crisp", "session:set_data", {"data": {"clew_ref": token(desk)}}, time.time()),
            sent("crisp", "message:send", said, time.time()),
        )
        assert await action("view-number-3") == "hide"
        await tell(desk, sent("crisp", "session:set_state", {"state": "resolved"}, time.time() + 1))
        assert await action("view-number-4") != "hide"


async def test_webhooks_of_another_provider_or_without_a_secret_are_not_taken(tmp_path: Path) -> None:
    more = {"chat": {"provider": "crisp", "ids": VENDORS["crisp"].ids}}
    async with desk_server(tmp_path, more=more) as desk:
        said = {"from": "user", "content": "Hello", "fingerprint": 1}
        for hook in (sent("crisp", "message:send", said, 1.0), talk("tawk", "", "", time.time())[0]):
            assert (await post(desk, hook)).status_code == 404


async def test_a_secret_in_the_address_is_taken_and_not_logged(
    crisp: DeskServer, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = sent("crisp", "message:send", {"from": "user", "content": "x", "fingerprint": 1}, time.time())
    bare = hook.changed(headers={}, path=f"crisp/{SECRETS['crisp']}")
    assert (await post(crisp, bare)).status_code == 200
    assert (await post(crisp, bare.changed(path="crisp/another-secret-of-nobody"))).status_code == 401

    async def fails(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(crisp.service.provider_hooks, "receive", fails)
    assert (await post(crisp, bare)).status_code == 500
    assert SECRETS["crisp"] not in str(logged)


async def test_a_visitor_who_was_forgotten_is_not_known_again(crisp: DeskServer) -> None:
    secret = token(crisp)
    await tell(crisp, *talk("crisp", secret, "Hello", time.time()))
    assert (await talks(crisp))[0][0] == VISITOR
    await crisp.service.forgetter.forget("shop", visitor=VISITOR)
    assert await talks(crisp) == []
    await tell(crisp, *talk("crisp", secret, "Hello", time.time(), conversation="session_2"))
    assert (await talks(crisp))[-1][0] == ""
    assert VISITOR not in str(await rows(crisp, "SELECT visitor FROM provider_states"))


async def test_a_body_that_cannot_be_read_is_answered_and_told(crisp: DeskServer, logged: list[Any]) -> None:
    bare = Sent(f"crisp/{SECRETS['crisp']}", {"content-type": "application/json"}, b"", signs=False)
    for body in (b"no json", b"[1, 2]", b'"text"', b'{"event": "message:send", "data": {}}', b"[" * 100_000):
        answer = await post(crisp, bare.changed(body=body))
        assert answer.status_code == 200
        assert answer.json()["result"] == "unread"
    assert [line for line in logged if line["event"] == "webhook_unread"]
    assert (await post(crisp, bare.changed(body=b" " * 600_000))).status_code == 413
    assert await rows(crisp, "SELECT raw FROM deliveries WHERE raw IS NOT NULL") == []


async def test_an_agent_records_an_order_by_a_link(tmp_path: Path) -> None:
    """JivoChat shows it to the agent of the conversation."""
    async with desk_server(tmp_path, more={"chat": chat_of("jivochat")}) as desk:
        await came_by_partner(desk)
        answer = await post(desk, talk("jivochat", token(desk), "", time.time() - 10)[0])
        assert answer.json()["result"] == "ok"
        (link,) = answer.json()["custom_data"]
        address = link["link"].removeprefix("https://shop.test/-/clew/")
        client = desk.client()
        shown = await client.get(address)
        assert shown.status_code == 200
        assert 'name="conversation"' not in shown.text
        wrong = await client.post(address, data={"order": "1001 1.299,00"})
        assert (wrong.status_code, "is no amount" in wrong.text) == (422, True)
        for _ in range(2):
            done = await client.post(address, data={"order": "1001 59.90"})
            assert done.status_code == 303
        (line,) = await postbacks(desk)
        assert line == ("anna", "order", "chat", VISITOR, "jivochat:Ann")
        forged = await client.get(address[:-4] + "AAAA")
        assert forged.status_code == 403
        desk.clock.ahead += 31 * 86400
        assert (await client.get(address)).status_code == 403


async def test_a_link_for_any_conversation_asks_for_it(crisp: DeskServer) -> None:
    link = OrderLink("", "desk", int(time.time()) + 60)
    address = order_link_address(crisp.service.settings, "shop", link).removeprefix(
        "https://shop.test/-/clew/"
    )
    await tell(crisp, *talk("crisp", token(crisp), "Hello", time.time() - 10))
    client = crisp.client()
    assert 'value="session_1"' in (await client.get(f"{address}&conversation=session_1")).text
    fields = {"order": "1001 59.90", "conversation": "session_9"}
    assert (await client.post(address, data=fields)).status_code == 404
    for _ in range(2):
        assert (await client.post(address, data=fields | {"conversation": "session_1"})).status_code == 303
    trail = await rows(crisp, "SELECT who, action, subject, network != '' FROM audit")
    assert trail == [("crisp:desk", "order.recorded", "1001", True)]
    assert [line[:4] for line in await postbacks(crisp)] == [("anna", "order", "chat", VISITOR)]
    other = order_link_address(crisp.service.settings, "other", link).partition("key=")[2]
    assert (await client.get(f"desk/chat-order?key={other}")).status_code == 403


async def test_a_half_of_a_character_is_no_reason_to_refuse_a_webhook(tmp_path: Path) -> None:
    """JSON may have it, no encoding has. A provider that gets a 500 again and again gives up."""
    async with desk_server(tmp_path, more={"chat": chat_of("crisp", texts=True)}) as desk:
        half, now = "x\ud800", time.time()
        for name, data in enumerate(
            [
                {"from": "user", "content": half},
                {"from": "operator", "content": "Hi", "user": {"nickname": half}},
                {"from": "operator", "content": f"/order {half} 5 EUR"},
                {"from": "user", "content": "Hi", "session_id": half},
                {"from": half, half: [half]},
            ]
        ):
            await tell(desk, sent("crisp", "message:send", {"fingerprint": name, **data}, now))
        await tell(desk, sent("crisp", "session:set_data", {"data": {"clew_ref": half}}, now))
        assert await rows(desk, "SELECT text, agent FROM messages ORDER BY id LIMIT 2") == [
            ("x?", None),
            ("Hi", "crisp:x?"),
        ]


async def test_an_event_that_cannot_be_read_takes_no_other_with_it(tmp_path: Path, logged: list[Any]) -> None:
    """HubSpot sends up to a hundred at once."""
    async with desk_server(tmp_path, more={"chat": chat_of("hubspot")}) as desk:
        now = time.time()
        good = {"subscriptionType": "conversation.creation", "objectId": 1, "occurredAt": int(now * 1000)}
        body = json.dumps([{**good, "objectId": None}, 7, good, {**good, "objectId": 2}]).encode()
        answer = await post(desk, signed("hubspot", body, now))
        assert answer.json()["result"] == "talk"
        assert len(await talks(desk)) == 2
        assert [line for line in logged if line["event"] == "webhook_unread"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", 1, -5, "nan", True, "9" * 4000])
async def test_a_time_that_cannot_be_is_none(crisp: DeskServer, at: object) -> None:
    now = time.time()
    said = {"from": "user", "content": "Hello", "fingerprint": 1, "timestamp": at}
    await tell(crisp, sent("crisp", "message:send", said, now))
    ((began, last),) = await rows(crisp, "SELECT started_at, updated_at FROM conversations")
    assert now - 60 < began <= last < now + 300


async def test_a_webhook_about_another_sites_visitor_is_ignored(tmp_path: Path) -> None:
    """Two sites with one account get each other's webhooks: an order is that of its visitor's site."""
    async with desk_server(tmp_path, more={"chat": chat_of("chatwoot")}) as desk:
        settings = desk.service.settings
        shop, other = settings.sites
        theirs = desk.service.sites["other"].carrier.token(VISITOR)
        hooks = talk("chatwoot", theirs, "/order 1001 59.90 EUR", time.time() - 10)
        desk.service.settings = settings.model_copy(
            update={"sites": [shop, other.model_copy(update={"chat": shop.chat})]}
        )
        for hook in hooks:
            answer = await post(desk, hook)
            assert (answer.status_code, answer.json()["result"]) == (200, "ignored")
        assert await talks(desk) == []
        assert await desk.service.ledger.orders.get("shop", "1001") is None
        await tell(desk, *talk("chatwoot", token(desk), "/order 1001 59.90 EUR", time.time() - 10))
        assert [line[0] for line in await talks(desk)] == [VISITOR]
