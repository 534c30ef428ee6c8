"""Figures of conversations are those of the ledger, on both engines."""

from collections.abc import AsyncIterator
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from clew.chat.figures import Spread
from clew.stores.ledger import talk_figures
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.exports import Wanted
from sqlalchemy import text

NOW = 1_796_000_000.0
UTC = ZoneInfo("UTC")


@pytest_asyncio.fixture
async def books(ledger_address: str) -> AsyncIterator[Ledger]:
    built = Ledger(database_at(ledger_address))
    await built.db.open()
    yield built
    await built.db.close()


async def asks(books: Ledger, visitor: str, at: float, rule: str | None = None) -> str:
    given = {"client_id": f"c{at}", "language": "en", "rule": rule, "now": at, "department": "sales"}
    return (await books.conversations.add_visitor_message("shop", visitor, "hello", **given)).conversation.id  # type: ignore[arg-type]


async def answers(books: Ledger, talk: str, agent: str, at: float, over: str | None = None) -> None:
    await books.conversations.add_agent_message(
        "shop", talk, "yes", agent=agent, client_id=None, now=at, over=over
    )


async def orders(books: Ledger, talk: str, number: int, at: float, state: str = "placed") -> None:
    row = (
        "INSERT INTO orders (site, order_id, version, state, total, currency, refunded, details, channel, "
        "source, sources, doubts, placed_at, recorded_at, changed_at, conversation) VALUES "
        f"('shop', 'o{number}', 1, '{state}', '59.90', 'EUR', '0', '{{}}', 'chat', 'api', '{{}}', '[]', "
        f"{at}, {at}, {at}, '{talk}')"
    ).replace(":", "\\:")

    async def work(tx: object) -> None:
        await tx.execute(text(row))  # type: ignore[attr-defined]

    await books.db.transact(work)


async def test_a_day_is_what_was_written_rated_and_ordered(books: Ledger) -> None:
    first = await asks(books, "v1", NOW, "hesitates")
    await answers(books, first, "anna", NOW + 40)
    await answers(books, first, "bo", NOW + 300, over="anna")
    assert await asks(books, "v1", NOW + 500) == first
    await books.conversations.rate("shop", "v1", 5, None, NOW + 600)
    # Later than the last message, closing it adds nothing to its length.
    await books.conversations.close("shop", first, NOW + 5000, lambda found: "closed", by="bo")
    await orders(books, first, 1, NOW + 450)
    await orders(books, first, 2, NOW + 460, "cancelled")
    await orders(books, first, 3, NOW - 60)  # before it asked
    await asks(books, "v2", NOW + 10)
    await asks(books, "v3", NOW + 86_400)
    found = await books.talk_figures.of("shop", NOW, NOW + 86_400, NOW + 6000, UTC)
    assert (found.all.talks, found.all.unanswered, found.all.orders) == (2, 1, 1)
    assert found.all.revenue == {"EUR": Decimal("59.90")}
    assert found.agents["anna"].first_answer == Spread(1, 40.0, 40.0)
    assert (found.agents["bo"].talks, found.agents["bo"].length.median) == (1, 500)
    assert (found.agents["bo"].messages.median, found.agents["bo"].rating) == (4, 5)
    assert found.pairs["bo", "hesitates"].ordered == 1
    assert found.departments["sales"].talks == 2
    page = await books.exports.page("talks", Wanted("shop"), None, 100)
    (rated,) = (row for row in page.rows if row["kind"] == "rated")
    names = ("rule", "first_answer", "length", "messages", "rating", "orders", "why")
    assert [rated[name] for name in names] == ["hesitates", 40, 500, 4, 5, 1, "5"]


async def test_of_very_many_the_newest_are_counted_and_it_is_said(
    books: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk_figures, "MOST", 3)
    for number in range(4):
        await asks(books, f"v{number}", NOW + number)
    found = await books.talk_figures.of("shop", NOW, NOW + 60, NOW + 100, UTC)
    assert (found.all.talks, found.cut) == (3, True)
    whole = await books.talk_figures.of("shop", NOW + 1, NOW + 60, NOW + 100, UTC)
    assert (whole.all.talks, whole.cut) == (3, False)


async def test_what_was_released_is_still_of_who_answered_it(books: Ledger) -> None:
    talk = await asks(books, "v1", NOW)
    await answers(books, talk, "anna", NOW + 5)
    await books.assignment.release(["anna"], NOW + 100, "gone")
    found = await books.talk_figures.of("shop", NOW, NOW + 60, NOW + 200, UTC)
    assert (found.agents["anna"].talks, found.all.length.median) == (1, 5)
