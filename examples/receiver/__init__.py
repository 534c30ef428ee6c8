"""Partners' servers for trying clew out, the demo and the tests.

`Receiver` accepts and records postbacks, and can fail on request; `serving.NetworksReceiver` also answers as
the networks of the catalogue do, and keeps books. `python examples/receiver --help` runs it by itself.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from standardwebhooks import Webhook, WebhookVerificationError

BODY_LIMIT = 1024 * 1024
FAILURE = 503


@dataclass(frozen=True, slots=True)
class Call:
    """One received call and the status of its response. `headers` have lower-case names.

    `signature` is the result of the Standard Webhooks check; it is `unchecked` without a secret.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    signature: Literal["right", "wrong", "unchecked"] = "unchecked"
    status: int = 200

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query, percent-decoded; bytes outside UTF-8 as surrogate escapes."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True, errors="surrogateescape"))

    def json(self) -> Any:
        """The body as JSON; raises ValueError."""
        return json.loads(self.body)


class Receiver:
    """Listens on the loopback address once created; `port` 0 uses a free one.

    The first `fail` calls get a 503. With a `secret`, a call whose signature is wrong gets a 401. All others
    get 200 and `{}`. `on_call` is called with each, in the server's thread.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        fail: int = 0,
        secret: str | None = None,
        on_call: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self.fail = fail
        self.calls: list[Call] = []
        self._webhook = Webhook(secret) if secret else None
        self._on_call = on_call
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def accepted(self) -> list[Call]:
        """The calls that got a 200."""
        return [call for call in self.calls if call.status == 200]

    def take(self, method: str, target: str, headers: dict[str, str], body: bytes) -> int:
        """Record a call; returns the status of the response."""
        signature = self._checked(body, headers)
        with self._changed:
            failing = len(self.calls) < self.fail
            status = FAILURE if failing else 401 if signature == "wrong" else 200
            call = Call(method, target, headers, body, signature, status)
            self.calls.append(call)
            self._changed.notify_all()
        self._on_call(call)
        return status

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Record a call; returns status, body and headers of the response."""
        return self.take(method, target, headers, body), b"{}", {"content-type": "application/json"}

    def record(self, call: Call) -> None:
        """Record a call that has been answered."""
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        self._on_call(call)

    def _checked(self, body: bytes, headers: dict[str, str]) -> Literal["right", "wrong", "unchecked"]:
        if self._webhook is None:
            return "unchecked"
        try:
            self._webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError):
            return "wrong"
        return "right"

    def wait(self, count: int = 1, seconds: float = 20) -> list[Call]:
        """Wait until `count` calls were accepted. Returns all calls; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.accepted) >= count, seconds):
                raise TimeoutError(
                    f"{len(self.accepted)} of {count} calls within {seconds} s; received: {self.calls}"
                )
            return list(self.calls)

    async def waited(self, count: int = 1, seconds: float = 20) -> list[Call]:
        """`wait` for callers in an event loop."""
        return await asyncio.to_thread(self.wait, count, seconds)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A client that keeps its connection open must not block a thread forever.
        timeout = 5

        def take(self) -> None:
            length = min(int(self.headers.get("content-length") or 0), BODY_LIMIT)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body, more = receiver.answer(self.command, self.path, headers, self.rfile.read(length))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = take  # noqa: N815, the names that http.server looks for

        def log_message(self, *args: object) -> None:
            """Do nothing, since calls are recorded and passed to `on_call`."""

    return Handler
