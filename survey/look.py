"""Reads one page with BeautifulSoup: tolerant and slow, and never used while serving a request."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from bs4 import BeautifulSoup
from bs4.element import Tag

from ..injector.charsets import decoded
from ..injector.heads import values
from ..injector.markup import PageError
from ..injector.page import Document, read
from ..settings.model import PageType
from .fetch import Answer, same_shop

LINKS: Final = 2_000
"""Maximum number of links of a page that are read."""

# Links with an effect, and files that are not pages.
_DOES: Final = re.compile(
    r"log-?out|sign-?out|abmelden|deconnexion|add[-_]?to|remove|delete|/add/|[?&](?:add|remove|delete|action=add)"
    r"|\.(?:jpe?g|png|gif|webp|svg|pdf|zip|css|js|xml|mp4|ico|docx?)$",
    re.IGNORECASE,
)
# Names of search fields, in shop systems with presets and in others.
_SEARCH_NAMES: Final = (
    "q s search query keyword keywords search_query searchterm term suche sSearch wort recherche"
)
_SEARCH: Final = ", ".join(
    ('input[type="search"]', *(f'input[name="{name}"]' for name in _SEARCH_NAMES.split()))
)
_CHARSET: Final = re.compile(rb";\s*charset\s*=\s*\"?\s*([^\s\";]+)", re.IGNORECASE)
_BETWEEN: Final = re.compile(r" [-–|:·•] |[|»]")
_SCHEMA: Final = re.compile(r"^https?://schema\.org/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """A link inside the shop. `picture`: it is around a picture, as usual for products; `menu`: it is in the
    navigation."""

    url: str
    picture: bool
    menu: bool


@dataclass(frozen=True)
class Look:
    """A fetched page and its content. `wanted` is the kind of page that was searched."""

    answer: Answer
    wanted: PageType

    @property
    def path(self) -> str:
        """The path of the page's URL."""
        return urlsplit(self.answer.url).path or "/"

    @property
    def charset(self) -> str | None:
        """The charset in its Content-Type."""
        found = [m for v in values(self.answer.headers, b"content-type") if (m := _CHARSET.search(v))]
        return found[0][1].decode("ascii", "replace") if found else None

    @cached_property
    def document(self) -> Document:
        """The page as parsed for carts and orders, so that selectors match the same elements."""
        try:
            return read(self.answer.body, self.charset)
        except PageError:
            return read(b"", None)

    @cached_property
    def soup(self) -> BeautifulSoup:
        """The page's tree; empty if parsing it would cost too much."""
        text = decoded(self.answer.body, self.charset)
        return BeautifulSoup(text if self.document.text("html") is not None else "", "html.parser")

    @cached_property
    def base(self) -> str:
        """The base URL of relative links (HTML §2.4.3)."""
        tag = self.soup.find("base", href=True)
        return _joined(self.answer.url, str(tag["href"])) if isinstance(tag, Tag) else self.answer.url

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Links to pages of the shop without an effect, each URL once."""
        found: dict[str, Link] = {}
        for tag in self.soup.find_all("a", href=True, limit=LINKS):
            url = _joined(self.base, str(tag["href"]).strip()).partition("#")[0]
            if url and same_shop(self.answer.url, url) and not _DOES.search(url) and url not in found:
                menu = tag.find_parent(("nav", "header")) is not None
                found[url] = Link(url, tag.find(("img", "picture")) is not None, menu)
        return tuple(found.values())

    @cached_property
    def elsewhere(self) -> Counter[str]:
        """The origins of other sites in its links, with the number of links."""
        found: Counter[str] = Counter()
        for tag in self.soup.find_all("a", href=True, limit=LINKS):
            url = _joined(self.base, str(tag["href"]).strip())
            if origin := self._other_origin(url):
                found[origin] += 1
        return found

    @cached_property
    def own_name(self) -> str | None:
        """The origin that the shop uses for itself, if it is another than the requested one: that of the
        page's canonical URL, or of nearly all of its links."""
        for selector in ("link[rel=canonical]", 'meta[property="og:url"]'):
            tag = self.soup.select_one(selector)
            url = _joined(self.base, str(tag.get("href") or tag.get("content") or "")) if tag else ""
            if other := self._other_origin(url):
                return other
        origin, most = next(iter(self.elsewhere.most_common(1)), ("", 0))
        own = sum(urlsplit(link.url).path != self.path for link in self.links)
        return origin if most >= 3 and most > 3 * own else None

    def _other_origin(self, url: str) -> str:
        """The origin of a URL of another site; empty for the shop's own and for invalid URLs."""
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            return ""
        return (
            f"{parts.scheme}://{parts.netloc.lower()}"
            if known and not same_shop(self.answer.url, url)
            else ""
        )

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """Addresses of scripts, style sheets, pictures and frames."""
        tags = self.soup.find_all(("script", "link", "img", "iframe"), limit=4 * LINKS)
        urls = (str(tag.get("href" if tag.name == "link" else "src") or "") for tag in tags)
        return tuple(dict.fromkeys(_joined(self.base, url.strip()) for url in urls if url.strip()))

    @cached_property
    def scripts(self) -> str:
        """The text of the scripts within the page, with their types."""
        return "\n".join(
            f"{tag.get('type') or ''} {tag.string or ''}" for tag in self.soup.find_all("script", src=False)
        )

    @cached_property
    def cookies(self) -> tuple[str, ...]:
        """Names of the cookies that the response set."""
        pairs = (value.split(b"=", 1)[0].strip() for value in values(self.answer.headers, b"set-cookie"))
        return tuple(name.decode("latin-1") for name in pairs)

    @cached_property
    def generators(self) -> tuple[str, ...]:
        """The content of `<meta name="generator">`."""
        tags = self.soup.find_all("meta", attrs={"name": re.compile("^generator$", re.IGNORECASE)}, limit=10)
        return tuple(str(tag.get("content") or "") for tag in tags)

    @property
    def language(self) -> str:
        """The language code in the page's `lang`, two letters; empty if there is none."""
        tag = self.soup.find("html")
        named = str(tag.get("lang") or "") if isinstance(tag, Tag) else ""
        found = re.match(r"[a-zA-Z]{2}(?![a-zA-Z])", named)
        return found[0].lower() if found else ""

    @cached_property
    def shows_product(self) -> bool:
        """Whether its structured data describe one product."""
        types = [kind for item in self.document.jsonld().objects for kind in _types(item)]
        marked = self.soup.find_all(itemtype=re.compile(r"schema\.org/Product$"), limit=2)
        og = self.document.has('meta[property="og:type"][content^="product"]')
        return types.count("Product") == 1 or len(marked) == 1 or og

    @property
    def asks_for_password(self) -> bool:
        """Whether the page has a password field."""
        return self.document.has("input[type=password i]")

    @cached_property
    def search(self) -> str | None:
        """The URL of a search by the page's own form."""
        for form in self.soup.find_all("form", limit=50):
            if str(form.get("method") or "get").lower() != "get":
                continue
            name = next((str(f["name"]) for f in form.select(_SEARCH) if f.get("name")), None)
            if name is None:
                continue
            hidden = {
                str(f["name"]): str(f.get("value") or "") for f in form.select('input[type="hidden"][name]')
            }
            action = _joined(self.base, str(form.get("action") or ""))
            return _asked(action, {**hidden, name: "a"}) if same_shop(self.answer.url, action) else None
        return None


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError:
        return ""


def _asked(action: str, fields: Mapping[str, str]) -> str:
    parts = urlsplit(action)
    kept = dict(parse_qsl(parts.query, keep_blank_values=True))
    return parts._replace(query=urlencode({**kept, **fields}), fragment="").geturl()


def _types(item: Mapping[str, Any]) -> Iterator[str]:
    kinds = item.get("@type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(kind, str):
            yield _SCHEMA.sub("", kind)


def title_parts(title: str) -> Sequence[str]:
    """What stands between the bars and dashes of a title."""
    return [part.strip() for part in _BETWEEN.split(title) if part.strip()]


def shop_title(looks: Sequence[Look]) -> str:
    """The shop's name: the `og:site_name` of its home page, which comes first, else what the titles of its
    pages have in common, such as "Tea" of "Home | Tea" and "Mug | Tea"; empty if they have nothing. Of a shop
    of which no other page is known, the title."""
    home, *others = looks
    if named := home.document.text('meta[property="og:site_name"]'):
        return named
    if not others:
        return home.document.title
    shared = {part for look in others for part in title_parts(look.document.title)}
    return next((part for part in title_parts(home.document.title) if part in shared), "")
