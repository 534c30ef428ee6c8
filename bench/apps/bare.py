"""The endpoint that decisions are compared with: it reads and writes one row of the same SQLite file."""

import sqlite3
import time
from itertools import cycle

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


def app():
    """Reads and writes the rows of the table in turn."""
    store = sqlite3.connect("clew-visits.db", isolation_level=None, timeout=5)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=NORMAL")
    # As in clew, where a thread of its own checkpoints the log.
    store.execute("PRAGMA wal_autocheckpoint=16384")
    rows = cycle([row[0] for row in store.execute("SELECT id FROM visits")])

    async def endpoint(request):
        body, row = await request.json(), next(rows)
        store.execute("BEGIN IMMEDIATE")
        (data,) = store.execute("SELECT data FROM visits WHERE id = ?", (row,)).fetchone()
        store.execute("UPDATE visits SET data = ?, seen_at = ? WHERE id = ?", (data, time.time(), row))
        store.execute("COMMIT")
        return JSONResponse({"view": body["view"], "bytes": len(data)})

    return Starlette(routes=[Route("/-/clew/decide", endpoint, methods=["POST"])])
