"""A sighting: one report that an order exists or changed, as it came.

Sightings are append-only. What all sightings of one order come to is computed from them (`orders/join.py`,
`orders/history.py`), so a later report corrects an earlier one, and nothing is edited in place.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

from .doubt import Doubt
from .model import Channel

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

RANK: Final[Mapping[Source, int]] = {
    "browser": 0,
    "page": 1,
    "agent": 1,
    "import": 2,
    "api": 3,
    "webhook": 3,
}
"""Which source counts more. A page is a hint: anybody may open it, and it may be misread. A browser can say
anything. The shop's server knows."""

CORRECTION: Final = 4
"""The rank of a person's correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line of an order. Amounts are for the whole line but `price`, which is for one unit."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A person's decision about an order: who decided, and why.

    `release` sends what is held, `refuse` tells the partners nothing of this order. `partner` is the id of
    the partner who earns it, an empty text for nobody; None leaves the credit as it is.
    """

    by: str
    why: str
    release: bool = False
    refuse: bool = False
    partner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one source said of an order, and when. Everything that it did not say is None.

    `at` is when clew was told, in unix seconds; `as_of` the sender's own time of this state of the order.
    `numbers` are the order's normalised numbers (`orders/ids.py`), the one for people first; a shop may have
    several for one order. It is empty where the source named none. `spelling` is the first one as the shop
    writes it. `refunds` are all that this source names. `guess`: the amount was read from structured data
    without a selector. `visitor`, `carrier`, `email_hash`, `coupon` and `conversation` are evidence of whose
    the order is. `doubts` are what stood against this sighting when it came.
    """

    site: str
    source: Source
    at: float
    numbers: tuple[str, ...] = ()
    spelling: str | None = None
    as_of: float | None = None
    state: OrderState | None = None
    placed_at: float | None = None
    currency: str | None = None
    total: Decimal | None = None
    net: Decimal | None = None
    shipping: Decimal | None = None
    tax: Decimal | None = None
    discount: Decimal | None = None
    coupon: str | None = None
    customer: Literal["new", "returning"] | None = None
    channel: Channel | None = None
    items: tuple[Item, ...] | None = None
    refunds: tuple[Refund, ...] = ()
    guess: bool = False
    visitor: str | None = None
    carrier: str | None = None
    email_hash: str | None = None
    conversation: str | None = None
    agent: str | None = None
    doubts: tuple[Doubt, ...] = ()
    correction: Correction | None = None
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        content = {k: v for k, v in self.to_json().items() if k not in _NOT_CONTENT}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "key", blake2b(text.encode("utf-8"), digest_size=16).hexdigest())

    @property
    def rank(self) -> int:
        """How much this sighting counts beside others; see `RANK`."""
        return CORRECTION if self.correction is not None else RANK[self.source]

    @property
    def of_server(self) -> bool:
        """Whether the shop's own server said it."""
        return self.source in ("api", "webhook")

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger, without what was not said."""
        return {
            f.name: _plain(value)
            for f in fields(self)
            if f.init and (value := getattr(self, f.name)) != f.default
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Sighting":
        """The reverse of `to_json`."""
        return cls(**{name: _READ.get(name, _same)(value) for name, value in data.items()})


_NOT_CONTENT = ("at", "doubts")


def adds_nothing(known: Sequence[Sighting], new: Sighting) -> bool:
    """Whether a sighting repeats what its source said before: a reload, a webhook that is sent again.

    `known` are the order's sightings in order of arrival. A server that says 100, then 90, then 100 again
    means it, so what has no time of its own is compared with the last one of its source only.
    """
    if new.correction is not None:
        return False
    same_source = [s for s in known if s.source == new.source and s.correction is None]
    if new.of_server and new.as_of is None:
        same_source = same_source[-1:]
    return any(s.key == new.key for s in same_source)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Item | Refund | Doubt | Correction):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _same(value: Any) -> Any:
    return value


def _item(data: Mapping[str, Any]) -> Item:
    amounts = ("quantity", "price", "discount", "tax")
    return Item(**{k: Decimal(v) if k in amounts and v is not None else v for k, v in data.items()})


_READ = {
    **dict.fromkeys(("total", "net", "shipping", "tax", "discount"), Decimal),
    "numbers": tuple,
    "items": lambda rows: tuple(_item(row) for row in rows),
    "refunds": lambda rows: tuple(Refund(row["id"], Decimal(row["amount"])) for row in rows),
    "doubts": lambda rows: tuple(Doubt(**row) for row in rows),
    "correction": lambda row: Correction(**row),
}
