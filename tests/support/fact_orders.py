"""Cases for orders, also such that a later report corrects."""

import time

from fact_cases import TOKEN, Case, Does
from fact_people import chat_of, token_of
from shoppers import Shopper


def orders(visitor: Shopper) -> None:
    visitor.see("/")
    visitor.see("/cart?has=1")
    visitor.see("/checkout/payment")
    visitor.see("/thanks?order=1001")
    visitor.see("/mills")


def buys(visitor: Shopper) -> None:
    """Orders, and looks at no other page: what is known of its orders is remembered for ten seconds."""
    visitor.see("/")
    visitor.see("/cart?has=1")
    visitor.see("/checkout/payment")
    visitor.open("/thanks?order=1001")


def told(shopper: Shopper, /, **more: str) -> None:
    """The shop's server reports the order of `buys` again, once it is known."""
    fields = {"Host": shopper.host, "Authorization": f"Bearer {TOKEN}"}
    until = time.monotonic() + 30
    while True:
        found = shopper.client.get(f"{shopper.address}/-/clew/orders/1001", headers=fields)
        if found.status_code == 200 or time.monotonic() > until:
            break
        time.sleep(0.05)
    body = {"id": "1001", **more}
    told = shopper.client.post(f"{shopper.address}/-/clew/orders", headers=fields, json=body)
    assert told.status_code < 300, told.text
    shopper.see("/mills")


def becomes(state: str) -> Does:
    """An order that the shop's server reports again later."""
    return lambda visitor: (buys(visitor), told(visitor, state=state))


def is_anothers(visitor: Shopper) -> None:
    """The page showed an order that was another visitor's, as the shop's server says."""
    other = Shopper(visitor.address, visitor.host, visitor.client)
    other.see("/")
    other.see("/mills")
    buys(visitor)
    told(visitor, visitor=token_of(other), total="29.95", currency="EUR")


def is_its_own(visitor: Shopper) -> None:
    """The order that another visitor's page showed is this one's."""
    visitor.see("/")
    visitor.see("/mills")
    other = Shopper(visitor.address, visitor.host, visitor.client)
    buys(other)
    told(other, visitor=token_of(visitor), total="29.95", currency="EUR")
    visitor.see("/")


def shops_on(visitor: Shopper) -> None:
    """Has a new cart when the shop reports its last order once more."""
    buys(visitor)
    told(visitor, state="paid")
    token = token_of(visitor)
    visitor.see("/cart?has=2")
    told(visitor, state="refunded", visitor=token)


OF_SHOP = 'api_token = "token-of-the-shop-0123456789"'
CORRECTED = [
    Case("order-count", ("order.count == 1", "order.placed", "order.age_days == 0"), orders),
    Case(
        "order-cancelled",
        ("!order.placed", "order.count == 0", "!has(order.age_days)", "visit.pages == 4"),
        becomes("cancelled"),
        keys=OF_SHOP,
        counters=("order.placed",),
    ),
    Case(
        "order-refunded",
        ("order.placed", "order.count == 0", "order.age_days == 0"),
        becomes("refunded"),
        keys=OF_SHOP,
    ),
    Case(
        "order-then-a-new-cart",
        ("cart.items == 2", "order.placed"),
        shops_on,
        keys=OF_SHOP,
        tables=chat_of("crisp"),
    ),
    Case("order-paid", ("order.placed", "order.count == 1"), becomes("paid"), keys=OF_SHOP),
    Case(
        "order-of-another",
        ("!order.placed", "order.count == 0", "!has(order.age_days)", "visit.pages == 4"),
        is_anothers,
        keys=OF_SHOP,
        tables=chat_of("crisp"),
        counters=("order.placed",),
    ),
    Case(
        "order-of-its-own",
        ("order.placed", "order.count == 1", "order.age_days == 0"),
        is_its_own,
        keys=OF_SHOP,
        tables=chat_of("crisp"),
    ),
]
