"""The cart as a page shows it."""

import re
from collections.abc import Mapping
from decimal import Decimal

from ..injector.page import Document
from ..orders.model import OrderError
from ..orders.pricetext import read_amount, read_currency
from ..settings.model import Cart

# Which separator groups thousands depends on the currency's digits; most have two.
TWO_DIGITS = "EUR"


def read_cart(document: Document, cart: Cart) -> dict[str, str] | None:
    """`value` (decimal text), `currency` and `items`, each only where its selector finds something readable.

    Nothing in it where the page says in words that the cart is empty; None where it shows no cart.
    """
    found: dict[str, str] = {}
    value = document.text(cart.value) if cart.value is not None else None
    if (currency := _currency(document, cart, value)) is not None:
        found["currency"] = currency
    if value:
        try:
            found["value"] = str(read_amount(value, currency or TWO_DIGITS, "cart"))
        except OrderError:
            # An empty cart says so in words.
            found.pop("currency", None)
    items = document.text(cart.items) if cart.items is not None else None
    if items and (number := re.search(r"\d+", items)):
        found["items"] = number.group()
    return found if value or items else None


def is_empty(cart: Mapping[str, str]) -> bool:
    """Whether a cart that a page shows holds nothing."""
    return not any(Decimal(cart.get(name, "0")) for name in ("value", "items"))


def _currency(document: Document, cart: Cart, value: str | None) -> str | None:
    if cart.currency is not None and re.fullmatch(r"[A-Z]{3}", cart.currency):
        return cart.currency if value else None
    text = document.text(cart.currency) if cart.currency is not None else value
    try:
        return read_currency(text) if text else None
    except OrderError:
        return None
