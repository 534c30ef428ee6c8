"""Reads the product of a product page: by selectors, JSON-LD, microdata, Open Graph. It is only a hint."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ..injector.page import Document
from ..settings.model import ProductPage
from .model import OrderError
from .money import is_currency
from .pricetext import read_currency, read_shown

LENGTHS: Final[Mapping[str, int]] = {"id": 60, "name": 100, "brand": 60, "category": 100}
_TYPES: Final = frozenset({"Product", "ProductGroup", "IndividualProduct", "ProductModel", "Vehicle", "Book"})
# Of schema.org's ItemAvailability.
_HERE: Final = frozenset({"InStock", "InStoreOnly", "LimitedAvailability", "OnlineOnly"})
_GONE: Final = frozenset({"OutOfStock", "SoldOut", "Discontinued", "BackOrder", "PreOrder", "PreSale"})

Product = dict[str, Any]
"""`id`, `name`, `brand`, `category`, `currency` as texts, `price` as float, `in_stock` as bool; without what
is not known."""


def read_product(document: Document, settings: ProductPage) -> Product:
    """The product of a page; empty if it shows none, or several."""
    found = _linked(document) or _microdata(document) or _open_graph(document)
    for name in ("id", "name", "brand", "category"):
        selector = getattr(settings, name)
        if selector is not None and (text := document.text(selector)):
            found[name] = text
    if settings.price is not None and (shown := document.shown(settings.price)) is not None:
        try:
            currency = _currency(shown.text) or found.get("currency")
            found["price"] = float(read_shown(shown, currency, "product"))
            if currency:
                found["currency"] = currency
        except OrderError:
            pass
    if settings.in_stock is not None:
        found["in_stock"] = document.has(settings.in_stock)
    return _bounded(found)


def _currency(shown: str) -> str | None:
    try:
        return read_currency(shown)
    except OrderError:
        # "$" is the sign of several.
        return None


def _bounded(found: Product) -> Product:
    for name, length in LENGTHS.items():
        if name in found:
            # JSON may have half of a surrogate pair, which no store takes.
            text = str(found[name]).encode("utf-8", "replace").decode()
            found[name] = " ".join(text.split())[:length]
            if not found[name]:
                del found[name]
    return found


def _linked(document: Document) -> Product:
    objects = document.jsonld().objects
    products = [one for one in objects if _is(one, _TYPES)]
    if not products:
        pages = [one.get("mainEntity") for one in objects if _is(one, frozenset({"ItemPage", "WebPage"}))]
        products = [one for one in pages if isinstance(one, dict) and _is(one, _TYPES)]
    # A list of products is no product page.
    if len(products) != 1:
        return {}
    product = products[0]
    found: Product = {}
    for name, keys in (
        ("id", ("sku", "productID", "mpn", "gtin13", "gtin", "productGroupID")),
        ("name", ("name",)),
    ):
        value = next((product[key] for key in keys if isinstance(product.get(key), str | int)), None)
        if value is not None:
            found[name] = str(value)
    brand = product.get("brand")
    brand = brand.get("name") if isinstance(brand, dict) else brand
    if isinstance(brand, str):
        found["brand"] = brand
    category = product.get("category")
    category = category[0] if isinstance(category, list) and category else category
    category = category.get("name") if isinstance(category, dict) else category
    category = category if isinstance(category, str) else _breadcrumb(objects)
    if category:
        found["category"] = category
    return {**found, **_offer(product)}


def _is(one: Mapping[str, Any], types: frozenset[str]) -> bool:
    kind = one.get("@type")
    kinds = kind if isinstance(kind, list) else [kind]
    return any(isinstance(k, str) and k.rpartition("/")[2] in types for k in kinds)


def _offer(product: Mapping[str, Any]) -> Product:
    offers = product.get("offers")
    if not offers:
        variants = product.get("hasVariant")
        first = variants[0] if isinstance(variants, list) and variants else None
        offers = first.get("offers") if isinstance(first, dict) else None
    several = [one for one in (offers if isinstance(offers, list) else [offers]) if isinstance(one, dict)]
    if not several:
        return {}
    found: Product = {}
    offer = several[0]
    priced = offer.get("priceSpecification")
    priced = priced[0] if isinstance(priced, list) and priced else priced
    for held in (offer, priced):
        if not isinstance(held, dict):
            continue
        for key in ("price", "lowPrice"):
            if "price" not in found and (price := _number(held.get(key))) is not None:
                found["price"] = price
        currency = held.get("priceCurrency")
        if "currency" not in found and isinstance(currency, str) and is_currency(currency):
            found["currency"] = currency
    stock = [_stock(one.get("availability")) for one in several]
    known = [one for one in stock if one is not None]
    if known:
        found["in_stock"] = any(known)
    return found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() and 0 <= number < 10**12 else None


def _stock(value: object) -> bool | None:
    if not isinstance(value, str):
        return None
    word = value.strip().rpartition("/")[2]
    return True if word in _HERE else False if word in _GONE else None


def _breadcrumb(objects: list[dict[str, Any]]) -> str:
    """The names of the breadcrumbs but the first and the last, which are the shop and the product."""
    for one in objects:
        items = one.get("itemListElement")
        if _is(one, frozenset({"BreadcrumbList"})) and isinstance(items, list):
            names = []
            for item in items:
                held = item.get("item") if isinstance(item, dict) else None
                name = item.get("name") if isinstance(item, dict) else None
                if name is None and isinstance(held, dict):
                    name = held.get("name")
                if isinstance(name, str):
                    names.append(name)
            return " > ".join(names[1:-1])
    return ""


_MICRODATA: Final = '[itemtype*="schema.org/Product"] '


def _microdata(document: Document) -> Product:
    if not document.has(_MICRODATA.strip()):
        return {}
    found: Product = {}
    for name, prop in (("id", "sku"), ("name", "name"), ("brand", "brand"), ("category", "category")):
        if text := document.value(f'{_MICRODATA}[itemprop="{prop}"]'):
            found[name] = text
    if (price := _number(document.value(f'{_MICRODATA}[itemprop="price"]'))) is not None:
        found["price"] = price
    currency = document.value(f'{_MICRODATA}[itemprop="priceCurrency"]')
    if currency and is_currency(currency):
        found["currency"] = currency
    stock = _stock(document.value(f'{_MICRODATA}[itemprop="availability"]'))
    if stock is not None:
        found["in_stock"] = stock
    return found


def _open_graph(document: Document) -> Product:
    if (document.text('meta[property="og:type"]') or "") not in ("product", "og:product", "product.item"):
        return {}
    found: Product = {}
    if title := document.text('meta[property="og:title"]'):
        found["name"] = title
    if (price := _number(document.text('meta[property="product:price:amount"]'))) is not None:
        found["price"] = price
    currency = document.text('meta[property="product:price:currency"]')
    if currency and is_currency(currency):
        found["currency"] = currency
    words = (document.text('meta[property="product:availability"]') or "").lower()
    if words in ("in stock", "instock"):
        found["in_stock"] = True
    elif words in ("out of stock", "oos"):
        found["in_stock"] = False
    return found
