"""The shop's products. Prices in euros, tax included."""

from dataclasses import dataclass
from decimal import Decimal

CURRENCY = "EUR"
FREE_SHIPPING_FROM = Decimal("50.00")
SHIPPING = Decimal("4.90")

CATEGORIES = {
    "espresso-machines": "Espresso machines",
    "grinders": "Grinders",
    "accessories": "Accessories",
}


@dataclass(frozen=True, slots=True)
class Product:
    """One article. `picture` names the drawing, `color` its main colour."""

    slug: str
    name: str
    category: str
    price: Decimal
    line: str
    text: str
    picture: str
    color: str


PRODUCTS = {
    product.slug: product
    for product in (
        Product(
            "aurora-58",
            "Aurora 58",
            "espresso-machines",
            Decimal("749.00"),
            "Dual boiler, 58 mm group, ready in nine minutes",
            "Brew and steam at the same time. The brew boiler holds its temperature within half a degree, "
            "and the heavy 58 mm group takes every basket on the market.",
            "machine",
            "#9b2c3c",
        ),
        Product(
            "piccolo",
            "Piccolo Lever",
            "espresso-machines",
            Decimal("429.50"),
            "Hand lever, no pump, no noise",
            "You are the pump: a spring lever that pours nine bars with one arm. Small enough for a shelf, "
            "simple enough to outlive us all.",
            "machine",
            "#b07a3c",
        ),
        Product(
            "duetto",
            "Duetto Touch",
            "espresso-machines",
            Decimal("1290.00"),
            "Two groups for a small café or a large family",
            "Volumetric dosing, pre-infusion to taste and a cup warmer for forty cups. Water kit included.",
            "machine",
            "#2f4858",
        ),
        Product(
            "conica-64",
            "Conica 64",
            "grinders",
            Decimal("289.90"),
            "64 mm steel burrs, stepless",
            "From Turkish to filter with one turn. Grinds eighteen grams in seven seconds and keeps less "
            "than half a gram for itself.",
            "grinder",
            "#3d405b",
        ),
        Product(
            "molino",
            "Molino Hand Grinder",
            "grinders",
            Decimal("64.95"),
            "Thirty turns to a cup, no socket needed",
            "Walnut knob, ceramic bearings, a body that fits a hiking pack.",
            "grinder",
            "#6d597a",
        ),
        Product(
            "tamper-58",
            "Walnut Tamper 58 mm",
            "accessories",
            Decimal("34.00"),
            "Flat steel base, hand-turned handle",
            "A level puck, every time. Fits all 58 mm baskets.",
            "tamper",
            "#7f5539",
        ),
        Product(
            "beans-terra",
            "Terra Espresso Beans, 1 kg",
            "accessories",
            Decimal("24.80"),
            "Chocolate, hazelnut, a little plum",
            "Roasted on Mondays, posted on Tuesdays.",
            "beans",
            "#4a3728",
        ),
    )
}


def find(words: str) -> list[Product]:
    """The products with every word in their name or text."""
    wanted = words.lower().split()
    return [
        product
        for product in PRODUCTS.values()
        if wanted and all(w in f"{product.name} {product.line} {product.text}".lower() for w in wanted)
    ]


def of_category(slug: str) -> list[Product]:
    """The products of one category."""
    return [product for product in PRODUCTS.values() if product.category == slug]
