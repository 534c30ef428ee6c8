"""Webhooks of shop systems: checked, read by the entry of their source, and recorded as reports of orders."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from ...events.events import Events
from ...orders.intake import json_object
from ...orders.model import OrderError
from ...orders.money import amount_text
from ...orders.signatures import SignatureError, check_signature
from ...orders.sources_schema import WebhookSource, webhook_sources
from ...orders.webhook import Understood, is_about_order, place_of, understand
from ...referral.touches import Touch
from ...settings.model import Webhook
from ...stores.ledger.books import Ledger
from ...stores.ledger.deliveries import Delivery, Outcome, digest_of
from ...stores.ledger.errors import LedgerError
from ..clock import Clock
from ..site import SiteRuntime
from .fetching import Fetcher, FetchError
from .recording import Ordering, Recorded

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a body. An order with two hundred lines has half of it."""

IN_LOOP: Final = 32 * 1024
"""Bytes of a body that are read in the loop; longer ones are in a thread."""

TOPICS: Final = 50
"""Topics of one source that say nothing about orders and are kept apart, in one process."""

OTHER_TOPIC: Final = "(another)"

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")

Result = Literal["order", "repeated", "ignored", "unread", "ping"]


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a webhook: `status` and `text` are for the sender, `order` is the order's number."""

    status: int
    result: Result
    text: str
    order: str | None = None


class UnknownSourceError(LookupError):
    """The site takes no webhooks of this name; the text says what to do."""


class RefusedError(ValueError):
    """A webhook is not signed as it should be; the text says why."""


class AwayError(RuntimeError):
    """The shop system's API, which has to be asked, does not answer: the sender should try again."""


class Webhooks:
    """Receives webhooks."""

    def __init__(self, ledger: Ledger, ordering: Ordering, events: Events, clock: Clock) -> None:
        self._ledger = ledger
        self._ordering = ordering
        self._events = events
        self._clock = clock
        self._fetcher = Fetcher()
        self._topics: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def source(self, site: SiteRuntime, name: str) -> tuple[WebhookSource, Webhook]:
        """The entry and the settings of a source. Raises UnknownSourceError."""
        source, settings = webhook_sources().get(name), site.settings.webhooks.get(name)
        if source is None:
            raise UnknownSourceError("there are webhooks for: " + ", ".join(webhook_sources()))
        if settings is None:
            why = f"no secret is set: write `secret` under [sites.webhooks.{name}]"
            self._events.notice("webhook_refused", site=site.name, key=f"{name}: {why}", source=name, why=why)
            raise UnknownSourceError(why)
        return source, settings

    def is_ping(self, site: SiteRuntime, name: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a call without a signature only tries the address."""
        source, _ = self.source(site, name)
        unsigned = source.signature.header.lower() not in headers
        return bool(source.ping) and unsigned and body.startswith(source.ping.encode()) and len(body) < 200

    def check(self, site: SiteRuntime, name: str, headers: Mapping[str, str], body: bytes) -> None:
        """Raise RefusedError unless the webhook is signed with one of the site's secrets."""
        source, settings = self.source(site, name)
        secrets = [s.get_secret_value() for s in (settings.secret, *settings.previous_secrets)]
        try:
            check_signature(source.signature, secrets, headers, body, self._clock.now())
        except SignatureError as error:
            why = str(error)
            self._events.notice("webhook_refused", site=site.name, key=f"{name}: {why}", source=name, why=why)
            raise RefusedError(why) from error

    async def ping(self, site: SiteRuntime, name: str) -> Received:
        """Note a call that only tries the address."""
        await self._keep(site, name, digest_of(b"ping"), "", "", "ping", {})
        return Received(200, "ping", "this address takes webhooks")

    async def receive(
        self, site: SiteRuntime, name: str, headers: Mapping[str, str], body: bytes
    ) -> Received:
        """Record what a signed webhook says. Raises AwayError, and what the ledger raises: then nothing was
        recorded, or the sender may repeat it."""
        source, settings = self.source(site, name)
        digest = digest_of(body)
        before = await self._before(site, name, digest)
        if before is not None:
            self._note(site, name, before.topic, "repeated", before.order)
            status = source.unread if before.outcome == "unread" else 200
            return Received(status, "repeated", "this delivery came before", before.order)
        topic = ""
        try:
            found = await _off_loop(json_object, body)
            topic = place_of(source.topic, headers, found)
            delivery = place_of(source.delivery, headers, found)
            if not is_about_order(source, topic):
                return await self._ignored(site, name, topic, delivery)
            if source.fetch is not None:
                found = await self._fetcher.fetch(source.fetch, settings, found)
            understood = await _off_loop(
                understand, name, source, topic, found, settings.states, size=len(body)
            )
            if understood is None:
                return await self._ignored(site, name, topic, delivery)
            return await self._recorded(site, name, digest, topic, delivery, understood)
        except FetchError as error:
            self._events.notice(
                "webhook_unread", site=site.name, key=f"{name}: {error}", source=name, why=str(error)
            )
            raise AwayError(str(error)) from error
        except OrderError as error:
            return await self._unread(site, name, source, digest, topic, headers, body, str(error))

    async def _recorded(
        self, site: SiteRuntime, name: str, digest: str, topic: str, delivery: str, understood: Understood
    ) -> Received:
        order, now = understood.order, self._clock.now()
        visitor = self._visitor(site, name, understood)
        touches = self._arrival(site, understood, now) if visitor is None else ()
        recorded = await self._ordering.record_reported(site, order, visitor, touches)
        if recorded is None:
            # Some shop systems do not send again.
            self._note(site, name, topic, "order", order.id)
            return Received(200, "order", "it is on the disk, and recorded as soon as the ledger takes it")
        number = recorded.order.order_id if isinstance(recorded, Recorded) else None
        if (word := understood.unknown_state) is not None:
            key, hint = f"{name}: {word}", f'[sites.webhooks.{name}.states] "{word}" = "paid"'
            self._events.notice("webhook_state", site=site.name, key=key, order=number, setting=hint)
        total = None
        if order.total is not None and order.currency is not None:
            total = amount_text(order.total, order.currency)
        said = {
            "order": number,
            "total": total,
            "currency": order.currency,
            "state": order.state,
            "refunds": len(order.refunds),
            "items": None if order.items is None else len(order.items),
            "carrier": "token" if visitor is not None else "landing" if touches else None,
            "unknown_state": understood.unknown_state,
        }
        try:
            await self._keep(site, name, digest, topic, delivery, "order", said, order=number)
        except LedgerError as error:
            # The order is recorded; the same webhook again says nothing new.
            self._failed(site, error)
        self._note(site, name, topic, "order", number)
        return Received(200, "order", "recorded", number)

    async def _before(self, site: SiteRuntime, name: str, digest: str) -> Delivery | None:
        """The same webhook as it came before. If the ledger does not answer, it is taken for a new one: it
        adds nothing to its order."""
        try:
            return await self._ledger.deliveries.known(site.name, name, digest, self._clock.now())
        except LedgerError as error:
            self._failed(site, error)
            return None

    def _failed(self, site: SiteRuntime, error: Exception) -> None:
        self._events.notice("fault", site=site.name, key="webhooks", where="webhooks", error=repr(error))

    def _visitor(self, site: SiteRuntime, name: str, understood: Understood) -> str | None:
        """The visitor that the order's token names."""
        if understood.carrier is None:
            return None
        visitor = site.carrier.open(understood.carrier)
        if visitor is None and (known := site.cookie.open(understood.carrier)) is not None:
            visitor = known.visitor
        if visitor is None and "clw" in understood.carrier:
            why = "the token is cut off, or of another site"
            self._events.notice(
                "carrier_unknown", site=site.name, key=name, order=understood.order.id, why=why
            )
        return visitor

    def _arrival(self, site: SiteRuntime, understood: Understood, now: float) -> tuple[Touch, ...]:
        """The arrival by the address at which the shop saw the visit begin. It was before the order."""
        if understood.landing is None:
            return ()
        try:
            parts = urlsplit(understood.landing)
        except ValueError:
            return ()
        at = min(understood.order.placed_at or now, now)
        host = parts.netloc if _HOST.fullmatch(parts.netloc) else ""
        query, path = (text.encode("utf-8", "surrogateescape") for text in (parts.query, parts.path or "/"))
        touch = site.landing.read(query, path, None, at, host)
        return () if touch is None or not (touch.clicks or touch.campaign) else (touch,)

    async def _ignored(self, site: SiteRuntime, name: str, topic: str, delivery: str) -> Received:
        # The header with the topic is not signed: whoever has one old delivery can send it with any.
        known = self._topics[site.name, name]
        if topic not in known and len(known) >= TOPICS:
            topic = OTHER_TOPIC
        known.add(topic)
        digest = digest_of(b"topic", topic.encode("utf-8", "replace"))
        await self._keep(site, name, digest, topic, delivery, "ignored", {})
        self._note(site, name, topic, "ignored", None)
        return Received(200, "ignored", "it says nothing about an order")

    async def _unread(
        self,
        site: SiteRuntime,
        name: str,
        source: WebhookSource,
        digest: str,
        topic: str,
        headers: Mapping[str, str],
        body: bytes,
        why: str,
    ) -> Received:
        topic = topic or place_of(source.topic, headers, {})
        said, text = {"why": why[:300]}, body.decode("utf-8", "replace")
        await self._keep(site, name, digest, topic, "", "unread", said, raw=text)
        key = f"{name} {topic}: {why}"
        self._events.notice("webhook_unread", site=site.name, key=key, source=name, topic=topic, why=why)
        return Received(source.unread, "unread", f"it could not be read, and is kept: {why}")

    async def _keep(
        self,
        site: SiteRuntime,
        name: str,
        digest: str,
        topic: str,
        delivery: str,
        outcome: Outcome,
        said: Mapping[str, Any],
        *,
        order: str | None = None,
        raw: str | None = None,
    ) -> None:
        await self._ledger.deliveries.add(
            Delivery(
                site=site.name,
                source=name,
                digest=digest,
                delivery=delivery,
                topic=topic,
                outcome=outcome,
                order=order,
                said=said,
                at=self._clock.now(),
                raw=raw,
            )
        )

    def _note(self, site: SiteRuntime, name: str, topic: str, result: Result, order: str | None) -> None:
        self._events.emit("webhook", site=site.name, source=name, topic=topic, result=result, order=order)


async def _off_loop(work: Any, *arguments: Any, size: int | None = None) -> Any:
    """Do work on a body; in a thread if the body is long."""
    length = size if size is not None else len(arguments[0])
    return work(*arguments) if length <= IN_LOOP else await asyncio.to_thread(work, *arguments)
