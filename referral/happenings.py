"""Changes to a visitor's record that only some rules ask about: see `memory.py`."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from .memory import with_cart, with_events, with_form, with_page_values, with_product, with_values
from .visitor import VISIT_GAP, Visitor


class Happened(Struct, frozen=True):
    """Events that the exchange saw."""

    events: tuple[str, ...]

    def apply(self, visitor: Visitor, now: float) -> None:
        """Keep their times."""
        visitor.memory = with_events(visitor.memory, self.events, now)


class Posted(Struct, frozen=True):
    """A form was sent to the page of this mark, and shown `again`."""

    mark: str
    again: bool

    def apply(self, visitor: Visitor, now: float) -> None:
        """Sent once more after it was shown again, it is an event."""
        visitor.memory = with_form(visitor.memory, self.mark, self.again, now, VISIT_GAP)


class CartTurned(Struct, frozen=True):
    """A page shows this cart; to be applied before `CartSeen`."""

    cart: Mapping[str, str]

    def apply(self, visitor: Visitor, now: float) -> None:
        """Compare it with the one before."""
        visitor.memory = with_cart(visitor.memory, visitor.cart, self.cart, now)


class ProductShown(Struct, frozen=True):
    """The page of this mark shows a product; an empty one: none."""

    mark: str
    product: Mapping[str, Any]

    def apply(self, visitor: Visitor, now: float) -> None:
        """Keep the last ones."""
        visitor.memory = with_product(visitor.memory, self.mark, self.product)


class ValuesShown(Struct, frozen=True):
    """The page of this mark shows values of the site's own facts: `values` that count on other pages too,
    and `only_here` those that count on it alone, of which a page that was opened again may show fewer."""

    mark: str
    values: Mapping[str, Any]
    only_here: Mapping[str, Any]

    def apply(self, visitor: Visitor, now: float) -> None:
        """Keep the last of each."""
        if self.values:
            visitor.memory = with_values(visitor.memory, self.values, now)
        visitor.memory = with_page_values(visitor.memory, self.mark, self.only_here)
