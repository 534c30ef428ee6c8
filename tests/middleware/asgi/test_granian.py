"""A server that sends files by their path: granian, around a Starlette app with clew in it."""

import gzip
import socket
import sys
from collections.abc import Iterator

import httpx2
import pytest
from clew.injector.tag import tag
from processes import Program, free_port

PAGE = (
    "<!doctype html><html><head><title>Grüße</title></head><body>" + "<p>Tea</p>" * 20_000 + "</body></html>"
)
EDITED = PAGE.replace("<head>", "<head>" + tag("/-/clew/").decode()).encode()

APP = """
import asyncio
from clew.middleware.asgi.mount import ClewMiddleware
from starlette.applications import Starlette
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import Route

async def file(request):
    by_path = "http.response.pathsend" in request.scope.get("extensions", {})
    return FileResponse("page.html", headers={"x-by-path": str(by_path)})

async def endless(request):
    async def parts():
        yield "<!doctype html><html><head><title>T</title>"
        try:
            while True:
                await asyncio.sleep(0.01)
                yield "<p>more</p>"
        finally:
            print("the client has left", flush=True)
    return StreamingResponse(parts(), media_type="text/html")

app = Starlette(routes=[Route("/page", file), Route("/endless", endless)])
app.add_middleware(ClewMiddleware, settings="clew.toml")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Program]]:
    folder = tmp_path_factory.mktemp("granian")
    (folder / "shop.py").write_text(APP, encoding="utf-8")
    (folder / "page.html").write_text(PAGE, encoding="utf-8")
    settings = 'secret = "env:CLEW_SECRET"\n[[sites]]\nname = "shop"\n'
    (folder / "clew.toml").write_text(settings, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "shop:app"]
    environ = {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB", "PYTHONPATH": str(folder)}
    with Program(command, environ=environ, cwd=folder) as program:
        program.wait_for_port(port)
        yield f"http://127.0.0.1:{port}", program


def client(address: str, **headers: str) -> httpx2.Client:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Client(base_url=address, headers={"accept-encoding": "identity"} | named)


def test_a_file_is_edited_where_a_page_is_wanted(server: tuple[str, Program]) -> None:
    """injection 8.1, 10: the app falls back to bytes."""
    with client(server[0], sec_fetch_dest="document") as browser:
        answer = browser.get("/page")
    assert answer.content == EDITED
    assert answer.headers["x-by-path"] == "False"
    assert answer.headers["content-length"] == str(len(EDITED))


def test_a_file_is_sent_by_its_path_where_no_page_is_wanted(server: tuple[str, Program]) -> None:
    """injection 8.1, 10: and is the shop's own to the last byte."""
    with client(server[0], sec_fetch_dest="empty") as browser:
        answer = browser.get("/page")
    assert answer.content == PAGE.encode()
    assert answer.headers["x-by-path"] == "True"


def test_an_edited_file_is_packed_as_the_client_likes(server: tuple[str, Program]) -> None:
    """injection 4.7, 10."""
    with client(server[0], sec_fetch_dest="document", accept_encoding="gzip") as browser:
        with browser.stream("GET", "/page") as answer:
            packed = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == EDITED


def test_a_disconnect_during_an_edited_page_is_detected(server: tuple[str, Program]) -> None:
    """injection 2.12, 8.9, 10: the page's own code is notified, and the next visitor is not affected."""
    address, program = server
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: shop.test\r\nSec-Fetch-Dest: document\r\n\r\n")
        came = b""
        while tag("/-/clew/") not in came:
            came += connection.recv(65_536)
    program.wait_for_line(lambda line: "the client has left" in line, 20)
    with client(address, sec_fetch_dest="document") as browser:
        assert browser.get("/page").content == EDITED
