"""Rows that are added together, and statements that the driver executes itself."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from clew.stores.ledger.adding import Absent, Additions, PresentError
from clew.stores.ledger.connection import Connection, executing
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import LedgerConflictError, LedgerError
from clew.stores.ledger.prepared import Prepared, one_of, values_of
from clew.stores.ledger.schema import notices, orders, policies
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import DBAPIError

ODD = "Müller ☃ \x00"
BY_KEY = Prepared(select(notices).where(notices.c.key == bindparam("key")))


@pytest.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    found = database_at(ledger_address)
    await found.open()
    yield found
    await found.close()


def notice(key: str, count: Any = 1) -> dict[str, Any]:
    times = {"first_at": 1.0, "last_at": 2.5}
    return {"site": "shop", "event": "e", "key": key, "count": count, "details": {"said": ODD}, **times}


async def add(db: Database, new: Additions) -> Sequence[int | None]:
    async def work(tx: Connection) -> Sequence[int | None]:
        return await tx.add(new.rows)

    return await db.transact(work)


def order(number: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"details": {}, "sources": {}, "doubts": []}
    times = dict.fromkeys(("placed_at", "recorded_at", "changed_at"), 1.0)
    text = dict.fromkeys(("state", "channel", "source", "refunded"), "x")
    return {"site": "shop", "order_id": number, "version": 1, **empty, **times, **text}


async def test_rows_have_each_others_numbers_also_those_of_later_ones(db: Database) -> None:
    new = Additions()
    first = new.add(orders, order("a"))
    new.add(policies, {"version": "v", "policy": {"a": [1]}})
    last = new.add(notices, notice("b", first))
    new.set(first, "decision", last)
    one, none, other = await add(db, new)
    assert none is None
    assert (await db.query(executing(BY_KEY, {"key": "b"}))).first().count == one
    found = await db.query(executing(select(orders.c.id, orders.c.decision)))
    assert [tuple(row) for row in found] == [(one, other)]


async def test_rows_are_added_together_or_not_at_all(db: Database) -> None:
    new = Additions()
    new.add(notices, notice("a"))
    new.add(policies, {"version": "v", "policy": {}})
    new.add(policies, {"version": "v", "policy": {}})
    with pytest.raises(LedgerConflictError):
        await add(db, new)
    assert (await db.query(executing(BY_KEY, {"key": "a"}))).first() is None
    new.rows.pop()
    await add(db, new)
    assert (await db.query(executing(BY_KEY, {"key": "a"}))).first() is not None


async def test_rows_without_numbers_are_added(db: Database) -> None:
    new = Additions()
    new.add(policies, {"version": ODD, "policy": {"a": ODD}})
    assert await add(db, new) == [None]
    found = (await db.query(executing(select(policies)))).all()
    assert [tuple(row) for row in found] == [(ODD, {"a": ODD})]


async def test_the_driver_gives_and_takes_the_values_that_sqlalchemy_does(db: Database) -> None:
    one = Prepared(insert(notices).inline().values(values_of([c for c in notices.c if c.name != "id"])))
    assert (await db.transact(executing(one, notice(ODD)))).rowcount == 1
    await db.transact(executing(one, [notice("b"), notice("c")]))
    by_driver = (await db.query(executing(BY_KEY, {"key": ODD}))).first()
    by_sqlalchemy = (await db.query(executing(select(notices).where(notices.c.key == ODD)))).first()
    assert tuple(by_driver) == tuple(by_sqlalchemy)
    assert by_driver._asdict() == by_sqlalchemy._asdict()
    keys = Prepared(select(notices.c.key).where(one_of(notices.c.key, ("b", "c"))).order_by(notices.c.id))
    assert [row.key for row in await db.query(executing(keys))] == ["b", "c"]


async def test_a_transaction_of_which_a_statement_failed_is_never_taken_for_written(db: Database) -> None:
    again = Prepared(insert(policies).values(values_of(list(policies.c))))
    values = {"version": "v", "policy": {}}

    async def work(tx: Connection) -> None:
        await tx.execute(again, values)
        with pytest.raises(DBAPIError):
            await tx.execute(again, values)

    # PostgreSQL takes all of it back; SQLite only the statement.
    try:
        await db.transact(work)
    except LedgerError:
        kept = []
    else:
        kept = [("v", {})]
    assert [tuple(row) for row in await db.query(executing(select(policies)))] == kept


async def test_rows_are_not_added_beside_a_value_that_should_be_absent(db: Database) -> None:
    async def add_unless(key: str, *absent: str) -> Sequence[int | None]:
        async def work(tx: Connection) -> Sequence[int | None]:
            return await tx.add([(notices, notice(key))], Absent(notices.c.key, absent))

        return await db.transact(work)

    assert None not in await add_unless("first", "other", "third")
    with pytest.raises(PresentError, match="first"):
        await add_unless("second", "other", "first")
    assert (await db.query(executing(BY_KEY, {"key": "second"}))).first() is None
    assert None not in await add_unless("second", "third")
