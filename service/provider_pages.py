"""What pages hear from another company's chat: that the visitor writes, that it ended, whether it is staffed,
that it did not come. A visitor's browser tells it, so that it counts for that visitor, and little for others.
"""

from collections import OrderedDict
from typing import Final

from ..chat.providers import Event, providers
from ..events.events import Events
from ..referral.cookie import Known
from ..referral.visitor import ChatFailed
from ..stores.ledger.books import Ledger
from ..stores.talks import Talks
from .clock import Clock
from .conversations import Conversations
from .limits import LimitedError, Limits
from .site import SiteRuntime
from .visitors import Visitors

AGAIN: Final = 300.0
"""Seconds after which the same word of a client network on the chat's presence is written again."""

REMEMBERED: Final = 10_000


class ProviderPages:
    """Keeps what pages hear."""

    def __init__(
        self,
        ledger: Ledger,
        conversations: Conversations,
        visitors: Visitors,
        talks: Talks,
        limits: Limits,
        events: Events,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._conversations = conversations
        self._visitors = visitors
        self._talks = talks
        self._limits = limits
        self._events = events
        self._clock = clock
        # By site and client network: what it said last of the chat's presence, and when.
        self._said: OrderedDict[tuple[str, str], tuple[Event, float]] = OrderedDict()

    async def says(
        self, site: SiteRuntime, known: Known | None, event: Event, external: str | None, client: str | None
    ) -> None:
        """Keep one thing that a page heard. Where the visitor began to write, that is a conversation. Raises
        LimitedError and the ledger's errors."""
        provider = site.settings.chat.provider
        if provider is None:
            return
        visitor = None if known is None else known.visitor
        self._events.emit("provider", site=site.name, visitor=visitor, provider=provider, what=event)
        if event in ("online", "offline"):
            await self._present(site, event, client)
        if event == "failed":
            self._events.notice("provider_failed", site=site.name, key=provider, provider=provider)
        if known is None:
            return
        now = self._clock.now()
        if event == "failed":
            await self._visitors.remember(site, known, [ChatFailed(now)], client)
        elif event in ("loaded", "opened") and "code" in providers()[provider].join:
            self._limits.take("messages", site.name, client)
            code = site.chat_code(known.visitor)
            await self._ledger.provider_talks.name_code(site.name, code, known.visitor, now)
        elif event == "ended":
            self._limits.take("messages", site.name, client)
            await self._ledger.conversations.end_elsewhere(site.name, known.visitor, provider)
            await self._talks.note(site.name, known.visitor)
        elif event in ("started", "sent"):
            await self._talk(site, known, provider, external, client)

    async def _talk(
        self, site: SiteRuntime, known: Known, provider: str, external: str | None, client: str | None
    ) -> None:
        self._limits.take("messages", site.name, client)
        created = await self._ledger.conversations.add_elsewhere(
            site.name,
            known.visitor,
            provider,
            external,
            language=site.settings.language,
            now=self._clock.now(),
            sender=await self._conversations.sender(site, known, client),
            opening=lambda: self._limits.take("conversations", site.name, client),
        )
        await self._talks.note(site.name, known.visitor)
        if created:
            self._events.emit(
                "conversation", site=site.name, visitor=known.visitor, state="open", provider=provider
            )

    async def _present(self, site: SiteRuntime, event: Event, client: str | None) -> None:
        """Note what a client network's pages say: each of them has one voice."""
        mark, now = self._conversations.client_mark(client) or "", self._clock.now()
        key = (site.name, mark)
        before = self._said.get(key)
        if before is not None and before[0] == event and now - before[1] < AGAIN:
            return
        try:
            self._limits.take("messages", site.name, client)
        except LimitedError:
            return
        self._said[key] = (event, now)
        self._said.move_to_end(key)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        online = event == "online"
        await self._ledger.provider_talks.set_present(site.name, "page", mark, online=online, at=now)
