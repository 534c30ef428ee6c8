"""What a visitor may do with its own conversation besides writing: rate it, save it, have it deleted."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone

from ..chat.hub import Hub, desk_topic, talk_topic, visitor_topic
from ..chat.model import Conversation, Message
from ..events.events import Events
from ..stores.ledger.books import Ledger
from ..stores.talks import Talks
from ..stores.visits import Visits
from ..templates import text
from .answers import localised
from .clock import Clock
from .conversations import Conversations, without_controls
from .limits import Limits, Own, Rate
from .site import SiteRuntime

RATING_LENGTH = 500
TRANSCRIPT_PAGES = 4  # of 500 messages
PER_MINUTE = 10  # of one visitor
# Marks that turn the direction of what follows, beyond the name or text in which they stand.
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class OwnTalk:
    """For all sites. Every method raises the ledger's errors and LimitedError."""

    def __init__(
        self,
        ledger: Ledger,
        conversations: Conversations,
        talks: Talks,
        visits: Visits,
        limits: Limits,
        hub: Hub,
        events: Events,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._conversations = conversations
        self._talks = talks
        self._visits = visits
        self._limits = limits
        self._hub = hub
        self._events = events
        self._clock = clock

    async def rate(
        self, site: SiteRuntime, visitor: str, rating: int, words: str, client: str | None
    ) -> Conversation | None:
        """Note the rating, 1 to 5, of the visitor's newest conversation, in place of an earlier one. Raises
        BlockedError."""
        self._take(site, visitor, client)
        await self._conversations.require_not_blocked(site.name, visitor, client)
        written = without_controls(words).strip()[:RATING_LENGTH] or None
        found = await self._ledger.conversations.rate(site.name, visitor, rating, written, self._clock.now())
        if found is not None:
            self._events.emit(
                "conversation_rated",
                site=site.name,
                conversation=found.id,
                visitor=visitor,
                agent=found.agent,
                rating=rating,
            )
            self._hub.notify(talk_topic(site.name, found.id))
        return found

    async def transcript(
        self, site: SiteRuntime, visitor: str, offset: int, client: str | None, shop: str
    ) -> str | None:
        """The visitor's newest conversation with the `shop` of this host as text, its times `offset` minutes
        east of UTC; None without one."""
        self._take(site, visitor, client)
        messages: list[Message] = []
        found, after = None, 0
        for _ in range(TRANSCRIPT_PAGES):
            found, page = await self._ledger.conversations.visitor_messages(site.name, visitor, after)
            messages += page
            if found is None or not page:
                break
            after = page[-1].id
        if found is None:
            return None
        names = {message.agent for message in messages if message.agent}
        shown = await self._ledger.agents.shown(names) if names else {}
        zone = timezone(timedelta(minutes=offset)) if offset else UTC
        began = datetime.fromtimestamp(found.started_at, zone)
        title = localised(site.settings.widget.title, found.language)
        whose = f"{_plain(title)} ({shop})" if title else shop
        heading = f"{whose}, {began:%Y-%m-%d %H:%M} UTC{began:%z}"
        return "\r\n".join([heading, *_lines(found, messages, shown, zone)]) + "\r\n"

    async def forget(self, site: SiteRuntime, visitor: str, client: str | None) -> bool:
        """Delete the visitor's conversations, as `clew forget` does, and the copy of its page. Its arrivals
        and orders stay. Returns whether there was one. Raises what the visit store raises, too."""
        self._take(site, visitor, client)
        now = self._clock.now()
        gone = await self._ledger.forgetting.forget_talks(site.name, visitor, now)
        await self._talks.note(site.name, visitor)
        talks = [str(key) for table, key in gone.changed if table == "conversations"]
        for talk in talks:
            self._events.emit(
                "conversation", site=site.name, conversation=talk, visitor=visitor, state="deleted", rule=None
            )
            self._hub.notify(talk_topic(site.name, talk))
        self._hub.notify(visitor_topic(site.name, visitor))
        self._hub.notify(desk_topic(site.name))
        # Last, because the visit store may fail: without its conversation nobody is shown the copy.
        await self._visits.put_page(site.name, visitor, None, now, 0)
        return bool(talks)

    def _take(self, site: SiteRuntime, visitor: str, client: str | None) -> None:
        own = Own("visitor", f"own {site.name}/{visitor}", Rate(PER_MINUTE, 60))
        self._limits.take("messages", site.name, client, own=own)


def _lines(
    talk: Conversation, messages: list[Message], shown: Mapping[str, str], zone: timezone
) -> Iterator[str]:
    def word(key: str) -> str:
        return text(talk.language, key)

    if talk.invite:
        yield from ("", f"{word('agent')}:", _plain(talk.invite))
    for message in messages:
        at = datetime.fromtimestamp(message.at, zone)
        who = word("you" if message.author == "visitor" else "agent")
        name = shown.get(message.agent or "") or who
        head = f"{at:%Y-%m-%d %H:%M}"
        # Isolated, so that a name from right to left does not turn the line.
        yield from ("", head if message.author == "system" else f"{head} \u2068{_plain(name)}\u2069:")
        yield _plain(message.text)


def _plain(said: str) -> str:
    return _DIRECTIONS.sub("", said).replace("\n", "\r\n")
