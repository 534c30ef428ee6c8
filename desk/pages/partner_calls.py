"""The calls to a partner's server, each with its attempts, and a button to have one sent again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...postbacks.model import Attempt, Postback
from ...service.resending import NotSentAgainError, resend
from ..guard import Refused
from .auth import see_other
from .partner_door import PATH, PartnerContext, for_partner, partner_form, partner_page

SHOWN: Final = 25
AGAIN: Final = ("delivered", "dead", "unknown")
"""The states of calls that may have the button."""


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt, as text. Of the answer's body only how long it was."""

    at: str
    outcome: str
    status: str
    body: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call, as text."""

    id: str
    order: str
    what: str
    sequence: int
    state: str
    made: str
    tries: Sequence[Try]
    again: bool


@for_partner
async def calls(request: Request, context: PartnerContext) -> Response:
    """The newest calls, a page at a time; `before` is the id of the last one of the page before."""
    return await _calls(request, context)


async def _calls(request: Request, context: PartnerContext, status: int = 200, problem: str = "") -> Response:
    book, before = context.at.service.ledger.partner_book, None
    if asked := request.query_params.get("before", "")[:40]:
        before = await book.call(context.site, context.partner, asked)
        if before is None:
            raise Refused(404, context.words["no_call"])
    found = await book.calls(context.site, context.partner, before=before, limit=SHOWN)
    done = request.query_params.get("done", "")
    return partner_page(
        request,
        context,
        "partner_calls.html",
        status,
        here="/calls",
        calls=[
            _call(context, one, await book.attempts(one.id), again=await _is_again(context, one))
            for one in found
        ],
        more=found[-1].id if len(found) == SHOWN else None,
        problem=problem,
        done=context.words[f"resent_{done}"] if done in ("due", "delivered", "dead", "unknown") else "",
    )


async def _is_again(context: PartnerContext, one: Postback) -> bool:
    """Whether it may be sent again: a call with a click, after which no other says what holds now."""
    may = one.state in AGAIN and bool(one.report.click_id)
    return may and not await context.at.service.ledger.partner_book.followed(one)


def _call(context: PartnerContext, one: Postback, tries: Sequence[Attempt], *, again: bool) -> Call:
    words, report = context.words, one.report
    # Why it is held, and who decided what, is the shop's alone.
    state = {"held": "review", "refused": "declined"}.get(one.state, one.state)
    return Call(
        id=one.id,
        order=report.order_id,
        what=words.named("event", one.event).format(words.money(report.amount, report.currency)),
        sequence=one.sequence,
        state=words.named("call", state),
        made=_moment(context, one.created_at),
        tries=[_try(context, attempt) for attempt in tries],
        again=again,
    )


def _try(context: PartnerContext, attempt: Attempt) -> Try:
    words, answer = context.words, attempt.answer or ""
    status = words["no_answer"] if attempt.status is None else f"HTTP {attempt.status}"
    # The answer of a server may hold anything; a partner can look at its own.
    body = words["body"].format(words.number(len(answer))) if attempt.status is not None and answer else ""
    return Try(_moment(context, attempt.at), words.named("outcome", attempt.outcome), status, body)


def _moment(context: PartnerContext, at: float) -> str:
    return context.words.moment(datetime.fromtimestamp(at, context.at.site.zone))


@for_partner
async def again(request: Request, context: PartnerContext) -> Response:
    """Send a call again."""
    await partner_form(request, context)
    at, postback = context.at, request.path_params["id"]
    at.take("resends")
    try:
        found = await resend(
            at.service.ledger, at.service.worker, at.service.clock, context.site, context.partner, postback
        )
    except NotSentAgainError as error:
        return await _calls(request, context, 409, context.words[f"refused_{error.why}"])
    if found is None:
        raise Refused(404, context.words["no_call"])
    row, attempt = found
    at.service.events.emit(
        "postback_resent",
        site=context.site,
        partner=context.partner,
        postback=row.id,
        order=row.report.order_id,
        by=context.session.account or "link",
        outcome="due" if attempt is None else attempt.outcome,
        client=at.origin.client,
    )
    return see_other(request, f"{PATH}/calls?done={'due' if attempt is None else attempt.outcome}")


routes: list[BaseRoute] = [
    Route("/desk/partner/calls", calls, methods=["GET"]),
    Route("/desk/partner/calls/{id}/again", again, methods=["POST"]),
]
