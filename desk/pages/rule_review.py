"""What there is to do about rules, and the page of one rule: what it says and brought, who changed it, and
its conversations to read, each with a mark whether it made sense. Features E12, E16, E17."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.judging import DAY
from ...service.rule_editing import tables_of
from ...service.rule_reviews import WEEKS, reviewed
from ...settings.rule_text import inline_text
from ...stores.ledger.rule_reviews import Review
from ..guard import Refused
from .auth import AgentContext, agent_form, noted, see_other, signed_in
from .owner import owner_page
from .result_tables import Sheet, sheets
from .rule_form import in_short
from .rule_requests import site_of

AGAIN: Final = "4"
"""Seconds after which a page whose figures are still being counted is loaded again."""

ABOUT_RULES: Final = ("verdicts", "rule", "texts", "text", "steps", "guardrails", "carts")
"""The tables of the results of which a rule's page has its rows."""

MARKS: Final[Mapping[str, bool | None]] = {"yes": True, "no": False, "none": None}


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """All rules, who looked at each last, and what there is to do."""
    service, site = context.at.service, context.at.site
    report = await service.rule_reports.of(site, WEEKS)
    found = await service.rule_reviewing.of(site, report)
    page = await owner_page(
        request,
        context,
        "rule_reviews.html",
        due=[one for one in found if one.todos],
        rest=[one for one in found if not one.todos],
        counting=report is None,
        days=site.settings.invites.review_days,
        done=request.query_params.get("done", "") == "reviewed",
    )
    if report is None:
        page.headers["Refresh"] = AGAIN
    return page


@signed_in
async def review(request: Request, context: AgentContext) -> Response:
    """Note that a rule was looked at."""
    form, service, site = await agent_form(request, context), context.at.service, context.at.site
    rule = form.get("rule", "")
    if all(one.name != rule for one in site.settings.rules):
        raise Refused(404, "There is no rule of this name any more.")
    await service.ledger.rule_reviews.note(site.name, [rule], context.session.agent, service.clock.now())
    noted(request, rule=rule)
    return see_other(request, "/rules/review?done=reviewed")


@signed_in
async def shown(request: Request, context: AgentContext) -> Response:
    """The page of one rule."""
    service, site = context.at.service, context.at.site
    name = request.query_params.get("name", "")[:64]
    edition = await service.rule_editing.current(site_of(context))
    tables = await asyncio.to_thread(tables_of, edition.text)
    table = next((one for one in tables if one.get("name") == name), None)
    if table is None:
        raise Refused(404, "There is no rule of this name any more.")
    books, now = service.ledger.rule_reviews, service.clock.now()
    since = now - WEEKS * 7 * DAY
    report = await service.rule_reports.of(site, WEEKS)
    reviews = await books.of(site.name)
    (state,) = reviewed(
        *([name], reviews, await books.marks(site.name, since), report),
        *(site.settings.invites.review_days, now),
    )
    row = None if report is None else next((one for one in report.rules if one.rule == name), None)
    own = {} if report is None else {key: _own(sheet, name) for key, sheet in sheets(report).items()}
    page = await owner_page(
        request,
        context,
        "rule_page.html",
        rule=table,
        lines=[one if isinstance(one, str) else inline_text(one) for one in table.get("when", [])],
        short=in_short(table, site.settings.language),
        state=state,
        known=state.review != Review(now, ""),
        row=row,
        counting=report is None,
        sheets=[(key, own[key].table()) for key in ABOUT_RULES if key in own and own[key].rows],
        talks=await books.talks(site.name, name, since),
        story=await service.rule_editing.story(site_of(context), name),
        weeks=WEEKS,
    )
    if report is None:
        page.headers["Refresh"] = AGAIN
    return page


def _own(sheet: Sheet, rule: str) -> Sheet:
    """The rows of a table that are about a rule."""
    mine = [
        row
        for row in sheet.rows
        if isinstance(row[0], str) and (row[0] == rule or row[0].startswith(f"{rule} / "))
    ]
    return replace(sheet, rows=mine)


@signed_in
async def mark(request: Request, context: AgentContext) -> Response:
    """Say whether a conversation that a rule began made sense."""
    form, site = await agent_form(request, context), context.at.site
    said, rule = form.get("sensible", ""), form.get("rule", "")[:64]
    if said not in MARKS:
        raise Refused(422, "What to say is missing: yes, no or none.")
    books = context.at.service.ledger.rule_reviews
    if not await books.mark(site.name, form.get("conversation", "")[:40], MARKS[said]):
        raise Refused(404, "There is no such conversation any more.")
    return see_other(request, f"/rules/rule?{urlencode({'name': rule})}")


routes: list[BaseRoute] = [
    Route("/desk/rules/review", listed, methods=["GET"]),
    Route("/desk/rules/review", review, methods=["POST"]),
    Route("/desk/rules/rule", shown, methods=["GET"]),
    Route("/desk/rules/mark", mark, methods=["POST"]),
]
