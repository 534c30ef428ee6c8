"""The search over conversations, and the tags of one."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...orders.ids import normalised
from ...orders.model import OrderError
from ...stores.ledger.errors import LedgerBusyError
from ...stores.ledger.search import Match, Wanted
from ...stores.ledger.tags import TAG_ERRORS, TAG_LENGTH, TagError, tag_of
from .auth import AgentContext, agent_form, see_other, signed_in
from .filters import Filter
from .inbox import hue, short_name
from .live import page_mark
from .render import page

_BEFORE: Final = re.compile(r"\d{1,18}(\.\d{1,9})?", re.ASCII)
_AROUND: Final = 60
"""Characters of a message that are shown on each side of a word."""


def _tag(said: str) -> str:
    """As tags are kept; what can be none is found nowhere."""
    try:
        return tag_of(said)
    except TagError:
        return said.lower()


@dataclass(frozen=True, slots=True)
class Form(Filter):
    """What is searched for, as it was sent. `customer` is an order's number or an e-mail address."""

    q: str = ""
    customer: str = ""
    tag: str = ""
    agent: str = ""
    partner: str = ""
    page: str = ""
    state: str = ""

    def wanted(self, before: str) -> Wanted:
        """The same as a question to the ledger. Raises OrderError for an impossible order number."""
        email, order = "", ""
        if "@" in self.customer:
            email = hashlib.sha256(self.customer.lower().encode("utf-8", "replace")).hexdigest()
        elif self.customer:
            order = normalised(self.customer).id
        return Wanted(
            text=self.q,
            tag=_tag(self.tag),
            agent=self.agent,
            partner=self.partner,
            page=self.page,
            order=order,
            email=email,
            state=self.state if self.state in ("open", "closed") else "",
            before=float(before) if _BEFORE.fullmatch(before) else None,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A conversation that was found. `parts` are pieces of a message, each with whether it was sought."""

    match: Match
    visitor: str
    hue: int
    parts: Sequence[tuple[str, bool]]
    tags: Sequence[str]


def pieces(text: str, words: Sequence[str]) -> list[tuple[str, bool]]:
    """The part of a text around the first of the words, cut at the words."""
    found = re.compile(
        "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE
    )
    first = found.search(text) if words else None
    start = max(0, first.start() - _AROUND) if first is not None else 0
    shown, parts, last = text[start : start + 4 * _AROUND], list[tuple[str, bool]](), 0
    for one in found.finditer(shown) if words else ():
        parts += [(shown[last : one.start()], False), (one[0], True)]
        last = one.end()
    parts.append((shown[last:], False))
    before, after = "… " if start else "", " …" if start + len(shown) < len(text) else ""
    return [piece for piece in [(before, False), *parts, (after, False)] if piece[0]]


@signed_in
async def search(request: Request, context: AgentContext) -> Response:
    """The form, and what was found by it; `?before=` is where an earlier search has come to."""
    at, form, problem = context.at, Form.of(request), ""
    ledger, lines, matches = at.service.ledger, list[Line](), None
    try:
        wanted = form.wanted(request.query_params.get("before", ""))
        if not wanted.is_empty:
            matches = await ledger.search.find(at.site.name, wanted)
            lines = await _lines(context, matches.found, wanted.words)
    except OrderError as error:
        problem = f"Not searched: {error}."
    except LedgerBusyError:
        problem = "The search took too long. Add another condition."
    people = await ledger.agents.people(at.site.name)
    return page(
        request,
        "search.html",
        422 if problem else 200,
        mark=await page_mark(at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        form=form,
        problem=problem,
        lines=lines,
        searched=matches is not None,
        unfinished=matches is not None and matches.unfinished,
        older=form.query(before=f"{matches.before:.6f}".rstrip("0").rstrip("."))
        if matches is not None and matches.before is not None
        else "",
        agents=[one.name for one in people],
        partners=sorted(at.site.partners),
        tags=await tags_offered(context),
    )


async def _lines(context: AgentContext, found: Sequence[Match], words: Sequence[str]) -> list[Line]:
    ids = [match.entry.conversation.id for match in found]
    tags = await context.at.service.ledger.tags.of_several(ids)
    lines = []
    for match in found:
        visitor, last = match.entry.conversation.visitor, match.entry.last
        text = match.text if match.text is not None else last.text if last is not None else ""
        talk = match.entry.conversation.id
        lines.append(Line(match, short_name(visitor), hue(visitor), pieces(text, words), tags.get(talk, ())))
    return lines


async def tags_offered(context: AgentContext) -> list[str]:
    """The tags of the settings, then those that were used last."""
    at = context.at
    used = await at.service.ledger.tags.used(at.site.name)
    return list(dict.fromkeys([*(tag_of(tag) for tag in at.site.settings.chat.tags), *used]))


async def tag_values(context: AgentContext, conversation: str, problem: str) -> dict[str, Any]:
    """What the page of a conversation shows of its tags; `problem` is a key of TAG_ERRORS, or empty."""
    said = f"Not tagged: {TAG_ERRORS[problem]}." if problem in TAG_ERRORS else ""
    given = await context.at.service.ledger.tags.of(conversation)
    offered = [tag for tag in await tags_offered(context) if tag not in given]
    return {"tags": given, "offered": offered, "tag_problem": said, "tag_length": TAG_LENGTH}


@signed_in
async def tag(request: Request, context: AgentContext) -> Response:
    """Give a conversation a tag, or with `remove` take it away."""
    fields_, at, talk = await agent_form(request, context), context.at, request.path_params["id"]
    books, site = at.service.ledger.tags, at.site.name
    try:
        if removed := fields_.get("remove", ""):
            await books.remove(site, talk, removed)
        else:
            given = tag_of(fields_.get("tag", ""))
            if not at.site.settings.chat.free_tags and given not in await tags_offered(context):
                raise TagError("unknown")
            await books.add(site, talk, given, context.session.agent, at.service.clock.now())
    except TagError as error:
        return see_other(request, f"/conversations/{talk}?tag={error.kind}#tags")
    at.service.conversations.changed(site)
    return see_other(request, f"/conversations/{talk}#tags")


routes: list[BaseRoute] = [
    Route("/desk/search", search, methods=["GET"]),
    Route("/desk/conversations/{id}/tags", tag, methods=["POST"]),
]
