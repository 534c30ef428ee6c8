"""Reads an order from the confirmation page, after the page was sent to the visitor. It is only a hint."""

import re
from decimal import Decimal

from ..injector.page import Document
from ..injector.shown import Shown
from ..settings.model import Order
from .checks import checked_text
from .ids import OrderId, normalised, same, shown
from .jsonld import LinkedOrder, linked_orders
from .model import OrderError, OrderSeen
from .money import checked_currency, checked_total
from .pricetext import read_currency, read_shown

_CODE = re.compile(r"[A-Z]{3}")
_JSONLD = "jsonld"


def order_on(document: Document, order: Order) -> OrderSeen | None:
    """The order on a page, or None if there is none on it.

    A page that shows an order's id is an order page: if its total or currency then cannot
    be used, OrderError says why.
    """
    linked = _linked(document, order)
    number = _number(document, order, linked)
    if number is None:
        return None
    entry = _linked_order(number, order, linked)
    total = None if order.total == _JSONLD else _part(document, "total", order.total)
    currency = _currency(document, order, entry, total)
    return OrderSeen(
        id=number.id,
        total=checked_total(_total(entry, total, currency), currency),
        currency=currency,
        source="page",
        coupon=_coupon(entry),
        placed_at=entry.placed_at if entry is not None else None,
        state=entry.state if entry is not None else "placed",
        spelling=number.spelling if number.spelling != number.id else None,
        figures=entry.figures(total=total is not None) if entry is not None else (),
    )


def _linked(document: Document, order: Order) -> tuple[LinkedOrder, ...]:
    data = document.jsonld()
    wanted = _JSONLD in (order.id, order.total, order.currency)
    try:
        found = linked_orders(data.objects)
    except OrderError:
        if wanted:
            raise
        return ()  # only its state was wanted
    if wanted and not found and data.problems:
        raise OrderError(f"{data.problems[0]}; a script that cannot be read may hold the order")
    return found


def _coupon(linked: LinkedOrder | None) -> str | None:
    if linked is None or linked.coupon is None:
        return None
    try:
        return checked_text(linked.coupon, "coupon")
    except OrderError:
        return None  # the order is worth more than its coupon


def _number(document: Document, order: Order, linked: tuple[LinkedOrder, ...]) -> OrderId | None:
    if order.id != _JSONLD:
        text = document.text(order.id)
        return shown(text) if text and text.strip() else None
    if not linked:
        return None
    if len(linked) > 1:
        raise OrderError(f"id: the page's JSON-LD has {len(linked)} orders; set `id` to a CSS selector")
    if linked[0].id is None:
        raise OrderError("id: the JSON-LD order has neither orderNumber nor confirmationNumber")
    return normalised(linked[0].id)


def _linked_order(number: OrderId, order: Order, linked: tuple[LinkedOrder, ...]) -> LinkedOrder | None:
    """The JSON-LD order with this number, or the only one if it has no number."""
    found = next((one for one in linked if one.id is not None and same(one.id, number.id)), None)
    if found is None and len(linked) == 1 and linked[0].id is None:
        return linked[0]
    if found is None and order.total == _JSONLD:
        others = f"{len(linked)} JSON-LD orders of other numbers" if linked else "no JSON-LD order"
        raise OrderError(
            f"total: the page shows order {number.spelling[:40]!r}, but {others}; "
            "set `total` to a CSS selector"
        )
    return found


def _part(document: Document, part: str, selector: str) -> Shown:
    found = document.shown(selector)
    if found is None:
        raise OrderError(f"{part}: the page shows an order, but {selector!r} matches nothing on it")
    return found


def _currency(document: Document, order: Order, linked: LinkedOrder | None, total: Shown | None) -> str:
    if _CODE.fullmatch(order.currency):
        code = checked_currency(order.currency)
        shown = _named(total.text) if total is not None else linked.currency if linked else None
        if shown is not None and shown != code:
            raise OrderError(f"currency: the settings say {code}, but the page's total is in {shown}")
        return code
    if order.currency != _JSONLD:
        text = _part(document, "currency", order.currency).text
        found = read_currency(text)
        if found is None:
            raise OrderError(f"currency: {text.strip()[:40]!r} is not a currency; set `currency` to a code")
        return found
    if linked is not None and linked.currency is not None:
        return linked.currency
    found = read_currency(total.text, "currency") if total is not None else None
    if found is None:
        raise OrderError(
            'currency: neither JSON-LD nor the total names one; set `currency`, for example "EUR"'
        )
    return found


def _named(total_text: str) -> str | None:
    try:
        return read_currency(total_text)
    except OrderError:
        return None  # the sign means several currencies, so it contradicts none


def _total(linked: LinkedOrder | None, total: Shown | None, currency: str) -> Decimal:
    if total is not None:
        return read_shown(total, currency)
    if linked is None or linked.total is None:
        raise OrderError("total: the JSON-LD order has no price; set `total` to a CSS selector")
    return linked.total
