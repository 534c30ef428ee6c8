"""Files of conversations in the ledger, on each engine: no more than there is room for."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.files import File, FilesFullError, ManyFilesError

NOW = 1_700_000_000.0


@pytest_asyncio.fixture
async def ledger(ledger_address: str) -> AsyncIterator[Ledger]:
    found = Ledger(ledger_address)
    await found.db.open()
    yield found
    await found.db.close()


def file(number: int, size: int = 10) -> File:
    return File(f"file-{number}", "note.txt", "text/plain", size)


async def talk(ledger: Ledger) -> str:
    added = await ledger.conversations.add_visitor_message(
        "shop", "ada", "hello", client_id="c1-xxxxxxxx", language="en", rule=None, now=NOW
    )
    return added.conversation.id


async def test_files_that_come_at_the_same_time_share_the_room(ledger: Ledger) -> None:
    begun = (ledger.files.begin("shop", file(number), NOW, room=35) for number in range(6))
    answers = await asyncio.gather(*begun, return_exceptions=True)
    assert sum(isinstance(one, FilesFullError) for one in answers) == 3
    assert await ledger.files.kept("shop") == 30
    await ledger.files.begin("other", file(9), NOW, room=35)


async def test_files_that_come_at_the_same_time_share_their_conversations_places(ledger: Ledger) -> None:
    conversation = await talk(ledger)
    begun = (
        ledger.files.begin("shop", file(number), NOW, room=1000, conversation=conversation, most=2)
        for number in range(5)
    )
    answers = await asyncio.gather(*begun, return_exceptions=True)
    assert sum(isinstance(one, ManyFilesError) for one in answers) == 3
    assert await ledger.files.count(conversation) == 2
    # Of what is not sent yet nobody sees anything; what breaks off leaves its place.
    taken = next(number for number, one in enumerate(answers) if one is None)
    assert await ledger.files.find("shop", f"file-{taken}") is None
    await ledger.files.drop(f"file-{taken}")
    await ledger.files.begin("shop", file(9), NOW, room=1000, conversation=conversation, most=2)
