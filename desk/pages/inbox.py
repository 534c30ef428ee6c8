"""The inbox: what needs a person, and the open conversations, so that customers are seen through a flood.

Whoever waits comes first, the newest before the older. Conversations that one client network opened in
numbers and nobody has taken are one line, and can be closed together.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...chat.model import Entry
from ...stores.ledger.agents import ONLINE_SECONDS
from ...stores.ledger.inbox import INBOX_OPEN
from ...stores.ledger.undoing import Bought
from ...stores.watch import LIVE_SECONDS
from ..context import RequestContext
from .auth import AgentContext, agent_pairs, see_other, signed_in
from .live import OWN_TALKS, page_mark
from .needs import elsewhere, needs
from .render import desk_path, headers, page

HUES = 8
PAGES = 1000
_CLIENT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Line:
    """A conversation in the inbox. `visitor` is the visitor's short name; `live` is whether it is on the site
    now. `bought` is what it has ordered, if anything; `by_mail` is whether it
    wants its answer by mail; `tags` are those of the conversation."""

    entry: Entry
    visitor: str
    hue: int
    live: bool
    bought: Bought | None
    by_mail: bool
    tags: Sequence[str] = ()

    @property
    def unread(self) -> bool:
        """Whether the newest message is the visitor's, and no agent has read it."""
        last = self.entry.last
        saw = self.entry.conversation.agent_saw or 0
        return last is not None and last.author == "visitor" and last.id > saw


@dataclass(frozen=True, slots=True)
class OwnTalk:
    """One of the agent's own conversations; `unread` is the number of messages that no agent has read."""

    entry: Entry
    visitor: str
    hue: int
    unread: int


Draw = Callable[[Line], str]
"""The template's macro for a line."""


def short_name(visitor: str) -> str:
    """A short name for a visitor: the last letters of the random id."""
    return visitor[-4:].upper()


def hue(visitor: str) -> int:
    """The number of the visitor's colour, always the same."""
    return crc32(visitor.encode()) % HUES


def _place(request: Request) -> tuple[int, str | None]:
    """Which page of the inbox is asked for, or which client network's conversations."""
    number, client = request.query_params.get("page", ""), request.query_params.get("network", "")
    known = number.isascii() and number.isdigit() and len(number) <= 4
    return min(int(number), PAGES) if known else 0, client if _CLIENT.fullmatch(client) else None


async def _lines(at: RequestContext, entries: Sequence[Entry]) -> list[Line]:
    visitors = [entry.conversation.visitor for entry in entries]
    seen = await at.service.visitors.seen_at(at.site.name, visitors, "desk") if visitors else {}
    bought = await at.service.ledger.undoing.bought(at.site.name, visitors)
    ids = [entry.conversation.id for entry in entries]
    mailed = await at.service.ledger.mails.asked(at.site.name, ids)
    tags = await at.service.ledger.tags.of_several(ids) if ids else {}
    now = at.service.clock.now()
    return [
        Line(
            entry,
            short_name(visitor),
            hue(visitor),
            now - seen.get(visitor, 0) < LIVE_SECONDS,
            bought.get(visitor),
            entry.conversation.id in mailed,
            tags.get(entry.conversation.id, ()),
        )
        for entry, visitor in zip(entries, visitors, strict=True)
    ]


def _drawn(draw: Draw, line: Line) -> str:
    return draw(line)


async def common(context: AgentContext, number: int = 0, client: str | None = None) -> dict[str, Any]:
    """What every page of the desk shows: the agent and the inbox, the page `number` of it, or the untaken
    conversations of one client network."""
    at = context.at
    # An agent who reads or answers is there, also without JavaScript; written at most every few seconds.
    now = at.service.clock.now()
    if context.session.seen_at is None or now - context.session.seen_at > ONLINE_SECONDS / 3:
        await at.service.ledger.agents.seen(context.session.agent, now)
    return {
        "agent": context.session.agent,
        "csrf": context.session.csrf,
        "elsewhere": await elsewhere(context),
        "own_talks": await own_talks(context),
        "drawn": _drawn,
        **await _listed(at, number, client),
    }


async def own_talks(context: AgentContext) -> list[OwnTalk]:
    """The open conversations that the agent has."""
    found = await context.at.service.ledger.inbox.of_agent(
        context.at.site.name, context.session.agent, OWN_TALKS
    )
    return [
        OwnTalk(entry, short_name(visitor), hue(visitor), unread)
        for entry, unread in found
        for visitor in [entry.conversation.visitor]
    ]


async def _listed(at: RequestContext, number: int, client: str | None) -> Mapping[str, Any]:
    """The inbox, the same for all agents."""
    inbox, site = at.service.ledger.inbox, at.site.name
    count, waiting = await inbox.numbers(site)
    crowds = () if client else await inbox.crowds(site)
    listed = count - sum(crowd.count for crowd in crowds)
    return {
        "lines": await _lines(at, await inbox.page(site, number, client, crowds)),
        "closed": await _lines(at, () if client or number else await inbox.closed(site)),
        "crowds": crowds if number == 0 else (),
        "count": count,
        "waiting": waiting,
        "number": number,
        "client": client,
        "alike": {},
        "more": client is None and listed > (number + 1) * INBOX_OPEN,
    }


@signed_in
async def lines(request: Request, context: AgentContext) -> Response:
    """The inbox alone, as a page whose script merges it into the one it shows: `?current=` is the
    conversation there. In a busy hour each desk asks for it every second: they share what is read for it, and
    the lines that look the same for all of them."""
    at, current = context.at, request.query_params.get("current", "")[:64] or None
    place = _place(request)
    own: dict[str, Any] = {"agent": context.session.agent, "csrf": context.session.csrf}
    own["elsewhere"] = await elsewhere(context)
    own["own_talks"] = await own_talks(context)
    listed = await at.service.inboxes.of((at.site.name, *place), lambda: _listed(at, *place))
    look = desk_path(request), current is None

    def drawn(draw: Draw, line: Line) -> str:
        it, last, agent = line.entry.conversation, line.entry.last, own["agent"]
        if it.id == current or it.agent == agent or (last is not None and last.agent == agent):
            return draw(line)
        alike: dict[str, str] = listed["alike"].setdefault(look, {})
        if it.id not in alike:
            alike[it.id] = draw(line)
        return alike[it.id]

    return page(request, "lines.html", current=current, drawn=drawn, **own, **listed)


def sites(request: Request, context: AgentContext) -> Response:
    """The sites that the agent may see, on the desk's own host."""
    names = [name for name in context.at.service.sites if context.session.role_at(name) is not None]
    root = context.at.root
    if len(names) == 1:
        return RedirectResponse(f"{root}/site/{names[0]}/desk/", 303, headers(request))
    return page(request, "sites.html", names=names, root=root, csrf=context.session.csrf)


@signed_in
async def inbox(request: Request, context: AgentContext) -> Response:
    """The start page: what needs attention, and the open conversations, waiting ones first."""
    if context.at.chosen is None:
        return sites(request, context)
    mark = await page_mark(context.at)
    values = await common(context, *_place(request))
    return page(request, "inbox.html", mark=mark, current=None, needs=await needs(context), **values)


@signed_in
async def close_many(request: Request, context: AgentContext) -> Response:
    """Close the chosen conversations, or all of a client network that nobody has taken."""
    pairs = await agent_pairs(request, context, fields=INBOX_OPEN + 10)
    at = context.at
    ids = [value for name, value in pairs if name == "id"]
    client = _CLIENT.fullmatch(dict(pairs).get("network", ""))
    await at.service.conversations.close_many(
        at.site.name, ids, client[0] if client else None, context.session.agent
    )
    return see_other(request, "/")
