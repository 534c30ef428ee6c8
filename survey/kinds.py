"""Detects the type of a page, and proposes patterns for `page_types`.

Uses the preset of the platform if there is one; else common words in URLs, in the languages of the networks'
markets, and the page itself: structured data of a product, links around pictures, the menu.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, urljoin, urlsplit

from ..settings.addresses import Pattern
from ..settings.model import PageType
from .look import Link, Look

WORDS: Final[Mapping[PageType, str]] = MappingProxyType(
    {
        "confirmation": r"thank-?you|order-?(?:received|confirmation|complete|success)|bestellbestaetigung",
        "checkout": r"checkouts?|kasse|bestellen|commande|caisse|finalizar-compra|pago|cassa|afrekenen|kassa",
        "cart": r"cart|basket|bag|warenkorb|einkaufswagen|panier|carrito|cesta|carrello|winkelwagen"
        r"|winkelmand|ostoskori|korzina|koszyk",
        "search": r"search|suche|recherche|buscar|busqueda|ricerca|zoeken|haku|poisk",
        "account": r"(?:my-)?account|login|signin|register|(?:mein-)?konto|anmelden|(?:mon-)?compte|cuenta"
        r"|wishlist|merkliste",
        "product": r"products?|produkte?|produits?|productos?|prodott[oi]|producten|tuotteet|tovar|item"
        r"|artikel|p|dp",
        "category": r"categor(?:y|ies?|ias?|ia)|collections?|catalog(?:ue)?|shop|kategorien?|katalog"
        r"|c|sale|brands?",
    }
)

_SEGMENT: Final = {
    kind: re.compile(rf"(?:{words})(?:\.\w+)?", re.IGNORECASE) for kind, words in WORDS.items()
}
_BELOW: Final[frozenset[PageType]] = frozenset(("product", "category"))  # the word comes before a name
_PLAIN: Final = re.compile(r"/[\w./%~+-]*", re.ASCII)

Kinds = Callable[[str, str], PageType | None]
"""The type of the page at a path and a query, by a platform's patterns."""


def kind_by_words(url: str) -> PageType | None:
    """The type of page by the words in its URL; None if there is no such word."""
    parts = urlsplit(url)
    segments = [s for s in parts.path.split("/") if s]
    if not segments:
        return None if parts.query else "home"
    for kind, pattern in _SEGMENT.items():
        searched = segments[:-1] if kind == "product" else segments
        if any(pattern.fullmatch(segment) for segment in searched):
            return kind
    return None


def kind_of(url: str, by_platform: Kinds) -> PageType | None:
    """The type of the page at a URL: by the platform's patterns, else by its words."""
    parts = urlsplit(url)
    return by_platform(parts.path or "/", parts.query) or kind_by_words(url)


def candidates(
    looks: Sequence[Look], wanted: PageType, by_platform: Kinds, known: Sequence[tuple[str, PageType]] = ()
) -> Iterator[str]:
    """URLs of pages that may have the wanted type, the most likely first. `known` are sample pages of the
    platform, for search forms that only a script submits."""
    links = [link for look in looks for link in look.links]
    kinds = {link.url: kind_of(link.url, by_platform) for link in links}
    yield from (link.url for link in links if kinds[link.url] == wanted)
    if wanted == "search":
        yield from (url for look in looks if (url := look.search) is not None)
        yield from (urljoin(looks[0].answer.url, url) for url, kind in known if looks and kind == "search")
    elif wanted in _BELOW:
        unknown = [link for link in links if kinds[link.url] is None and urlsplit(link.url).path != "/"]
        yield from (link.url for link in unknown if _perhaps(link, wanted))


def _perhaps(link: Link, wanted: PageType) -> bool:
    return link.picture and not link.menu if wanted == "product" else link.menu and not link.picture


def page_types(looks: Sequence[Look], by_platform: Kinds) -> dict[str, PageType]:
    """Patterns for the pages that were seen and that the platform's patterns do not match, longest first.

    A folder is proposed for a type only if no page of another type was seen in it.
    """
    found: dict[str, PageType] = {}
    folders: dict[str, set[PageType]] = {}
    for look in looks:
        kind = seen_as(look, by_platform)
        parts = urlsplit(look.answer.url)
        if kind is None or kind == "home" or by_platform(parts.path, parts.query) is not None:
            continue
        if parts.query and kind_by_words(f"{parts.scheme}://{parts.netloc}{parts.path}") != kind:
            pattern = _query_pattern(parts.path, parts.query, kind)
        else:
            pattern = _pattern(parts.path, kind, looks)
        if pattern is not None:
            folders.setdefault(pattern, set()).add(kind)
            found[pattern] = kind
    sure = {p: kind for p, kind in found.items() if len(folders[p]) == 1}
    ordered = sorted(sure.items(), key=lambda item: (-len(item[0]), item[0]))
    # If a later, wider pattern of the same type covers a pattern, it is enough.
    return {
        pattern: kind
        for place, (pattern, kind) in enumerate(ordered)
        if not any(k == kind and Pattern(p).covers(Pattern(pattern)) for p, k in ordered[place + 1 :])
    }


def _query_pattern(path: str, query: str, kind: PageType) -> str | None:
    """A pattern with the parameter that names the type, for shops with one path:
    `/index.php?route=checkout/cart`."""
    for name, value in parse_qsl(query):
        if any(_SEGMENT[kind].fullmatch(word) for word in re.split(r"[/._]", value)):
            pattern = f"{path}?{name}={value}"
            return (
                pattern if _PLAIN.fullmatch(path) and re.fullmatch(r"[\w./?=-]+", pattern, re.ASCII) else None
            )
    return None


def seen_as(look: Look, by_platform: Kinds) -> PageType | None:
    """The type of a fetched page: by its content, else by its URL, else the type that was searched."""
    kind = kind_of(look.answer.url, by_platform)
    if look.answer.status >= 400:
        return None
    if kind is not None and kind not in _BELOW:
        return kind
    if look.shows_product:
        return "product"
    return kind or (look.wanted if look.wanted == "category" else None)


def _pattern(path: str, kind: PageType, looks: Iterable[Look]) -> str | None:
    if not _PLAIN.fullmatch(path) or path == "/":
        return None
    if kind not in _BELOW:
        return f"{path.rstrip('/')}*" if kind in ("checkout", "account") else path
    folder = path.rstrip("/").rpartition("/")[0] + "/"
    if folder == "/":
        return None
    neighbours = Counter(
        urlsplit(link.url).path.rstrip("/").rpartition("/")[0] + "/" for look in looks for link in look.links
    )
    return f"{folder}*" if neighbours[folder] > 1 else None
