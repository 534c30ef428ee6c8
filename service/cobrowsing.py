"""An agent sees the page that the visitor has open, once the visitor has agreed, and may propose another one.

Requests, answers and proposals are messages of the conversation: so they reach every tab and every worker,
and the conversation says who agreed to what, and when. The copy of the page comes from the visitor's browser,
only while it shows its page; it is made harmless here and kept in the visit store, never in the ledger.
"""

import asyncio
import gzip
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from .. import chat
from ..chat.hub import talk_topic
from ..chat.model import Conversation, Extra
from ..chat.signs import Sign
from ..events.events import Events
from ..referral.cookie import Known
from ..settings.model import Language
from ..stores.ledger.books import Ledger
from ..stores.signs import Signs
from ..stores.visits import Visits
from ..templates import text
from .clock import Clock
from .conversations import Conversations, VisitorMessage
from .limits import Limits
from .programs import ProgramError, Programs
from .shop_pages import NoShopPageError, shop_page
from .site import SiteRuntime

State = Literal["off", "asked", "on"]
SECONDS: Final = 8.0
PRIVATE_TYPES: Final = frozenset({"checkout", "confirmation", "account"})
# Also where the settings say nothing of a page.
_PRIVATE: Final = re.compile(
    r"/(?:[\w-]*(?:checkout|account|login|log-in|signin|sign-in|register|password|payment|billing|address|invoice)"
    r"[\w-]*|pay|orders?|customer|user|profile|konto|kasse|anmelden|compte|commande|cuenta|pedido)(?:[/.?]|$)",
    re.IGNORECASE,
)
_MAKER: Final = str(Path(chat.__file__).with_name("page_copy.py"))


class PageRefusedError(ValueError):
    """A page that is not shown or proposed; the text says why. `status` is that of HTTP."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Shown:
    """The copy of a page: its address, since when it is there (unix seconds), and the harmless HTML."""

    url: str
    at: float
    html: str


class CoBrowsing:
    """For all sites. Every method raises the errors of the stores."""

    def __init__(
        self,
        ledger: Ledger,
        visits: Visits,
        conversations: Conversations,
        signs: Signs,
        limits: Limits,
        events: Events,
        clock: Clock,
    ) -> None:
        self._books = ledger.conversations
        self._visits = visits
        self._conversations = conversations
        self._signs = signs
        self._limits = limits
        self._events = events
        self._clock = clock
        self._programs = Programs()

    async def state(self, site: SiteRuntime, found: Conversation) -> State:
        """Whether the visitor shows its page in this conversation; it ends with it, and after `minutes`."""
        if not site.settings.cobrowsing.enabled or found.state != "open":
            return "off"
        last = await self._books.last_of(found.id, "cobrowsing")
        if last is None or self._clock.now() - last.at > site.settings.cobrowsing.minutes * 60:
            return "off"
        state: State = last.more["cobrowsing"]["state"]
        return state

    # -- the agent's side

    async def ask(self, site: SiteRuntime, found: Conversation, agent: str) -> None:
        """Ask the visitor for its page. Raises PageRefusedError, MessageError and HeldError."""
        if not site.settings.cobrowsing.enabled:
            raise PageRefusedError(404, "co-browsing is off at this site")
        await self._agent_says(site, found, "cobrowsing_ask", "asked", agent)

    async def end(self, site: SiteRuntime, found: Conversation, agent: str) -> None:
        """End it, as the agent. Raises MessageError and HeldError."""
        await self._agent_says(site, found, "cobrowsing_end", "off", agent)
        await self._visits.put_page(site.name, found.visitor, None, self._clock.now(), 0)

    async def _agent_says(
        self, site: SiteRuntime, found: Conversation, key: str, state: State, agent: str
    ) -> None:
        extra, said = Extra("cobrowsing", {"state": state}), text(found.language, key)
        await self._conversations.agent_says(site, found.id, said, agent=agent, client_id=None, extra=extra)
        self._note(found, state, agent)

    async def propose(self, site: SiteRuntime, found: Conversation, url: str, agent: str, here: str) -> None:
        """Propose a page of the shop, which opens if the visitor wants it. Raises PageRefusedError,
        MessageError and HeldError."""
        parts = _own_page(site, url, here)
        if parts is None or not parts.netloc:
            raise PageRefusedError(422, "this is no page of the shop: paste its whole address")
        page = parts.geturl()
        said = text(found.language, "open_ask", url=page)
        extra = Extra("open", {"url": page})
        await self._conversations.agent_says(site, found.id, said, agent=agent, client_id=None, extra=extra)

    async def shown(self, site: SiteRuntime, found: Conversation) -> Shown | None:
        """The visitor's page; None where it shows none."""
        if await self.state(site, found) != "on":
            return None
        kept = await self._visits.page(site.name, found.visitor, self._clock.now())
        if kept is None:
            return None
        page = await asyncio.to_thread(lambda: json.loads(gzip.decompress(kept)))
        return Shown(page["url"], page["at"], page["html"]) if page["conversation"] == found.id else None

    # -- the visitor's side

    async def may_show(self, site: SiteRuntime, visitor: str, url: str, here: str) -> tuple[State, bool]:
        """Whether the visitor shows its page, and whether this one may be shown. `here` is the host to which
        it sent the request."""
        found = await self._books.own(site.name, visitor)
        state: State = "off" if found is None else await self.state(site, found)
        return state, state == "on" and not is_private(site, url, here)

    async def answer(
        self,
        site: SiteRuntime,
        known: Known,
        yes: bool,
        client_id: str,
        language: Language | None,
        client: str | None,
    ) -> None:
        """The visitor agrees, refuses, or ends it. Raises PageRefusedError, MessageError and LimitedError."""
        found = await self._books.own(site.name, known.visitor)
        before: State = "off" if found is None else await self.state(site, found)
        if before == "off" or (yes and before == "on"):
            if yes:
                raise PageRefusedError(409, "no agent has asked for the page")
            return
        key = "cobrowsing_yes" if yes else "cobrowsing_end" if before == "on" else "cobrowsing_no"
        state: State = "on" if yes else "off"
        if not yes:
            await self._visits.put_page(site.name, known.visitor, None, self._clock.now(), 0)
        said = VisitorMessage(text(language or site.settings.language, key), client_id, language)
        added = await self._conversations.visitor_says(
            site, known, said, client, Extra("cobrowsing", {"state": state})
        )
        self._note(added.conversation, state, None)

    async def show(
        self, site: SiteRuntime, visitor: str, url: str, html: str, client: str | None, here: str
    ) -> None:
        """Take the copy of the page that the visitor has open; `here` as in `may_show`. Raises
        PageRefusedError and LimitedError."""
        self._limits.take("cobrowsing", site.name, client)
        found = await self._books.own(site.name, visitor)
        if found is None or await self.state(site, found) != "on":
            raise PageRefusedError(409, "the visitor does not show its page")
        if is_private(site, url, here):
            raise PageRefusedError(403, "this page is private: it is not shown")
        now, seconds = self._clock.now(), site.settings.cobrowsing.minutes * 60
        page = {
            "conversation": found.id,
            "url": url,
            "at": now,
            "html": await self._harmless(site, url, html),
        }
        kept = await asyncio.to_thread(lambda: gzip.compress(json.dumps(page).encode(), 1))
        # It may have ended meanwhile.
        if await self.state(site, found) == "on":
            await self._visits.put_page(site.name, visitor, kept, now, seconds)
            data = {"conversation": found.id}
            self._signs.tell(Sign(talk_topic(found.site, found.id), "page", found.id, data))

    async def _harmless(self, site: SiteRuntime, url: str, html: str) -> str:
        settings = site.settings.cobrowsing
        options = {"base": url, "mask": settings.mask, "most": 2 * settings.kilobytes * 1024}
        why = ""
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(html.encode("utf-8", "replace"))
            try:
                ended = await self._programs.run(
                    [sys.executable, "-I", _MAKER, json.dumps(options)], file, SECONDS
                )
                if ended.code == 0:
                    return ended.output.decode("utf-8", "replace")
                why = f"it ended with {ended.code}"
            except ProgramError as error:
                why = str(error)
        self._events.emit("cobrowsing_failed", site=site.name, why=why)
        raise PageRefusedError(422, "the page cannot be shown")

    def _note(self, found: Conversation, state: State, agent: str | None) -> None:
        fields = {"conversation": found.id, "visitor": found.visitor, "agent": agent}
        self._events.emit("cobrowsing", site=found.site, state=state, **fields)


def is_private(site: SiteRuntime, url: str, here: str) -> bool:
    """Whether a page must not be shown: it is not the shop's, of a private kind, or named in `private`."""
    parts = _own_page(site, url, here)
    if parts is None or not parts.netloc:
        return True
    path, query = _raw(parts)
    return (
        site.kind_at(path, query) in PRIVATE_TYPES
        or site.private(path, query)
        or _PRIVATE.search(parts.path) is not None
    )


def origin_of(url: str) -> str:
    """The origin of a page that is shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _own_page(site: SiteRuntime, url: str, here: str) -> SplitResult | None:
    """A page of the shop at which clew's script may be; None for any other."""
    try:
        parts = shop_page(site, url, here)
    except NoShopPageError:
        return None
    path, query = _raw(parts)
    return None if site.never(path, query) or site.admin(path, query) else parts


def _raw(parts: SplitResult) -> tuple[bytes, bytes]:
    return parts.path.encode("utf-8", "surrogatepass"), parts.query.encode("utf-8", "surrogatepass")
