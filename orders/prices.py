"""The total of an order in JSON-LD: its own, the one among several prices, or the sum of its lines."""

from decimal import Decimal
from typing import Any

from .model import OrderError
from .money import checked_currency
from .schema import Node, maps_of, number_of, text_of, types_of

Priced = tuple[Decimal | None, str | None]  # an amount and its currency, each None if unknown

_OWN = ("totalPrice", "orderTotal", "grandTotal", "total", "price", "value")
# Specifications of a part of a price: schema.org's types, and the words that shops use.
_PARTS = frozenset(("DeliveryCharge", "PaymentCharge"))
_PART_WORDS_TEXT = (
    "shipping delivery handling versand versandkosten lieferung porto livraison frais envío envio "
    "gastos spedizione verzending verzendkosten frakt fragt fracht toimitus dostawa doprava "
    "szállítás доставка kargo tax taxes vat mwst tva iva steuer discount rabatt remise descuento "
    "sconto fee subtotal zwischensumme net netto listprice strikethroughprice regularprice srp msrp"
)
_PART_WORDS = frozenset(_PART_WORDS_TEXT.split())
_WHOLE_WORDS_TEXT = "total gesamt gesamtsumme totale summe incl inclusive including inkl grandtotal"
_WHOLE_WORDS = frozenset(_WHOLE_WORDS_TEXT.split())
_QUANTITIES = ("quantity", "orderQuantity", "eligibleQuantity")
_IDENTITY = ("@id", "sku", "productID", "gtin", "gtin13", "mpn", "url", "name")


def order_total(node: Node) -> tuple[Decimal | None, str | None]:
    """The order's own total, else its price, else the payment due, else the sum of its lines.

    A payment due of zero may mean that all is paid, so it counts only if there are no lines. A sum has
    neither discount nor shipping, so an order with a discount and without a total raises OrderError.
    """
    own = price_of(node, _OWN)
    if own[0] is not None:
        return own
    due: tuple[Decimal | None, str | None] = (None, None)
    for holder in (node, *maps_of(node.get("partOfInvoice"))):
        for owed in maps_of(holder.get("totalPaymentDue")):
            due = price_of(owed)
            if due[0]:
                return due[0], due[1] or own[1]
    total, currency = summed(node)
    if total is not None and node.get("discount") not in (None, "", 0, "0", "0.00"):
        raise OrderError(
            "total: the JSON-LD order has prices and a discount, but no total; set `total` to a CSS selector"
        )
    if total is None:
        total, currency = due
    return total, currency or own[1] or due[1]


def price_of(node: Node, keys: tuple[str, ...] = ("price", "value")) -> tuple[Decimal | None, str | None]:
    """Price and currency of an Order, Offer, PriceSpecification or MonetaryAmount."""
    written = text_of(node.get("priceCurrency")) or text_of(node.get("currency"))
    currency = checked_currency(written) if written else None
    for key in keys:
        value = node.get(key)
        if isinstance(value, dict):
            amount, inner = price_of(value)
            if amount is not None:
                return amount, inner or currency
        elif value is not None and value != "":
            return number_of(value, currency), currency
    amount, inner = _specified(node)
    return amount, inner or currency


def _specified(node: Node) -> tuple[Decimal | None, str | None]:
    """The price among several specifications: the one that is not for a part, such as shipping."""
    specified = [(price_of(spec), spec) for spec in maps_of(node.get("priceSpecification"))]
    priced = [((amount, currency), spec) for (amount, currency), spec in specified if amount is not None]
    wholes = [price for price, spec in priced if not _is_part(spec)]
    if len({amount for amount, _ in wholes}) > 1:
        amounts = sorted(amount for amount, _ in wholes)
        goods = summed(node)[0]
        parts = amounts[:-1] if goods is None or goods in amounts else [*amounts[:-1], goods]
        if sum(parts) != amounts[-1] or len(parts) < 2:
            listed = ", ".join(str(amount) for amount in amounts)
            raise OrderError(
                f"total: the JSON-LD has several prices ({listed}); set `total` to a CSS selector"
            )
        wholes = [price for price in wholes if price[0] == amounts[-1]]
    if not wholes and priced:
        raise OrderError(
            "total: the JSON-LD has only a price for shipping or another part; set `total` to a CSS selector"
        )
    return wholes[0] if wholes else (None, None)


def _is_part(spec: Node) -> bool:
    kinds = {kind.removesuffix("Specification") for kind in types_of(spec)}
    said = " ".join(filter(None, (text_of(spec.get(k)) for k in ("name", "description", "priceType", "@id"))))
    words = set("".join(c if c.isalpha() else " " for c in said[:200].casefold()).split())
    return bool(kinds & _PARTS or words & _PART_WORDS) and not words & _WHOLE_WORDS


def summed(node: Node) -> Priced:
    """The sum of an order's offers, or of its items, with quantities. None if one has no price."""
    offers, items = maps_of(node.get("acceptedOffer")), maps_of(node.get("orderedItem"))
    lines = [(price_of(offer), _quantity(offer)) for offer in offers]
    if lines and any(quantity is None for _, quantity in lines):
        found = _quantities_of_items(offers, items)
        lines = [(price, own or other) for (price, own), other in zip(lines, found, strict=True)]
    if not lines:
        lines = [(_item_price(item), _quantity(item)) for item in items]
    if not lines or any(amount is None for (amount, _), _ in lines):
        return None, None
    currencies = {currency for (_, currency), _ in lines if currency}
    if len(currencies) > 1:
        raise OrderError(f"currency: the JSON-LD offers are in {', '.join(sorted(currencies))}")
    total = sum(
        (amount * (quantity or 1) for (amount, _), quantity in lines if amount is not None), Decimal(0)
    )
    return total, currencies.pop() if currencies else None


def _item_price(item: Node) -> Priced:
    for holder in (item, *maps_of(item.get("orderedItem"))):
        for priced in (holder, *maps_of(holder.get("offers"))):
            if (found := price_of(priced))[0] is not None:
                return found
    return None, None


def _quantity(line: Node) -> Decimal | None:
    """The quantity of a line; None if it has none. Raises OrderError unless it is above zero."""
    for holder in (line, *maps_of(line.get("orderedItem")), *maps_of(line.get("itemOffered"))):
        for key in _QUANTITIES:
            value: Any = holder.get(key)
            if isinstance(value, dict):
                value = value.get("value")
            if value is None or value == "":
                continue
            quantity = number_of(value, "JPY" if isinstance(value, str) and "." not in value else None)
            if quantity <= 0:
                raise OrderError(f"total: {str(value)[:40]!r} in the JSON-LD is not a quantity")
            return quantity
    return None


def _quantities_of_items(offers: list[Node], items: list[Node]) -> list[Decimal | None]:
    """The quantity of each offer, from the item with the same product, else from the item at the same
    position."""
    quantities = [_quantity(item) for item in items]
    if all(quantity in (None, Decimal(1)) for quantity in quantities):
        return [None] * len(offers)
    found = []
    for offer in offers:
        names = _identity(maps_of(offer.get("itemOffered")) or [offer])
        fitting = [n for n, i in enumerate(items) if names & _identity([i, *maps_of(i.get("orderedItem"))])]
        found.append(fitting[0] if len(fitting) == 1 else None)
    if all(place is not None for place in found) and len(set(found)) == len(items):
        return [quantities[place] for place in found if place is not None]
    if len(items) == len(offers) and all(place is None for place in found):
        return quantities
    raise OrderError(
        "total: the JSON-LD does not say which quantity belongs to which price; set `total` to a CSS selector"
    )


def _identity(nodes: list[Node]) -> set[tuple[str, str]]:
    pairs = ((key, text_of(node.get(key))) for node in nodes for key in _IDENTITY)
    return {(key, text) for key, text in pairs if text}
