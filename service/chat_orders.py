"""Orders that were closed in another company's chat: an agent's command there, the provider's own event, or
the page that a link for agents opens."""

from collections.abc import Sequence
from dataclasses import fields, replace
from decimal import Decimal
from typing import Final

from ..chat.model import Conversation
from ..chat.told import Line, Told, ToldOrder
from ..events.events import Events
from ..orders.intake import parsed_order
from ..orders.model import OrderError, OrderSeen
from ..orders.money import is_currency
from ..orders.sale import read_amount, read_sale
from ..orders.sighting import Sighting
from ..stores.ledger.books import Ledger
from ..stores.visits import Visits
from .ordering.doubts import Shown
from .ordering.recording import Ordering, Recorded
from .site import SiteRuntime

COMMANDS: Final = 20
"""Commands in one webhook."""

COMMAND_LENGTH: Final = 300


class ChatOrders:
    """Records these orders. They are checked as an agent's order at the desk."""

    def __init__(self, ledger: Ledger, visits: Visits, ordering: Ordering, events: Events) -> None:
        self._ledger = ledger
        self._visits = visits
        self._ordering = ordering
        self._events = events

    async def in_talk(
        self, site: SiteRuntime, name: str, title: str, found: Conversation, told: Told
    ) -> str | None:
        """Record the orders that a webhook tells of a conversation; the number of the last one. What cannot
        be read is an event. Raises the ledger's errors."""
        number = None
        for agent, text in _commands(site.settings.chat.command, told.lines):
            by = f"{name}:{agent or told.agent or '?'}"[:64]
            try:
                recorded = await self.typed(site, found, text, by)
            except OrderError as error:
                why = str(error)[:200]
                self._events.notice("chat_order_unread", site=site.name, key=f"{name}: {why}", by=by, why=why)
                continue
            number = recorded.order.order_id
            self._compare(site, name, recorded, text, by)
        if told.order is not None:
            reported = await self._reported(site, name, found, told.order, told.agent)
            number = number if reported is None else reported.order.order_id
        return number

    def _compare(self, site: SiteRuntime, name: str, recorded: Recorded, text: str, by: str) -> None:
        """Tell that a command names another amount than its order has: the first one counts, and the agent
        may believe to have corrected it."""
        order = recorded.order
        said = [read_amount(text.split()[1]), *(code.upper() for code in text.split()[2:])]
        if said != [order.total, order.currency][: len(said)]:
            why = f"order {order.order_id} has {order.total} {order.currency}, and the command {text[:60]!r}"
            self._events.notice("chat_order_unread", site=site.name, key=f"{name}: {why}", by=by, why=why)

    async def typed(self, site: SiteRuntime, found: Conversation, text: str, by: str) -> Recorded:
        """Record what an agent typed: number, total and perhaps the currency, "1001 59.90 EUR". Raises
        OrderError and the ledger's errors."""
        parts = text.split()
        if not 2 <= len(parts) <= 3:
            raise OrderError(f"{text[:60]!r}: write the number and the total, for example 1001 59.90")
        read_amount(parts[1])
        currency = parts[2].upper() if len(parts) == 3 else await self.currency(site, found.visitor)
        if currency is None:
            raise OrderError("the currency is not known: write it behind the total, for example 59.90 EUR")
        seen = read_sale({"order_id": parts[0], "total": parts[1], "currency": currency})
        return await self._ordering.record(
            site, seen, visitor=found.visitor or None, conversation=found.id, agent=by
        )

    async def currency(self, site: SiteRuntime, visitor: str) -> str | None:
        """The currency of an order in which nobody named one: the cart's, or the site's by its settings, or
        that of its last order."""
        try:
            known = await self._visits.get(site.name, visitor) if visitor else None
        except Exception as error:
            self._events.failed(error, site=site.name, where="order")
            known = None
        order = site.settings.order
        said = (
            None if known is None else known.cart.get("currency"),
            None if order is None else order.currency,
            site.settings.cart.currency,
            site.settings.net.currency,
        )
        for one in said:
            if one is not None and is_currency(one):
                return one
        last = await self._ledger.orders.amounts(site.name, limit=1)
        return last[0][1] if last else None

    async def _reported(
        self, site: SiteRuntime, name: str, found: Conversation, order: ToldOrder, agent: str | None
    ) -> Recorded | None:
        """Record an order that the provider itself reports."""
        by = f"{name}:{agent or '?'}"[:64]
        try:
            currency = order.currency or await self.currency(site, found.visitor)
            values = {"id": order.number, "total": Decimal(order.total), "currency": currency}
            seen: OrderSeen = parsed_order(values, "agent").order
        except (OrderError, ArithmeticError) as error:
            why = str(error)[:200] or f"{order.total[:40]!r} is no amount"
            self._events.notice("chat_order_unread", site=site.name, key=f"{name}: {why}", by=by, why=why)
            return None
        shown = None
        if order.by_page:
            seen, shown = replace(seen, source="browser"), Shown("", "unknown", by_browser=True)
        return await self._ordering.record(
            site, seen, visitor=found.visitor or None, conversation=found.id, agent=by, shown=shown
        )

    async def tied(self, site: SiteRuntime, found: Conversation) -> None:
        """Say whose the orders of a conversation are that were told before its visitor was known."""
        for row in await self._ledger.provider_talks.orders_of_nobody(site.name, found.id):
            known = await self._ledger.loose.order_at(row)
            for stored in () if known is None else known.sightings:
                seen = stored.sighting
                if seen.conversation != found.id or seen.visitor is not None or seen.correction is not None:
                    continue
                by_page = seen.source == "browser"
                await self._ordering.record(
                    site,
                    _plain(seen),
                    visitor=found.visitor,
                    conversation=found.id,
                    agent=seen.agent,
                    shown=Shown("", "unknown", by_browser=True) if by_page else None,
                    at=seen.at,
                )


def _plain(seen: Sighting) -> OrderSeen:
    """What a sighting says, without its context."""
    return OrderSeen(**{field.name: getattr(seen, field.name) for field in fields(OrderSeen)})


def _commands(command: str, lines: Sequence[Line]) -> list[tuple[str | None, str]]:
    """The agents and texts of the commands in a webhook's messages. A command is a line of its own, so that
    nothing that a message quotes is one."""
    found = []
    for line in lines:
        if not command or line.author != "agent":
            continue
        for row in line.text.splitlines():
            word, *rest = row[:COMMAND_LENGTH].split(None, 1) or [""]
            if word.rstrip(":").lower() == command:
                found.append((line.agent, rest[0].strip() if rest else ""))
    return found[:COMMANDS]
