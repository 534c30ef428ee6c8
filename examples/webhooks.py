"""A receiver for clew's events, as a CRM or a warehouse would have: it checks the signature, and keeps each
order as it stands. The standard library and `standardwebhooks` are all that it needs.

    CLEW_WEBHOOK_SECRET=whsec_… python examples/webhooks.py --port 8090 --database crm.db
"""

import argparse
import json
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

TABLES = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS orders (
    number TEXT PRIMARY KEY, version INTEGER, state TEXT, total TEXT, currency TEXT
);
CREATE TABLE IF NOT EXISTS credits (number TEXT PRIMARY KEY, version INTEGER, partners TEXT);
"""


class Books:
    """What was received, in SQLite."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path)
        self._db.executescript(TABLES)

    def take(self, webhook_id: str, event: dict[str, Any]) -> None:
        """Keep an event. The same one again, and one that is older than what is known, change nothing."""
        data = event["data"]
        with self._db as tx:
            if not tx.execute("INSERT OR IGNORE INTO seen VALUES (?)", [webhook_id]).rowcount:
                return
            if event["type"].startswith("order."):
                keep(tx, "orders", data, data["state"], data["total"], data["currency"])
            elif event["type"] == "credit.changed":
                keep(tx, "credits", data, ", ".join(share["partner"] for share in data["shares"]))


def keep(tx: sqlite3.Connection, table: str, data: dict[str, Any], *values: object) -> None:
    """Write a row unless a newer version of it is there."""
    known = tx.execute(f"SELECT version FROM {table} WHERE number = ?", [data["order_id"]]).fetchone()
    if known is None or known[0] <= data["version"]:
        row = (data["order_id"], data["version"], *values)
        tx.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)


class Handler(BaseHTTPRequestHandler):
    """Answers 204 once an event is kept, 401 if its signature is wrong."""

    books: Books
    webhook: Webhook

    def do_POST(self) -> None:
        """One event."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            # Raises also for a time stamp that is more than five minutes off.
            self.webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            self.send_response(401)
        else:
            self.books.take(self.headers["webhook-id"], json.loads(body))
            self.send_response(204)
        self.end_headers()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--database", default="crm.db")
    given = parser.parse_args()
    Handler.books, Handler.webhook = Books(given.database), Webhook(os.environ["CLEW_WEBHOOK_SECRET"])
    HTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
