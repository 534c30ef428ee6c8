"""A web server of a few answers, each as a test says: for shops that are wrong in one way."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Head = Mapping[str, str]
Writes = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Page:
    """One answer. `writes` sends what it likes instead."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=utf-8"),)
    writes: Writes | None = None


def html(body: str, head: str = "", *headers: tuple[str, str], status: int = 200) -> Page:
    """A page, with further headers."""
    text = f"<!doctype html><html lang=de><head><title>Shop</title>{head}</head><body>{body}</body></html>"
    return Page(text.encode(), status, (("Content-Type", "text/html; charset=utf-8"), *headers))


def redirect(to: str, status: int = 302) -> Page:
    """A redirect."""
    return Page(b"", status, (("Location", to),))


@dataclass
class SmallShop:
    """Serves `pages` by path, the query left out; anything else is 404. `asked` are the targets it was asked
    for."""

    pages: Mapping[str, Page]
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.asked.append(self.path)
                page = shop.pages.get(self.path.partition("?")[0], Page(b"nothing", 404))
                try:
                    if page.writes is not None:
                        page.writes(self)
                        return
                    self.send_response(page.status)
                    for name, value in (*page.headers, ("Content-Length", str(len(page.body)))):
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(page.body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()
