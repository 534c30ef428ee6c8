"""Webhooks of chat providers: checked, read by the provider's entry, and kept as conversations and orders."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

import re2  # type: ignore[import-untyped]

from ..chat.hub import Hub, desk_topic
from ..chat.model import Sender
from ..chat.providers import Provider, providers
from ..chat.told import Line, Present, Told, Understood, UnreadableError, event_of, parsed, told
from ..chat.webhooks import ProviderWebhook
from ..events.events import Events
from ..orders.signatures import SignatureError, check_signature
from ..referral.carrier import Carrier
from ..referral.visitor import Talked, Visitor
from ..settings.model import Settings
from ..stores.ledger.books import Ledger
from ..stores.ledger.deliveries import Delivery, Outcome, digest_of
from ..stores.ledger.errors import LedgerError
from ..stores.ledger.provider_talks import Heard, Kept, Tied
from ..stores.talks import Talks
from ..stores.visits import Visits
from .chat_code import code_in
from .chat_orders import ChatOrders
from .clock import Clock
from .conversations import page_of, partner_of
from .limits import Limits
from .order_links import TALK_DAYS, OrderLink, order_link_address
from .site import SiteRuntime

BODY_LIMIT: Final = 512 * 1024
"""Bytes of a body: the transcript of a long conversation."""

IN_LOOP: Final = 32 * 1024
"""Bytes of a body that are read in the loop; longer ones are in a thread."""

NOTED: Final = 5.0
"""Seconds after which what a webhook of the same event said is kept again, for `clew connect`."""

AHEAD: Final = 60.0
"""Seconds by which a provider's clock may be ahead of ours."""

TOKENS: Final = 20
TRIED: Final = 3
OTHERS: Final = 100
"""Tokens in one webhook, those that are tried for other sites, and these sites: a few milliseconds."""

_TOKEN: Final = re2.compile(rb"clw1_[A-Za-z0-9_-]{24,120}")

Result = Literal["talk", "order", "ignored", "unread"]


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook as it came. The names of `headers` are in lower case; `url` is the address that was called,
    `sent` the last part of its path, where that is a secret."""

    headers: Mapping[str, str]
    body: bytes
    url: str
    sent: str = ""


@dataclass(frozen=True, slots=True)
class Heeded:
    """What became of a webhook. `answer` is what its provider expects, if it is something else."""

    status: int
    result: Result
    text: str
    answer: Mapping[str, Any] | None = None


class NotTakenError(LookupError):
    """The site takes no webhooks of this provider; the text says what to do."""


class NotSignedError(ValueError):
    """A webhook is not signed as it should be; the text says why."""


class ProviderHooks:
    """Receives the webhooks of the sites' chat providers."""

    def __init__(
        self,
        ledger: Ledger,
        visits: Visits,
        talks: Talks,
        orders: ChatOrders,
        limits: Limits,
        hub: Hub,
        events: Events,
        clock: Clock,
        settings: Callable[[], Settings],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._visits = visits
        self._talks = talks
        self._orders = orders
        self._limits = limits
        self._hub = hub
        self._events = events
        self._clock = clock
        self._noted: dict[tuple[str, str, str], float] = {}

    def webhook(self, site: SiteRuntime, name: str) -> ProviderWebhook:
        """How the site's provider `name` signs and writes its webhooks. Raises NotTakenError."""
        provider, chat = providers().get(name), site.settings.chat
        if provider is None or provider.webhook is None:
            raise NotTakenError("no such webhooks are known")
        if chat.provider != name:
            raise NotTakenError(f"this site does not use {provider.title}")
        if chat.secret is None:
            why = f"no secret is set: write `secret` under [sites.chat]; `clew connect {name}` says which"
            self._refuse(site, name, why)
            raise NotTakenError(why)
        return provider.webhook

    async def check(self, site: SiteRuntime, name: str, call: Call) -> None:
        """Raise NotSignedError unless the webhook is signed with one of the site's secrets."""
        webhook, chat = self.webhook(site, name), site.settings.chat
        assert chat.secret is not None
        secrets = [secret.get_secret_value() for secret in (chat.secret, *chat.previous_secrets)]
        signature, sent = webhook.signature, call.sent
        try:
            if signature.field is not None:
                data = await _off_loop(parsed, webhook, call.body)
                found = signature.field.search(data)
                sent = found if isinstance(found, str) else ""
            check_signature(
                signature, secrets, call.headers, call.body, self._clock.now(), url=call.url, sent=sent
            )
        except (SignatureError, UnreadableError) as error:
            why = str(error)
            self._refuse(site, name, why)
            raise NotSignedError(why) from error

    def _refuse(self, site: SiteRuntime, name: str, why: str) -> None:
        self._events.notice("webhook_refused", site=site.name, key=f"{name}: {why}", source=name, why=why)

    async def receive(self, site: SiteRuntime, name: str, call: Call) -> Heeded:
        """Keep what a signed webhook says. Raises LimitedError and the ledger's errors: then the provider may
        send it again."""
        webhook, provider = self.webhook(site, name), providers()[name]
        try:
            data = await _off_loop(parsed, webhook, call.body)
            if webhook.challenge is not None and (found := webhook.challenge.search(data)) is not None:
                return Heeded(200, "ignored", "", {"challenge": found})
            event = event_of(webhook, call.headers, data)
            understood: Understood = await _off_loop(_told, call.body, webhook, call.headers, data)
        except UnreadableError as error:
            return await self._unread(site, name, call, str(error))
        said = understood.parts
        if understood.why is not None:
            heeded = await self._unread(site, name, call, understood.why)
            if not said:
                return heeded
        result: Result = "ignored"
        summary: dict[str, Any] = {}
        if said and self._elsewhere(site, call.body):
            await self._note(site, name, event, "ignored", {})
            return Heeded(200, "ignored", "it is about another site's visitor", webhook.answer or None)
        token = self._token(site, call.body) if said else None
        for one in said:
            if isinstance(one, Present):
                await self._present(site, one)
                result, summary = "talk", {"agent": one.agent, "online": one.online}
            else:
                summary = await self._heard(site, name, provider, one, token)
                result = "order" if summary.get("order") else "talk"
        await self._note(site, name, event, result, summary)
        text = "it says nothing about a conversation" if result == "ignored" else "recorded"
        answer: Mapping[str, Any] = webhook.answer
        if event == webhook.link_in_answer and said:
            answer = {**answer, **self._link(site, said[0])}
        return Heeded(200, result, text, answer or None)

    def _link(self, site: SiteRuntime, one: Told | Present) -> dict[str, Any]:
        """The link by which the agent of this conversation records an order, as JivoChat shows it."""
        if isinstance(one, Present):
            return {}
        until = int(self._clock.now()) + TALK_DAYS * 86400
        link = OrderLink(one.conversation, one.agent or "?", until)
        try:
            address = order_link_address(self._settings(), site.name, link)
        except ValueError:
            return {}
        return {"custom_data": [{"title": "clew", "content": "Record an order", "link": address}]}

    # -- one conversation

    async def _heard(
        self, site: SiteRuntime, name: str, provider: Provider, one: Told, token: str | None
    ) -> dict[str, Any]:
        """Keep what is said of one conversation; what was understood, for people."""
        now = self._clock.now()
        visitor, tied = await self._whose(site, one, token)
        record = None if visitor is None else await self._visitor(site, visitor)
        if record is not None and record.forgotten:
            visitor, tied, record = None, None, None
        books = self._ledger.provider_talks

        def opening() -> None:
            self._limits.take("conversations", site.name, None)

        summary: dict[str, Any] = {"conversation": one.conversation, "visitor": tied, "says": one.says}
        idle = not (one.lines or one.says or one.agent or one.rating or one.order)
        if idle and visitor is None:
            return summary
        tie = (site.name, name, one.conversation, visitor or "", now, opening)
        if idle and await books.tie(*tie):
            return summary
        at = now if one.at is None else min(one.at, now + AHEAD)
        heard = Heard(
            site=site.name,
            provider=name,
            external=one.conversation,
            language=site.settings.language,
            at=at,
            timed=one.at is not None,
            says=one.says,
            agent=one.agent,
            rating=one.rating,
            lines=[self._kept_line(site, line, now) for line in one.lines],
            visitor=visitor,
            tied=tied,
            sender=Sender() if record is None else Sender(partner_of(record), page_of(record)),
        )
        kept = await books.hear(heard, opening)
        await self._after(site, name, kept, at)
        ordered = await self._orders.in_talk(site, name, provider.title, kept.conversation, one)
        return summary | {
            "visitor": tied or ("page" if kept.conversation.visitor else None),
            "messages": len(kept.added),
            "agent": kept.conversation.agent,
            "order": ordered,
        }

    def _kept_line(self, site: SiteRuntime, line: Line, now: float) -> Line:
        """A message as it is kept: its text only where the owner wants it."""
        chat = site.settings.chat
        text = line.text.replace("\0", "")[: chat.message_length] if chat.texts else ""
        at = None if line.at is None else min(line.at, now + AHEAD)
        return Line(line.id, line.author, line.agent, text, at)

    async def _whose(self, site: SiteRuntime, one: Told, token: str | None) -> tuple[str | None, Tied | None]:
        """The visitor, by clew's token where the entry says, by one anywhere in the webhook, or by a code."""
        visitor = site.carrier.open(one.ref) if one.ref else None
        if visitor is not None:
            return visitor, "attr"
        if token is not None:
            return token, "token"
        for line in one.lines:
            if (code := code_in(line.text)) is not None:
                found = await self._ledger.provider_talks.visitor_of_code(site.name, code)
                if found is not None:
                    return found, "code"
        return None, None

    def _token(self, site: SiteRuntime, body: bytes) -> str | None:
        """The visitor of the first of clew's tokens in a webhook, if all of this site's name the same one."""
        texts = [found.group(0).decode("ascii") for found in islice(_TOKEN.finditer(body), TOKENS)]
        visitors = {visitor for text in dict.fromkeys(texts) if (visitor := site.carrier.open(text))}
        return visitors.pop() if len(visitors) == 1 else None

    def _elsewhere(self, site: SiteRuntime, body: bytes) -> bool:
        """Whether a webhook has a token of another site with the same provider, and none of this one. Two
        sites may have one account: its webhooks come to both, and one order is not to be recorded twice."""
        texts = [found.group(0).decode("ascii") for found in islice(_TOKEN.finditer(body), TOKENS)]
        if not texts or any(site.carrier.open(text) is not None for text in texts):
            return False
        settings, provider = self._settings(), site.settings.chat.provider
        previous = [one.get_secret_value() for one in settings.previous_secrets]
        same = (one.name for one in settings.sites if one.chat.provider == provider and one.name != site.name)
        for name in islice(same, OTHERS):
            carrier = Carrier(settings.secret.get_secret_value(), previous, name)
            if any(carrier.open(text) is not None for text in texts[:TRIED]):
                return True
        return False

    async def _visitor(self, site: SiteRuntime, visitor: str) -> Visitor | None:
        try:
            return await self._visits.get(site.name, visitor)
        except Exception as error:
            self._events.failed(error, site=site.name, where="webhooks")
            return None

    async def _after(self, site: SiteRuntime, name: str, kept: Kept, at: float) -> None:
        """Tell of what is new, and bring the visitor's own record up."""
        found = kept.conversation
        if kept.unsure:
            self._events.notice("talk_unsure", site=site.name, key=name, provider=name)
        if kept.began or kept.ended:
            self._events.emit(
                "conversation",
                site=site.name,
                conversation=found.id,
                visitor=found.visitor or None,
                state="closed" if kept.ended else "open",
                provider=name,
            )
        if kept.ended and not found.visitor and not kept.unsure:
            self._events.notice("talk_unknown", site=site.name, key=name, provider=name)
        for line in kept.added:
            self._events.emit(
                "message",
                site=site.name,
                conversation=found.id,
                visitor=found.visitor or None,
                author=line.author,
                agent=line.agent,
            )
        if found.visitor:
            await self._talks.note(site.name, found.visitor)
        if kept.tied:
            await self._note_talked(site, found.visitor, at)
            await self._orders.tied(site, found)
        self._hub.notify(desk_topic(site.name))

    async def _note_talked(self, site: SiteRuntime, visitor: str, at: float) -> None:
        """Keep the visitor for longer, as one who talked."""
        try:
            if await self._visits.get(site.name, visitor) is not None:
                await self._visits.change(site.name, visitor, [Talked(at)], self._clock.now())
        except Exception as error:
            self._events.failed(error, site=site.name, where="webhooks")

    async def _present(self, site: SiteRuntime, one: Present) -> None:
        now = self._clock.now()
        at = now if one.at is None else min(one.at, now)
        books = self._ledger.provider_talks
        await books.set_present(site.name, "agent", one.agent, online=one.online, at=at)

    # -- for `clew connect`

    async def _note(
        self, site: SiteRuntime, name: str, event: str, result: Result, summary: Mapping[str, Any]
    ) -> None:
        self._events.emit("webhook", site=site.name, source=name, topic=event, result=result, order=None)
        key, now = (site.name, name, event), self._clock.monotonic()
        if now - self._noted.get(key, -NOTED) < NOTED:
            return
        if len(self._noted) > 1000:
            self._noted.clear()
        self._noted[key] = now
        outcome: Outcome = "ignored" if result == "ignored" else "talk"
        await self._keep(site, name, digest_of(b"topic", event.encode()), event, outcome, summary)

    async def _unread(self, site: SiteRuntime, name: str, call: Call, why: str) -> Heeded:
        # The body may have what the visitor wrote.
        raw = call.body.decode("utf-8", "replace") if site.settings.chat.texts else None
        await self._keep(site, name, digest_of(call.body), "", "unread", {"why": why[:300]}, raw=raw)
        self._events.notice("webhook_unread", site=site.name, key=f"{name}: {why}", source=name, why=why)
        return Heeded(200, "unread", f"it could not be read: {why}")

    async def _keep(
        self,
        site: SiteRuntime,
        name: str,
        digest: str,
        topic: str,
        outcome: Outcome,
        said: Mapping[str, Any],
        *,
        raw: str | None = None,
    ) -> None:
        row = Delivery(
            site=site.name,
            source=name,
            digest=digest,
            topic=topic,
            outcome=outcome,
            said=dict(said),
            at=self._clock.now(),
            raw=raw,
        )
        try:
            await self._ledger.deliveries.add(row)
        except LedgerError as error:
            # What it says is kept; this is only for people.
            self._events.failed(error, site=site.name, where="webhooks")


def _told(body: bytes, *arguments: Any) -> Any:
    return told(*arguments)


async def _off_loop(work: Any, first: Any, *rest: Any) -> Any:
    """Do work on a body; in a thread if the body is long."""
    size = max(len(one) for one in (first, *rest) if isinstance(one, bytes))
    return work(first, *rest) if size <= IN_LOOP else await asyncio.to_thread(work, first, *rest)
