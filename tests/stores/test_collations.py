"""Databases whose text sorts and folds by the rules of a language: Turkish has an i without a dot, and a
capital one with it, and sorts capitals among small letters."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.referral.visitor import Page, Viewed
from clew.stores.ledger.copying import copy_ledger
from clew.stores.ledger.exports import Exports, Wanted
from clew.stores.ledger.orders import Orders
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.postgresql import PostgresDatabase
from clew.stores.ledger.sqlite import SqliteDatabase
from clew.stores.ledger.stories import Stories
from clew.stores.visits_engines import visits_at
from database_servers import Postgres
from recorded import put_order
from visit_engines import Told

NOW = 1_700_000_000.0
NAMES = ("I", "i", "\u0130", "\u0131", "Z", "a", "B", "b-", "b_", "\u00e4", "10", "9", "x y", "x-y", "xy")


@pytest.fixture(scope="module", params=["icu", "libc"])
def turkish(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with ExitStack() as stack:
        if request.param == "icu":
            made_with, environ = ("--locale-provider=icu", "--icu-locale=tr-TR"), {}
        else:
            # Not below pytest's folder, which is for this user alone.
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="clew-locales-")))
            folder.chmod(0o755)
            command = ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")]
            subprocess.run(command, capture_output=True, check=True)
            made_with, environ = ("--locale=tr_TR.UTF-8",), {"LOCPATH": str(folder)}
        server = stack.enter_context(Postgres(made_with=made_with, environ=environ))
        assert server.execute("SELECT 'a' < 'B', lower('I')") == [(True, "\u0131")]
        yield server


def report(partner: str, number: str) -> Report:
    return Report("order", partner, f"c-{number}", number, "5.00", "EUR", "web", int(NOW), int(NOW))


async def test_a_ledger_keeps_names_apart_and_finds_all_of_them(turkish: Postgres, tmp_path: Path) -> None:
    db = PostgresDatabase(turkish.url(await asyncio.to_thread(turkish.database)))
    await db.open()
    for site in NAMES:
        for number in NAMES:
            order = OrderSeen(number, Decimal(5), "EUR", "api")
            put = await put_order(db, order, site=site, now=NOW, reports=[report(site, number)])
            assert put is not None
    for number in NAMES:
        found = await Orders(db).get(NAMES[0], number)
        assert found is not None
        assert found.order_id == number
        assert set(await Stories(db).sites(number)) == set(NAMES)
    # One of each partner's queue: none is left out, whichever sorts before which.
    waiting = await Outbox(db).waiting(NOW, each=1, limit=1000)
    assert sorted(row.site for row in waiting) == sorted(NAMES)
    for kind in ("orders", "credits", "postbacks"):
        assert len(await exported(db, kind, 7)) == (0 if kind == "postbacks" else len(NAMES) ** 2)
    copied = SqliteDatabase(f"sqlite:{tmp_path / 'copy.db'}")
    await copied.open()
    assert (await copy_ledger(db, copied))["orders"] == len(NAMES) ** 2
    back = PostgresDatabase(turkish.url(await asyncio.to_thread(turkish.database)))
    await back.open()
    assert (await copy_ledger(copied, back))["postbacks"] == len(NAMES) ** 2
    for one in (db, copied, back):
        await one.close()


async def exported(db: PostgresDatabase, kind: str, limit: int) -> list[object]:
    rows, after, more = list[object](), None, True
    while more:
        page = await Exports(db).page(kind, Wanted(), after, limit)
        rows += page.rows
        after, more = page.cursor, page.more
    return rows


async def test_visitors_are_found_by_the_very_letters_at_the_end(turkish: Postgres) -> None:
    address = turkish.url(await asyncio.to_thread(turkish.database))
    store = visits_at(address, Told(), ledger=None, write_lock=asyncio.Lock())
    await store.open()
    page = Page("view-0001", NOW, "https://shop.example/", "Shop")
    for visitor in ("v-abI", "v-abi", "v-ab_", "v-abx"):
        await store.change("shop", visitor, [Viewed(page)], NOW)
    for letters, there in (("abI", ["v-abI"]), ("abi", ["v-abi"]), ("ab_", ["v-ab_"]), ("AB_", [])):
        assert list(await store.ending("shop", letters)) == there
    await store.close()
