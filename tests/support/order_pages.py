"""Confirmation pages read as a running clew reads them."""

from clew.injector.page import read
from clew.orders.model import OrderSeen
from clew.orders.page import order_on
from clew.settings.model import Order


def read_order(copy: bytes, charset: str | None, order: Order) -> OrderSeen | None:
    """The order on a page of which `copy` is the decoded body; None if there is none on it."""
    return order_on(read(copy, charset), order)
