"""Revisions of rules in the ledger, on both engines."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from clew.stores.ledger import rule_revisions as module
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.rule_revisions import NewRules, RuleRevisions, StaleError

SETTINGS = NewRules(None, None, {}, 0)


@pytest_asyncio.fixture
async def books(ledger_address: str) -> AsyncIterator[RuleRevisions]:
    ledger = Ledger(ledger_address)
    await ledger.db.open()
    yield ledger.rule_revisions
    await ledger.db.close()


def rules(name: str, **own: str) -> NewRules:
    return NewRules(f'[[rules]]\nname = "{name}"\n', f'[{{"name":"{name}"}}]', own, 1)


async def test_each_site_has_its_own_numbers_and_the_newest_counts(books: RuleRevisions) -> None:
    assert await books.stored("shop") is None
    await books.add("shop", rules("a"), "anna", "first", 1.0)
    await books.add("shop", rules("b", **{"custom.plan": "string"}), "bo", "", 2.0)
    await books.add("other", SETTINGS, "bo", "", 3.0)
    found = await books.stored("shop")
    assert found is not None
    assert (found.number, found.rules, found.own, found.by) == (
        *(2, '[{"name":"b"}]'),
        *({"custom.plan": "string"}, "bo"),
    )
    before = await books.stored("shop", 2)
    assert before is not None
    assert before.number == 1
    assert await books.stored("shop", 1) is None
    heads = await books.history("shop")
    assert [(one.number, one.at, one.by, one.note, one.settings, one.count) for one in heads] == [
        (2, 2.0, "bo", "", False, 1),
        (1, 1.0, "anna", "first", False, 1),
    ]
    assert [one.number for one in await books.history("shop", 1, 2)] == [1]
    revision = await books.find("shop", 1)
    assert revision is not None
    assert revision.text == rules("a").text
    assert {site: head.number for site, head in (await books.numbers()).items()} == {"shop": 2, "other": 1}
    assert (await books.numbers())["other"].settings


async def test_rules_that_are_in_force_make_no_revision(books: RuleRevisions) -> None:
    first, is_new = await books.add("shop", rules("a"), "anna", "", 1.0)
    again, is_new_again = await books.add("shop", rules("a"), "bo", "", 2.0)
    assert (is_new, is_new_again, again) == (True, False, first)
    await books.add("shop", SETTINGS, "bo", "", 3.0)
    head, is_new = await books.add("shop", SETTINGS, "bo", "", 4.0)
    assert (head.number, is_new) == (2, False)
    head, is_new = await books.add("shop", rules("a"), "bo", "", 5.0)
    assert (head.number, is_new) == (3, True)


async def test_who_set_rules_from_an_older_revision_is_told_of_the_newer_one(books: RuleRevisions) -> None:
    await books.add("shop", rules("a"), "anna", "", 1.0, base=0)
    with pytest.raises(StaleError, match="anna has set revision 1 meanwhile") as stale:
        await books.add("shop", rules("b"), "bo", "", 2.0, base=0)
    assert stale.value.newest.number == 1
    await books.add("shop", rules("b"), "bo", "", 2.0, base=1)
    assert [one.by for one in await books.history("shop")] == ["bo", "anna"]


async def test_of_many_at_once_one_has_each_number_and_readers_miss_none(books: RuleRevisions) -> None:
    seen: dict[int, str] = {}

    async def read() -> None:
        after = 0
        while len(seen) < 40:
            rows = await books.after(after)
            seen.update(rows)
            after = rows[-1][0] if rows else after
            await asyncio.sleep(0)

    async def write(site: str, n: int) -> None:
        await books.add(site, rules(f"{site}{n}"), "bo", "", 1.0)

    async with asyncio.timeout(60):
        await asyncio.gather(read(), *(write(f"s{n % 4}", n) for n in range(40)))
    for n in range(4):
        assert [one.number for one in await books.history(f"s{n}")] == [*range(10, 0, -1)]
    assert max(seen) == await books.last()


async def test_of_those_who_set_rules_from_the_same_revision_one_succeeds(books: RuleRevisions) -> None:
    tries = [books.add("shop", rules(f"a{n}"), f"person {n}", "", 1.0, base=0) for n in range(8)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, StaleError) for one in found) == 7
    assert len(await books.history("shop")) == 1


async def test_the_oldest_go_by_number_and_by_size(
    books: RuleRevisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    for n in range(6):
        await books.add("shop", rules(f"a{n}"), "bo", "", 1.0)
        await books.add("other", rules(f"a{n}"), "bo", "", 1.0)
    assert [one.number for one in await books.history("shop")] == [6, 5, 4]
    monkeypatch.setattr(module, "KEPT_BYTES", 150)
    await books.add("shop", NewRules("#" * 1000, "[]", {}, 0), "bo", "", 1.0)
    assert [one.number for one in await books.history("shop")] == [7, 6, 5, 4][:3]
    await books.add("shop", rules("z"), "bo", "", 1.0)
    assert [one.number for one in await books.history("shop")] == [8]
    assert [one.number for one in await books.history("other")] == [6, 5, 4]


async def test_processes_read_the_newest_of_each_site_at_their_start(books: RuleRevisions) -> None:
    for n in range(25):
        await books.add(f"s{n}", rules("old"), "bo", "", 1.0)
        await books.add(f"s{n}", rules(f"r{n}"), "bo", "", 1.0)
    last = await books.last()
    await books.add("s1", rules("later"), "bo", "", 1.0)
    found = {one.site: one.rules for one in await books.all_stored(last, page=10)}
    assert found == {f"s{n}": f'[{{"name":"r{n}"}}]' for n in range(25)}
    assert [site for _, site in await books.after(last)] == ["s1"]
