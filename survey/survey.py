"""Surveys a shop: fetches the home page, then one page of each kind, and combines the findings."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from ..injector.charsets import decoded
from ..referral.catalogue import Catalogue
from ..settings.model import PageType
from ..settings.platforms import PageTypes, Platform, platforms
from .chats import ChatFound, chat_of
from .draft import Proposal
from .fetch import Answer, Shop, Unreachable
from .kinds import Kinds, candidates, page_types, seen_as
from .look import Look, shop_title
from .obstacles import Obstacle, obstacles
from .proposals import cart
from .signs import Named, chats_on, consents_on, guard_of, name_platform, networks_on
from .words import shown

ROUND: Final[tuple[PageType, ...]] = ("category", "product", "cart", "search", "checkout")
"""The types of pages to find after the home page, in this order, twice."""

TRIES: Final = 2
"""Maximum number of URLs that are tried for one type."""

_HINTS: Final = {
    403: "allow this machine, or inspect the shop's own address behind the firewall",
    404: "check the path, or begin with the shop's home page",
    429: "wait some minutes: there were too many requests",
}
_HTML: Final = (b"text/html", b"application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Step:
    """One requested URL: the page's type and response, or what was wrong."""

    wanted: PageType
    url: str
    kind: PageType | None = None
    answer: Answer | None = None
    obstacles: tuple[Obstacle, ...] = ()
    problem: Unreachable | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a survey. `own_name` is the origin that the shop uses for itself, if it is another;
    `chat` is the first of `chats` that clew can load itself."""

    proposal: Proposal
    steps: tuple[Step, ...]
    chats: tuple[str, ...]
    own_name: str | None = None
    chat: ChatFound | None = None

    @property
    def origin(self) -> str:
        """The origin that was inspected."""
        parts = urlsplit(self.proposal.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def stopped(self) -> bool:
        """Whether something prevents the tag on one of the pages."""
        return any(o.weight == "stops" for step in self.steps for o in step.obstacles)


Watch = Callable[[PageType, str], None]
"""Called with each URL before it is requested."""


async def survey(
    shop: Shop,
    pages: int,
    prefix: str,
    catalogue: Catalogue,
    before: Watch,
    after: Callable[[Step], None],
) -> Findings:
    """Inspect up to `pages` pages of a shop. Raises Unreachable if its home page cannot be read."""
    visits = _Round(shop, prefix, before, after)
    await shop.ask_robots()
    home = await visits.visit("home", shop.start)
    named = name_platform(visits.looks, shop.cookies)
    visits.kinds = by_platform(named)
    if named is not None and named.certainty != "a guess" and (preset := preset_of(named)) is not None:
        visits.known = preset.pages
    for wanted in _wanted(pages - 1):
        for url in visits.candidates(wanted):
            if visits.requested >= pages:
                break
            with suppress(Unreachable):
                if (await visits.visit(wanted, url)).kind == wanted:
                    break
    looks = visits.looks
    named = name_platform(looks, shop.cookies)
    proposal = _proposal(home.look, looks, named, catalogue, shop)
    chats = chats_on(looks)
    return Findings(proposal, tuple(visits.steps), chats, home.look.own_name, chat_of(chats, looks))


@dataclass(frozen=True, slots=True)
class _Visit:
    look: Look
    kind: PageType | None


class _Round:
    """The state of a survey. `requested` counts the pages that were requested from the shop."""

    def __init__(self, shop: Shop, prefix: str, before: Watch, after: Callable[[Step], None]) -> None:
        self.looks: list[Look] = []
        self.steps: list[Step] = []
        self.kinds = by_platform(None)
        self.known: Sequence[tuple[str, PageType]] = ()
        self.requested = 0
        self._shop, self._prefix, self._before, self._after = shop, prefix, before, after
        self._seen: set[str] = set()

    def candidates(self, wanted: PageType) -> list[str]:
        """URLs to try for a type, none twice."""
        found = candidates(self.looks, wanted, self.kinds, self.known)
        return list(dict.fromkeys(url for url in found if url not in self._seen))[:TRIES]

    async def visit(self, wanted: PageType, url: str) -> _Visit:
        """Fetch a page, read it and report it. Raises Unreachable, also reported unless for the home page."""
        self._before(wanted, url)
        self.requested += self._shop.allowed(url)
        self._seen.add(url)
        try:
            look = Look(await self._shop.get(url), wanted)
            problem = no_page(look)
            if problem is None and look.answer.url != url and look.answer.url in self._seen:
                problem = Unreachable(url, "redirects to a page that was already read", "")
            if problem is not None:
                raise problem
        except Unreachable as problem:
            if wanted != "home":
                self._note(Step(wanted, url, problem=problem))
            raise
        self._seen.add(look.answer.url)
        self.looks.append(look)
        kind = "home" if wanted == "home" else seen_as(look, self.kinds)
        self._note(Step(wanted, look.answer.url, kind, look.answer, tuple(obstacles(look, self._prefix))))
        return _Visit(look, kind)

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        self._after(step)


def _wanted(most: int) -> Iterable[PageType]:
    return (*ROUND, *ROUND[:2] * most)[: max(most, 0) * 2]


def by_platform(named: Named | None) -> Kinds:
    """The page types of a platform's preset; none if the platform is only a guess."""
    if named is None or named.certainty == "a guess":
        return PageTypes(())
    preset = preset_of(named)
    return PageTypes(preset.page_types if preset else ())


def _proposal(
    home: Look, looks: list[Look], named: Named | None, catalogue: Catalogue, shop: Shop
) -> Proposal:
    addresses = (home.answer.url, *home.answer.hops, *(look.answer.url for look in looks))
    return Proposal(
        address=home.answer.url,
        names=tuple(dict.fromkeys(urlsplit(url).netloc.lower() for url in addresses)),
        language=home.language,
        named=named,
        preset=preset_of(named),
        page_types=page_types(looks, by_platform(named)),
        cart=cart(looks),
        title=shop_title(looks),
        own_name=home.own_name or "",
        upstream=shop.via or "",
        networks=networks_on(
            looks, (*shop.cookies, *(n for look in looks for n in look.cookies)), catalogue.networks
        ),
        consents=consents_on(looks),
    )


def preset_of(named: Named | None) -> Platform | None:
    """The preset of a named platform."""
    return platforms().get(named.platform) if named is not None else None


def no_page(look: Look) -> Unreachable | None:
    """Why a response is not a page of a shop; None if it is one."""
    answer = look.answer
    if answer.status == HTTPStatus.UNAUTHORIZED:
        hint = "inspect the shop's own address, behind the login"
        return Unreachable(answer.url, "requires a user name and password", hint)
    if answer.status >= 400:
        return _refused(look)
    sent = next((v for name, v in answer.headers if name == b"content-type"), b"")
    kind = sent.split(b";")[0].strip().lower()
    if kind and kind not in _HTML:
        media_type = shown(kind.decode("latin-1"), 60)
        hint = "inspect the shop's home page"
        return Unreachable(answer.url, f"is {media_type}, not a web page", hint)
    if not answer.body.strip():
        return Unreachable(answer.url, "has no readable content", "open it in a browser")
    if look.wanted == "home" and look.asks_for_password and len(look.links) < 3:
        hint = "disable the password page temporarily, or inspect the shop's own address"
        return Unreachable(answer.url, "shows only a login", hint)
    return None


def _refused(look: Look) -> Unreachable:
    answer = look.answer
    guard = guard_of(answer.headers, decoded(answer.body[: 64 << 10], look.charset))
    if guard is not None:
        hint = "allow this machine there, or inspect the shop's own address behind it"
        return Unreachable(answer.url, f"{guard} blocks programs (status {answer.status})", hint)
    hint = _HINTS.get(answer.status, "check that the shop is running")
    return Unreachable(answer.url, f"responds with status {answer.status}", hint)
