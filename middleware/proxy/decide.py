"""`decide`, which each page view asks, answered beside ASGI: what a server makes for an ASGI app costs as
much as the decision.

Only the usual request is answered here, as the loader sends it from a browser of our day. Whatever is unusual
in its head (no length, another origin or type, an upgrade, a repeated field) goes through ASGI like all other
requests below the prefix, and is checked there. `desk/api/decide.py` reads the body and decides for both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ...desk.api.decide import HEADERS, decide
from ...desk.context import RequestContext
from ...desk.guard import BODY_LIMIT, BODY_SECONDS, NO_STORE, Refused, is_own_json, refusal
from ...service.decisions import Answer
from ...service.origin import is_host
from ..http.handler import ClientConnection, RequestHandler
from ..http.pages import closing, date

_FIELDS = b"".join(b"%b: %b\r\n" % pair for pair in HEADERS)
_UNUSUAL = frozenset({b"expect", b"service-worker", b"transfer-encoding", b"upgrade"})


def usual_fields(scope: Mapping[str, Any]) -> Mapping[bytes, bytes] | None:
    """The fields of a usual request by name; None where something about its head is not usual."""
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    fields = dict(headers)
    length = fields.get(b"content-length", b"")
    if (
        scope["method"] != "POST"
        or scope["http_version"] != "1.1"
        or not is_own_json(fields)
        or not (length.isdigit() and len(length) <= 6 and int(length) <= BODY_LIMIT)
        or not _UNUSUAL.isdisjoint(fields)
        or not is_host(fields.get(b"host", b""))
        or len(fields) != len(headers)
    ):
        return None
    return fields


class DecideRequest(RequestHandler):
    """One request. `notify` is called with the status at the end (0: there was no answer)."""

    _started = False
    _complete = False
    _status = 0
    _timer: asyncio.TimerHandle | None = None
    _task: asyncio.Task[None] | None = None

    def __init__(
        self,
        client: ClientConnection,
        at: RequestContext,
        scope: Mapping[str, Any],
        fields: Mapping[bytes, bytes],
        *,
        keep_alive: bool,
        notify: Callable[[int], None] | None,
    ) -> None:
        self.client = client
        self.keep_alive = keep_alive
        self._at = at
        self._scope = scope
        self._fields = fields
        self._notify = notify
        self._body = b""

    @property
    def more_body(self) -> bool:
        """Whether some of the request's body has not come yet."""
        return not self._complete

    def start(self) -> None:
        """Begin: the answers to earlier requests are out."""
        self._started = True
        if self._complete:
            self._decide()
        else:
            self._timer = self.client.loop.call_later(BODY_SECONDS, self._body_late)

    def body_received(self, data: bytes) -> None:
        """A piece of the body; the server lets no more come than the head has announced."""
        self._body += data

    def body_complete(self) -> None:
        """The body is complete."""
        self._complete = True
        if self._started and not self.response_complete:
            self._decide()

    def body_malformed(self) -> None:
        """What came is no body: no more of it will come."""
        self._end(closing(b"HTTP/1.1 400 Bad Request\r\n"), 400, close=True)

    def client_ready(self) -> None:
        """An answer is written at once."""

    def client_gone(self) -> None:
        """The client has left; what it asked is decided to its end."""
        self.disconnected = True
        if self._task is None:
            self._close()

    def _body_late(self) -> None:
        self.keep_alive = False
        self._refuse(Refused(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds"))

    def _decide(self) -> None:
        if self.disconnected:
            return
        try:
            found = decide(self._at, self._scope, self._fields, self._body)
        except Refused as refused:
            self._refuse(refused)
        except Exception as error:
            self._fail(error)
        else:
            if isinstance(found, Answer):
                self._answer(found)
            else:
                self._task = self.client.loop.create_task(self._decide_later(found))

    async def _decide_later(self, found: Awaitable[Answer]) -> None:
        try:
            answer = await found
        except Refused as refused:
            self._refuse(refused)
        except Exception as error:
            self._fail(error)
        else:
            self._answer(answer)

    def _fail(self, error: Exception) -> None:
        at = self._at
        at.service.events.emit("fault", site=at.site.name, where=f"{at.root}/decide", error=repr(error))
        self._respond(JSONResponse({"error": "something failed here; it was noted"}, 500, headers=NO_STORE))

    def _refuse(self, refused: Refused) -> None:
        self._respond(refusal(refused))

    def _respond(self, response: Response) -> None:
        fields = b"".join(b"%b: %b\r\n" % pair for pair in response.raw_headers)
        self._write(response.status_code, STATUS_LINE[response.status_code], fields, bytes(response.body))

    def _answer(self, answer: Answer) -> None:
        cookies = b""
        if answer.set_cookies:
            cookies = b"".join([b"set-cookie: %b\r\n" % cookie for cookie in answer.set_cookies])
        fields = b"content-length: %d\r\n%b%b" % (len(answer.body), _FIELDS, cookies)
        self._write(200, b"HTTP/1.1 200 OK\r\n", fields, answer.body)

    def _write(self, status: int, line: bytes, fields: bytes, body: bytes) -> None:
        last = b"" if self.keep_alive else b"connection: close\r\n"
        self._end(
            b"%bdate: %b\r\n%b%b\r\n%b" % (line, date()[1], fields, last, body),
            status,
            close=not self.keep_alive,
        )

    def _end(self, data: bytes, status: int, *, close: bool) -> None:
        """Write the whole answer, unless there was one or the client has left."""
        if self.response_complete:
            return
        self.response_complete = True
        if not self.disconnected and not self.client.transport.is_closing():
            self._status = status
            self.client.transport.write(data)
        self._close()
        if self.disconnected:
            return
        if close:
            self.client.end()
        self.client.on_response_complete()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        notify, self._notify = self._notify, None
        if notify is not None:
            notify(self._status)
