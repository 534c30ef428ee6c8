"""Everything below the prefix is clew's own and the desk's cookies are the desk's own, in every mount and for
every kind of request. The mount for mitmproxy is tried in `test_mitm`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.middleware.asgi.mount import ClewMiddleware
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from raw_http import OK, Client, Shop, answering, get, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

SECRET = b"clew_desk=hTp3xSessionToken"
HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html")


def settings(folder: Path, **site: Any) -> Settings:
    database = f"sqlite:{folder / 'clew.db'}"
    sites = [{"name": "shop", "hosts": ["shop.example", "127.0.0.1"], **site}]
    values = {"secret": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB", "sites": sites}
    return Settings.model_validate({**values, "store": database, "ledger": database})


class App:
    """A shop behind the ASGI mount that keeps every scope it gets."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    @property
    def cookies(self) -> list[list[bytes]]:
        return [[v for k, v in scope["headers"] if k == b"cookie"] for scope in self.scopes]


@asynccontextmanager
async def proxied(folder: Path, **site: Any) -> AsyncIterator[tuple[int, Shop]]:
    async with (
        Shop(answering(OK)) as shop,
        serving(ReverseProxy(settings(folder, upstream=shop.url, **site)), lifespan="on") as port,
    ):
        yield port, shop


@asynccontextmanager
async def mounted(folder: Path, **site: Any) -> AsyncIterator[tuple[int, App]]:
    app = App()
    async with serving(ClewMiddleware(app, settings(folder, **site)), lifespan="on") as port:
        yield port, app


KINDS = [
    pytest.param("GET", (), id="GET"),
    pytest.param("POST", (b"Content-Length: 0",), id="POST"),
    pytest.param("OPTIONS", (), id="OPTIONS"),
    pytest.param("PROPFIND", (), id="PROPFIND"),
    pytest.param("GET", (b"Connection: Upgrade", b"Upgrade: h2c"), id="h2c"),
    pytest.param("GET", HANDSHAKE, id="websocket"),
    pytest.param("GET", (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: foo"), id="upgrade"),
]
TARGETS = [b"/-/clew/desk/x", b"/-/clew", b"/-/clew/", b"/-/clew/desk%2f..%2f..%2fx", b"/-/clew//../../x?y=1"]


@pytest.mark.parametrize("mount", [proxied, mounted])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("method", "lines"), KINDS)
async def test_nothing_below_the_prefix_reaches_the_shop(
    tmp_path: Path, mount: Any, method: str, lines: tuple[bytes, ...], target: bytes
) -> None:
    """field E1"""
    request = get(target, *lines).replace(b"GET", method.encode(), 1)
    async with mount(tmp_path) as (port, shop):
        async with Client(port) as client:
            answer = await client.ask(request, method)
        assert answer.status in (404, 405)
        if lines is HANDSHAKE:
            assert answer.status == 404
        assert not (shop.scopes if isinstance(shop, App) else shop.requests)


@pytest.mark.parametrize("mount", [proxied, mounted])
async def test_a_handshake_below_the_prefix_is_answered_404_by_a_browsers_library(
    tmp_path: Path, mount: Any
) -> None:
    """field E1: `new WebSocket('/-/clew/desk/x')` with the agent's cookie"""
    async with mount(tmp_path) as (port, shop):
        with pytest.raises(InvalidStatus) as refused:
            await connect(
                f"ws://127.0.0.1:{port}/-/clew/desk/x",
                proxy=None,
                additional_headers=[("Cookie", SECRET.decode())],
            )
        assert refused.value.response.status_code == 404
        assert not (shop.scopes if isinstance(shop, App) else shop.requests)


COOKIES = [
    (SECRET, []),
    (b"a=1; " + SECRET, [b"a=1"]),
    (SECRET + b'; a=1; b="x y"', [b'a=1; b="x y"']),
    (b"a=1;" + SECRET + b";  b=2;c", [b"a=1;  b=2;c"]),
    (b"a=1; clew_desk_login=x; __Host-clew_desk=y; __Secure-clew_desk=z; b=2", [b"a=1; b=2"]),
    (b"a=1; \tclew_desk =x; CLEW_DESK=y", [b"a=1"]),
    (b"clew_visitor=v; clew=1; my_clew_desk=2", [b"clew_visitor=v; clew=1; my_clew_desk=2"]),
]
REQUESTS = [
    pytest.param(b"/page", NAVIGATION, id="navigation"),
    pytest.param(b"/a.png", (b"Sec-Fetch-Dest: image",), id="image"),
    pytest.param(b"/%2d/clew/desk/", NAVIGATION, id="nearly ours"),
    pytest.param(b"/page?gclid=abc123", NAVIGATION, id="landing"),
    pytest.param(b"/socket", HANDSHAKE, id="websocket"),
    pytest.param(b"/page", (b"Connection: Upgrade", b"Upgrade: h2c"), id="h2c"),
]


@pytest.mark.parametrize("mount", [proxied, mounted])
@pytest.mark.parametrize(("target", "lines"), REQUESTS)
async def test_the_shop_never_gets_a_cookie_of_the_desk(
    tmp_path: Path, mount: Any, target: bytes, lines: tuple[bytes, ...]
) -> None:
    """field E1"""
    async with mount(tmp_path) as (port, shop):
        for sent, arrives in COOKIES:
            async with Client(port) as client:
                client.writer.write(get(target, b"Cookie: " + sent, *lines))
                await client.head()
            last = shop.cookies[-1] if isinstance(shop, App) else shop.requests[-1].all("cookie")
            assert last == arrives, sent


async def test_two_cookie_fields_are_each_cleaned(tmp_path: Path) -> None:
    """field E1: HTTP/2 clients send a field for each cookie"""
    async with mounted(tmp_path) as (port, app):
        async with Client(port) as client:
            await client.ask(get(b"/", b"Cookie: a=1", b"Cookie: " + SECRET, b"Cookie: b=2"))
        assert app.cookies == [[b"a=1", b"b=2"]]


async def test_a_host_that_no_site_has_gets_neither_prefix_nor_cookies(tmp_path: Path) -> None:
    """field E1"""
    async with mounted(tmp_path, hosts=["tea.example"]) as (port, app):
        async with Client(port) as client:
            assert (await client.ask(get(b"/-/clew/desk/", b"Cookie: " + SECRET))).status == 421
            assert (await client.ask(get(b"/", b"Cookie: " + SECRET))).status == 200
        assert app.cookies == [[]]


def asked(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example"), (b"cookie", SECRET)],
        "scheme": "http",
        "client": ("203.0.113.9", 5000),
        **changes,
    }


async def statuses(mount: ClewMiddleware, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect" if scope["type"] == "websocket" else "http.request"}

    await mount(scope, receive, send)
    return [m.get("status", m["type"]) for m in sent if not m["type"].endswith("body")]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        pytest.param(None, "/-/clew/desk/x", id="a server without raw_path"),
        pytest.param(b"http://shop.example/-/clew/desk/x", "/-/clew/desk/x", id="a target in absolute form"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_prefix_is_matched_with_any_servers_scope(
    tmp_path: Path, kind: str, raw: bytes | None, path: str
) -> None:
    """field E1"""
    app = App()
    mount = ClewMiddleware(app, settings(tmp_path))
    try:
        found = await statuses(mount, asked(type=kind, raw_path=raw, path=path))
        # Without the extension for denials a server knows one refusal only: 403.
        assert found == ([404] if kind == "http" else ["websocket.close"])
        assert not app.scopes
    finally:
        await mount.service.stop()


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_while_clew_cannot_start_the_prefix_and_the_cookies_stay_its_own(
    tmp_path: Path, kind: str
) -> None:
    """field E1"""
    app = App()
    broken = settings(tmp_path).model_copy(update={"ledger": f"sqlite:{tmp_path / 'none' / 'clew.db'}"})
    mount = ClewMiddleware(app, broken)
    found = await statuses(mount, asked(type=kind, raw_path=b"/-/clew/desk/", path="/-/clew/desk/"))
    assert found == ([503] if kind == "http" else ["websocket.close"])
    assert not app.scopes
    await statuses(mount, asked(type=kind))
    assert app.cookies == [[]]


@pytest.mark.parametrize("mount", [proxied, mounted])
async def test_own_pages_require_exactly_one_valid_host(tmp_path: Path, mount: Any) -> None:
    """field E23: two Host headers, or one that is no host"""
    async with mount(tmp_path, hosts=[]) as (port, _), Client(port) as client:
        health = get(b"/-/clew/health")
        assert (await client.ask(health)).status == 200
        twice = health.replace(b"\r\n\r\n", b"\r\nHost: other.example\r\n\r\n")
        assert (await client.ask(twice)).status == 400
    async with mount(tmp_path, hosts=[]) as (port, _), Client(port) as client:
        answer = await client.ask(b"GET /-/clew/health HTTP/1.1\r\nHost: a;script-src *\r\n\r\n")
        assert answer.status == 400


async def test_a_connection_is_kept_after_a_refused_handshake(tmp_path: Path) -> None:
    async with mounted(tmp_path) as (port, _):
        answers = await asyncio.gather(*(_handshake(port) for _ in range(3)))
    assert answers == [404, 404, 404]


async def _handshake(port: int) -> int:
    async with Client(port) as client:
        return (await client.ask(get(b"/-/clew/desk/x", *HANDSHAKE))).status


async def test_an_app_below_a_path_names_it_in_the_prefix(tmp_path: Path) -> None:
    """field E1: a proxy takes `/app` away, and the server puts it before the path again (ASGI's root_path)"""
    app = App()
    mount = ClewMiddleware(app, settings(tmp_path, prefix="/app/-/clew/"))
    async with serving(mount, lifespan="on", root_path="/app") as port, Client(port) as client:
        assert (await client.ask(get(b"/-/clew/health"))).body == b"ok\n"
        assert not app.scopes
        assert (await client.ask(get(b"/tea"))).body == b"ok"
        assert (await client.ask(get(b"/-/clew/desk/x", *HANDSHAKE))).status == 404
        assert [scope["path"] for scope in app.scopes] == ["/app/tea"]
