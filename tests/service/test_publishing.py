"""The shop's own endpoints are told what happens in the ledger: each once, in order, and nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from clew.chat.load import Gate
from clew.desk.api.openapi import document
from clew.orders.model import OrderSeen
from clew.payouts.account import Verdict
from clew.payouts.period import Period
from clew.postbacks.outgoing import TYPES
from clew.service import publishing
from clew.service.ordering.correcting import settle
from clew.service.paying import close, pay
from clew.service.publishing import DISABLED_AFTER, Publisher
from clew.service.workflow import decide
from clew.settings.model import EventEndpoint
from clew.stores.ledger.endpoints import EndpointRow
from clew.stores.ledger.errors import NoConversationError
from clew.stores.ledger.exports import Wanted
from receiver import Call, Receiver
from reporting import NOW, PARTNER, Shop, site
from standardwebhooks import Webhook

D = Decimal
TERMS = [{"name": "all", "percent": "10"}]
PAYER = {"name": "Shop GmbH", "iban": "DE89370400440532013000", "minimum": {"EUR": "5.00"}}
ACCOUNT = {"name": "Jürgen Blog", "iban": "FR1420041010050500013M02606"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6i"


def order(total: str, number: str = "1001", **more: Any) -> OrderSeen:
    return OrderSeen(number, D(total), "EUR", "api", **more)


class Told(Receiver):
    """An endpoint that answers as a test says, and keeps what it took."""

    status: Callable[[dict[str, Any]], int] = staticmethod(lambda event: 200)

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, Mapping[str, str]]:
        status = self.status(json.loads(body))
        if status == 200:
            status = self.take(method, target, headers, body)
        return status, b"{}", {}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [call.json() for call in self.accepted]


def signed(call: Call, secret: str) -> str:
    """The signature that a receiver computes."""
    at = datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
    found: str = Webhook(secret).sign(call.headers["webhook-id"], at, call.body.decode())
    return found


@pytest.fixture
def crm() -> Any:
    with Told() as told:
        yield told


@asynccontextmanager
async def telling(shop: Shop, count: int = 1) -> AsyncIterator[None]:
    """The publishers of so many processes."""
    service = shop.service
    publishers = [
        Publisher(
            service.ledger,
            service.sites.endpoints,
            service.settings.delivery,
            lambda: shop.now,
            service.events,
        )
        for _ in range(count)
    ]
    tasks = [asyncio.create_task(one.run()) for one in publishers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "POLL_SECONDS", 0.02)


def endpoint(crm: Receiver, **more: Any) -> dict[str, Any]:
    return {"name": "crm", "url": f"{crm.address}/hook", "secret": SECRET, **more}


@asynccontextmanager
async def opened(
    folder: Path,
    crm: Receiver,
    ledger: str | None = None,
    *,
    of_site: Mapping[str, Any] = MappingProxyType({}),
    **more: Any,
) -> AsyncIterator[Shop]:
    settings = site(api_token="t" * 20, endpoints=[endpoint(crm, **more)], **of_site)
    shop = Shop(folder, settings, ledger)
    await shop.service.open()
    # It is told what comes from now on.
    ends = await shop.service.ledger.endpoints.ends()
    await shop.service.ledger.endpoints.take("shop", "crm", "", ends, shop.now, 0.0)
    try:
        yield shop
    finally:
        await shop.service.close()


async def test_what_agents_do_with_conversations_is_told_without_what_they_wrote(
    tmp_path: Path, crm: Told
) -> None:
    """seed B20"""
    async with opened(tmp_path, crm, events=["conversation.*", "agent.*", "agents.*"]) as shop:
        ledger = shop.service.ledger
        await ledger.agents.add("bo", "correct horse battery", site=None, now=shop.now)
        added = await ledger.conversations.add_visitor_message(
            *("shop", "a visitor", "hello"), client_id="c1", language="de", rule=None, now=shop.now
        )
        talk = added.conversation.id
        await ledger.conversations.claim("shop", talk, "bo", shop.now)
        await ledger.desk_log.note("shop", talk, "rude", by="bo", now=shop.now)
        # Of an agent of all sites each site is told.
        await ledger.desk_agents.set_presence("bo", "away", shop.now)
        with pytest.raises(NoConversationError):
            await ledger.desk_log.note("other", talk, "elsewhere", by="bo", now=shop.now)
        await ledger.load.flip("shop", Gate(), shop.now, "6/6")
        await ledger.conversations.close("shop", talk, shop.now, by="bo")
        async with telling(shop, 2):
            await until_true(lambda: len(crm.events) == 6)
        assert [one["type"] for one in crm.events] == [
            *("conversation.opened", "conversation.taken", "conversation.noted", "agent.presence"),
            *("agents.busy", "conversation.closed"),
        ]
        opened_, taken, noted, presence, busy, _ = (one["data"] for one in crm.events)
        assert (opened_["by"], taken["agent"], noted["by"]) == (None, "bo", "bo")
        assert presence == {"site": "shop", "agent": "bo", "presence": "away"}
        assert busy == {"site": "shop", "talks": 6, "places": 6}
        assert "rude" not in json.dumps(crm.events)
        assert "a visitor" not in json.dumps(crm.events)


async def test_rules_that_people_set_are_told_and_exported(
    tmp_path: Path, ledger_address: str, crm: Told
) -> None:
    """seed B20"""
    async with opened(tmp_path, crm, ledger_address, events=["rules.changed"]) as shop:
        ledger, at = shop.service.ledger, shop.service.sites.settings_of("shop")
        assert at is not None
        editing = shop.service.rule_editing
        written = '[[rules]]\nname = "sizes"\naction = "hide"\n'
        await editing.set(at, written, "eva", "the sale", shop.now, 0)
        # The same again is no change.
        await editing.set(at, written, "eva", "once more", shop.now, 1)
        await editing.settings_again(at, "bo", "", shop.now, 1)
        async with telling(shop, 2):
            await until_true(lambda: len(crm.events) == 2)
        assert [one["type"] for one in crm.events] == ["rules.changed"] * 2
        first, second = (one["data"] for one in crm.events)
        assert first == {
            "site": "shop",
            "revision": 1,
            "by": "eva",
            "note": "the sale",
            "rules": 1,
            "origin": "people",
        }
        assert (second["revision"], second["by"], second["origin"]) == (2, "bo", "settings")
        page = await ledger.exports.page("revisions", Wanted("shop"), None, 1)
        assert (page.more, [row["revision"] for row in page.rows]) == (True, [1])
        rest = await ledger.exports.page("revisions", Wanted("shop"), page.cursor, 10)
        assert [(row["revision"], row["by"], row["origin"]) for row in rest.rows] == [(2, "bo", "settings")]
        elsewhere = await ledger.exports.page("revisions", Wanted("other"), None, 10)
        assert elsewhere.rows == ()


async def test_a_note_is_told_where_personal_data_are_wanted_and_marked_in_exports(
    tmp_path: Path, crm: Told
) -> None:
    async with opened(tmp_path, crm, personal=True, events=["conversation.noted"]) as shop:
        ledger = shop.service.ledger
        added = await ledger.conversations.add_visitor_message(
            *("shop", "v1", "hello"), client_id="c1", language="de", rule=None, now=shop.now
        )
        await ledger.desk_log.note("shop", added.conversation.id, "rude", by="bo", now=shop.now)
        async with telling(shop):
            await until_true(lambda: len(crm.events) == 1)
        data = crm.events[0]["data"]
        assert (data["visitor"], data["note"]) == ("v1", "rude")
        page = await ledger.exports.page("talks", Wanted("shop"), None, 10)
        assert [(row["kind"], row["internal"]) for row in page.rows] == [("opened", None), ("note", "rude")]
        again = await ledger.exports.page("talks", Wanted("shop"), page.cursor, 10)
        assert again.rows == ()
        messages = await ledger.exports.page("conversations", Wanted("shop"), None, 10)
        assert [row["text"] for row in messages.rows] == ["hello"]


async def until(shop: Shop, holds: Callable[[EndpointRow], bool]) -> EndpointRow:
    async with asyncio.timeout(20):
        while True:
            (row,) = await shop.service.ledger.endpoints.list()
            if holds(row):
                return row
            await asyncio.sleep(0.02)


async def until_true(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


async def test_orders_credit_and_postbacks_are_told_signed(
    tmp_path: Path, ledger_address: str, crm: Told
) -> None:
    async with opened(tmp_path, crm, ledger_address) as shop:
        await shop.bought("v1")
        await shop.report(order("59.90"), "v1")
        await shop.deliver()
        async with telling(shop):
            await crm.waited(3)
        assert [event["type"] for event in crm.events] == [
            "order.created",
            "credit.changed",
            "postback.delivered",
        ]
        assert all(signed(call, SECRET) in call.headers["webhook-signature"] for call in crm.accepted)
        created, credit, postback = (event["data"] for event in crm.events)
        assert (created["order_id"], created["total"], created["version"]) == ("1001", "59.90", 1)
        assert [share["partner"] for share in credit["shares"]] == ["blog"]
        assert (postback["partner"], postback["event"], postback["amount"]) == ("blog", "order", "59.90")


async def test_no_event_names_a_person_or_a_click_unless_the_settings_ask(tmp_path: Path, crm: Told) -> None:
    async with opened(tmp_path, crm) as shop:
        await shop.bought("visitor-1", "click-of-1")
        await shop.report(order("59.90", email_hash="a" * 64), "visitor-1")
        async with telling(shop):
            await crm.waited(2)
        sent = b"".join(call.body for call in crm.accepted)
        assert not [one for one in (b"visitor-1", b"click-of-1", b"a" * 64) if one in sent]
    with Told() as other:
        folder = tmp_path / "personal"
        folder.mkdir()
        async with opened(folder, other, personal=True) as shop:
            await shop.report(order("59.90"), "visitor-1")
            async with telling(shop):
                await other.waited(1)
            assert other.events[0]["data"]["visitor"] == "visitor-1"


async def test_each_change_is_told_by_its_kind(tmp_path: Path, ledger_address: str, crm: Told) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({}, "order.created"),
        ({"state": "paid"}, "order.updated"),
        ({"state": "refunded"}, "order.refunded"),
        ({"state": "cancelled"}, "order.cancelled"),
    ]
    async with opened(tmp_path, crm, ledger_address, events=["order.*"]) as shop, telling(shop):
        for count, (change, _) in enumerate(changes, 1):
            await shop.report(order("59.90", as_of=shop.now + count, **change))
            await crm.waited(count)
        assert [event["type"] for event in crm.events] == [kind for _, kind in changes]
        assert [event["data"]["version"] for event in crm.events] == [1, 2, 3, 4]


async def test_a_held_order_says_why(tmp_path: Path, crm: Told) -> None:
    async with opened(tmp_path, crm, events=["order.*"]) as shop:
        await shop.bought("v1")
        page = OrderSeen("1001", D("59.90"), "EUR", "page", guess=True)
        for number in range(6):
            await shop.report(order("10.00", f"S-{number}"), "v0")
        await shop.report(OrderSeen("1001", D("9000.00"), "EUR", page.source), "v1")
        async with telling(shop):
            await crm.waited(7)
        last = crm.events[-1]
        assert last["type"] == "order.held"
        assert last["data"]["held"]


async def test_while_a_secret_is_replaced_both_are_right(tmp_path: Path, crm: Told) -> None:
    async with opened(tmp_path, crm, secret=OLD, previous_secrets=[SECRET]) as shop:
        await shop.report(order("59.90"))
        async with telling(shop):
            (call, *_) = await crm.waited(1)
        assert call.headers["webhook-signature"] == f"{signed(call, OLD)} {signed(call, SECRET)}"


async def test_what_fails_is_repeated_with_the_same_id_before_anything_later(
    tmp_path: Path, crm: Told
) -> None:
    tries: list[str] = []

    def failing(event: dict[str, Any]) -> int:
        tries.append(event["data"]["order_id"])
        return 503 if len(tries) < 3 else 200

    crm.status = failing  # type: ignore[method-assign]
    async with opened(tmp_path, crm, events=["order.*"]) as shop:
        await shop.report(order("1.00", "1"))
        await shop.report(order("2.00", "2"))
        async with telling(shop):
            for count in (1, 2):
                row = await until(shop, lambda row, count=count: row.attempts == count)  # type: ignore[misc]
                assert 4.9 <= row.next_at - shop.now <= 40
                assert row.failing_since is not None
                shop.now = row.next_at
            await crm.waited(2)
        assert tries == ["1", "1", "1", "2"]
        row = await until(shop, lambda row: row.attempts == 0)
        assert row.failing_since is None


async def test_an_endpoint_that_fails_for_days_is_disabled_and_loses_nothing(
    tmp_path: Path, crm: Told
) -> None:
    crm.status = lambda event: 500  # type: ignore[method-assign]
    async with opened(tmp_path, crm, events=["order.*"]) as shop:
        await shop.report(order("1.00", "1"))
        async with telling(shop):
            await until(shop, lambda row: row.attempts == 1)
            shop.now += DISABLED_AFTER + 1
            row = await until(shop, lambda row: row.disabled_at is not None)
            noted = {one.event for one in shop.service.events.take_noted()}
            assert "endpoint_disabled" in noted
            crm.status = lambda event: 200  # type: ignore[method-assign]
            await shop.report(order("2.00", "2"))
            assert row.why
            assert await shop.service.ledger.endpoints.resume("shop", "crm")
            await crm.waited(2)
        assert [event["data"]["order_id"] for event in crm.events] == ["1", "2"]


async def test_gone_disables_at_once(tmp_path: Path, crm: Told) -> None:
    crm.status = lambda event: 410  # type: ignore[method-assign]
    async with opened(tmp_path, crm) as shop:
        await shop.report(order("1.00"))
        async with telling(shop):
            assert (await until(shop, lambda row: row.disabled_at is not None)).last_status == 410


async def test_an_event_that_is_refused_again_and_again_does_not_hold_up_the_others(
    tmp_path: Path, crm: Told
) -> None:
    crm.status = lambda event: 422 if event["data"]["order_id"] == "1" else 200  # type: ignore[method-assign]
    async with opened(tmp_path, crm, events=["order.*"]) as shop:
        await shop.report(order("1.00", "1"))
        await shop.report(order("2.00", "2"))
        async with telling(shop):
            while not crm.events:
                shop.now += 4000
                await asyncio.sleep(0.05)
        assert [event["data"]["order_id"] for event in crm.events] == ["2"]
        assert "event_refused" in {one.event for one in shop.service.events.take_noted()}


async def test_several_processes_tell_each_event_once(tmp_path: Path, ledger_address: str, crm: Told) -> None:
    async with opened(tmp_path, crm, ledger_address, events=["order.*"]) as shop:
        async with telling(shop, count=3):
            for number in range(20):
                await shop.report(order("1.00", str(number)))
            await crm.waited(20)
        assert [event["data"]["order_id"] for event in crm.events] == [str(n) for n in range(20)]


async def test_another_sites_orders_are_not_told(tmp_path: Path, crm: Told) -> None:
    async with opened(tmp_path, crm) as shop:
        page = await shop.service.ledger.exports.page("orders", publishing.Wanted("other"), None, 5)
        assert page.rows == ()
        await shop.report(order("1.00"))
        async with telling(shop):
            await crm.waited(1)
        assert {event["data"]["site"] for event in crm.events} == {"shop"}


async def test_an_order_of_another_site_writes_nothing_for_an_endpoint(
    tmp_path: Path, ledger_address: str, crm: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    rounds = 0
    async with opened(tmp_path, crm, ledger_address) as shop:
        service, book = shop.service, shop.service.ledger.endpoints
        take, listed = book.take, book.list

        async def taking(site: str, name: str, *more: Any) -> EndpointRow | None:
            taken.append(name)
            return await take(site, name, *more)

        async def listing() -> tuple[EndpointRow, ...]:
            nonlocal rounds
            rounds += 1
            return await listed()

        async def some_rounds() -> None:
            before = rounds
            await until_true(lambda: rounds >= before + 7)

        monkeypatch.setattr(book, "take", taking)
        monkeypatch.setattr(book, "list", listing)
        idle = [
            EventEndpoint.model_validate({**endpoint(crm), "name": f"idle-{number}"}) for number in range(20)
        ]
        both = {"shop": list(service.settings.sites[0].endpoints), "other": idle}
        monkeypatch.setattr(
            type(service.sites), "endpoints", lambda _: [(s, one) for s, some in both.items() for one in some]
        )
        # What was written before is not known by site.
        await shop.report(order("1.00", "1"))
        async with telling(shop, count=2):
            await crm.waited(1)
            await until_true(lambda: len(set(taken)) == 21)
            while taken:
                taken.clear()
                await some_rounds()
            await shop.report(order("1.00", "2"))
            await crm.waited(3)
            await some_rounds()
            assert set(taken) == {"crm"}
            while taken:
                taken.clear()
                await some_rounds()
            del both["shop"]
            await shop.report(order("1.00", "3"))
            await some_rounds()
            assert taken == []
            # Also one that is told again from an earlier place on, and one whose cursor is far behind.
            both["shop"] = list(service.settings.sites[0].endpoints)
            await crm.waited(5)
            assert await book.resume("shop", "crm", {kind: f"{kind}-0-0" for kind in publishing.KINDS})
            await crm.waited(10)
            monkeypatch.setattr(publishing, "FAR", 0)
            await shop.report(order("1.00", "4"))
            await until_true(lambda: len(set(taken)) == 21)


async def test_endpoints_with_much_to_be_told_leave_the_others_their_turn(
    tmp_path: Path, crm: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "AT_ONCE", 2)
    monkeypatch.setattr(publishing, "IN_A_ROW", 1)
    names = ["crm", "b", "c", "d", "e"]
    settings = site(endpoints=[endpoint(crm) | {"name": name} for name in names])
    shop, taken = Shop(tmp_path, settings), list[str]()
    await shop.service.open()
    try:
        book = shop.service.ledger.endpoints
        ends, take = await book.ends(), book.take
        for name in names:
            await take("shop", name, "", ends, shop.now, 0.0)
        for number in range(6):
            await shop.report(order("1.00", str(number)))

        async def taking(site: str, name: str, *more: Any) -> EndpointRow | None:
            taken.append(name)
            return await take(site, name, *more)

        monkeypatch.setattr(book, "take", taking)
        async with telling(shop):
            await crm.waited(6 * len(names))
        assert set(taken[: len(names)]) == set(names)
    finally:
        await shop.service.close()


def test_the_openapi_document_has_every_event() -> None:
    assert set(document("/-/clew/", [])["webhooks"]) == set(TYPES)


async def test_what_becomes_of_a_commission_is_told_up_to_its_payout(
    tmp_path: Path, ledger_address: str, crm: Told
) -> None:
    own = {"partners": [{**PARTNER, "terms": TERMS, "payout": ACCOUNT}], "payer": PAYER}
    wanted = ["commission.*", "payout.made"]
    async with opened(tmp_path, crm, ledger_address, of_site=own, events=wanted) as shop:
        await shop.bought("v1")
        await shop.report(order("100.00", state="paid"), "v1")
        await shop.bought("v2", "c2")
        await shop.report(order("50.00", "1002", state="paid"), "v2")
        await decided(shop, "1001", "approve")
        await decided(shop, "1002", "decline")
        await shop.report(order("120.00", state="paid", as_of=shop.now + 60), "v1")
        await decided(shop, "1001", "approve")
        settings, month = shop.service.settings.sites[0], Period.at(NOW, "UTC")
        parts = (shop.service.ledger, settings, settings.partners[0], month, shop.now)
        await close(*parts)
        await pay(*parts)
        async with telling(shop):
            await crm.waited(7)
        told = [(event["type"], event["data"].get("order_id")) for event in crm.events]
        assert told == [
            ("commission.approved", "1001"),
            ("commission.declined", "1002"),
            ("commission.amended", "1001"),
            ("commission.approved", "1001"),
            ("commission.settled", "1001"),
            ("commission.paid", "1001"),
            ("payout.made", None),
        ]
        amended, paid, payout = (crm.events[n]["data"] for n in (2, 5, 6))
        assert (amended["change"], amended["source"]) == ("2.00", "credit")
        assert (paid["change"], paid["amount"], paid["state"], paid["source"]) == (
            *("12.00", "12.00", "paid", "payout"),
        )
        assert paid["ref"] == payout["name"]
        assert (payout["amount"], payout["currency"], payout["lines"], payout["period"]) == (
            *("12.00", "EUR", 1, month.name),
        )
        assert ACCOUNT["iban"].encode() not in b"".join(call.body for call in crm.accepted)


async def decided(shop: Shop, number: str, verdict: Verdict) -> None:
    stored = await shop.service.ledger.orders.get("shop", number)
    assert stored is not None
    known = shop.service.sites["shop"].partners.get
    await decide(shop.service.ledger, known, stored.row, (), verdict, shop.now, by="ann", why="looked")
    shop.now += 1


async def test_a_hold_is_told_and_its_release_without_a_change_too(
    tmp_path: Path, ledger_address: str, crm: Told
) -> None:
    async with opened(tmp_path, crm, ledger_address, events=["postback.*"]) as shop:
        await shop.bought("v1")
        for number in range(6):
            await shop.report(order("10.00", f"S-{number}"), "v0")
        await shop.report(OrderSeen("1001", D("9000.00"), "EUR", "page"), "v1")
        (held,) = await shop.service.ledger.outbox.list("held")
        async with telling(shop):
            await crm.waited(1)
            partners = shop.service.sites["shop"].partners
            await settle(shop.service.ledger, lambda _: list(partners.values()), held.id, shop.now, by="ann")
            await crm.waited(2)
            await shop.deliver()
            await crm.waited(3)
        assert [event["type"] for event in crm.events] == [
            "postback.held",
            "postback.released",
            "postback.delivered",
        ]
        first, released, _ = (event["data"] for event in crm.events)
        assert (first["id"], first["hold"], released["id"], released["hold"]) == (
            *(held.id, "amount", held.id, None),
        )
        assert first["why"] in released["why"]
        assert "ann" in released["why"]


async def test_events_are_read_and_noted_many_at_a_time(
    tmp_path: Path, ledger_address: str, crm: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, crm, ledger_address, events=["order.*"]) as shop:
        for number in range(30):
            await shop.report(order("1.00", str(number)))
        exports, book, trips = shop.service.ledger.exports, shop.service.ledger.endpoints, list[str]()

        def counted(of: Any, name: str) -> None:
            plain = getattr(of, name)

            async def call(*given: Any, **more: Any) -> Any:
                trips.append(name)
                return await plain(*given, **more)

            monkeypatch.setattr(of, name, call)

        for name in ("take", "note", "held"):
            counted(book, name)
        counted(exports, "entries")
        async with telling(shop):
            await crm.waited(30)
        assert [event["data"]["order_id"] for event in crm.events] == [str(n) for n in range(30)]
        assert trips.count("entries") <= 2 * len(publishing.KINDS)
        assert (trips.count("note"), trips.count("held")) <= (3, 2)


async def test_a_process_that_ends_notes_how_far_it_told(tmp_path: Path, crm: Told) -> None:
    async with opened(tmp_path, crm, events=["order.*"]) as shop:
        for number in range(20):
            await shop.report(order("1.00", str(number)))
        everything = {str(n) for n in range(20)}
        async with telling(shop):
            await crm.waited(5)
        async with telling(shop):
            await until_true(lambda: {event["data"]["order_id"] for event in crm.events} == everything)
        assert len(crm.events) <= 21  # the one that was under way may come twice
