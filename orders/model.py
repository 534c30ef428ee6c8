"""An order as clew knows it, however it was seen."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Channel = Literal["web", "chat", "phone"]
Source = Literal["page", "api", "agent"]


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """What a page, the API or an agent told of an order, checked: id trimmed, total finite and not negative,
    currency an ISO 4217 code."""

    id: str
    total: Decimal
    currency: str
    source: Source
    coupon: str | None = None
    channel: Channel | None = None
    placed_at: float | None = None


class OrderError(ValueError):
    """What was told of an order cannot be used; the text says which part and why."""
