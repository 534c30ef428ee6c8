"""The conversations of visitors and agents. Both write through this module.

It applies the limits, validates texts, emits the events, and wakes open streams.
"""

import hashlib
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ..chat.hub import Hub, desk_topic, talk_topic, visitor_topic
from ..chat.model import Added, Conversation, Extra, Message, News, Sender
from ..events.events import Events
from ..referral.cookie import Known
from ..referral.invites import offered
from ..referral.masking import one_line
from ..referral.visitor import Talk, Talked, Visitor
from ..settings.model import Rule
from ..stores.ledger.books import Ledger
from ..stores.ledger.connection import Connection
from ..stores.ledger.conversations import Text
from ..stores.talks import Talks
from ..stores.visits import Visits
from ..templates import text
from .clock import Clock
from .invite_offers import code_line
from .invite_texts import said_to
from .limits import LimitedError, Limits, Own, Rate, network_of
from .page_names import short_titles
from .site import SiteRuntime
from .visitors import Visitors

# Seconds after which the visitor's record is updated again during a conversation.
TALK_NOTED = 3600.0

INVITE_LENGTH = 1000  # characters of it that are kept

# Control characters have no meaning in a message, and some databases reject NUL in text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class MessageError(ValueError):
    """A text that cannot be sent; the message says why."""


class BlockedError(Exception):
    """The visitor may not write until `until`, in unix seconds."""

    def __init__(self, until: float) -> None:
        super().__init__("you cannot write here at the moment")
        self.until = until


@dataclass(frozen=True, slots=True)
class VisitorMessage:
    """A message from a visitor. `client_id` identifies it among the visitor's messages, so that a repeat adds
    nothing; `rule` is the name of the rule whose invite it answers."""

    text: str
    client_id: str
    language: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """Some messages of a visitor's newest conversation, which is None if there is none. `shown` has the
    agents' display names."""

    conversation: Conversation | None
    messages: Sequence[Message]
    shown: Mapping[str, str]


class Conversations:
    """The conversations of all sites. Every method raises the ledger's errors. `later` runs work in the
    background, `waits` is called when a conversation of a site may have to be assigned. `mails` is whether
    there is a mail server for answers."""

    def __init__(
        self,
        ledger: Ledger,
        visits: Visits,
        visitors: Visitors,
        talks: Talks,
        limits: Limits,
        hub: Hub,
        events: Events,
        clock: Clock,
        secret: str,
        later: Callable[[Coroutine[Any, Any, None]], None],
        waits: Callable[[str], None] = lambda site: None,
        mails: Callable[[], bool] = lambda: False,
    ) -> None:
        self._waits = waits
        self._ledger = ledger
        self._mails = mails
        self._books = ledger.conversations
        self._visits = visits
        self._visitors = visitors
        self._talks = talks
        self._limits = limits
        self._hub = hub
        self._events = events
        self._clock = clock
        self._later = later
        self._key = hashlib.blake2b(secret.encode()).digest()

    # -- the visitor's side

    async def visitor_says(
        self,
        site: SiteRuntime,
        known: Known,
        said: VisitorMessage,
        client: str | None,
        extra: Extra | None = None,
        *,
        stored: Visitor | None = None,
    ) -> Added:
        """Add a visitor's message. `stored` is the visitor's record, if it was read already. Raises
        MessageError, BlockedError and LimitedError."""
        written = plain_text(said.text, site.settings.chat.message_length)
        rate = Rate(site.settings.chat.messages_per_minute, 60)
        own = Own("visitor", f"{site.name}/{known.visitor}", rate)
        self._limits.take("messages", site.name, client, own=own)
        self._limits.take("text", site.name, client, cost=len(written))
        stored = await self._remembered(site, known, client, stored)
        rule = _rule(site, known, stored, said.rule)
        invite = None if rule is None else _invited(site, known, stored, said, rule)
        if rule is not None and rule.offer is not None:
            given = await self._ledger.offers.by_rules(site.name, known.visitor, rule.offer)
            invite = "\n".join(filter(None, (invite, code_line(given))))
        added = await self._books.add_visitor_message(
            site.name,
            known.visitor,
            written,
            client_id=said.client_id,
            language=said.language or site.settings.language,
            rule=rule.name if rule is not None else None,
            department=rule.department if rule is not None else None,
            now=self._clock.now(),
            sender=self._sender(stored, client),
            extra=extra,
            opening=lambda: self._limits.take("conversations", site.name, client),
            refuse=_refuse,
            invite=invite,
        )
        await self._added(added, stored)
        return added

    async def blocked_until(self, site: str, visitor: str, client: str | None) -> float | None:
        """Until when a visitor is blocked; None if it is not."""
        mark = self.client_mark(client)
        return await self._ledger.blocks.until(site, visitor, mark, self._clock.now())

    async def require_not_blocked(self, site: str, visitor: str, client: str | None) -> None:
        """For what reaches agents and is no message. Raises BlockedError."""
        until = await self.blocked_until(site, visitor, client)
        if until is not None:
            raise BlockedError(until)

    async def sender(self, site: SiteRuntime, known: Known, client: str | None) -> Sender:
        """The sender for the inbox. From the first message on, the visitor is stored, and kept for longer."""
        return self._sender(await self._remembered(site, known, client), client)

    async def _remembered(
        self, site: SiteRuntime, known: Known, client: str | None, visitor: Visitor | None = None
    ) -> Visitor | None:
        """The record of a visitor who writes; None if there is none."""
        now = self._clock.now()
        try:
            if visitor is None:
                visitor = await self._visits.get(site.name, known.visitor)
            if visitor is None or now - visitor.talked_at > TALK_NOTED:
                visitor = await self._visitors.remember(site, known, [Talked(now)], client)
        except LimitedError:
            pass
        except Exception as error:
            self._events.failed(error, site=site.name, where="messages")
        return visitor

    def _sender(self, visitor: Visitor | None, client: str | None) -> Sender:
        mark = self.client_mark(client)
        return Sender(client=mark) if visitor is None else Sender(partner_of(visitor), page_of(visitor), mark)

    def client_mark(self, client: str | None) -> str | None:
        """A pseudonym of a client network: the same for all its clients, and not reversible."""
        network = network_of(client)
        if network is None:
            return None
        return hashlib.blake2b(network.encode(), digest_size=8, key=self._key).hexdigest()

    async def read(self, site: str, visitor: str, after: int) -> Transcript:
        """The visitor's newest conversation, open or closed, and the next messages of it."""
        conversation, messages = await self._books.visitor_messages(site, visitor, after)
        if not after:
            # After the ledger was restored from a copy, the visitor's record may be newer.
            await self._talks.note(site, visitor)
        return Transcript(conversation, messages, await self.shown(messages))

    async def shown(self, messages: Sequence[Message]) -> Mapping[str, str]:
        """The display names of the agents of messages."""
        names = {message.agent for message in messages if message.agent}
        return await self._ledger.agents.shown(names) if names else {}

    # -- the agent's side

    async def agent_says(
        self,
        site: SiteRuntime,
        conversation: str,
        said: Text,
        *,
        agent: str,
        client_id: str | None,
        over: str | None = None,
        extra: Extra | None = None,
    ) -> Added:
        """Add an agent's answer and assign the conversation to the agent. Raises MessageError, HeldError if
        another agent than `over` has it, and what `said` raises."""
        written = _plain(said, site.settings.chat.message_length)
        added = await self._books.add_agent_message(
            *(site.name, conversation, written),
            agent=agent,
            client_id=client_id,
            now=self._clock.now(),
            over=over,
            extra=extra,
            mails=self._mails(),
        )
        await self._added(added)
        return added

    async def take(self, site: str, conversation: str, agent: str) -> None:
        """Assign the conversation to an agent, even if another agent had it."""
        taken = await self._books.claim(site, conversation, agent, self._clock.now())
        self._hub.notify(talk_topic(site, conversation))
        self._hub.notify(visitor_topic(site, taken.visitor))
        self._hub.notify(desk_topic(site))

    async def close(self, site: str, conversation: str, by: str | None = None) -> None:
        """Close it; the visitor's next message reopens it. `by` is the agent who does so."""
        closed = await self._books.close(site, conversation, self._clock.now(), _farewell, by=by)
        await self._talks.note(closed.site, closed.visitor)
        self._closed(closed)
        self._later(self._show_no_more(closed))

    async def close_many(
        self, site: str, ids: Sequence[str], client: str | None, by: str | None = None
    ) -> None:
        """Close these conversations, and all conversations of a client network that no agent has taken."""
        now = self._clock.now()
        closed = await self._books.close_many(site, now, ids=ids, client=client, note=_farewell, by=by)
        for found in closed:
            self._closed(found)
            self._later(self._talks.note(found.site, found.visitor))
            self._later(self._show_no_more(found))

    async def _show_no_more(self, found: Conversation) -> None:
        """Delete the copy of the visitor's page: it is shown only in an open conversation."""
        try:
            await self._visits.put_page(found.site, found.visitor, None, self._clock.now(), 0)
        except Exception as error:
            self._events.failed(error, site=found.site, where="messages")

    def changed(self, site: str) -> None:
        """Wake the desk of a site, because data on a conversation's page has changed."""
        self._hub.notify(desk_topic(site))

    # -- for both

    async def _added(self, added: Added, stored: Visitor | None = None) -> None:
        conversation, message = added.conversation, added.message
        if added.created:
            self._tell_added(added)
            if message.author == "visitor" and not added.opened and _says_so(stored):
                return  # that there is one more message, the watch notes soon
        # Also for a repeat: the first attempt may have been interrupted before this.
        # The visitor has read nothing of what comes after its own message.
        talk = Talk(message.id, True) if added.created and message.author == "visitor" else None
        await self._talks.note(conversation.site, conversation.visitor, talk, stored)

    def _tell_added(self, added: Added) -> None:
        found = conversation = added.conversation
        message = added.message
        self._hub.tell(News(found.site, found.visitor, found.id, message, added.previous))
        if added.opened:
            self._notify(conversation, "open")
        if message.author == "visitor" and conversation.agent is None:
            self._waits(conversation.site)
        self._events.emit(
            "message",
            site=conversation.site,
            conversation=conversation.id,
            visitor=conversation.visitor,
            author=message.author,
            agent=message.agent,
        )

    def _closed(self, found: Conversation) -> None:
        self._notify(found, "closed")
        self._waits(found.site)  # a place is free
        self._wake(found)

    def _wake(self, found: Conversation) -> None:
        self._hub.notify(visitor_topic(found.site, found.visitor))
        self._hub.notify(talk_topic(found.site, found.id))
        self._hub.notify(desk_topic(found.site))

    def _notify(self, found: Conversation, state: str) -> None:
        self._events.emit(
            "conversation",
            site=found.site,
            conversation=found.id,
            visitor=found.visitor,
            state=state,
            rule=found.rule,
        )


def _says_so(stored: Visitor | None) -> bool:
    """Whether a visitor's record tells of an open conversation without an answer that was not read."""
    return stored is not None and stored.talk is not None and stored.talk.open and not stored.talk.answers


def _refuse(until: float) -> None:
    raise BlockedError(until)


def plain_text(said: str, most: int) -> str:
    """A message's text without control characters, stripped. Raises MessageError if it is empty or has more
    than `most` characters."""
    plain = without_controls(said).strip()
    if not plain:
        raise MessageError("the message is empty")
    if len(plain) > most:
        raise MessageError(f"the message has {len(plain)} characters, at most {most} can be sent")
    return plain


def _plain(said: Text, most: int) -> Text:
    if isinstance(said, str):
        return plain_text(said, most)

    async def checked(tx: Connection) -> str:
        return plain_text(await said(tx), most)

    return checked


def without_controls(said: str) -> str:
    """A text without control characters, its lines ended by line feeds."""
    return _CONTROLS.sub("", said.replace("\r\n", "\n").replace("\r", "\n"))


def _rule(site: SiteRuntime, known: Known, stored: Visitor | None, name: str | None) -> Rule | None:
    """The rule whose invite a message answers, as the browser says: one that the visitor got, as far as there
    is a record of it. A page that was loaded before the rules changed may name a removed rule."""
    recognised = known.agreed or not site.asks_consent
    if name is None or (recognised and stored is not None and offered(stored.offers, name) is None):
        return None
    return next((one for one in site.settings.rules if one.name == name and one.invites), None)


def _invited(
    site: SiteRuntime, known: Known, stored: Visitor | None, said: VisitorMessage, rule: Rule
) -> str:
    """The text of the invite that a message answers, as the visitor read it."""
    language = said.language or site.settings.language
    experiment = site.invites.experiment(rule.name) if known.agreed or not site.asks_consent else None
    variant = None if experiment is None else experiment.arm(known.visitor)
    return said_to(site, stored, rule, variant, language)[:INVITE_LENGTH]


def _farewell(found: Conversation) -> str:
    """The message for both sides when a conversation is closed, in the visitor's language."""
    return text(found.language, "ended")


def partner_of(visitor: Visitor) -> str | None:
    """The partner, or else the network or source, of the last touch that names one."""
    for touch in reversed([t for t in visitor.touches if not t.doubt]):
        for click in touch.clicks:
            return one_line(click.partner or click.network)
        if touch.campaign.get("utm_source"):
            return one_line(touch.campaign["utm_source"])
    return None


def page_of(visitor: Visitor) -> str | None:
    """The visitor's current page: its title, or else its path."""
    if not visitor.trail:
        return None
    last = visitor.trail[-1]
    try:
        path = urlsplit(last.url).path
    except ValueError:
        path = ""
    titles = short_titles(page.title for page in visitor.trail)
    return titles[one_line(last.title)] or one_line(unquote(path)) or None
