"""Callbacks in the ledger: how many wait, who calls, and what became of it, on each engine."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.callbacks import (
    TAKEN_SECONDS,
    Callback,
    Callbacks,
    CallbacksFullError,
    CallTakenError,
)

NOW = 1_700_000_000.0
WISH = {"topic": "Wine", "language": "en", "wished_at": None, "partner": None}


@pytest_asyncio.fixture
async def books(ledger_address: str) -> AsyncIterator[Callbacks]:
    ledger = Ledger(ledger_address)
    await ledger.db.open()
    yield ledger.callbacks
    await ledger.db.close()


async def asked(books: Callbacks, visitor: str = "ada", most: int = 9, **more: Any) -> Callback:
    found, _ = await books.add("shop", visitor, "+4930901820", now=NOW, most=most, **{**WISH, **more})
    return found


async def test_no_more_wait_than_may_even_if_they_ask_at_the_same_time(books: Callbacks) -> None:
    wishes = [asked(books, f"visitor-{number}", most=3) for number in range(8)]
    answers = await asyncio.gather(*wishes, return_exceptions=True)
    assert sum(isinstance(one, CallbacksFullError) for one in answers) == 5
    (first, *_) = await books.waiting("shop")
    assert await books.count("shop") == 3
    # Whoever waits already may change its wish, and another site has its own.
    again, new = await books.add(
        "shop", first.visitor or "", first.phone, now=NOW, most=3, **{**WISH, "topic": "Tea"}
    )
    assert (again.id, again.topic, new) == (first.id, "Tea", False)
    await books.add("other", "eve", "+4930901820", now=NOW, most=3, **WISH)
    await books.change("shop", first.id, "reached", agent="bo", now=NOW)
    await asked(books, "late", most=3)


async def test_one_who_asks_twice_at_the_same_time_is_called_once(books: Callbacks) -> None:
    found = await asyncio.gather(*(asked(books) for _ in range(5)))
    assert len({one.id for one in found}) == await books.count("shop") == 1


async def test_of_several_agents_one_calls(books: Callbacks) -> None:
    number = (await asked(books)).id
    names = ["bo", "cy", "di", "ed"]
    took = await asyncio.gather(
        *(books.take("shop", number, one, NOW) for one in names), return_exceptions=True
    )
    (taker,) = [one.taken_by for one in took if isinstance(one, Callback)]
    assert [str(one) for one in took if isinstance(one, CallTakenError)] == [taker] * 3
    other = next(one for one in names if one != taker)
    with pytest.raises(CallTakenError, match=str(taker)):
        await books.change("shop", number, "reached", agent=other, now=NOW)
    assert await books.take("shop", number, str(taker), NOW + 1) is not None
    stamp = await books.stamp("shop")
    over = await books.take("shop", number, other, NOW + 2, over=taker)
    assert over is not None
    assert over.caller(NOW + 2) == other
    assert await books.stamp("shop") != stamp
    with pytest.raises(CallTakenError, match=other):
        await books.take("shop", number, "fay", NOW + 3, over=taker)
    assert not await books.release("shop", number, str(taker))
    missed = await books.change("shop", number, "missed", agent=other, now=NOW + 4)
    assert missed is not None
    assert (missed.taken_by, missed.calls) == (None, 1)


async def test_a_call_that_was_taken_and_forgotten_or_given_back_is_for_all(books: Callbacks) -> None:
    number = (await asked(books)).id
    await books.take("shop", number, "bo", NOW)
    late = NOW + TAKEN_SECONDS
    assert (await books.waiting("shop"))[0].caller(late) is None
    taken = await books.take("shop", number, "cy", late)
    assert taken is not None
    assert taken.caller(late) == "cy"
    assert await books.release("shop", number, "cy")
    assert (await books.take("shop", number, "bo", late)) is not None
    await books.change("shop", number, "reached", agent="bo", now=late)
    assert await books.take("shop", number, "cy", late) is None, "nobody has to be called"
    assert await books.take("shop", 999, "cy", late) is None


async def test_an_order_of_the_call_is_noted_whoever_calls(books: Callbacks) -> None:
    number = (await asked(books)).id
    await books.take("shop", number, "bo", NOW)
    done = await books.change("shop", number, "ordered", agent="cy", now=NOW, order="1001")
    assert done is not None
    assert (done.state, done.order, done.taken_by) == ("ordered", "1001", None)
    assert await books.change("shop", number, "open", agent="cy", now=NOW) is None
