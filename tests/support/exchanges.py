"""The exchange without any mount: a site, heads, and everything that comes out for a response."""

from clew.injector.heads import RequestHead, ResponseHead
from clew.middleware.exchange.exchange import Exchange, Forward, Out
from clew.referral.networks_file import load
from clew.service.site import SiteRuntime
from clew.settings.model import Settings

NOW = 1_800_000_000.0
PAGE = b"<!doctype html><html><head><title>T</title></head><body>Hello</body></html>"
AWC = b"awc=1001_1700000000_AbC%3D%7c%2f"


def site(**changes: object) -> SiteRuntime:
    data: dict[str, object] = {
        "name": "shop",
        "hosts": ["shop.example"],
        "partners": [
            {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1001", "api_key": "k"}}
        ],
        "order": {"page": "/thanks*"},
        "debug": True,
    }
    settings = Settings.model_validate({"secret": "s" * 40, "sites": [data | changes]})
    return SiteRuntime(settings, settings.sites[0], load())


def request(path: bytes = b"/", query: bytes = b"", method: str = "GET", **headers: str) -> RequestHead:
    pairs = [(b"host", b"shop.example"), (b"accept", b"text/html"), (b"sec-fetch-dest", b"document")]
    named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    pairs = [p for p in pairs if p[0] not in dict(named)]
    return RequestHead(method, path, query, [*pairs, *named], "https", "shop.example", "192.0.2.1")


def html(status: int = 200, **headers: str) -> ResponseHead:
    pairs = [(b"content-type", b"text/html; charset=utf-8")]
    return ResponseHead(
        status, [*pairs, *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())]
    )


def run(exchange: Exchange, head: ResponseHead, *chunks: bytes) -> Out:
    """Everything that comes out for a whole response."""
    outs = [exchange.response(head), *(exchange.body(c) for c in chunks), exchange.end()]
    heads = [o.head for o in outs if o.head is not None]
    assert len(heads) == 1, "exactly one head goes to the client"
    return Out(heads[0], b"".join(o.body for o in outs))


def navigate(exchange: Exchange, head: RequestHead) -> Forward:
    plan = exchange.request(head)
    assert isinstance(plan, Forward)
    return plan
