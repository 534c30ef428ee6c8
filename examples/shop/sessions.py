"""Baskets and orders by session cookie, in the memory of one process."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal

from catalogue import FREE_SHIPPING_FROM, PRODUCTS, SHIPPING, Product
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "session"
SESSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """One position of a basket."""

    product: Product
    quantity: int

    @property
    def total(self) -> Decimal:
        """Price times quantity."""
        return self.product.price * self.quantity


@dataclass(frozen=True, slots=True)
class Order:
    """An order, as the confirmation page shows it."""

    number: str
    name: str
    lines: tuple[Line, ...]
    shipping: Decimal
    total: Decimal


@dataclass(slots=True)
class Session:
    """One browser's basket (slug → quantity) and orders."""

    id: str
    basket: dict[str, int] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The basket in the order in which it was filled."""
        return tuple(Line(PRODUCTS[slug], quantity) for slug, quantity in self.basket.items())

    @property
    def items(self) -> int:
        """The number of pieces."""
        return sum(self.basket.values())

    @property
    def goods(self) -> Decimal:
        """The value of the goods."""
        return sum((line.total for line in self.lines), Decimal(0))

    @property
    def shipping(self) -> Decimal:
        """The shipping cost."""
        return Decimal(0) if self.goods >= FREE_SHIPPING_FROM or not self.basket else SHIPPING

    @property
    def total(self) -> Decimal:
        """The amount to pay."""
        return self.goods + self.shipping


class Sessions:
    """All sessions. The oldest are removed when there are too many."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._last_order = 10_000

    def of(self, request: Request) -> Session:
        """The request's session, or a new one, which must be saved."""
        return self._sessions.get(request.cookies.get(COOKIE, "")) or Session(secrets.token_urlsafe(18))

    def save(self, session: Session, response: Response) -> None:
        """Store the session and set its cookie."""
        self._sessions[session.id] = session
        self._sessions.move_to_end(session.id)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        response.set_cookie(COOKIE, session.id, httponly=True, samesite="lax")

    def order(self, session: Session, name: str) -> Order:
        """Turn the basket into an order."""
        self._last_order += 1
        order = Order(f"CC-{self._last_order}", name, session.lines, session.shipping, session.total)
        session.orders[order.number] = order
        session.basket.clear()
        return order
