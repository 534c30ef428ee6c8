"""The audit trail, for owners: a page with a filter, and the same as CSV and as ndjson."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ...stores.ledger.audit import PROGRAM, Line, WantedLines
from ...stores.ledger.export_rows import timestamp
from ...stores.ledger.roles import ALL_SITES
from .auth import AgentContext, signed_in
from .owner import ROWS, day_of, owner_page, zone_of
from .render import headers
from .sheets import Cell, sheet

STEP: Final = 500
MOST: Final = 50_000
COLUMNS: Final = ("at", "site", "who", "action", "subject", "network", "details")
_ACTION = re.compile(r"[a-z_.]{1,40}")


def _wanted(request: Request, context: AgentContext) -> WantedLines:
    query, zone, own = request.query_params, zone_of(context), context.at.site.name
    action = query.get("action", "").strip()
    # What concerns the whole program is for the owners of all sites.
    whole = context.session.roles.get(ALL_SITES) == "owner"
    return WantedLines(
        (own, PROGRAM) if whole or len(context.at.service.sites) == 1 else (own,),
        query.get("who", "").strip()[:80] or None,
        action if _ACTION.fullmatch(action) else None,
        day_of(request, "since", zone),
        day_of(request, "until", zone, after=True),
    )


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """The newest lines that match, and those before one."""
    text = request.query_params.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
    found = await context.at.service.ledger.audit.page(_wanted(request, context), ROWS + 1, before)
    form = {name: request.query_params.get(name, "")[:80] for name in ("who", "action", "since", "until")}
    query = urlencode({name: value for name, value in form.items() if value})
    older = found[ROWS - 1].id if len(found) > ROWS else None
    return await owner_page(
        request,
        context,
        "audit.html",
        lines=found[:ROWS],
        form=form,
        filtered=bool(query),
        query=query,
        older=older,
    )


async def _parts(context: AgentContext, wanted: WantedLines) -> AsyncIterator[Sequence[Line]]:
    audit, before, read = context.at.service.ledger.audit, None, 0
    while read < MOST:
        found = await audit.page(wanted, STEP, before)
        yield found
        if len(found) < STEP:
            return
        before, read = found[-1].id, read + len(found)


@signed_in
async def as_csv(request: Request, context: AgentContext) -> Response:
    """The newest MOST lines that match, as CSV."""
    context.at.take("exports")
    wanted = _wanted(request, context)

    async def rows() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        async for lines in _parts(context, wanted):
            yield [_cells(line) for line in lines]

    return sheet(request, "audit", COLUMNS, rows())


def _cells(line: Line) -> Sequence[Cell]:
    details = json.dumps(line.details, ensure_ascii=False) if line.details else ""
    return (timestamp(line.at), line.site, line.who, line.action, line.subject, line.network, details)


@signed_in
async def as_ndjson(request: Request, context: AgentContext) -> Response:
    """The newest MOST lines that match, one JSON object a line."""
    context.at.take("exports")
    wanted = _wanted(request, context)

    async def body() -> AsyncIterator[bytes]:
        async for lines in _parts(context, wanted):
            yield b"".join(json.dumps(_object(line)).encode() + b"\n" for line in lines)

    named = {"Content-Disposition": 'attachment; filename="audit.ndjson"'}
    return StreamingResponse(body(), headers={**headers(request), **named}, media_type="application/x-ndjson")


def _object(line: Line) -> dict[str, object]:
    return {**dict(zip(COLUMNS, _cells(line), strict=True)), "details": line.details}


routes: list[BaseRoute] = [
    Route("/desk/audit", listed, methods=["GET"]),
    Route("/desk/audit.csv", as_csv, methods=["GET"]),
    Route("/desk/audit.ndjson", as_ndjson, methods=["GET"]),
]
