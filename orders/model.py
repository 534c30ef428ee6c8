"""The model of an order, from any source."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

Channel = Literal["web", "chat", "phone"]
# browser: a page that a script rendered, reported by the visitor's browser only. api, webhook: the shop's
# server.
Source = Literal["browser", "page", "agent", "import", "api", "webhook"]
# How far an order has come. seen: known, but not yet placed or paid. held: the shop has stopped it, or a
# payment failed; it may go on. The money of a test order is not real.
OrderState = Literal[
    "seen", "held", "placed", "paid", "part_refunded", "refunded", "cancelled", "charged_back", "test"
]
STATES: Final[Sequence[OrderState]] = get_args(OrderState)
"""In the order in which an order goes through them."""

SALES: Final[frozenset[OrderState]] = frozenset({"placed", "paid", "part_refunded"})
"""The states in which a partner earns."""


@dataclass(frozen=True, slots=True)
class Figure:
    """An amount to compare with an order's total. `what` names it in a sentence; `currency` is None if
    unknown."""

    what: str
    total: Decimal
    currency: str | None

    def __str__(self) -> str:
        return f"{self.total} {self.currency}" if self.currency else str(self.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line of an order. `price` is for one unit; `discount` and `tax` are for the line."""

    id: str
    name: str = ""
    category: str = ""
    quantity: Decimal = Decimal(1)
    price: Decimal | None = None
    discount: Decimal | None = None
    tax: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RefundItem:
    """What of a line of the order was refunded. `id` is that of the line's `Item`; `amount` is None where
    only the quantity is known."""

    id: str
    quantity: Decimal = Decimal(1)
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund. `id` is the shop's own id of it: two with the same id are one refund. `items` are the lines
    of the order that it is for, empty where that is not known."""

    id: str
    amount: Decimal
    items: tuple[RefundItem, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order as reported by a page, the shop's server or an agent, validated. Unknown fields are None.

    `id` is normalised (`ids.normalised`); `spelling` is the shop's own spelling, None if it is the same;
    `further` are other numbers of the same order. Amounts are finite and not negative, `currency` is an ISO
    4217 code. `placed_at` is the latest possible time of the order, in unix seconds; for a day without a time
    it is the end of the day, which may be in the future. `as_of` is the sender's own time of this state.
    `refunds` are all that the source names. `guess` is whether the amount was read from structured data,
    without a selector. `email_hash` is the SHA-256 of the customer's e-mail address in lower case, in hex.
    `recurring`: the order renews a subscription. `claimed` names what agents claim of it. `figures` are other
    amounts on the page.
    """

    id: str | None
    total: Decimal | None
    currency: str | None
    source: Source
    coupon: str | None = None
    channel: Channel | None = None
    placed_at: float | None = None
    state: OrderState | None = "placed"
    spelling: str | None = None
    figures: tuple[Figure, ...] = ()
    further: tuple[str, ...] = ()
    as_of: float | None = None
    net: Decimal | None = None
    shipping: Decimal | None = None
    tax: Decimal | None = None
    discount: Decimal | None = None
    customer: Literal["new", "returning"] | None = None
    items: tuple[Item, ...] | None = None
    refunds: tuple[Refund, ...] = ()
    guess: bool = False
    email_hash: str | None = None
    recurring: bool = False
    claimed: str | None = None

    @property
    def is_sale(self) -> bool:
        """Whether a partner may be notified of it."""
        return self.state in SALES

    @property
    def numbers(self) -> tuple[str, ...]:
        """All numbers of the order that were named, the one for people first."""
        return (self.id, *self.further) if self.id is not None else self.further


class OrderError(ValueError):
    """A reported order is invalid; the text says which part and why: `total: it is empty`."""

    @property
    def part(self) -> str:
        """The part that is invalid; the whole text if it names no part."""
        return str(self).partition(":")[0]


class SharedSignError(OrderError):
    """The sign of the currency means several currencies."""
