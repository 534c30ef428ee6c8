"""A server that is both a shop's pages and clew's API to the browser, with answers that a test can set."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from clew import templates
from playwright.async_api import Page
from playwright.async_api import Request as PageRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PREFIX = "/-/clew/"
TAG = f'<script async src="{PREFIX}l.js" data-clew="1" data-cfasync="false" data-turbo-eval="false"></script>'
PATIENCE = 120.0

SHOW: dict[str, Any] = {
    "action": "show",
    "rule": None,
    "retry_after": None,
    "language": "en",
    "invite": None,
    "widget": {"color": "#1b5e9e", "side": "right", "title": None},
    "conversation": False,
    "unread": 0,
    "online": True,
}
INVITE = SHOW | {
    "action": "invite",
    "rule": "hesitates",
    "invite": {"rule": "hesitates", "text": "May I help you choose?", "question": True},
}
HIDE = SHOW | {"action": "hide"}


def shop_page(body: str = "", head: str = "", title: str = "Shop") -> str:
    """A shop's page with the loader's tag where clew writes it."""
    return (
        f'<!doctype html><html lang="en"><head>{TAG}<meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>{head}</head>'
        f"<body><h1>{title}</h1>{body}</body></html>"
    )


class FakeClew:
    """The received requests and the configured responses. One conversation."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.answer: dict[str, Any] = SHOW
        self.provider: dict[str, Any] = {}
        self.messages: list[dict[str, Any]] = []
        self.state = "none"
        self.retry_after = 0  # seconds that a 429 names; 0 for none
        # Statuses to answer with instead of the real thing, by path below the prefix, in turn; 0 breaks the
        # answer off after the request was carried out.
        self.failures: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.posted: list[dict[str, Any]] = []
        self.called: list[str] = []  # the numbers to be called, and the rules whose code was asked for
        self.streams: list[asyncio.Queue[dict[str, Any] | None]] = []
        self.resumed: list[str | None] = []
        self._known: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Condition()

    def add_page(self, path: str, html: str, **headers: str) -> None:
        """Serve `html` at `path`, with headers named like `content_security_policy`."""
        self.pages[path] = (html, {name.replace("_", "-"): value for name, value in headers.items()})

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something that a request brings about; TimeoutError after thirty seconds."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: bool(holds()))

    async def say(self, text: str, author: str = "agent", agent: str | None = "Anna") -> dict[str, Any]:
        """A message that does not come from this browser."""
        self.state = "open"
        return await self._add(author, agent, text)

    async def break_streams(self) -> None:
        """End every open stream, as a restart does."""
        for queue in self.streams:
            queue.put_nowait(None)

    async def _add(self, author: str, agent: str | None, text: str) -> dict[str, Any]:
        at = 1_767_261_600.0 + 60 * len(self.messages)
        message = {"id": len(self.messages) + 1, "author": author, "agent": agent, "text": text, "at": at}
        self.messages.append(message)
        for queue in self.streams:
            queue.put_nowait(message)
        await self._notify()
        return message

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _handle(self, request: Request) -> Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path}")
        await self._notify()
        if not path.startswith(PREFIX):
            html, headers = self.pages.get(path, (shop_page(), {}))
            return Response(html, media_type="text/html", headers=headers)
        name = path.removeprefix(PREFIX)
        key = name if request.method == "GET" else f"{request.method} {name}"
        failing = self.failures.get(key)
        status = failing.pop(0) if failing else None
        if status:
            later = {"Retry-After": str(self.retry_after)} if status == 429 and self.retry_after else {}
            return JSONResponse({"error": "not now"}, status, later)
        response = (
            await self._routes[key](self, request) if key in self._routes else Response(status_code=404)
        )
        await self._notify()
        return _broken() if status == 0 else response

    async def _script(self, request: Request) -> Response:
        loader = request.url.path.endswith("l.js")
        script = templates.loader() if loader else templates.widget(templates.language(request.url.query))
        headers = {"etag": script.etag, "x-content-type-options": "nosniff", "cache-control": "no-cache"}
        return Response(script.body, media_type="text/javascript", headers=headers)

    async def _menu(self, request: Request) -> Response:
        return Response(
            templates.menu_script(templates.language(request.url.query)).body, media_type="text/javascript"
        )

    async def _actions(self, request: Request) -> Response:
        script = templates.actions_script(templates.language(request.url.query))
        return Response(script.body, media_type="text/javascript")

    async def _callback(self, request: Request) -> Response:
        async with request.form() as fields:
            self.called.append(str(fields["phone"]))
        return Response("<!doctype html>", 422 if self.called[-1] == "12" else 200, media_type="text/html")

    async def _coupon(self, request: Request) -> Response:
        body = await request.json()
        self.called.append(body["rule"])
        return JSONResponse({"code": "SUMMER-7", "label": "10 % off", "link": "/-/clew/o/x"})

    async def _provider(self, request: Request) -> Response:
        return Response(templates.provider_script(self.provider).body, media_type="text/javascript")

    async def _decide(self, request: Request) -> Response:
        self.asked.append(await request.json())
        return JSONResponse(self.answer)

    async def _event(self, request: Request) -> Response:
        self.events.append(await request.json())
        return Response(status_code=204)

    async def _post(self, request: Request) -> Response:
        body = await request.json()
        self.posted.append(body)
        known = self._known.get(body["client_id"])
        if known is None:
            self.state = "open"
            known = self._known[body["client_id"]] = await self._add("visitor", None, body["text"])
            return JSONResponse({"id": known["id"], "at": known["at"]}, 201)
        return JSONResponse({"id": known["id"], "at": known["at"]})

    async def _history(self, request: Request) -> Response:
        after = int(request.query_params.get("after", "0"))
        messages = [message for message in self.messages if int(message["id"]) > after]
        return JSONResponse({"messages": messages, "state": self.state})

    async def _stream(self, request: Request) -> Response:
        resumed = request.headers.get("last-event-id")
        self.resumed.append(resumed)
        after = int(resumed or request.query_params.get("after", "0"))
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        for message in self.messages:
            if int(message["id"]) > after:
                queue.put_nowait(message)
        self.streams.append(queue)
        return StreamingResponse(self._events(queue), media_type="text/event-stream")

    async def _events(self, queue: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[str]:
        try:
            yield "retry: 100\n\n"
            while (message := await queue.get()) is not None:
                yield f"id: {message['id']}\nevent: message\ndata: {json.dumps(message)}\n\n"
        finally:
            self.streams.remove(queue)
            await self._notify()

    _routes: dict[str, Callable[["FakeClew", Request], Awaitable[Response]]] = {  # noqa: RUF012
        "a.js": _actions,
        "l.js": _script,
        "w.js": _script,
        "m.js": _menu,
        "p.js": _provider,
        "POST callback": _callback,
        "POST coupon": _coupon,
        "POST decide": _decide,
        "POST events": _event,
        "POST messages": _post,
        "messages": _history,
        "stream": _stream,
    }


def _broken() -> Response:
    # A length that the body does not keep: the browser's fetch fails, after the server has done its work.
    return Response(b"{", headers={"content-length": "9"}, media_type="application/json")


@asynccontextmanager
async def serving(clew: FakeClew) -> AsyncIterator[FakeClew]:
    """Serve it on a port of its own, in the running loop."""
    app = Starlette(routes=[Route("/{path:path}", clew._handle, methods=["GET", "POST"])])
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clew.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield clew
        finally:
            server.should_exit = True
            await clew.break_streams()
            await running


async def look_away(page: Page, away: bool = True) -> None:
    """Hide a page as a change of tabs does, which headless pages never undergo; or show it again."""
    state = "hidden" if away else "visible"
    await page.evaluate(
        """state => {
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


async def pass_time(page: Page, holds: Callable[[], object]) -> None:
    """Let the page's installed clock run until something holds; TimeoutError after three of its minutes."""
    under_way: set[PageRequest] = set()
    answered = asyncio.Event()

    def sent(request: PageRequest) -> None:
        under_way.add(request)

    def done(request: PageRequest) -> None:
        under_way.discard(request)
        answered.set()

    listeners = {"request": sent, "requestfinished": done, "requestfailed": done}
    for name, listener in listeners.items():
        page.on(name, listener)  # type: ignore[call-overload]
    try:
        for _ in range(180):
            if holds():
                return
            await page.clock.run_for(1000)
            await settled(page)
            # The clock stands while an answer is on its way: else the machine's speed would count as waiting.
            while any(r.url.endswith("decide") for r in under_way):
                answered.clear()
                await asyncio.wait_for(answered.wait(), 60)
            await page.evaluate("0")
        raise TimeoutError
    finally:
        for name, listener in listeners.items():
            page.remove_listener(name, listener)


async def settled(page: Page) -> None:
    """Wait until the requests that the page has sent so far have come in."""
    await page.evaluate(f"fetch('{PREFIX}messages?after=999')")
