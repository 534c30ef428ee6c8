"""The orders' API of BigCommerce, on this machine."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ORDER = "/stores/abcde/v2/orders/1001"
PRODUCTS = f"{ORDER}/products"
REFUNDS = "/stores/abcde/v3/orders/1001/payment_actions/refunds"


@contextmanager
def bigcommerce_api(answers: Mapping[str, tuple[int, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the calls that came. `answers` has the status and the document for each path; a path
    that it lacks is answered by 404, as the API does for what an order does not have."""
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(f"{self.path} {self.headers['X-Auth-Token']}")
            status, content = answers.get(self.path, (404, {}))
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
