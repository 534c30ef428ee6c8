"""A Starlette shop with one page of 100 KB: alone, with clew, and with the same edit by BeautifulSoup."""

from pathlib import Path

from bs4 import BeautifulSoup
from clew import ClewMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route

PAGE = Path("www/page.html").read_text(encoding="ascii")
TAG = Path("tag.html").read_text(encoding="ascii")


async def page(request):
    return HTMLResponse(PAGE)


class SoupMiddleware:
    """Buffers a page, parses it, inserts the script into its head, and serializes it."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, chunks = None, []

        async def buffer(message):
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(chunks)
                headers = [(k, v) for k, v in start["headers"] if k != b"content-length"]
                if any(k == b"content-type" and v.startswith(b"text/html") for k, v in headers):
                    body = edited(body)
                headers.append((b"content-length", b"%d" % len(body)))
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, buffer)


def edited(body):
    soup = BeautifulSoup(body, "html.parser")
    soup.head.insert(0, BeautifulSoup(TAG, "html.parser").script)
    return soup.encode("utf-8")


def shop(*middleware):
    return Starlette(routes=[Route("/page.html", page)], middleware=middleware)


def plain():
    return shop()


def with_clew():
    return shop(Middleware(ClewMiddleware, settings="clew.toml"))


def with_soup():
    return shop(Middleware(SoupMiddleware))
