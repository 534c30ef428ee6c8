"""Canned answers in the ledger, on both engines."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from clew.stores.ledger import canned as module
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.canned import SITE, CannedAnswers, CannedError

SEEDS = [("hello", {"en": "Hello!", "de": "Hallo!"}), ("bye", {"en": "Bye!"})]


@pytest_asyncio.fixture
async def books(ledger_address: str) -> AsyncIterator[CannedAnswers]:
    ledger = Ledger(ledger_address)
    await ledger.db.open()
    yield ledger.canned
    await ledger.db.close()


async def shown(books: CannedAnswers, agent: str = "bo", site: str = "shop") -> list[tuple[str, str, object]]:
    return [(one.agent, one.shortcut, dict(one.texts)) for one in await books.of(site, agent)]


async def test_a_site_gets_its_first_answers_once(books: CannedAnswers) -> None:
    assert not await books.seeded("shop")
    await books.save("shop", SITE, "hello", "en", "Good morning!", 1.0)
    for _ in range(2):
        await books.seed("shop", SEEDS, 2.0)
    assert await shown(books) == [(SITE, "bye", {"en": "Bye!"}), (SITE, "hello", {"en": "Good morning!"})]
    for one in await books.of("shop", "bo"):
        await books.remove("shop", SITE, one.id)
    await books.seed("shop", SEEDS, 3.0)
    assert (await shown(books), await books.seeded("shop")) == ([], True)
    assert not await books.seeded("other")


async def test_an_agent_has_its_own_before_those_of_the_site(books: CannedAnswers) -> None:
    await books.seed("shop", SEEDS, 1.0)
    await books.save("shop", "bo", "hello", "en", "Hi!", 2.0)
    await books.save("shop", "bo", "hello", "fr", "Salut !", 2.0)
    assert (await shown(books))[0] == ("bo", "hello", {"en": "Hi!", "fr": "Salut !"})
    assert [line[0] for line in await shown(books, "eva")] == [SITE, SITE]
    assert await shown(books, site="other") == []


async def test_an_answer_is_changed_renamed_and_removed_by_language(books: CannedAnswers) -> None:
    await books.save("shop", "bo", "hello", "en", "Hi!", 1.0)
    await books.save("shop", "bo", "bye", "en", "Bye!", 1.0)
    bye, hello = await books.of("shop", "bo")
    await books.save("shop", "bo", "hi", "de", "Hallo!", 2.0, hello.id)
    assert ("bo", "hi", {"en": "Hi!", "de": "Hallo!"}) in await shown(books)
    with pytest.raises(CannedError, match="another answer with the shortcut /hi"):
        await books.save("shop", "bo", "hi", "en", "?", 3.0, bye.id)
    with pytest.raises(CannedError, match="removed meanwhile"):
        await books.save("shop", "eva", "mine", "en", "?", 3.0, bye.id)
    await books.remove("shop", "eva", hello.id)
    await books.remove("shop", "bo", hello.id, "en")
    await books.remove("shop", "bo", bye.id, "en")
    assert await shown(books) == [("bo", "hi", {"de": "Hallo!"})]


async def test_the_number_of_answers_is_bounded(
    books: CannedAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    await books.save("shop", "bo", "a", "en", "A", 1.0)
    await books.save("shop", "bo", "b", "en", "B", 1.0)
    with pytest.raises(CannedError, match="there are 2 answers already"):
        await books.save("shop", "bo", "c", "en", "C", 1.0)
    await books.save("shop", "bo", "b", "de", "B", 1.0)
    await books.save("shop", "eva", "c", "en", "C", 1.0)
