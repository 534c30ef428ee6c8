"""What agents do with a conversation beside answering: give it to others, note something, block its visitor;
and their own presence."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypedDict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.model import Conversation
from ...service.conversations import MessageError, plain_text
from ...stores.ledger.assignment import TransferError
from ...stores.ledger.blocks import MOST, BlocksFullError
from ...stores.ledger.desk_agents import PRESENCES, Colleague
from ..guard import NO_TALK, Refused
from .auth import DESK as DOOR
from .auth import AgentContext, agent_form, noted, see_other, signed_in
from .inbox import short_name
from .live import page_mark
from .render import page

NOTE_LENGTH: Final = 4000
HOURS: Final = {"1": "an hour", "24": "a day", "168": "a week", "720": "30 days"}
"""For how long one may block somebody: hours, and the same in words."""

Shown = Callable[[Request, AgentContext, Conversation, int, str], Awaitable[Response]]
"""The conversation's page with a status and a problem."""


async def talk_of(request: Request, context: AgentContext) -> Conversation:
    """The conversation of a request's path. Raises Refused (404)."""
    at = context.at
    found = await at.service.ledger.conversations.get(at.site.name, request.path_params["id"])
    if found is None:
        raise Refused(404, NO_TALK)
    return found


class TalkWork(TypedDict):
    """What the conversation's page shows of it, beside its messages."""

    colleagues: Sequence[Colleague]
    departments: Sequence[str]
    blocked_until: float | None
    network_until: float | None
    hours: Mapping[str, str]
    note_length: int


async def work_of(context: AgentContext, found: Conversation) -> TalkWork:
    """What the conversation's page shows of it: to whom it may be given, whether it is blocked."""
    at, ledger = context.at, context.at.service.ledger
    site, now = at.site.settings, at.service.clock.now()
    there = await ledger.assignment.colleagues(site.name, at.service.desk_work.terms(site), now)
    blocked_until, network_until = await ledger.blocks.of_talk(found, now)
    return {
        "colleagues": [one for one in there if one.name != found.agent],
        "departments": site.chat.departments,
        "blocked_until": blocked_until,
        "network_until": network_until,
        "hours": HOURS,
        "note_length": NOTE_LENGTH,
    }


def _form_of(shown: Shown) -> Sequence[BaseRoute]:
    @signed_in
    async def transfer(request: Request, context: AgentContext) -> Response:
        """Give the conversation to a person or a department."""
        found, fields = await talk_of(request, context), await agent_form(request, context)
        at, (kind, _, name) = context.at, fields.get("to", "").partition(":")
        if kind not in ("agent", "department") or not name:
            return await shown(
                request, context, found, 422, "Not transferred: choose a person or a department."
            )
        if kind == "department" and name not in at.site.settings.chat.departments:
            return await shown(request, context, found, 422, "Not transferred: there is no such department.")
        noted(request, to=f"{kind} {name}"[:80])
        try:
            await at.service.desk_work.transfer(
                at.site.settings,
                found.id,
                by=context.session.agent,
                agent=name if kind == "agent" else None,
                department=name if kind == "department" else None,
                note=_note(fields.get("note", "")),
            )
        except TransferError as error:
            return await shown(request, context, found, 422, f"Not transferred: {error}.")
        return see_other(request, f"/conversations/{found.id}")

    @signed_in
    async def note(request: Request, context: AgentContext) -> Response:
        """Add a note that visitors never see."""
        found, fields = await talk_of(request, context), await agent_form(request, context)
        if text := _note(fields.get("note", "")):
            await context.at.service.desk_work.note(found, text, context.session.agent)
        return see_other(request, f"/conversations/{found.id}#end")

    @signed_in
    async def block(request: Request, context: AgentContext) -> Response:
        """Let the visitor write nothing for a while."""
        found, fields = await talk_of(request, context), await agent_form(request, context)
        if fields.get("hours") not in HOURS:
            return await shown(request, context, found, 422, "Not blocked: choose for how long.")
        try:
            await context.at.service.desk_work.block(
                found,
                float(fields["hours"]),
                network=fields.get("network") == "1",
                by=context.session.agent,
                why=_note(fields.get("why", ""))[:200],
            )
        except BlocksFullError:
            problem = f"Not blocked: {MOST} visitors of this site are blocked already. A lead can end some."
            return await shown(request, context, found, 422, problem)
        return see_other(request, f"/conversations/{found.id}")

    return [
        Route(f"{_TALK}/transfer", transfer, methods=["POST"]),
        Route(f"{_TALK}/notes", note, methods=["POST"]),
        Route(f"{_TALK}/block", block, methods=["POST"]),
    ]


def _note(text: str) -> str:
    try:
        return plain_text(text[:NOTE_LENGTH], NOTE_LENGTH)
    except MessageError:
        return ""


@signed_in
async def presence(request: Request, context: AgentContext) -> Response:
    """Set whether one takes conversations."""
    fields, at = await agent_form(request, context), context.at
    wanted = next((one for one in PRESENCES if one == fields.get("presence")), None)
    if wanted is None:
        raise Refused(422, "Choose available, away or end of shift.")
    sites = [at.chosen] if at.chosen is not None else []
    await at.service.desk_work.set_presence(context.session.agent, wanted, sites)
    back = fields.get("to", "")
    return see_other(request, back if DOOR.targets.fullmatch(back) else "/")


@signed_in
async def blocked(request: Request, context: AgentContext) -> Response:
    """Who is blocked now."""
    return await _blocked(request, context)


async def _blocked(request: Request, context: AgentContext) -> Response:
    at = context.at
    found = await at.service.ledger.blocks.holding(at.site.name, at.service.clock.now())
    return page(
        request,
        "blocks.html",
        mark=await page_mark(at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        blocks=[(one, short_name(one.visitor) if one.visitor else "") for one in found],
    )


@signed_in
async def unblock(request: Request, context: AgentContext) -> Response:
    """End a block."""
    await agent_form(request, context)
    number, at = request.path_params["id"], context.at
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise Refused(404, "There is no such block.")
    if not await at.service.desk_work.unblock(at.site.name, int(number), context.session.agent):
        raise Refused(404, "There is no such block, or it has ended.")
    return see_other(request, "/blocks")


_TALK = "/desk/conversations/{id}"


def routes(shown: Shown) -> list[BaseRoute]:
    """The routes; `shown` makes a conversation's page."""
    return [
        *_form_of(shown),
        Route("/desk/presence", presence, methods=["POST"]),
        Route("/desk/blocks", blocked, methods=["GET"]),
        Route("/desk/blocks/{id}/lift", unblock, methods=["POST"]),
    ]
