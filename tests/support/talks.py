"""What tests ask the ledger about open conversations."""

from collections.abc import Mapping

from clew.chat.model import Conversation
from clew.stores.ledger.conversations import Conversations
from clew.stores.ledger.inbox import Inbox
from clew.stores.ledger.schema import conversations
from sqlalchemy import func, select


async def open_conversation(books: Conversations, site: str, visitor: str) -> Conversation | None:
    """The visitor's newest conversation if it is open, else None."""
    found, _ = await books.visitor_messages(site, visitor)
    return found if found is not None and found.state == "open" else None


async def open_by_agent(inbox: Inbox, site: str) -> Mapping[str | None, int]:
    """The number of open conversations by agent; None: without an agent."""
    grouped = (
        select(conversations.c.agent, func.count())
        .where(conversations.c.site == site, conversations.c.state == "open")
        .group_by(conversations.c.agent)
    )
    async with inbox._db.read() as connection:
        return {row[0]: row[1] for row in (await connection.execute(grouped)).all()}
