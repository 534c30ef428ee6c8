"""The model of an order, from any source."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Channel = Literal["web", "chat", "phone"]
# browser: a page that a script drew, told of by the visitor's browser alone.
Source = Literal["page", "browser", "api", "agent"]
State = Literal["placed", "payment_due", "cancelled", "returned", "problem"]


@dataclass(frozen=True, slots=True)
class Figure:
    """An amount that should be about an order's: `what` names it in a sentence,
    `currency` is None if unknown."""

    what: str
    total: Decimal
    currency: str | None

    def __str__(self) -> str:
        return f"{self.total} {self.currency}" if self.currency else str(self.total)


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """What a page, the API or an agent told of an order, checked.

    `id` is normalised (`ids.normalised`), `spelling` the shop's own way to write it, None where it is the
    same. `total` is finite and not negative, `currency` an ISO 4217 code. `state` is other than `placed`
    where the page says that this is no sale, or not yet. `placed_at` is the latest moment, in unix seconds,
    at which the order can have been placed, None where nothing tells; of a day without an hour it is the
    end, which may lie ahead. `figures` are what else the page says of the amount.
    """

    id: str
    total: Decimal
    currency: str
    source: Source
    coupon: str | None = None
    channel: Channel | None = None
    placed_at: float | None = None
    state: State = "placed"
    spelling: str | None = None
    figures: tuple[Figure, ...] = ()

    @property
    def is_sale(self) -> bool:
        """Whether a partner may be told of it."""
        return self.state == "placed"


class OrderError(ValueError):
    """What was told of an order cannot be used; the text says which part and why: `total: it is empty`."""

    @property
    def part(self) -> str:
        """What it is about, as the text begins; all of the text where it is about no part."""
        return str(self).partition(":")[0]


class SharedSignError(OrderError):
    """A sign that several currencies share stands for the currency."""
