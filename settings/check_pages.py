"""Checks address patterns against sample pages, and warns of patterns that match too much or nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .addresses import Pattern, PatternError, Patterns, split
from .model import PageType, Site
from .platforms import PlatformError, platform_of
from .positions import KeyPath
from .wording import Wording

# Usual addresses of shops without a preset: a pattern that matches three kinds of them matches nearly all.
_USUAL: Final[tuple[tuple[str, PageType], ...]] = (
    ("/", "home"),
    ("/shop/mills/", "category"),
    ("/collections/mills", "category"),
    ("/index.php?route=product/category&path=20", "category"),
    ("/shop/mills/conica", "product"),
    ("/products/conica", "product"),
    ("/conica.html", "product"),
    ("/index.php?route=product/product&product_id=42", "product"),
    ("/search?q=mill", "search"),
    ("/cart", "cart"),
    ("/index.php?route=checkout/cart", "cart"),
    ("/checkout", "checkout"),
    ("/checkout/payment", "checkout"),
    ("/account/login", "account"),
)
_SHOWN: Final = 3
_SEEN_BY_MANY: Final[frozenset[PageType]] = frozenset(("home", "category", "product"))


@dataclass(frozen=True, slots=True)
class Reach:
    """A pattern of the settings, and the sample pages that it matches, of `known` ones."""

    key: str
    pattern: str
    fits: tuple[tuple[str, PageType], ...]
    known: int

    def summary(self) -> str:
        """The result in one line."""
        which = ", ".join(f"{address} ({kind})" for address, kind in self.fits[:_SHOWN])
        more = ", …" if len(self.fits) > _SHOWN else ""
        counted = f"{len(self.fits)} of {self.known} known pages" if self.fits else "no known page"
        return f"{self.key} {self.pattern} matches {counted}" + (f": {which}{more}" if which else "")


def reaches(site: Site) -> list[Reach]:
    """The pages of its platform that each of a site's own patterns matches; empty without a platform."""
    pages = _pages_of(site)
    return [_reach(".".join(map(str, key[:2])), p, pages) for key, p, _ in _patterns(site)] if pages else []


def page_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """What is wrong with a site's patterns, and warnings for those that are probably mistakes."""
    sound: list[tuple[KeyPath, Pattern, PageType | None]] = []
    for key, text, kind in _patterns(site):
        try:
            sound.append((key, Pattern(text), kind))
        except PatternError as error:
            yield Wording((*path, *key), str(error), error.hint)
    pages = _pages_of(site) or _USUAL
    earlier: list[Pattern] = []
    for key, pattern, kind in sound:
        if key[0] in ("checkout_steps", "facts", "signals"):
            continue  # they may well match pages of every kind
        for message, hint in (*_never_requested(pattern, site.prefix), *_too_wide(key, pattern, kind, pages)):
            yield Wording((*path, *key), message, hint, "warning")
        if key[0] == "page_types":
            before = next((p for p in earlier if p.covers(pattern)), None)
            if before is not None:
                message = f"has no effect: {before.text} comes first and matches the same pages"
                yield Wording((*path, *key), message, "put the narrower pattern first", "warning")
            earlier.append(pattern)


def _patterns(site: Site) -> Iterator[tuple[KeyPath, str, PageType | None]]:
    yield from ((("never", number), pattern, None) for number, pattern in enumerate(site.never))
    yield from ((("admin", number), pattern, None) for number, pattern in enumerate(site.admin or ()))
    yield from ((("page_types", pattern), pattern, kind) for pattern, kind in site.page_types.items())
    yield from ((("checkout_steps", n), pattern, None) for n, pattern in enumerate(site.checkout_steps))
    for name, fact in site.facts.items():
        yield from ((("facts", name, "pages", n), path, None) for n, path in enumerate(fact.pages))
    for place, signal in enumerate(site.signals):
        yield from ((("signals", place, "path", n), path, None) for n, path in enumerate(signal.path))
    if site.order is not None and "page" in site.order.model_fields_set:
        yield ("order", "page"), site.order.page, "confirmation"


def _pages_of(site: Site) -> Sequence[tuple[str, PageType]]:
    try:
        platform = platform_of(site)
    except PlatformError:
        return ()
    return platform.pages if platform is not None else ()


def _reach(key: str, text: str, pages: Sequence[tuple[str, PageType]]) -> Reach:
    fits = Patterns([text])
    return Reach(
        key.partition(".")[0] if key.startswith(("never", "admin")) else key.removesuffix(f".{text}"),
        text,
        tuple((address, kind) for address, kind in pages if fits(*split(address))),
        len(pages),
    )


def _never_requested(pattern: Pattern, prefix: str) -> Iterator[tuple[str, str]]:
    if pattern.path.startswith(prefix):
        yield "these are clew's own pages, to which patterns do not apply", "remove it"
    if "/../" in f"{pattern.path}/" or "/./" in f"{pattern.path}/":
        yield "browsers resolve /../ and /./ before they send a path", "write the path that the browser shows"


def _too_wide(
    key: KeyPath, pattern: Pattern, kind: PageType | None, pages: Sequence[tuple[str, PageType]]
) -> Iterator[tuple[str, str]]:
    fits = Patterns([pattern.text])
    others: dict[PageType, str] = {}
    for address, found in pages:
        if found != kind and fits(*split(address)):
            others.setdefault(found, address)
    if key[0] in ("never", "admin"):
        others = {k: address for k, address in others.items() if k in _SEEN_BY_MANY}
    most = {"order": 0, "page_types": 1, "never": 1, "admin": 1}[str(key[0])]
    if len(others) <= most:
        return
    shown = ", ".join(f"{address} ({found})" for found, address in list(others.items())[:_SHOWN])
    hint = "use a path or parameter that only those pages have, as in /index.php?route=…"
    if key[0] in ("never", "admin"):
        yield f"excludes the chat from nearly all pages, such as {shown}", hint
    else:
        yield f"matches pages of other kinds too, such as {shown}", hint
