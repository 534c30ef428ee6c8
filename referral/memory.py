"""What is kept of a visitor only because a rule of the site asks about it, and how it comes about.

All of it is bounded: it is a part of the visitor's record, which is read and written on each page.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

EVENT_NAMES: Final = 16
EVENT_TIMES: Final = 20
"""The newest times of each event that are kept."""
EVENT_SECONDS: Final = 30 * 86400
VALUES: Final = 20
TABS: Final = 3
"""The last pages of which is kept what only they show: of one per tab."""


class Keeps(Struct, frozen=True):
    """What the rules of a site ask about: only that is kept. `landing`: the address of the visit's first
    page, which the trail may have lost. `left_at`: when the visit before ended. `cart`: its history.
    `events`: of these names."""

    landing: bool = False
    left_at: bool = False
    cart: bool = False
    events: frozenset[str] = frozenset()


class CartHistory(Struct, frozen=True, array_like=True):
    """Of the carts since the last order: the largest value, how often a cart that was not empty was changed,
    how often it was emptied, and since when there has been something in it, 0 if there is nothing."""

    largest: float = 0.0
    changes: int = 0
    emptied: int = 0
    filled_at: int = 0


class Memory(Struct, frozen=True, omit_defaults=True):
    """What `Keeps` names. Addresses are masked, as everywhere in the store.

    `events` has by name the newest times, oldest first. `posted` marks the form that was shown again after it
    was sent, and when. `products` are the products of the last product pages, by the pages' marks. `values`
    are those of the site's own facts that pages showed, by name, each with its time; `of_pages` those that
    count on the page that showed them alone, by the pages' marks.
    """

    landing: str = ""
    left_at: float = 0.0
    events: Mapping[str, tuple[int, ...]] = {}
    posted: tuple[str, int] = ("", 0)
    cart: CartHistory = CartHistory()
    products: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    values: Mapping[str, tuple[Any, int]] = {}
    of_pages: tuple[tuple[str, Mapping[str, Any]], ...] = ()


NOTHING = Memory()


def kept(memory: Memory | None, **changes: Any) -> Memory | None:
    """The memory with changes; None where nothing is in it."""
    changed = replace(memory or NOTHING, **changes)
    return None if changed == NOTHING else changed


def with_events(memory: Memory | None, names: tuple[str, ...], now: float) -> Memory | None:
    """The memory after these events."""
    events = dict((memory or NOTHING).events)
    for name in names:
        times = [at for at in events.pop(name, ()) if now - at < EVENT_SECONDS]
        events[name] = (*times, int(now))[-EVENT_TIMES:]
    # The one that has not happened for longest goes first.
    return kept(memory, events=dict(list(events.items())[-EVENT_NAMES:]))


def with_form(memory: Memory | None, mark: str, again: bool, now: float, gap: float) -> Memory | None:
    """The memory after a form was sent to the page of this mark; `again`: the answer was a page and no
    redirect, as where the form is shown once more. A second time within a visit is an event."""
    last, at = (memory or NOTHING).posted
    if last == mark and now - at <= gap:
        memory = with_events(memory, ("form_repeated",), now)
    return kept(memory, posted=(mark, int(now)) if again else ("", 0))


def with_cart(
    memory: Memory | None, old: Mapping[str, str], new: Mapping[str, str], now: float
) -> Memory | None:
    """The memory after another cart was seen."""
    cart = (memory or NOTHING).cart
    if not new:
        if not old:
            return memory
        return kept(memory, cart=replace(cart, emptied=cart.emptied + 1, filled_at=0))
    changed = bool(old) and any(old.get(name) != new.get(name) for name in ("value", "items", "products"))
    value = float(new.get("value") or 0)
    history = CartHistory(
        max(cart.largest, value), cart.changes + changed, cart.emptied, cart.filled_at or int(now)
    )
    return kept(memory, cart=history)


def with_product(memory: Memory | None, mark: str, product: Mapping[str, Any]) -> Memory | None:
    """The memory after a page showed a product, or none: then `product` is empty."""
    others = tuple(one for one in (memory or NOTHING).products if one[0] != mark)
    return kept(memory, products=(*others, (mark, product))[-TABS:])


def with_values(memory: Memory | None, shown: Mapping[str, Any], now: float) -> Memory | None:
    """The memory after a page showed these values."""
    values = dict((memory or NOTHING).values)
    for name, value in shown.items():
        values.pop(name, None)
        values[name] = (value, int(now))
    return kept(memory, values=dict(list(values.items())[-VALUES:]))


def with_page_values(memory: Memory | None, mark: str, shown: Mapping[str, Any]) -> Memory | None:
    """The memory after the page of this mark showed these values, and no others any more."""
    known = (memory or NOTHING).of_pages
    pages = [one for one in known if one[0] != mark]
    if shown:
        pages.append((mark, dict(list(shown.items())[-VALUES:])))
    return kept(memory, of_pages=tuple(pages[-TABS:]))
