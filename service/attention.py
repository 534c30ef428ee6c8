"""What visitor and agent do besides writing messages: that they are writing, and up to where they have read.

Typing is passed on to the open streams and kept nowhere. Read marks are kept with the conversation.
"""

from ..chat.hub import talk_topic, visitor_topic
from ..chat.model import Conversation
from ..chat.signs import Sign
from ..referral.cookie import Known
from ..stores.ledger.books import Ledger
from ..stores.signs import Signs
from .conversations import Conversations, without_controls
from .limits import Limits, Own, Rate
from .site import SiteRuntime

PREVIEW_LENGTH = 1000
PER_MINUTE = 60  # of one visitor


class Attention:
    """For all sites. Every method raises the ledger's errors."""

    def __init__(self, ledger: Ledger, talks: Conversations, signs: Signs, limits: Limits) -> None:
        self._ledger = ledger
        self._talks = talks
        self._books = ledger.conversations
        self._signs = signs
        self._limits = limits

    async def visitor_types(
        self, site: SiteRuntime, known: Known, typing: bool, text: str, client: str | None
    ) -> None:
        """Tell the desks that the visitor writes, or no longer does; and what, if the site wants it. Of one
        who is blocked they hear nothing. Raises LimitedError."""
        own = Own("visitor", f"{site.name}/{known.visitor}", Rate(PER_MINUTE, 60))
        self._limits.take("typing", site.name, client, own=own)
        found = await self._books.own(site.name, known.visitor)
        if found is None or await self._talks.blocked_until(site.name, known.visitor, client) is not None:
            return
        shown = site.settings.chat.typing_preview and typing
        written = without_controls(text)[:PREVIEW_LENGTH] if shown else ""
        data = {"conversation": found.id, "agent": None, "typing": typing, "text": written}
        self._signs.tell(Sign(talk_topic(found.site, found.id), "typing", found.id, data))

    async def visitor_saw(self, site: SiteRuntime, visitor: str, message: int) -> None:
        """Note up to which message the visitor has read, and tell the desks."""
        found = await self._books.own(site.name, visitor)
        if found is not None and await self._books.saw(found, "visitor", message):
            data = {"conversation": found.id, "by": "visitor", "message": message}
            self._signs.tell(Sign(talk_topic(found.site, found.id), "seen", found.id, data))

    async def agent_types(self, conversation: Conversation, agent: str, typing: bool) -> None:
        """Tell the visitor that its agent writes, or no longer does; and the other desks that show the
        conversation."""
        site, one = conversation.site, conversation.id
        data = {"conversation": one, "agent": agent, "typing": typing, "text": ""}
        self._signs.tell(Sign(talk_topic(site, one), "typing", f"{one} {agent}", data))
        if conversation.agent in (None, agent):
            shown = (await self._ledger.agents.shown({agent})).get(agent)
            own = {"agent": shown, "typing": typing}
            self._signs.tell(Sign(visitor_topic(site, conversation.visitor), "typing", one, own))

    async def agent_saw(self, conversation: Conversation, agent: str, message: int) -> None:
        """Note up to which message an agent has read, and tell the visitor. Who reads along in another
        agent's conversation leaves no mark."""
        if conversation.agent not in (None, agent):
            return
        if await self._books.saw(conversation, "agent", message):
            site, one = conversation.site, conversation.id
            own = {"conversation": one, "by": "agent", "message": message}
            self._signs.tell(Sign(talk_topic(site, one), "seen", f"{one} {agent}", own))
            data = {"message": message}
            self._signs.tell(Sign(visitor_topic(site, conversation.visitor), "seen", one, data))
