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
from .draft import Proposal
from .fetch import Answer, Shop, Unreachable
from .kinds import Kinds, candidates, page_types, seen_as
from .look import Look
from .obstacles import Obstacle, obstacles
from .proposals import cart
from .signs import Named, chats_on, guard_of, name_platform, networks_on
from .words import shown

ROUND: Final[tuple[PageType, ...]] = ("category", "product", "cart", "search", "checkout")
"""The kinds of pages to find after the home page, in this order, twice."""

TRIES: Final = 2
"""How many addresses are tried for one kind."""

_HINTS: Final = {
    403: "let this machine in, or inspect the shop's own address behind the guard",
    404: "is the path right? begin with the shop's home page",
    429: "wait some minutes: it has had too many requests",
}
_HTML: Final = (b"text/html", b"application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Step:
    """One address, after it was asked: the page's kind, its answer, or what was wrong with it."""

    wanted: PageType
    url: str
    kind: PageType | None = None
    answer: Answer | None = None
    obstacles: tuple[Obstacle, ...] = ()
    problem: Unreachable | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a round found out. `own_name` is the origin by which the shop calls itself, if it is another."""

    proposal: Proposal
    steps: tuple[Step, ...]
    chats: tuple[str, ...]
    own_name: str | None = None

    @property
    def asked(self) -> str:
        """The origin that was asked."""
        parts = urlsplit(self.proposal.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def stopped(self) -> bool:
        """Whether something keeps the tag out of one of the pages."""
        return any(o.weight == "stops" for step in self.steps for o in step.obstacles)


Watch = Callable[[PageType, str], None]
"""Told of an address before it is asked."""


async def survey(
    shop: Shop,
    pages: int,
    prefix: str,
    catalogue: Catalogue,
    before: Watch,
    after: Callable[[Step], None],
) -> Findings:
    """Look at a shop: ask for up to `pages` pages. Raises Unreachable where its home page is not one."""
    trip = _Round(shop, prefix, before, after)
    await shop.ask_robots()
    home = await trip.visit("home", shop.start)
    named = name_platform(trip.looks, shop.cookies)
    trip.kinds = by_platform(named)
    if named is not None and named.certainty != "a guess" and (preset := preset_of(named)) is not None:
        trip.known = preset.pages
    for wanted in _wanted(pages - 1):
        for url in trip.candidates(wanted):
            if trip.asked >= pages:
                break
            with suppress(Unreachable):
                if (await trip.visit(wanted, url)).kind == wanted:
                    break
    looks = trip.looks
    named = name_platform(looks, shop.cookies)
    proposal = _proposal(home.look, looks, named, catalogue, shop)
    return Findings(proposal, tuple(trip.steps), chats_on(looks), home.look.own_name)


@dataclass(frozen=True, slots=True)
class _Visit:
    look: Look
    kind: PageType | None


class _Round:
    """The state of a survey. `asked` counts the pages that were requested from the shop."""

    def __init__(self, shop: Shop, prefix: str, before: Watch, after: Callable[[Step], None]) -> None:
        self.looks: list[Look] = []
        self.steps: list[Step] = []
        self.kinds = by_platform(None)
        self.known: Sequence[tuple[str, PageType]] = ()
        self.asked = 0
        self._shop, self._prefix, self._before, self._after = shop, prefix, before, after
        self._seen: set[str] = set()

    def candidates(self, wanted: PageType) -> list[str]:
        """Addresses to try for a kind, none twice."""
        found = candidates(self.looks, wanted, self.kinds, self.known)
        return list(dict.fromkeys(url for url in found if url not in self._seen))[:TRIES]

    async def visit(self, wanted: PageType, url: str) -> _Visit:
        """Fetch a page, read it and report it. Raises Unreachable, also reported unless for the home page."""
        self._before(wanted, url)
        self.asked += self._shop.allowed(url)
        self._seen.add(url)
        try:
            look = Look(await self._shop.get(url), wanted)
            problem = no_page(look)
            if problem is None and look.answer.url != url and look.answer.url in self._seen:
                problem = Unreachable(url, "leads to a page that was seen already", "")
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
    """How a platform's preset tells the kinds of pages; where it is but a guess, nothing does."""
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
        title=home.title,
        upstream=shop.via or "",
        networks=networks_on(
            looks, (*shop.cookies, *(n for look in looks for n in look.cookies)), catalogue.networks
        ),
    )


def preset_of(named: Named | None) -> Platform | None:
    """The preset of a named platform."""
    return platforms().get(named.platform) if named is not None else None


def no_page(look: Look) -> Unreachable | None:
    """What is wrong with an answer that is not a page of a shop; None where it is one."""
    answer = look.answer
    if answer.status == HTTPStatus.UNAUTHORIZED:
        hint = "inspect the shop's own address, behind what asks"
        return Unreachable(answer.url, "asks for a name and a password", hint)
    if answer.status >= 400:
        return _refused(look)
    sent = next((v for name, v in answer.headers if name == b"content-type"), b"")
    kind = sent.split(b";")[0].strip().lower()
    if kind and kind not in _HTML:
        told = shown(kind.decode("latin-1"), 60)
        hint = "inspect the shop's home page"
        return Unreachable(answer.url, f"answers with {told}, not with a web page", hint)
    if not answer.body.strip():
        return Unreachable(answer.url, "answers with nothing that can be read", "open it in a browser")
    if look.wanted == "home" and look.asks_for_password and len(look.links) < 3:
        hint = "switch the password page off for the moment, or inspect the shop's own address"
        return Unreachable(answer.url, "shows nothing but a login", hint)
    return None


def _refused(look: Look) -> Unreachable:
    answer = look.answer
    guard = guard_of(answer.headers, decoded(answer.body[: 64 << 10], look.charset))
    if guard is not None:
        hint = "let this machine in there, or inspect the shop's own address behind it"
        return Unreachable(answer.url, f"{guard} keeps programs out (status {answer.status})", hint)
    hint = _HINTS.get(answer.status, "see whether the shop is up")
    return Unreachable(answer.url, f"answers with status {answer.status}", hint)
