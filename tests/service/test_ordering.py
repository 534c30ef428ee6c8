"""Orders in a running service: who is credited, through which channel; nothing is lost or doubled."""

import sqlite3
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from clew.orders.model import OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.correcting import settle
from clew.service.ordering.doubts import Shown
from clew.service.service import Service
from clew.service.site import SiteRuntime
from clew.settings.model import Settings
from clew.stores.ledger import schema
from talks import open_conversation

NOW = 1_800_000_000.0
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


@pytest_asyncio.fixture
async def service(
    tmp_path: Path, ledger_address: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    settings = Settings.model_validate(
        {
            "secret": "s" * 40,
            "ledger": ledger_address,
            "store": f"sqlite:{tmp_path / 'visits.db'}",
            "sites": [
                {
                    "name": "shop",
                    "order": {"page": "/thanks"},
                    "partners": [
                        {
                            "id": "blog",
                            "param": "ref",
                            "postback": "http://127.0.0.1:9/p?c={click_id}",
                            "lookback_days": 30,
                        }
                    ],
                }
            ],
        }
    )
    service = Service(settings)
    monkeypatch.setattr(service.clock, "now", Clock())
    # Not started: nothing is delivered here.
    await service.open()
    yield service
    await service.close()


@pytest.fixture
def site(service: Service) -> SiteRuntime:
    return service.sites["shop"]


def order(number: str = "1001", **changes: object) -> OrderSeen:
    return OrderSeen(
        **{"id": number, "total": Decimal("59.90"), "currency": "EUR", "source": "page", **changes}
    )  # type: ignore[arg-type]


def click(at: float, value: str = "abc") -> Touch:
    return Touch(int(at), (Click("", "ref", value, "blog"),), {}, "", "/")


async def rows(service: Service, table: sa.Table) -> list[sa.RowMapping]:
    async with service.ledger.db.read() as connection:
        return list((await connection.execute(sa.select(table))).mappings())


async def write(service: Service, text: str, at: float, client: str = "client-0001") -> None:
    await service.ledger.conversations.add_visitor_message(
        "shop", "v1", text=text, client_id=client, language="en", rule=None, now=at
    )


async def test_an_order_is_credited_to_the_click_and_its_postback_is_due(
    service: Service, site: SiteRuntime
) -> None:
    await service.visits.change("shop", "v1", [Touched(click(NOW - HOUR, "c|%=:"))], NOW)
    recorded = await service.ordering.record(site, order(), visitor="v1")
    assert recorded.created
    (credit,) = await rows(service, schema.shares)
    assert (credit["partner"], credit["click"][2]) == ("blog", "c|%=:")
    (postback,) = await rows(service, schema.postbacks)
    report = postback["report"]
    assert (postback["state"], report["amount"], report["channel"]) == ("due", "59.90", "web")


async def test_the_same_order_again_changes_nothing(service: Service, site: SiteRuntime) -> None:
    await service.visits.change("shop", "v1", [Touched(click(NOW - HOUR))], NOW)
    await service.ordering.record(site, order(), visitor="v1")
    again = await service.ordering.record(site, order(total=Decimal("59.90")), visitor="v1")
    assert not again.created
    assert again.order.total == Decimal("59.90")
    assert len(await rows(service, schema.sightings)) == 1
    assert [len(await rows(service, t)) for t in (schema.orders, schema.shares, schema.postbacks)] == [
        1,
        1,
        1,
    ]


async def test_the_channel_is_chat_when_the_visitor_wrote_before_it_ordered(
    service: Service, site: SiteRuntime
) -> None:
    await write(service, "Does it fit?", NOW - HOUR)
    recorded = await service.ordering.record(site, order(), visitor="v1")
    assert recorded.order.channel == "chat"
    (row,) = await rows(service, schema.orders)
    assert row["conversation"] is not None


async def test_a_talk_that_began_after_the_order_did_not_bring_it(
    service: Service, site: SiteRuntime
) -> None:
    """feature E13"""
    await write(service, "Where is my parcel?", NOW - HOUR)
    recorded = await service.ordering.record(
        site, order(placed_at=NOW - 2 * HOUR, source="api"), visitor="v1"
    )
    assert recorded.order.channel == "web"


@pytest.mark.parametrize(("hours", "channel"), [(23.9, "chat"), (24.1, "web")])
async def test_a_talk_counts_within_the_sites_window(
    service: Service, site: SiteRuntime, hours: float, channel: str
) -> None:
    await write(service, "Hello", NOW - hours * HOUR)
    assert (await service.ordering.record(site, order(), visitor="v1")).order.channel == channel


async def test_an_order_that_the_agent_records_is_the_chats_and_the_clicks(
    service: Service, site: SiteRuntime
) -> None:
    """feature A2"""
    await service.visits.change("shop", "v1", [Touched(click(NOW - HOUR))], NOW)
    await write(service, "Please order it for me", NOW - 60)
    talk = await open_conversation(service.ledger.conversations, "shop", "v1")
    assert talk is not None
    recorded = await service.ordering.record(
        site, order(source="agent"), visitor="v1", conversation=talk.id, agent="anna"
    )
    assert recorded.order.channel == "chat"
    (credit,) = await rows(service, schema.shares)
    assert credit["partner"] == "blog"


async def test_a_lost_visit_store_does_not_cost_the_partner_its_credit(
    service: Service, site: SiteRuntime
) -> None:
    await service.visits.close()
    recorded = await service.ordering.record(site, order(), visitor="v1", touches=(click(NOW - HOUR),))
    assert recorded.created
    (credit,) = await rows(service, schema.shares)
    assert credit["partner"] == "blog"


async def test_an_order_without_a_touch_is_credited_to_nobody_and_says_so(
    service: Service, site: SiteRuntime
) -> None:
    await service.ordering.record(site, order(), visitor=None)
    assert await rows(service, schema.shares) == []
    (decision,) = await rows(service, schema.decisions)
    assert decision["reason"].startswith("nobody")
    assert await rows(service, schema.postbacks) == []


async def test_an_order_on_a_page_is_tried_again_when_the_ledger_fails(
    service: Service, site: SiteRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.service.ordering.recording.PAUSES", (0.0, 0.0, 0.0))
    write, failures = service.ledger.histories.write, [sqlite3.OperationalError("locked")] * 2

    async def flaky(*args: object, **named: object) -> object:
        if failures:
            raise failures.pop()
        return await write(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(service.ledger.histories, "write", flaky)
    await service.ordering.record_seen(site, order(), None, ())
    assert len(await rows(service, schema.orders)) == 1


async def test_an_order_that_cannot_be_written_is_whole_in_the_log(
    service: Service, site: SiteRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.service.ordering.recording.PAUSES", (0.0,))
    told: dict[str, object] = {}
    monkeypatch.setattr(service.events, "emit", lambda name, **fields: told.update(event=name, **fields))
    await service.ledger.db.close()

    async def broken(*_: object, **__: object) -> object:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(service.ledger.histories, "write", broken)
    await service.ordering.record_seen(site, order(), None, ())
    assert told["event"] == "order_unrecorded"
    assert (told["order"], told["total"], told["currency"]) == ("1001", "59.90", "EUR")


DRAWN = Shown("/thanks", "inside", by_browser=True)
SENT = Shown("/thanks", "inside")


async def report_order(
    service: Service, site: SiteRuntime, visitor: str | None, shown: Shown, total: str
) -> None:
    source = "browser" if shown.by_browser else "page"
    seen = order(total=Decimal(total), source=source)
    await service.ordering.record(site, seen, visitor=visitor, shown=shown)


async def due(service: Service) -> list[tuple[str, str, str]]:
    found = await rows(service, schema.postbacks)
    left = [p for p in found if p["state"] != "superseded"]
    return [(p["state"], p["report"]["click_id"], p["report"]["amount"]) for p in left]


@pytest.mark.parametrize("with_click", [True, False])
@pytest.mark.parametrize("total", ["10.00", "59.90"])
async def test_the_shops_page_has_precedence_over_an_order_invented_by_a_browser(
    service: Service, site: SiteRuntime, with_click: bool, total: str
) -> None:
    """field E12: order numbers reported before the orders are placed."""
    if with_click:
        await service.visits.change("shop", "stranger", [Touched(click(NOW - HOUR, "theirs"))], NOW)
    await report_order(service, site, "stranger", DRAWN, total)
    buyer = [Touched(click(NOW - HOUR, "real")), Shopped()]
    await service.visits.change("shop", "buyer", buyer, NOW)
    await report_order(service, site, "buyer", SENT, "59.90")
    assert await due(service) == [("due", "real", "59.90")]
    (kept,) = await rows(service, schema.orders)
    assert (kept["visitor"], kept["total"], kept["source"]) == ("buyer", "59.90", "page")


async def test_a_page_opened_without_the_cookie_does_not_confirm_a_browsers_report(
    service: Service, site: SiteRuntime
) -> None:
    """field E12: a stranger reports an order, then opens its page without a cookie."""
    await service.visits.change("shop", "stranger", [Touched(click(NOW - HOUR, "theirs"))], NOW)
    await report_order(service, site, "stranger", DRAWN, "59.90")
    await report_order(service, site, None, SENT, "59.90")
    assert await due(service) == [("held", "theirs", "59.90")]


async def test_a_page_opened_without_the_cookie_does_not_make_an_unpaid_order_a_sale(
    service: Service, site: SiteRuntime
) -> None:
    """field A7, E12: a stranger opens the page of an unpaid order, then again without a cookie."""
    await service.visits.change("shop", "stranger", [Touched(click(NOW - HOUR, "theirs"))], NOW)
    unpaid = order(state="seen")
    await service.ordering.record(site, unpaid, visitor="stranger", shown=Shown("/thanks", "outside"))
    await report_order(service, site, None, SENT, "59.90")
    assert await due(service) == []


async def test_a_stranger_who_did_not_shop_does_not_get_a_browsers_order(
    service: Service, site: SiteRuntime
) -> None:
    """field E12"""
    await service.visits.change("shop", "buyer", [Touched(click(NOW - HOUR, "real")), Shopped()], NOW)
    await report_order(service, site, "buyer", DRAWN, "59.90")
    await service.visits.change("shop", "stranger", [Touched(click(NOW - HOUR, "theirs"))], NOW)
    await report_order(service, site, "stranger", Shown("/thanks", "outside"), "59.90")
    assert await due(service) == [("held", "real", "59.90")]


async def test_a_persons_refusal_of_a_browsers_report_is_final(service: Service, site: SiteRuntime) -> None:
    """field E12: reloading the page does not send what a person refused."""
    await service.visits.change("shop", "v1", [Touched(click(NOW - HOUR)), Shopped()], NOW)
    await report_order(service, site, "v1", DRAWN, "59.90")
    (row,) = await service.ledger.outbox.list()
    assert await settle(service.ledger, lambda _: [], row.id, NOW, by="anna", send=False)
    await report_order(service, site, "v1", SENT, "59.90")
    assert [state for state, *_ in await due(service)] == ["refused"]
