"""`decide` as `clew serve` answers it beside ASGI: the same answers, checks and events as by the mount."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.middleware.proxy import decide
from clew.middleware.proxy.mount import ReverseProxy
from clew.service import sites
from clew.settings.model import Settings
from raw_http import Client, get, serving
from structlog.testing import capture_logs

BODY = json.dumps(
    {"view": "view-number-1", "url": "http://shop.example/mug?gclid=abc123456", "language": "de"}
)
OWN = (b"Sec-Fetch-Site: same-origin", b"Content-Type: application/json")


def build(folder: Path, **changes: Any) -> ReverseProxy:
    site = {"name": "shop", "hosts": ["shop.example"], "upstream": "http://127.0.0.1:9"}
    settings = {
        "secret": "an-unlikely-secret-0123456789-ABCDEF",
        "store": f"sqlite:{folder / 'visits.db'}",
        "ledger": f"sqlite:{folder / 'ledger.db'}",
        "sites": [site],
    }
    return ReverseProxy(Settings.model_validate(settings | changes))


@asynccontextmanager
async def opened(proxy: ReverseProxy) -> AsyncIterator[Client]:
    async with serving(proxy, lifespan="on") as port, Client(port) as client:
        yield client


def post(body: str | bytes = BODY, *lines: bytes, version: bytes = b"1.1") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    fields = (b"Host: shop.example", *(lines or OWN), b"Content-Length: %d" % len(data))
    return b"POST /-/clew/decide HTTP/%b\r\n%b\r\n\r\n%b" % (version, b"\r\n".join(fields), data)


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses that were answered beside ASGI."""
    found: list[int] = []
    end = decide.DecideRequest._end

    def noting(self: decide.DecideRequest, data: bytes, status: int, *, close: bool) -> None:
        found.append(status)
        end(self, data, status, close=close)

    monkeypatch.setattr(decide.DecideRequest, "_end", noting)
    return found


def plain(headers: Any) -> set[tuple[bytes, bytes]]:
    """The headers, without the time and the sealed part of the cookie."""
    pairs = {(name.lower(), value) for name, value in headers if name.lower() != b"date"}
    return {(n, v.partition(b"=")[0] + v[v.index(b";") :] if n == b"set-cookie" else v) for n, v in pairs}


async def test_it_answers_as_the_mount_does(tmp_path: Path, handled: list[int]) -> None:
    proxy = build(tmp_path)
    with capture_logs() as logs:
        async with opened(proxy) as client:
            answer = await client.ask(post())
            transport = httpx2.ASGITransport(app=proxy, client=("127.0.0.1", 50000))
            async with httpx2.AsyncClient(transport=transport, base_url="http://shop.example") as mounted:
                other = await mounted.post(
                    "/-/clew/decide",
                    content=BODY,
                    headers={"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"},
                )
    assert (answer.status, other.status_code, handled) == (200, 200, [200])
    assert json.loads(answer.body) == other.json()
    assert plain(answer.headers) == plain(other.headers.raw)
    told = [line["event"] for line in logs if line["event"] in ("touch", "decision")]
    assert told == ["touch", "decision"] * 2


async def test_at_a_site_whose_rules_are_being_compiled_it_waits_for_them(
    tmp_path: Path, handled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is wrong with a body is then told as ever."""
    monkeypatch.setattr(sites, "MANY_RULES", 0)
    site = {"name": "shop", "hosts": ["shop.example"], "upstream": "http://127.0.0.1:9"}
    proxy = build(tmp_path, sites=[{**site, "rules": [{"name": "hides", "action": "hide"}]}])
    async with opened(proxy) as client:
        for body, status in ((BODY, 200), ("{", 400)):
            proxy.service.sites._compiled.clear()
            answer = await client.ask(post(body))
            assert answer.status == status
            if status == 200:
                assert json.loads(answer.body)["rule"] == "hides"
        assert proxy.service.sites["shop"].ready
    assert handled == [200, 400]


async def test_a_visitor_whose_cookie_comes_back_is_stored(tmp_path: Path, handled: list[int]) -> None:
    proxy = build(tmp_path)
    async with opened(proxy) as client:
        first = await client.ask(post())
        cookie = next(v for n, v in first.headers if n.lower() == b"set-cookie" and v.startswith(b"clew_"))
        again = post(BODY, *OWN, b"Cookie: " + cookie.partition(b";")[0])
        assert (await client.ask(again)).status == 200
        site = proxy.service.sites["shop"]
        known = site.cookie.read([cookie.partition(b";")[0]])
        assert known is not None
        stored = await proxy.service.visits.get("shop", known.visitor)
        assert stored is not None
        assert [click.value for touch in stored.touches for click in touch.clicks] == ["abc123456"]
        # While another writer holds the store it is waited for, and other requests go on.
        async with proxy.service.visits._lock:  # type: ignore[attr-defined]
            await client.send(again.replace(b"view-number-1", b"view-number-2"))
            async with Client(client._address[1]) as other:
                assert (await other.ask(get(b"/-/clew/l.js", b"Accept: */*"))).status == 200
            assert handled == [200, 200]
        assert (await client.response()).status == 200
        stored = await proxy.service.visits.get("shop", known.visitor)
        assert stored is not None
        assert stored.pages == 2
    assert handled == [200, 200, 200]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "no JSON"),
        ('{"view": 3}', 422, "view"),
        ('{"seconds": -1}', 422, "seconds"),
    ],
)
async def test_a_wrong_body_is_refused_and_the_connection_is_kept(
    tmp_path: Path, handled: list[int], body: str, status: int, said: str
) -> None:
    async with opened(build(tmp_path)) as client:
        answer = await client.ask(post(body))
        assert (answer.status, said in json.loads(answer.body)["error"]) == (status, True)
        assert (await client.ask(post())).status == 200
    assert handled == [status, 200]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"Sec-Fetch-Site: cross-site", OWN[1]), 403),
        ((b"Origin: http://evil.test", OWN[1]), 403),
        ((OWN[0], b"Content-Type: text/plain"), 415),
        ((*OWN, b"Host: other.test"), 400),
        ((*OWN, b"Service-Worker: script"), 403),
        ((*OWN, b"Cookie: a=1", b"Cookie: b=2"), 200),
        ((OWN[1],), 200),
        ((b"Origin: http://shop.example", OWN[1]), 200),
    ],
)
async def test_unusual_decide_requests_go_through_asgi(
    tmp_path: Path, handled: list[int], lines: tuple[bytes, ...], status: int
) -> None:
    async with opened(build(tmp_path)) as client:
        assert (await client.ask(post(BODY, *lines))).status == status
    assert handled == []


async def test_a_body_over_the_limit_is_413(tmp_path: Path, handled: list[int]) -> None:
    async with opened(build(tmp_path)) as client:
        assert (await client.ask(post(b" " * 32769))).status == 413
    assert handled == []


async def test_a_client_over_the_limit_gets_the_widget_without_rules(
    tmp_path: Path, handled: list[int]
) -> None:
    proxy = build(tmp_path, limits={"decides": {"client": 1}})
    async with opened(proxy) as client:
        assert json.loads((await client.ask(post())).body)["retry_after"] is None
        assert json.loads((await client.ask(post())).body)["retry_after"] >= 15
    assert handled == [200, 200]


async def test_a_body_that_does_not_come_is_408_and_the_end(
    tmp_path: Path, handled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "BODY_SECONDS", 0.05)
    async with opened(build(tmp_path)) as client:
        answer = await client.ask(post()[:-10])
        assert answer.status == 408
        assert (b"connection", b"close") in [(n.lower(), v) for n, v in answer.headers]
    assert handled == [408]


async def test_a_fault_of_clew_is_a_500_and_is_reported(
    tmp_path: Path, handled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = build(tmp_path)

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(proxy.service.decisions, "decide", fail)
    with capture_logs() as logs:
        async with opened(proxy) as client:
            assert (await client.ask(post())).status == 500
            assert (await client.ask(post())).status == 500
    assert [line["where"] for line in logs if line["event"] == "fault"] == ["/-/clew/decide"] * 2


async def test_the_access_log_has_a_line_with_the_status(tmp_path: Path) -> None:
    proxy = build(tmp_path)
    proxy.access_log = True
    with capture_logs() as logs:
        async with opened(proxy) as client:
            await client.ask(post())
            await client.ask(post("{"))
    lines = [(line["path"], line["status"]) for line in logs if line["event"] == "request"]
    assert lines == [("/-/clew/decide", 200), ("/-/clew/decide", 400)]
