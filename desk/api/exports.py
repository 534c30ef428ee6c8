"""`GET export/…`: the rows of a site for the shop's own programs, page by page."""

import json
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...stores.ledger.exports import COLUMNS, CursorError, Exports, Wanted
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, require_api_token, whole_number

LIMIT, MOST = 200, 1000
# Entries that are read in one go: some 2 ms of the loop's time.
STEP = 50


@api
async def export_endpoint(request: Request, at: RequestContext) -> Response:
    """One page as ndjson. Its last line is `{"cursor": …, "more": …}`."""
    require_api_token(request, at)
    at.service.limits.take("exports", at.site.name, at.origin.client)
    kind = request.url.path.rpartition("/")[2]
    limit = whole_number(request, "limit") if "limit" in request.query_params else LIMIT
    if not 1 <= limit <= MOST:
        raise Refused(400, f"limit: from 1 to {MOST}, not {limit}")
    wanted = Wanted(at.site.name, _time(request, "since"), _time(request, "until"))
    after = request.query_params.get("after") or None
    exports, lines, more = Exports(at.service.ledger.db), list[str](), True
    while more and limit > 0:
        step = min(limit, STEP)
        try:
            page = await exports.page(kind, wanted, after, step, at.service.clock.now())
        except CursorError as error:
            raise Refused(400, f"after: {error}") from None
        lines += map(json.dumps, page.rows)
        after, more, limit = page.cursor, page.more, limit - step
    lines.append(json.dumps({"cursor": after, "more": more}))
    return Response("\n".join(lines) + "\n", media_type="application/x-ndjson", headers=NO_STORE)


def _time(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(400, f"{name}: {text[:40]!r} is no date; write for example 2026-11-26") from None


routes = [Route(f"/export/{kind}", export_endpoint, methods=["GET"]) for kind in COLUMNS]
