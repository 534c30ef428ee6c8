"""Behind an untrusted proxy: its report of the client is dropped, which is reported."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings
from raw_http import Client, Shop, answering, get, serving
from structlog.testing import capture_logs

PAGE = b"<!doctype html><html><head></head><body>Tea</body></html>"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
TLS = b"X-Forwarded-Proto: https"


async def reports_of(folder: Path, *asked: bytes, **changes: Any) -> list[Any]:
    database = f"sqlite:{folder / 'clew.db'}"
    async with Shop(answering(HTML)) as shop:
        site = {"name": "shop", "hosts": ["shop.example"], "upstream": shop.url}
        proxy = ReverseProxy(
            Settings.model_validate(
                {"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]} | changes
            )
        )
        with capture_logs() as logs:
            async with serving(proxy, lifespan="on") as port, Client(port) as client:
                for request in asked:
                    assert (await client.ask(request)).status == 200
    return [line for line in logs if line["event"] == "proxy_untrusted"]


@pytest.mark.parametrize(
    ("lines", "header"),
    [
        pytest.param([TLS], "X-Forwarded-Proto", id="field G11"),
        pytest.param([b"X-Forwarded-For: 192.0.2.1"], "X-Forwarded-For", id="field G11: the client alone"),
        pytest.param([b"Forwarded: for=192.0.2.1;proto=https"], "Forwarded", id="field G11: RFC 7239"),
        pytest.param([TLS, b"A: 1", b"A: 2"], "X-Forwarded-Proto", id="field G11: with a field twice"),
    ],
)
async def test_it_is_reported_once_with_the_setting_to_write(
    tmp_path: Path, lines: list[bytes], header: str
) -> None:
    request = get(b"/", b"Accept: text/html", *lines)
    (line,) = await reports_of(tmp_path, request, request)
    assert (line["header"], line["peer"], line["site"]) == (header, "127.0.0.1", "shop")
    assert line["setting"] == 'trusted_proxies = ["127.0.0.1"]'
    assert line["log_level"] == "warning"


async def test_a_trusted_proxy_and_a_direct_visitor_cause_no_event(tmp_path: Path) -> None:
    """field G11"""
    assert await reports_of(tmp_path, get(b"/", b"Accept: text/html")) == []
    trusted = {"trusted_proxies": ["127.0.0.1/32"]}
    assert await reports_of(tmp_path, get(b"/", b"Accept: text/html", TLS), **trusted) == []


async def test_a_proxy_without_forwarded_proto_is_reported_too(tmp_path: Path) -> None:
    """field G11: the page's own origin is https, but the request is http"""
    database = f"sqlite:{tmp_path / 'clew.db'}"
    site = {"name": "shop", "hosts": ["shop.example"], "upstream": "http://127.0.0.1:9"}
    proxy = ReverseProxy(
        Settings.model_validate({"secret": "s" * 40, "store": database, "ledger": database, "sites": [site]})
    )
    with capture_logs() as logs:
        async with serving(proxy, lifespan="on") as port, httpx2.AsyncClient() as client:
            answer = await client.post(
                f"http://127.0.0.1:{port}/-/clew/decide",
                headers={"Host": "shop.example", "Origin": "https://shop.example"},
                json={"url": "https://shop.example/"},
            )
            assert answer.status_code == 200
    (line,) = [line for line in logs if line["event"] == "proxy_untrusted"]
    assert (line["peer"], line["setting"]) == ("127.0.0.1", 'trusted_proxies = ["127.0.0.1"]')
