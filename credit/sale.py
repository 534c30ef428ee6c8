"""What a decision knows of the order itself."""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from msgspec import convert, to_builtins

from ..orders.history import Order
from ..orders.money import minor_digits
from .division import divide

Customer = Literal["new", "returning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the order. `value` is what all of its pieces cost after its discount, None where a price is
    not known; `refunded` is what of it was refunded by its name, `returned` how many pieces."""

    id: str
    name: str = ""
    category: str = ""
    quantity: Decimal = Decimal(1)
    price: Decimal | None = None
    value: Decimal | None = None
    refunded: Decimal = Decimal()
    returned: Decimal = Decimal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A share of the first order of a customer, for the renewals of its subscription."""

    partner: str
    part: Decimal
    click: tuple[str, str, str] | None = None
    touched_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the ledger knows beside the order: `earlier` are the customer's earlier sales, the first of them
    at `first_at`, credited to `origin`. Of the sales with the same coupon within the window of its alarm,
    `code_orders` counts all, `code_strangers` those whose buyer never came by its partner."""

    earlier: int | None = None
    first_at: float | None = None
    origin: tuple[Origin, ...] = ()
    code_orders: int = 0
    code_strangers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """The order as far as terms ask about it. `sold`: it is a sale. `customer` is what the shop says, else
    what the ledger knows. Amounts are in `currency`."""

    total: Decimal | None = None
    currency: str | None = None
    refunded: Decimal = Decimal()
    sold: bool = True
    coupon: str | None = None
    shop_says: Customer | None = None
    recurring: bool = False
    lines: tuple[Line, ...] = ()
    beside: Beside = field(default_factory=Beside)

    @property
    def paid(self) -> Decimal:
        """What the customer has paid and not got back."""
        return max((self.total or Decimal()) - self.refunded, Decimal()) if self.sold else Decimal()

    @property
    def earlier(self) -> int | None:
        """The number of the customer's earlier sales; None if it is not known."""
        return self.beside.earlier

    @property
    def customer(self) -> Customer | None:
        """Whether the customer is new or returning; None if nobody knows."""
        if self.shop_says is not None or self.earlier is None:
            return self.shop_says
        return "returning" if self.earlier else "new"

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        data = to_builtins(self)
        assert isinstance(data, dict)
        return data

    @classmethod
    def from_json(cls, data: Any) -> "Sale":
        """The reverse of `to_json`."""
        return convert(data, cls)


def sale_of(order: Order, beside: Beside) -> Sale:
    """What is known of an order."""
    return Sale(
        total=order.total,
        currency=order.currency,
        refunded=order.refunded,
        sold=order.is_sale,
        coupon=order.coupon,
        shop_says=order.customer,
        recurring=order.recurring,
        lines=_lines(order),
        beside=beside,
    )


def left_of(order: Order) -> tuple[Decimal, ...]:
    """What of the value of each item the customer keeps, after the refunds that name it. Empty where no
    refund names an item, or a price is not known."""
    found = _lines(order)
    if not any(line.returned or line.refunded for line in found) or any(line.value is None for line in found):
        return ()
    return tuple(_left(line) for line in found)


def _left(line: Line) -> Decimal:
    value = line.value or Decimal()
    if line.returned and line.returned >= line.quantity:
        return Decimal()
    return max(value - line.refunded, Decimal())


def _lines(order: Order) -> tuple[Line, ...]:
    found = []
    returned = [item for refund in order.refunds for item in refund.items]
    for item in order.items or ():
        value = None
        if item.price is not None:
            value = max(item.price * item.quantity - (item.discount or Decimal()), Decimal())
        own = [one for one in returned if one.id == item.id]
        pieces = sum((one.quantity for one in own), Decimal())
        money = Decimal()
        for one in own:
            if one.amount is not None:
                money += one.amount
            elif value is not None and item.quantity:
                money += value * one.quantity / item.quantity
        found.append(
            Line(
                id=item.id,
                name=item.name,
                category=item.category,
                quantity=item.quantity,
                price=item.price,
                value=value,
                refunded=money,
                returned=min(pieces, item.quantity),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Base:
    """What of the paid amount belongs to a line, in minor units, and how many of its pieces are left. `line`
    is None where the order is not divided into lines."""

    line: Line | None
    units: int
    pieces: Fraction


def bases(sale: Sale) -> list[Base]:
    """The paid amount divided between the lines in proportion to their values, so that the order's discount,
    shipping and tax are divided too. A refund that names its lines is taken from these, each other one from
    all in proportion. Without lines, or if a price is not known, there is one base without a line."""
    if sale.currency is None:
        return []
    digits = minor_digits(sale.currency)
    paid = int(sale.paid.scaleb(digits))
    values = [line.value for line in sale.lines if line.value is not None]
    if not values or len(values) < len(sale.lines) or not any(values):
        return [Base(None, paid, Fraction())]
    total = int((sale.total or Decimal()).scaleb(digits))
    before = divide(total, [Fraction(value) for value in values])
    kept = [_kept(line, base) for line, base in zip(sale.lines, before, strict=True)]
    left = divide(paid, kept if any(kept) else [Fraction(base) for base in before])
    return [_base(*row) for row in zip(sale.lines, before, left, strict=True)]


def _base(line: Line, before: int, left: int) -> Base:
    if line.returned:
        pieces = Fraction(line.quantity - line.returned)
    elif before:
        # A refund that names no piece takes its part of each.
        pieces = Fraction(line.quantity) * min(Fraction(left, before), Fraction(1))
    else:
        pieces = Fraction(line.quantity)
    return Base(line, left, pieces)


def _kept(line: Line, before: int) -> Fraction:
    """What is left of a line's part of the amount after the refunds that name it."""
    if line.returned and line.returned >= line.quantity:
        return Fraction()
    if not line.value:
        return Fraction(before)
    return before * (1 - min(Fraction(line.refunded) / Fraction(line.value), Fraction(1)))
