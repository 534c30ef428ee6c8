"""No list, count or look-up of the ledger goes through all that there ever was: orders are kept for years.

SQLite is asked for its plan; a plan depends on the tables' indexes, not on how much is in them (clew keeps no
statistics). With a million orders each of these took between half a second and three before it had its index.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.chat.told import Line
from clew.orders.model import OrderSeen
from clew.orders.sighting import Sighting
from clew.postbacks.model import STATES
from clew.stores.ledger import lost
from clew.stores.ledger.assignment import Assignment, Terms
from clew.stores.ledger.calls import Calls
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.customers import Customers
from clew.stores.ledger.database import Database
from clew.stores.ledger.endpoints import Endpoints
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.exports import Exports, Wanted
from clew.stores.ledger.forgetting import Forgetting, Person
from clew.stores.ledger.inbox import Inbox
from clew.stores.ledger.lists import Lists, WantedList
from clew.stores.ledger.load import Load
from clew.stores.ledger.loose import Loose
from clew.stores.ledger.orders import Orders
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.paces import Paces
from clew.stores.ledger.payouts import Payouts
from clew.stores.ledger.prepared import Compiled, Prepared
from clew.stores.ledger.provider_talks import Heard, ProviderTalks
from clew.stores.ledger.reports import OrderFilter, Reports
from clew.stores.ledger.retention import Retention
from clew.stores.ledger.stories import Stories
from clew.stores.ledger.tail import Tail
from clew.stores.ledger.talk_figures import TalkFigures
from clew.stores.ledger.totals import Totals, Weeks
from recorded import put_order
from sqlalchemy import Connection, event, text
from sqlalchemy.dialects import sqlite

NOW = 1_800_000_000.0
Ask = Callable[[Database], Awaitable[Any]]
_ALL = re.compile(
    r"SCAN (orders|order_numbers|placements|sightings|decisions|shares|postbacks|attempts|conversations|"
    r"messages|commissions|commission_entries|payouts|provider_states)\b(?! USING COVERING INDEX "
    r"ix_provider_states_presence)"
)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    found = database_at(f"sqlite:{tmp_path / 'clew.db'}")
    await found.open()
    # Some questions are asked for each site that has orders.
    await put_order(found, OrderSeen("0", Decimal(5), "EUR", "page"), site="other", now=NOW)
    yield found
    await found.close()


async def plan(db: Database, ask: Ask) -> list[str]:
    """The steps of all statements that are executed, by SQLAlchemy or by the driver itself."""
    asked: list[tuple[str, Any]] = []
    values = Compiled.values

    def hear(_c: object, _cursor: object, statement: str, given: Any, _x: object, _many: bool) -> None:
        asked.append((statement, given))

    def hear_prepared(self: Compiled, parameters: Mapping[str, Any]) -> list[Any]:
        given = values(self, parameters)
        asked.append((self.text, tuple(given)))
        return given

    async with db.read() as connection:
        engine = await connection.run_sync(lambda found: found.engine)
    event.listen(engine, "before_cursor_execute", hear)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Compiled, "values", hear_prepared)
        await ask(db)
    event.remove(engine, "before_cursor_execute", hear)
    assert asked
    steps: list[str] = []
    async with db.read() as connection:
        # Of what is added, the rows are listed that refer to it: those are only looked for in a transaction
        # that owes some.
        for statement, given in (one for one in asked if not one[0].startswith("INSERT")):
            rows = await connection.run_sync(
                lambda found, statement=statement, given=given: found.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {statement}", given
                ).freeze()()
            )
            steps += [row[3] for row in rows.all()]
    return steps


REPORT = Sighting(
    site="shop",
    source="api",
    at=NOW,
    id=None,
    total=Decimal(5),
    currency="EUR",
    state=None,
    visitor="v",
    email_hash="e",
    coupon="c",
)


async def forget(db: Database, *, dry: bool) -> None:
    """A person whose order is known."""
    await put_order(db, OrderSeen("1", Decimal(5), "EUR", "page"), visitor="v", now=NOW)
    found = await Forgetting(db).person("shop", email="e" * 64)
    assert found == await Forgetting(db).person("shop", visitor="v", email="e" * 64) or found.emails
    await Forgetting(db).forget(Person("shop", ("v",), ("e" * 64,)), NOW, dry=dry)
    await Forgetting(db).settle(NOW)


async def story(db: Database) -> None:
    """An order and its neighbours."""
    put = await put_order(db, OrderSeen("1", Decimal(5), "EUR", "page", coupon="c"), visitor="v", now=NOW)
    assert put is not None
    assert await Stories(db).at("shop", put.row) is not None
    known = await Loose(db).order_at(put.row)
    assert known is not None
    await Loose(db).near(known)


async def provider_talk(db: Database) -> None:
    """A conversation in a provider's chat of which a page told beforehand, and which gets its visitor."""
    books = ProviderTalks(db)
    heard = Heard(site="shop", provider="crisp", external="x", language="en", at=NOW)
    line = Line("a", "visitor", None, "", NOW)
    await books.hear(replace(heard, lines=[line], says="ended"))
    await Conversations(db).add_elsewhere("shop", "v", "crisp", None, language="en", now=NOW)
    await books.name_code("shop", "k7p2qx", "v", NOW)
    assert await books.visitor_of_code("shop", "k7p2qx") == "v"
    await books.set_present("shop", "agent", "ann", online=True, at=NOW)
    kept = await books.hear(replace(heard, visitor="v", tied="code"))
    assert kept.tied
    await books.orders_of_nobody("shop", kept.conversation.id)
    assert await books.find("shop", "crisp", "x") == await books.newest("shop", "crisp", "v")


async def say(db: Database) -> None:
    """A visitor's first message, and the next one."""
    for number in range(2):
        await Conversations(db).add_visitor_message(
            "shop", "v", "hello", client_id=f"m{number}", language="en", rule=None, now=NOW
        )


FOUND_BY_AN_INDEX: dict[str, Ask] = {
    "amounts": lambda db: Orders(db).amounts("shop", limit=50),
    "whom to forget": lambda db: forget(db, dry=True),
    "a person who is forgotten": lambda db: forget(db, dry=False),
    "amounts in a currency": lambda db: Orders(db).amounts("shop", limit=50, currency="EUR"),
    "an order": lambda db: Orders(db).get("shop", "1"),
    "orders": lambda db: Orders(db).list("shop"),
    "orders of a visitor": lambda db: Orders(db).of_visitor("shop", "v"),
    "old reports": lambda db: Retention(db).apply({"raw": 30}, NOW),
    "old calls": lambda db: Retention(db).apply({"attempts": 180}, NOW),
    "old messages": lambda db: Retention(db).apply({"conversations": 400}, NOW),
    "waiting": lambda db: Outbox(db).waiting(NOW, each=4, limit=16),
    "next due": lambda db: Outbox(db).next_due(),
    "expired": lambda db: Outbox(db).expire(NOW, lambda _: True),
    "postbacks": lambda db: Outbox(db).list(limit=100),
    "postbacks of a site": lambda db: Outbox(db).list(site="shop", limit=100),
    "delivered ones": lambda db: Outbox(db).list("delivered", limit=100),
    "delivered ones of a site": lambda db: Outbox(db).list("delivered", site="shop", limit=100),
    "how many are held": lambda db: Outbox(db).counts("shop", ("held", "dead", "unknown")),
    "held for what": lambda db: Outbox(db).holds("shop"),
    "how many": lambda db: Outbox(db).counts(),
    "how many wait": lambda db: Outbox(db).counts_by_site(["shop"]),
    "attempts": lambda db: Outbox(db).attempts("pb_1"),
    "when an outcome is asked for": lambda db: Outbox(db).next_result(),
    "outcomes to ask for": lambda db: Outbox(db).claim_accepted(NOW, NOW + 9, limit=9),
    "events of holds": lambda db: Exports(db).entries("holds", Wanted("shop"), None, 100),
    "events of commissions": lambda db: Exports(db).entries("commissions", Wanted("shop"), None, 100),
    "events of payouts": lambda db: Exports(db).entries("payouts", Wanted("shop"), None, 100),
    "held orders of events": lambda db: Endpoints(db).held("shop", ["1", "2"]),
    "report of a site": lambda db: Reports(db).orders(OrderFilter(site="shop"), 100),
    "report of a partner": lambda db: Reports(db).orders(OrderFilter(partner="blog"), 100),
    "report of a site's partner": lambda db: Reports(db).orders(
        OrderFilter(site="shop", partner="blog"), 100
    ),
    "report of held ones": lambda db: Reports(db).orders(OrderFilter(state="held"), 100),
    "report of one order": lambda db: Reports(db).orders(OrderFilter(number="1")),
    "sums of a site": lambda db: Reports(db).sums(OrderFilter(site="shop", since=9, until=NOW)),
    "sums of all sites": lambda db: Reports(db).sums(OrderFilter()),
    "a customer's past": lambda db: Customers(db).past("shop", row=2, before=NOW, visitor="v", email="e"),
    "uses of a coupon": lambda db: Customers(db).code_uses(
        "shop", row=2, coupon="c", partner="blog", since=0, until=NOW
    ),
    "devices of an address": lambda db: Customers(db).linked("shop", "e", "v", 9),
    "orders by hour": lambda db: Paces(db).read("shop", NOW),
    "calls of partners": lambda db: Calls(db).read("shop", NOW - 604_800, NOW),
    "the owner's list": lambda db: Lists(db).page(["shop"], WantedList(), limit=50),
    "its next page": lambda db: Lists(db).page(["shop"], WantedList(), after=(NOW, 9), limit=50),
    "the list of a state": lambda db: Lists(db).page(["shop"], WantedList(state="paid"), limit=50),
    "the list of a partner": lambda db: Lists(db).page(["shop"], WantedList("blog", "paid"), limit=50),
    "the list of what is held": lambda db: Lists(db).page(["shop"], WantedList(held=True), limit=50),
    "the list of a time": lambda db: Lists(db).page(["shop"], WantedList("-", since=9, until=NOW), limit=50),
    "commissions by state": lambda db: Totals(db).states("shop", Weeks.until(NOW, 4, ZoneInfo("UTC")), NOW),
    "totals of a week": lambda db: Totals(db).week("shop", NOW - 604_800, NOW),
    "sums of a partner": lambda db: Reports(db).sums(OrderFilter(site="shop", partner="blog")),
    "what a partner is not paid yet": lambda db: Payouts(db).unpaid("shop", "blog"),
    "sites of an order": lambda db: Stories(db).sites("1"),
    "story": lambda db: story(db),
    "a report that was moved": lambda db: Loose(db).placed("shop", "k"),
    "reports without a number": lambda db: Loose(db).any("shop"),
    "waiting reports": lambda db: Loose(db).waiting("shop", 0, 9),
    "waiting reports of all sites": lambda db: Loose(db).next_waiting(5, NOW - 9, 9),
    "how many reports wait": lambda db: Loose(db).count("shop", 0),
    "reports given up": lambda db: Loose(db).give_up("shop", 0, 9),
    "the same report": lambda db: Loose(db).add(REPORT, None),
    "orders of a report": lambda db: Loose(db).candidates(REPORT),
    "orders that a report may be of": lambda db: Loose(db).candidates(REPORT, sure=False),
    "a talk in a provider's chat": provider_talk,
    "such talks that run": lambda db: ProviderTalks(db).running(NOW),
    "who is there": lambda db: ProviderTalks(db).present(NOW),
    "talk": lambda db: Conversations(db).talk("shop", "v"),
    "open ones of all sites": lambda db: Load(db).active(0.0),
    "networks with several that wait": lambda db: Load(db).crowds(),
    "what is assigned": lambda db: Assignment(db).assign(
        "shop", Terms("round_robin", 3, 60.0, 900.0, 2), NOW
    ),
    "figures of a day": lambda db: TalkFigures(db).read("shop", NOW - 86_400, NOW),
    "a visitor's message": say,
    "a visitor's newest": lambda db: Conversations(db).own("shop", "v"),
    "talked": lambda db: Conversations(db).visitor_talked("shop", "v", 0, NOW),
    "messages": lambda db: Conversations(db).visitor_messages("shop", "v", 0),
    "inbox": lambda db: Inbox(db).page("shop"),
    "closed": lambda db: Inbox(db).closed("shop"),
    "crowds": lambda db: Inbox(db).crowds("shop"),
    "conversations of a visitor": lambda db: Inbox(db).of_visitor("shop", "v"),
    "what was written": lambda db: Tail(db).read(),
    "written after": lambda db: Conversations(db).written_after(9),
    "open ones": lambda db: Inbox(db).numbers("shop"),
    "version": lambda db: Inbox(db).version("shop"),
}


@pytest.mark.parametrize("ask", FOUND_BY_AN_INDEX.values(), ids=FOUND_BY_AN_INDEX)
async def test_it_is_found_by_an_index(db: Database, ask: Ask) -> None:
    steps = await plan(db, ask)
    assert not [step for step in steps if _ALL.match(step)], steps


OF_A_VISITOR = ("talk", "messages", "a visitor's message", "a visitor's newest", "conversations of a visitor")


@pytest.mark.parametrize("name", OF_A_VISITOR)
async def test_a_visitors_conversation_is_not_looked_for_among_all_of_the_site(
    db: Database, name: str
) -> None:
    """From the newest one on: with two thousand of them that was most of what a message cost."""
    steps = [step for step in await plan(db, FOUND_BY_AN_INDEX[name]) if "conversations" in step]
    assert any("ix_conversations_visitor (site=? AND visitor=?" in step for step in steps), steps
    assert not [step for step in steps if "visitor=?" not in step and "(id=?)" not in step], steps


SORTED_BY_AN_INDEX = ("orders", "report of a site", "report of a partner", "closed", "written after")


@pytest.mark.parametrize("name", SORTED_BY_AN_INDEX)
async def test_the_newest_come_from_the_end_of_an_index(db: Database, name: str) -> None:
    steps = await plan(db, FOUND_BY_AN_INDEX[name])
    # A report sorts the postbacks of each order, which are a few.
    assert steps.count("USE TEMP B-TREE FOR ORDER BY") == name.startswith("report"), steps


async def test_orders_that_nobody_earns_are_looked_for_among_the_newest(db: Database) -> None:
    """However many orders there are, the rows of so many are read at most."""

    async def steps(query: Prepared, **given: object) -> list[str]:
        compiled = query.of(sqlite.dialect())

        def explain(found: Connection) -> list[str]:
            text, values = f"EXPLAIN QUERY PLAN {compiled.text}", tuple(compiled.values(given))
            return [row[3] for row in found.exec_driver_sql(text, values)]

        async with db.read() as connection:
            return await connection.run_sync(explain)

    found = await steps(lost._UNEARNED, site="shop", since=0.0, limit=100, among=lost.AMONG)
    assert "SEARCH newest USING COVERING INDEX ix_orders_newest (site=?)" in found, found
    assert "SEARCH orders USING INTEGER PRIMARY KEY (rowid=?)" in found, found
    assert "SEARCH orders USING INTEGER PRIMARY KEY (rowid=?)" in await steps(lost._ONE, row=1)
    found = await steps(lost._CODE, site="shop", coupon="save", since=0.0)
    assert "SEARCH orders USING INDEX ix_orders_coupon (site=? AND <expr>=? AND placed_at>?)" in found, found
    assert "USE TEMP B-TREE FOR ORDER BY" not in found


async def test_what_is_delivered_is_not_counted_with_what_waits(db: Database) -> None:
    steps = await plan(db, lambda db: Outbox(db).counts_by_site(["shop"]))
    reading = [step for step in steps if "postbacks" in step]
    assert len(reading) == 6
    assert all(
        step.startswith("SEARCH postbacks USING COVERING INDEX ix_postbacks_queue (state=?")
        for step in reading
    ), steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps


async def test_totals_read_no_row_of_an_order(db: Database) -> None:
    steps = await plan(db, FOUND_BY_AN_INDEX["totals of a week"])
    reading = [step for step in steps if "orders" in step]
    within = "SEARCH orders USING COVERING INDEX ix_orders_placed (site=? AND placed_at>? AND placed_at<?)"
    # Of those that only a browser has told.
    told = "SEARCH told USING INDEX ix_orders_browser (site=? AND placed_at>? AND placed_at<?)"
    assert sorted(reading) == sorted([within, told] * 3), steps
    assert "SEARCH shares USING PRIMARY KEY (decision=?) LEFT-JOIN" in steps


async def test_counts_of_calls_read_no_row(db: Database) -> None:
    steps = await plan(db, FOUND_BY_AN_INDEX["calls of partners"])
    counting = [step for step in steps if "postbacks" in step][: len(STATES)]
    assert all("USING COVERING INDEX ix_postbacks_" in step for step in counting), steps


WINDOWS = {
    "the owner's list": "ix_orders_placed (site=?)",
    "its next page": "ix_orders_placed (site=? AND placed_at<?)",
    "the list of a state": "ix_orders_state (site=? AND state=?)",
    "the list of a time": "ix_orders_placed (site=? AND placed_at>? AND placed_at<?)",
}


@pytest.mark.parametrize("name", WINDOWS)
async def test_a_list_comes_from_an_index_in_its_order(db: Database, name: str) -> None:
    """No sorting, and no row is read of an order that does not match."""
    steps = await plan(db, FOUND_BY_AN_INDEX[name])
    reading = [step for step in steps if step.startswith("SEARCH orders")]
    assert reading == [f"SEARCH orders USING COVERING INDEX {WINDOWS[name]}"] * 2, steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps


async def test_orders_of_a_conversation_are_found_by_it(db: Database) -> None:
    """Not among all of the site, or all of nobody: a stranger's code, or an id that its page told, asks for
    them."""
    steps = [step for step in await plan(db, provider_talk) if " orders " in f"{step} "]
    assert len(steps) == 2
    assert all("ix_orders_conversation" in step for step in steps)


async def test_a_full_scan_is_detected(db: Database) -> None:
    async def scan(db: Database) -> None:
        async with db.read() as connection:
            await connection.execute(text("SELECT * FROM postbacks WHERE last_status = 3"))

    assert any(_ALL.match(step) for step in await plan(db, scan))
