"""The model of an order, from any source."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

Channel = Literal["web", "chat", "phone"]
# browser: a page that a script drew, told of by the visitor's browser alone. api, webhook: the shop's server.
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
    """An amount that should be about an order's: `what` names it in a sentence,
    `currency` is None if unknown."""

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
class Refund:
    """Money that went back. `id` is the shop's own id of the refund: the same one twice is one refund."""

    id: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """What a page, the shop's server or an agent told of an order, checked. What was not told is None.

    `id` is normalised (`ids.normalised`), `spelling` the shop's own way to write it, None where it is the
    same; `further` are other numbers that the shop has for the same order. Amounts are finite and not
    negative, `currency` is an ISO 4217 code. `placed_at` is the latest moment, in unix seconds, at which the
    order can have been placed; of a day without an hour it is the end, which may lie ahead. `as_of` is the
    sender's own time of this state of the order. `refunds` are all that the source names. `guess`: the amount
    was read from structured data, without a selector. `email_hash` is the SHA-256 of the customer's address
    in lower case, hex. `figures` are what else the page says of the amount.
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

    @property
    def is_sale(self) -> bool:
        """Whether a partner may be told of it."""
        return self.state in SALES

    @property
    def numbers(self) -> tuple[str, ...]:
        """All numbers of the order that were named, the one for people first."""
        return (self.id, *self.further) if self.id is not None else self.further


class OrderError(ValueError):
    """What was told of an order cannot be used; the text says which part and why: `total: it is empty`."""

    @property
    def part(self) -> str:
        """What it is about, as the text begins; all of the text where it is about no part."""
        return str(self).partition(":")[0]


class SharedSignError(OrderError):
    """A sign that several currencies share stands for the currency."""
