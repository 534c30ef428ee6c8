"""Finds selectors for the cart by names and texts of elements, for platforms without a preset.

A candidate is an element with cart, basket or a similar word in its names whose whole text is an amount of
money, or a small number. It is proposed only if the selector gives the same text in clew's own parser.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bs4.element import Tag

from ..injector.selectors import selector_error
from ..orders.model import OrderError, SharedSignError
from ..orders.pricetext import read_amount, read_currency
from .look import Look
from .words import shown

ELEMENTS: Final = 400
"""Maximum number of elements of a page that are read."""

_CART: Final = re.compile(
    r"(?:^|[^a-z])(?:mini-?)?(?:cart|basket|bag|warenkorb|panier|carrito|carrello|winkelwagen|koszyk|korzina|ostoskori)"
    r"(?:$|[^a-z])",
    re.IGNORECASE,
)
_NOT: Final = re.compile(r"add|remove|coupon|wish|empty|recommend|upsell", re.IGNORECASE)
_COUNT: Final = re.compile(r"count|qty|quantity|badge|bubble|items?|number|anzahl|nombre", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\D{0,3}\d{1,3}(?:\D{0,3}| [^\W\d]{2,14})")
_WORD: Final = re.compile(r"(?!euro)[^\W\d_]{4,}", re.IGNORECASE)
_NAME: Final = re.compile(r"-?[A-Za-z_][A-Za-z0-9_-]{0,60}")
_MADE: Final = re.compile(r"\d{3,}|[0-9a-f]{8,}|--|__[A-Za-z0-9]{5,}$")  # generated names


@dataclass(frozen=True, slots=True)
class Found:
    """A selector, the text that it finds, and the number of pages on which it finds one."""

    selector: str
    text: str
    pages: int


@dataclass(frozen=True, slots=True)
class CartFound:
    """The selectors found for the cart."""

    value: Found | None = None
    items: Found | None = None


def cart(looks: Sequence[Look]) -> CartFound:
    """The most likely selectors for the cart's value and items, over all pages."""
    return CartFound(_best(looks, _is_money), _best(looks, _is_count))


def _best(looks: Sequence[Look], fits: Callable[[Tag, str], bool]) -> Found | None:
    votes: Counter[str] = Counter()
    texts: dict[str, str] = {}
    for look in looks:
        seen = {}
        for tag in _named_cart(look):
            text = " ".join(tag.get_text(" ").split())
            if fits(tag, text) and (selector := _selector(look, tag, text)) is not None:
                seen[selector] = text
        votes.update(seen.keys())
        texts = {**seen, **texts}
    if not votes:
        return None
    selector = min(votes, key=lambda s: (-votes[s], len(s)))
    return Found(selector, shown(texts[selector], 40), votes[selector])


def _named_cart(look: Look) -> Iterator[Tag]:
    """Elements named cart and the elements inside, except in forms that add something."""
    inside = 0
    for tag in look.soup.find_all(True):
        names = _names(tag)
        own = _CART.search(names)
        if not own and not any(_CART.search(_names(above)) for above in _above(tag)):
            continue
        if _NOT.search(names) or any(_NOT.search(_names(above)) for above in _above(tag)):
            continue
        inside += 1
        if inside > ELEMENTS:
            return
        if tag.name not in ("script", "style", "template", "svg", "input", "option"):
            yield tag


def _above(tag: Tag) -> Iterator[Tag]:
    for number, parent in enumerate(tag.parents):
        if number == 4 or parent.name in ("body", "html", "main", "[document]"):
            return
        yield parent


def _names(tag: Tag) -> str:
    classes = tag.get("class")
    words = [*(classes if isinstance(classes, list) else [str(classes or "")]), str(tag.get("id") or "")]
    words += [name for name in tag.attrs if name.startswith("data-")]
    return " ".join((*words, str(tag.get("data-testid") or "")))


def _is_money(tag: Tag, text: str) -> bool:
    if len(text) > 40 or _WORD.search(text):
        return False
    try:
        read_amount(text, None)
        return read_currency(text) is not None
    except SharedSignError:
        return True  # an amount in any of the currencies
    except OrderError:
        return False


def _is_count(tag: Tag, text: str) -> bool:
    return bool(_COUNT.search(_names(tag)) and _NUMBER.fullmatch(text)) and not _is_money(tag, text)


def _selector(look: Look, tag: Tag, text: str) -> str | None:
    """The shortest selector of stable names with which clew reads the same text on this page.

    None for an element that only contains another named one with the same text.
    """
    if any(
        _own(inner) and " ".join(inner.get_text(" ").split()) == text
        for inner in tag.find_all(True, limit=20)
    ):
        return None
    own = _own(tag)
    around = [name for parent in _above(tag) if (name := _own(parent))]
    tries = [*([own] if own else []), *(f"{name} {own or tag.name}" for name in around)]
    for selector in sorted(set(tries), key=len):
        if selector_error(selector) is None and look.document.text(selector) == text:
            return selector
    return None


def _own(tag: Tag) -> str | None:
    """A selector for the element by its own stable names: the id, else a class."""
    name = str(tag.get("id") or "")
    if _is_stable(name):
        return f"#{name}"
    classes = tag.get("class")
    kept = [c for c in (classes if isinstance(classes, list) else []) if _is_stable(c)]
    called = [c for c in kept if _CART.search(c) or _COUNT.search(c)] or kept
    return f".{called[0]}" if called else None


def _is_stable(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not _MADE.search(name)
