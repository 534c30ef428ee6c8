"""Reads the cart from a page."""

import re
from collections.abc import Mapping
from decimal import Decimal

from ..injector.page import Document
from ..injector.shown import Shown
from ..settings.model import Cart
from .model import OrderError
from .pricetext import read_currency, read_shown

PRODUCTS = 20
"""Things in a cart whose names are read."""
NAME_LENGTH = 60


def read_cart(document: Document, cart: Cart) -> dict[str, str] | None:
    """`value` (decimal text), `currency`, `items` and `products` (names), each only if its selector finds
    something readable.

    Empty if the page says in words that the cart is empty; None if it shows no cart.
    """
    found: dict[str, str] = {}
    value = document.shown(cart.value) if cart.value is not None else None
    if (currency := _currency(document, cart, value)) is not None:
        found["currency"] = currency
    if value:
        try:
            found["value"] = str(read_shown(value, currency, "cart"))
        except OrderError:
            # Words without a number mean an empty cart; an unclear number means nothing.
            found.pop("currency", None)
            value = None if any(c.isdigit() for c in value.text) else value
    items = document.text(cart.items) if cart.items is not None else None
    if items and (number := re.search(r"\d{1,9}", items)):
        found["items"] = number.group()
    if cart.products is not None and (names := document.texts(cart.products, PRODUCTS)):
        found["products"] = ", ".join(name[:NAME_LENGTH] for name in names)
    return found if value or items else None


def is_empty(cart: Mapping[str, str]) -> bool:
    """Whether a cart on a page is empty."""
    return not any(Decimal(cart.get(name, "0")) for name in ("value", "items"))


def _currency(document: Document, cart: Cart, value: Shown | None) -> str | None:
    if cart.currency is not None and re.fullmatch(r"[A-Z]{3}", cart.currency):
        return cart.currency if value else None
    text = document.text(cart.currency) if cart.currency is not None else value.text if value else None
    try:
        return read_currency(text) if text else None
    except OrderError:
        return None
