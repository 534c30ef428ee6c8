"""`GET export/…`: the rows of a site for the shop's own programs, page by page."""

import json

from starlette.requests import Request
from starlette.responses import Response

from ...stores.ledger.exports import COLUMNS, CursorError, Exports, Wanted
from ..context import RequestContext
from ..guard import NO_STORE, Refused
from .operation import Operation, Parameter
from .parameters import LIMIT, SINCE, UNTIL, limit_of, time_of

# Entries that are read in one go: some 2 ms of the loop's time.
STEP = 50


async def export(request: Request, at: RequestContext) -> Response:
    """One page as ndjson. Its last line is `{"cursor": …, "more": …}`."""
    at.take("exports")
    kind = request.path_params["kind"]
    if kind not in COLUMNS:
        raise Refused(404, f"there is no export of {kind[:40]!r}; there are {', '.join(COLUMNS)}")
    limit = limit_of(request)
    wanted = Wanted(at.site.name, time_of(request, "since"), time_of(request, "until"))
    after = request.query_params.get("after") or None
    exports, lines, more = Exports(at.service.ledger.db), list[str](), True
    while more and limit > 0:
        step = min(limit, STEP)
        try:
            page = await exports.page(kind, wanted, after, step)
        except CursorError as error:
            raise Refused(400, f"after: {error}") from None
        lines += map(json.dumps, page.rows)
        after, more, limit = page.cursor, page.more, limit - step
    lines.append(json.dumps({"cursor": after, "more": more}))
    return Response("\n".join(lines) + "\n", media_type="application/x-ndjson", headers=NO_STORE)


operations = [
    Operation(
        "GET",
        "/export/{kind}",
        "export",
        "The rows that were written or changed, oldest first, as ndjson. The last line has the cursor of the "
        "next page, and whether there is more already.",
        export,
        {200: "application/x-ndjson"},
        scope="export",
        parameters=(
            Parameter("kind", "Which rows.", {"type": "string", "enum": list(COLUMNS)}, "path"),
            SINCE,
            UNTIL,
            Parameter("after", "The cursor that the page before ended with.", {"type": "string"}),
            LIMIT,
        ),
        errors=(404,),
    )
]
