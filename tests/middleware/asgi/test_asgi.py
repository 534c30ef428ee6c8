"""The ASGI mount around apps that know nothing of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.injector.tag import tag
from clew.middleware.asgi.mount import ClewMiddleware
from clew.settings.model import Settings
from fastapi import FastAPI
from fastapi.responses import HTMLResponse as FastHTML
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from starlette.routing import Route

PAGE = "<!doctype html><html><head><title>Grüße</title></head><body>Hello</body></html>"
EDITED = PAGE.replace("<head>", "<head>" + tag("/-/clew/").decode())


def settings(folder: Path, **changes: object) -> Settings:
    database = f"sqlite:{folder / 'clew.db'}"
    site = {
        "name": "shop",
        "partners": [{"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"}],
    }
    return Settings.model_validate(
        {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site | changes]}
    )


def shop(folder: Path) -> Starlette:
    (folder / "page.html").write_text(PAGE, encoding="utf-8")

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def landing(_: Request) -> RedirectResponse:
        return RedirectResponse("/", 302)

    async def api(request: Request) -> JSONResponse:
        return JSONResponse({"accept-encoding": request.headers.get("accept-encoding")})

    async def slow(_: Request) -> StreamingResponse:
        async def parts() -> Any:
            for letter in PAGE:
                yield letter

        return StreamingResponse(parts(), media_type="text/html")

    async def file(_: Request) -> FileResponse:
        return FileResponse(folder / "page.html")

    routes = [
        Route("/", page),
        Route("/go", landing),
        Route("/api", api),
        Route("/slow", slow),
        Route("/file", file),
    ]
    return Starlette(routes=routes)


def client(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="https://shop.example",
        headers={"accept-encoding": "identity"},
    )


@pytest.fixture
async def around(tmp_path: Path) -> Any:
    """Wraps an app, and stops what was wrapped."""
    wrapped: list[ClewMiddleware] = []

    def wrap(app: Any, **changes: object) -> ClewMiddleware:
        wrapped.append(ClewMiddleware(app, settings(tmp_path, **changes)))
        return wrapped[-1]

    yield wrap
    for middleware in wrapped:
        await middleware.service.stop()


Wrap = Callable[..., ClewMiddleware]


@pytest.mark.parametrize("path", ["/", "/slow", "/file"])
async def test_a_starlette_page_gets_the_tag(around: Wrap, tmp_path: Path, path: str) -> None:
    async with client(around(shop(tmp_path))) as browser:
        assert (await browser.get(path)).text == EDITED


async def test_a_fastapi_page_gets_the_tag(around: Wrap) -> None:
    app = FastAPI()

    @app.get("/", response_class=FastHTML)
    async def page() -> str:
        return PAGE

    async with client(around(app)) as browser:
        assert (await browser.get("/")).text == EDITED


async def test_add_middleware_reads_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "clew.toml"
    file.write_text(
        'secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"\n[[sites]]\nname = "shop"\n', encoding="utf-8"
    )
    app = shop(tmp_path)
    app.add_middleware(ClewMiddleware, settings=file)
    async with client(app) as browser:
        assert (await browser.get("/")).text == EDITED
    inner = app.middleware_stack
    while not isinstance(inner, ClewMiddleware):
        inner = inner.app  # type: ignore[union-attr]
    await inner.service.stop()


async def test_the_touch_is_kept_on_a_redirecting_landing_page(around: Wrap, tmp_path: Path) -> None:
    app = around(shop(tmp_path))
    async with client(app) as browser:
        landed = await browser.get("/go?ref=A%2Fb+c%25")
    assert landed.status_code == 302
    known = app.service.sites["shop"].cookie.read([landed.headers["set-cookie"].partition(";")[0].encode()])
    assert known is not None
    assert known.touches[0].clicks[0].value == "A/b+c%"
    assert await app.service.visits.get("shop", known.visitor) is None
    async with client(app) as browser:
        cookie = {"cookie": landed.headers["set-cookie"].partition(";")[0]}
        await browser.get("/go?ref=another", headers=cookie)
    visitor = await app.service.visits.get("shop", known.visitor)
    assert [touch.clicks[0].value for touch in visitor.touches] == ["A/b+c%", "another"]


async def test_other_requests_and_responses_are_unchanged(around: Wrap, tmp_path: Path) -> None:
    async with client(around(shop(tmp_path))) as browser:
        answer = await browser.get(
            "/api", headers={"sec-fetch-dest": "empty", "accept-encoding": "gzip;q=0.5"}
        )
    assert answer.json() == {"accept-encoding": "gzip;q=0.5"}
    assert "set-cookie" not in answer.headers


async def test_other_requests_get_the_servers_own_scope_receive_and_send(around: Wrap) -> None:
    seen: list[tuple[object, object]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((receive, send))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        raise AssertionError

    async def send(_: Any) -> None:
        return None

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/a.png",
        "raw_path": b"/a.png",
        "query_string": b"",
        "headers": [(b"host", b"shop.example"), (b"sec-fetch-dest", b"image")],
        "scheme": "http",
        "client": ("192.0.2.1", 1),
    }
    await around(app)(scope, receive, send)
    assert seen == [(receive, send)]


async def test_pathsend_is_not_offered_if_the_response_may_be_a_page(around: Wrap) -> None:
    extensions: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        extensions.update(scope["extensions"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def send(_: Any) -> None:
        return None

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example")],
        "scheme": "http",
        "client": None,
        "extensions": {"http.response.pathsend": {}, "http.response.trailers": {}},
    }
    await around(app)(scope, None, send)
    assert extensions == {"http.response.trailers": {}}


async def test_work_after_the_response_neither_delays_it_nor_is_lost(around: Wrap) -> None:
    """injection 2.14."""
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def later() -> None:
        await may_end.wait()
        ended.set()

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE, background=BackgroundTask(later))

    app = around(Starlette(routes=[Route("/", page)]))
    sent: list[Any] = []
    whole = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            whole.set()

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop.example")],
        "scheme": "http",
        "client": None,
    }
    task = asyncio.create_task(app(scope, receive, send))
    await asyncio.wait_for(whole.wait(), 60)
    assert not ended.is_set()
    may_end.set()
    await task
    assert ended.is_set()


async def test_an_app_that_fails_before_it_responds_fails_as_without_clew(around: Wrap) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        async with client(around(app)) as browser:
            await browser.get("/")


async def test_a_shop_is_served_without_clew_if_the_ledger_cannot_be_opened(tmp_path: Path) -> None:
    broken = settings(tmp_path).model_copy(
        update={"ledger": f"sqlite:{tmp_path / 'no' / 'such' / 'clew.db'}"}
    )
    app = ClewMiddleware(shop(tmp_path), broken)
    async with client(app) as browser:
        assert (await browser.get("/")).text == PAGE


async def lifespan(app: Any) -> list[str]:
    """What an app answers to a start and a stop."""
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    answers: list[str] = []

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None:
        answers.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return answers


async def refuses_lifespan(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("only HTTP")


async def returns_at_once(scope: Any, receive: Any, send: Any) -> None:
    return None


async def refuses_after_reading(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("only HTTP")


@pytest.mark.parametrize("app", [Starlette(), refuses_lifespan, returns_at_once, refuses_after_reading])
async def test_clew_starts_and_stops_with_any_app(tmp_path: Path, app: Any) -> None:
    wrapped = ClewMiddleware(app, settings(tmp_path))
    assert await lifespan(wrapped) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not wrapped.service.ready


async def test_a_ledger_that_cannot_be_opened_stops_the_start_with_the_reason(tmp_path: Path) -> None:
    broken = settings(tmp_path).model_copy(update={"ledger": f"sqlite:{tmp_path / 'no' / 'clew.db'}"})
    answers: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        answers.append(message)

    app = ClewMiddleware(Starlette(), broken, strict=True)
    with pytest.raises(Exception, match="unable to open"):
        await app({"type": "lifespan", "state": {}}, receive, send)
    assert answers[0]["type"] == "lifespan.startup.failed"
    assert "unable to open" in answers[0]["message"]
