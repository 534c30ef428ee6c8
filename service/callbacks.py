"""Callbacks: a number that visitors leave, and what became of the call."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

from ..chat.hours import OfficeHours
from ..chat.hub import desk_topic
from ..chat.signs import Sign
from ..events.events import Events
from ..orders.model import OrderSeen
from ..referral.cookie import Known
from ..settings.model import Callback as Terms
from ..stores.ledger.books import Ledger
from ..stores.ledger.callbacks import Callback, CallbacksFullError, State
from ..stores.signs import Signs
from .clock import Clock
from .conversations import Conversations
from .limits import LimitedError, Limits
from .ordering.recording import Ordering, Recorded
from .site import SiteRuntime

TYPED: Final = 40
TOPIC: Final = 300
SLOT: Final = 7200.0
SLOTS: Final = 24
SOONEST: Final = 900.0
FULL_SECONDS: Final = 600.0
"""When whoever finds too many others waiting may try again."""
# Numbers that cost whoever calls them more than a call.
_COSTLY: Final = frozenset(
    {PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.PAGER, PhoneNumberType.UAN}
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the form says. `at` is the beginning of the wished time, None for as soon as possible; `trap` is
    the field that people do not see."""

    phone: str
    topic: str
    language: str
    at: int | None = None
    trap: str = ""


class PhoneError(ValueError):
    """A number that cannot or must not be called; the message says why."""


def phone_number(typed: str, terms: Terms) -> str:
    """The number as E.164. Raises PhoneError."""
    if len(typed) > TYPED:
        raise PhoneError("too long")
    try:
        number = phonenumbers.parse(typed, terms.country)
    except phonenumbers.NumberParseException as error:
        raise PhoneError(str(error)) from None
    region = phonenumbers.region_code_for_number(number)
    if not phonenumbers.is_valid_number(number) or number.extension:
        raise PhoneError("there is no such number")
    if terms.countries and region not in terms.countries:
        raise PhoneError(f"numbers of {region or 'no country'} are not called")
    if phonenumbers.number_type(number) in _COSTLY:
        raise PhoneError("calls to it cost more than usual")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def slots(hours: OfficeHours, now: float) -> Sequence[tuple[int, int]]:
    """The times that a visitor may wish for: pieces of the office hours of the next week, of two hours at
    most. None without office hours."""
    found: list[tuple[int, int]] = []
    if hours.always:
        return found
    for begin, end in hours.spans(now, 8):
        at = begin
        while at < end and len(found) < SLOTS:
            until = min(at + SLOT, end)
            if until > now + SOONEST:
                found.append((int(at), int(until)))
            at = until
    return found


class CallbackDesk:
    """The callbacks of all sites. Every method raises the ledger's errors."""

    def __init__(
        self,
        ledger: Ledger,
        ordering: Ordering,
        conversations: Conversations,
        signs: Signs,
        limits: Limits,
        events: Events,
        clock: Clock,
    ) -> None:
        self._signs = signs
        self._ledger = ledger
        self._ordering = ordering
        self._conversations = conversations
        self._limits = limits
        self._events = events
        self._clock = clock

    async def ask(self, site: SiteRuntime, terms: Terms, known: Known, wish: Wish, client: str | None) -> str:
        """Note that a visitor wants to be called; returns the number. Raises PhoneError, BlockedError
        and LimitedError."""
        phone = phone_number(wish.phone, terms)
        self._limits.take("forms", site.name, client)
        if wish.trap:
            self._events.emit("form", site=site.name, what="callback", dropped="a program filled it in")
            return phone
        await self._conversations.require_not_blocked(site.name, known.visitor, client)
        # Whoever wants a call is stored, as who writes: its click earns an order of the call.
        sender = await self._conversations.sender(site, known, client)
        now = self._clock.now()
        wished = [begin for begin, _ in slots(site.hours, now) if begin == wish.at]
        try:
            found, new = await self._ledger.callbacks.add(
                site.name,
                known.visitor,
                phone,
                topic=wish.topic[:TOPIC],
                language=wish.language,
                wished_at=wished[0] if wished else None,
                partner=sender.partner,
                now=now,
                most=terms.waiting,
            )
        except CallbacksFullError:
            self._events.notice("callbacks_full", site=site.name, key="callbacks", most=terms.waiting)
            raise LimitedError("callbacks", "site", FULL_SECONDS) from None
        self._changed(site.name, found.id)
        self._events.emit("callback", site=site.name, callback=found.id, state="open", new=new)
        return phone

    async def settle(self, site: str, number: int, state: State, agent: str) -> Callback | None:
        """Note what became of a call; None if there is no such callback. Raises CallTakenError."""
        found = await self._ledger.callbacks.change(site, number, state, agent=agent, now=self._clock.now())
        self._told(site, found)
        return found

    async def take(self, site: str, number: int, agent: str, over: str | None) -> Callback | None:
        """Note that an agent calls, which the others see at once; None if there is nobody to be called.
        Raises CallTakenError if another agent than `over` does so."""
        found = await self._ledger.callbacks.take(site, number, agent, self._clock.now(), over=over)
        if found is not None:
            self._changed(site, number)
            self._events.emit("callback", site=site, callback=number, state="taken", agent=agent)
        return found

    async def release(self, site: str, number: int, agent: str) -> None:
        """Let others call."""
        if await self._ledger.callbacks.release(site, number, agent):
            self._changed(site, number)
            self._events.emit("callback", site=site, callback=number, state="released", agent=agent)

    def _changed(self, site: str, number: int) -> None:
        # The sign reaches the desks of other processes, too.
        self._signs.tell(Sign(desk_topic(site), "callbacks", str(number), {"callback": number}))
        self._conversations.changed(site)

    async def order(self, site: SiteRuntime, found: Callback, order: OrderSeen, agent: str) -> Recorded:
        """Record an order that was closed in the call: its channel is `phone`."""
        recorded = await self._ordering.record(
            site, replace(order, channel="phone"), visitor=found.visitor, agent=agent
        )
        now, number = self._clock.now(), recorded.order.order_id
        changed = await self._ledger.callbacks.change(
            site.name, found.id, "ordered", agent=agent, now=now, order=number
        )
        self._told(site.name, changed)
        return recorded

    def _told(self, site: str, found: Callback | None) -> None:
        if found is not None:
            self._changed(site, found.id)
            self._events.emit("callback", site=site, callback=found.id, state=found.state, agent=found.agent)
