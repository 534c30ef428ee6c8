"""The proxy that a Python developer would write first: Starlette, an httpx client, the tag after `<head>`."""

from pathlib import Path

import httpx
import httpx2
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse
from starlette.routing import Route

TAG = Path("tag.html").read_bytes()
SHOP = Path("upstream.txt").read_text()
NOT_FORWARDED = {
    *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    b"accept-encoding",
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Proxy:
    """Forwards with one client of `library`, httpx or its continuation httpx2."""

    def __init__(self, library):
        self.url = library.URL(SHOP)
        limits = library.Limits(max_connections=200, max_keepalive_connections=200)
        self.client = library.AsyncClient(limits=limits, timeout=60, trust_env=False)

    async def forward(self, request):
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        headers = [(k, v) for k, v in request.headers.raw if k not in NOT_FORWARDED]
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        out = self.client.build_request(
            request.method,
            self.url.copy_with(raw_path=target),
            headers=[*headers, (b"accept-encoding", b"identity")],
            content=request.stream() if has_body else None,
        )
        response = await self.client.send(out, stream=True)
        body = response.aiter_raw()
        fields = [(k.lower(), v) for k, v in response.headers.raw if k.lower() not in NOT_FORWARDED]
        if response.headers.get("content-type", "").startswith("text/html") and request.method != "HEAD":
            body = with_tag(body)
            fields = [(k, b"%d" % (int(v) + len(TAG)) if k == b"content-length" else v) for k, v in fields]
        answer = StreamingResponse(body, response.status_code, background=BackgroundTask(response.aclose))
        answer.raw_headers = fields
        return answer


async def with_tag(body):
    done = False
    async for chunk in body:
        if not done and (at := chunk.find(b"<head>")) >= 0:
            done = True
            yield chunk[: at + 6] + TAG + chunk[at + 6 :]
        else:
            yield chunk


def on(library):
    return Starlette(routes=[Route("/{path:path}", Proxy(library).forward, methods=METHODS)])


def on_httpx():
    return on(httpx)


def on_httpx2():
    return on(httpx2)
