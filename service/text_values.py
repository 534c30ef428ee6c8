"""The values of placeholders in texts, of invites and of canned answers alike: see `rules/placeholders.py`.

Who controls a value decides whether it is said. The shop's pages name products, prices and carts, the
settings partners and personas. What a stranger can write into a link, such as `utm_term` or `utm_source`, is
never said: a search word only where the owner has listed it.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

from babel.numbers import format_currency

from ..orders.money import is_currency
from ..referral.masking import one_line
from ..referral.search import search_word
from ..referral.visitor import Visitor
from ..rules.placeholders import PLACEHOLDERS, first_name, keyword_in, plain_value
from .page_names import short_titles
from .site import SiteRuntime
from .trails import shop_words

FIRST_NAME: Final = "customer.first_name"
_ALL: Final = frozenset(PLACEHOLDERS)


def values_for(
    site: SiteRuntime,
    visitor: Visitor | None,
    language: str,
    *,
    wanted: Collection[str] = _ALL,
    agent: str = "",
    product: Mapping[str, Any] | None = None,
    keywords: Sequence[str] = (),
    name: object = None,
) -> dict[str, str]:
    """The values that are known, of those that are `wanted`. `agent` is the name of who speaks, `product`
    that of the page, `name` the first name that the shop tells, if it is not in the visitor's record."""
    values: dict[str, str] = {"agent": agent}
    if visitor is not None:
        product = product or {}
        if "product" in wanted:
            values["product"] = str(product.get("name", "")) or _last_product(site, visitor)
        if "price" in wanted:
            values["price"] = _money(product.get("price"), product.get("currency"), language)
        if "cart" in wanted:
            values["cart"] = _money(visitor.cart.get("value"), visitor.cart.get("currency"), language)
        if "items" in wanted:
            items = visitor.cart.get("items", "")
            values["items"] = items if items.isascii() and items.isdecimal() and items != "0" else ""
        if "keyword" in wanted and keywords:
            values["keyword"] = keyword_in(_searched(visitor), keywords)
        if "search" in wanted and keywords:
            values["search"] = keyword_in(_searched_here(site, visitor), keywords)
        if "partner" in wanted:
            values["partner"] = _partner(site, visitor)
        if "visitor" in wanted:
            values["visitor"] = first_name(str(name or _told_name(visitor) or ""))
    return {key: shown for key, value in values.items() if value and (shown := plain_value(value))}


def _last_product(site: SiteRuntime, visitor: Visitor) -> str:
    """The name of the product page that the visitor saw last."""
    names = short_titles(page.title for page in visitor.trail)
    for page in reversed(visitor.trail):
        try:
            parts = urlsplit(page.url)
        except ValueError:
            continue
        if site.page_type(parts.path, parts.query) == "product":
            return names[one_line(page.title)]
    return ""


def _money(amount: object, currency: object, language: str) -> str:
    """An amount as it is written in the language; empty if it is none, or nothing."""
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        return ""
    if not value.is_finite() or not 0 < value < 10**12:
        return ""
    if not isinstance(currency, str) or not is_currency(currency):
        return ""
    return format_currency(value, currency, locale=language)


def _searched(visitor: Visitor) -> str:
    last = next((touch for touch in reversed(visitor.touches) if not touch.doubt), None)
    return (search_word(last) or "") if last is not None else ""


def _searched_here(site: SiteRuntime, visitor: Visitor) -> str:
    """What the visitor searched for last in the shop in this visit."""
    for page in reversed(visitor.trail):
        if page.at < visitor.visit_at:
            break
        if site.kind_of(page.url) == "search" and (words := shop_words(urlsplit(page.url).query)):
            return words
    return ""


def _partner(site: SiteRuntime, visitor: Visitor) -> str:
    """The partner of the settings whose link the visitor came by last."""
    for touch in reversed(visitor.touches):
        for click in touch.clicks:
            if click.partner and not touch.doubt:
                known = site.partners.get(click.partner)
                return (known.name if known is not None else None) or click.partner
    return ""


def _told_name(visitor: Visitor) -> object:
    """The first name that a page of the shop showed in this visit."""
    if visitor.memory is None:
        return None
    value, at = visitor.memory.values.get(FIRST_NAME, (None, 0))
    return value if at >= int(visitor.visit_at) else None
