"""Mail addresses for answers, on each engine: none outlives its conversation."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.connection import executing
from clew.stores.ledger.schema import reply_addresses
from sqlalchemy import select

NOW = 1_700_000_000.0


@pytest_asyncio.fixture
async def ledger(ledger_address: str) -> AsyncIterator[Ledger]:
    found = Ledger(ledger_address)
    await found.db.open()
    yield found
    await found.db.close()


async def talk(ledger: Ledger, visitor: str) -> str:
    added = await ledger.conversations.add_visitor_message(
        "shop", visitor, "hello", client_id="c1-xxxxxxxx", language="en", rule=None, now=NOW
    )
    return added.conversation.id


async def kept(ledger: Ledger) -> int:
    return len(list(await ledger.db.query(executing(select(reply_addresses.c.conversation)))))


async def test_no_address_is_kept_for_a_conversation_that_was_deleted(ledger: Ledger) -> None:
    gone = await talk(ledger, "ada")
    assert await ledger.mails.ask("shop", gone, "ada", "ada@example.com", NOW)
    await ledger.forgetting.forget_talks("shop", "ada", NOW)
    assert await kept(ledger) == 0
    assert not await ledger.mails.ask("shop", gone, "ada", "ada@example.com", NOW)
    assert await kept(ledger) == 0


async def test_nor_for_one_that_is_deleted_at_the_same_time(ledger: Ledger) -> None:
    for number in range(8):
        visitor = f"visitor-{number}"
        one = await talk(ledger, visitor)
        await asyncio.gather(
            ledger.mails.ask("shop", one, visitor, "ada@example.com", NOW),
            ledger.forgetting.forget_talks("shop", visitor, NOW),
            ledger.mails.ask("shop", one, visitor, "ada@example.org", NOW),
        )
    assert await kept(ledger) == 0
