"""All of `clew serve` but its process: sites, their shops, clew's own pages, in front of shops in bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.injector.tag import tag
from clew.middleware.asgi.mount import ClewMiddleware
from clew.middleware.http import dial as dial_module
from clew.middleware.proxy.mount import ReverseProxy
from clew.middleware.serve import server as server_module
from clew.service.check import loader
from clew.settings.model import Settings
from raw_http import OK, PATIENCE, Client, Shop, answering, ended, get, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter

PAGE = b"<!doctype html><html><head></head><body>Tea</body></html>"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
EDITED = PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/"))
NAVIGATION = b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html"


@asynccontextmanager
async def clew(
    folder: Path, *sites: dict[str, Any], **changes: Any
) -> AsyncIterator[tuple[int, ReverseProxy]]:
    """Sites behind clew; yields the port to ask, and the app."""
    database = f"sqlite:{folder / 'clew.db'}"
    named = [{"name": f"site-{n}", **site} for n, site in enumerate(sites)]
    proxy = ReverseProxy(
        Settings.model_validate(
            {"secret": "s" * 40, "store": database, "ledger": database, "sites": named} | changes
        )
    )
    async with serving(proxy, lifespan="on") as port:
        yield port, proxy


async def test_each_host_has_its_shop_and_an_unknown_host_has_none(tmp_path: Path) -> None:
    """proxy 1.8: an unknown Host reaches no shop"""
    async with (
        Shop(answering(OK)) as tea,
        Shop(answering(OK)) as coffee,
        clew(
            tmp_path,
            {"hosts": ["tea.example"], "upstream": tea.url},
            {"hosts": ["*.coffee.example"], "upstream": coffee.url},
        ) as (port, _),
        Client(port) as client,
    ):
        for host, status in (
            (b"tea.example", 200),
            (b"TEA.example:8443", 200),
            (b"www.coffee.example", 200),
            (b"coffee.example", 421),
            (b"tea.example.evil.example", 421),
            (b"evil.example", 421),
            (b"127.0.0.1", 421),
        ):
            response = await client.ask(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert response.status == status, host
        assert [request.all("host") for request in tea.requests] == [[b"tea.example"], [b"TEA.example:8443"]]
        assert [request.all("host") for request in coffee.requests] == [[b"www.coffee.example"]]
        with pytest.raises(InvalidStatus) as error:
            await connect(f"ws://127.0.0.1:{port}", proxy=None)
        assert error.value.response.status_code == 421


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"http://tea.example/", b"/"),
        (b"HTTP://TEA.example:80/a%2F..//b?x=http://evil.example/", b"/a%2F..//b?x=http://evil.example/"),
        (b"http://tea.example", b"/"),
        (b"http://tea.example?x=1", b"/?x=1"),
        (b"https://tea.example/", b"/"),
    ],
)
async def test_the_host_of_a_target_in_absolute_form_counts(
    tmp_path: Path, target: bytes, seen: bytes
) -> None:
    """RFC 9112 §3.2.2, proxy 1.4, field E15: else one shop's page is given for another's
    address, to a cache on the way too."""
    async with Shop(answering(OK)) as tea, Shop(answering(OK)) as coffee:
        sites = [
            {"hosts": ["tea.example"], "upstream": tea.url},
            {"hosts": ["coffee.example"], "upstream": coffee.url, "prefix": "/-/coffee/"},
        ]
        async with clew(tmp_path, *sites) as (port, _), Client(port) as client:
            for host in (b"coffee.example", b"nobody.example", b"tea.example"):
                answer = await client.ask(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                assert answer.status == 200
            host = target.split(b"/")[2].partition(b"?")[0]
            assert [(r.target, r.all("host")) for r in tea.requests] == [(seen, [host])] * 3
            assert not coffee.requests
            await client.ask(b"GET http://tea.example/-/coffee/l.js HTTP/1.1\r\nHost: coffee.example\r\n\r\n")
            assert tea.requests[-1].target == b"/-/coffee/l.js"
            ours = b"GET http://tea.example/-/clew/health HTTP/1.1\r\nHost: coffee.example\r\n\r\n"
            assert (await client.ask(ours)).body == b"ok\n"
            await client.ask(b"OPTIONS http://tea.example HTTP/1.1\r\nHost: tea.example\r\n\r\n")
            assert tea.requests[-1].target == b"*"
            bare = await client.ask(b"GET http://tea.example/x HTTP/1.0\r\n\r\n")
            assert (bare.status, tea.requests[-1].all("host")) == (200, [b"tea.example"])


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET http://anna@tea.example/ HTTP/1.1\r\nHost: tea.example",
        b"GET http:///x HTTP/1.1\r\nHost: tea.example",
        b"GET ftp://tea.example/ HTTP/1.1\r\nHost: tea.example",
        b"GET http:tea.example/ HTTP/1.1\r\nHost: tea.example",
        b"GET http://tea.example/ HTTP/1.1",
        b"GET http://tea.example/ HTTP/1.1\r\nHost: tea.example\r\nHost: tea.example",
        b"GET http://tea.ex\xe4mple/ HTTP/1.1\r\nHost: tea.example",
    ],
)
async def test_a_target_that_cannot_be_is_refused(tmp_path: Path, request_line: bytes) -> None:
    """RFC 9112 §3.2: one Host field, whatever the target says; no userinfo (RFC 9110 §4.2.4)"""
    async with Shop(answering(OK)) as tea:
        async with clew(tmp_path, {"upstream": tea.url}) as (port, _), Client(port) as client:
            assert (await client.ask(request_line + b"\r\n\r\n")).status == 400
        assert not tea.requests


@pytest.mark.parametrize("path", [b"/", b"/-/clew/health", b"/-/clew/orders"])
@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ((), 400),
        ((b"evil.example", b"tea.example"), 400),
        ((b"evil.example", b"evil.example"), 400),
        ((b"tea.example", b"evil.example"), 400),
        ((b"evil example",), 400),
        ((b"tea.example@evil.example",), 400),
        ((b"evil.example",), 421),
    ],
)
async def test_a_request_without_exactly_one_host_is_malformed(
    tmp_path: Path, path: bytes, hosts: tuple[bytes, ...], status: int
) -> None:
    """RFC 9112 §3.2, field E23"""
    async with Shop(answering(OK)) as tea:
        site = {"hosts": ["tea.example"], "upstream": tea.url}
        async with clew(tmp_path, site) as (port, _), Client(port) as client:
            lines = [b"GET " + path + b" HTTP/1.1", *(b"Host: " + host for host in hosts), b"", b""]
            assert (await client.ask(b"\r\n".join(lines))).status == status
        assert not tea.requests


async def test_a_trusted_proxys_host_chooses_the_shop_and_a_strangers_does_not(tmp_path: Path) -> None:
    """proxy 1.8, 4.1"""
    spoofed = get(b"/", b"X-Forwarded-Host: tea.example", b"Forwarded: host=tea.example")
    async with Shop(answering(OK)) as shop:
        site = {"hosts": ["tea.example"], "upstream": shop.url}
        async with clew(tmp_path, site) as (port, _), Client(port) as client:
            assert (await client.ask(spoofed)).status == 421
        trusted = {"trusted_proxies": ["127.0.0.0/8"]}
        async with clew(tmp_path, site, **trusted) as (port, _), Client(port) as client:
            assert (await client.ask(spoofed)).status == 421
        async with (
            clew(tmp_path, site, **trusted, forwarded_host=True) as (port, _),
            Client(port) as client,
        ):
            assert (await client.ask(spoofed)).status == 200


@pytest.mark.parametrize(
    "told", [b"X-Forwarded-Host: coffee.example", b"Forwarded: for=192.0.2.1;host=coffee.example"]
)
async def test_a_client_behind_a_trusted_proxy_does_not_choose_the_site(tmp_path: Path, told: bytes) -> None:
    """field E15: many proxies pass a client's own X-Forwarded-Host on; only `forwarded_host` believes it"""
    shops = [
        {"hosts": ["tea.example"], "prefix": "/-/tea/"},
        {"hosts": ["coffee.example"], "prefix": "/-/coffee/"},
    ]
    async with Shop(answering(HTML)) as tea, Shop(answering(HTML)) as coffee:
        sites = [{**site, "upstream": shop.url} for site, shop in zip(shops, (tea, coffee), strict=True)]
        for believed in (False, True):
            changes: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"], "forwarded_host": believed}
            async with clew(tmp_path, *sites, **changes) as (port, _), Client(port) as client:
                page = b"GET / HTTP/1.1\r\nHost: tea.example\r\n%b\r\n" + b"\r\n".join(NAVIGATION)
                answer = await client.ask(page % told + b"\r\n\r\n")
                assert (b"/-/coffee/l.js" in answer.body) is believed
                last = (coffee if believed else tea).requests[-1]
                assert last.all("x-forwarded-host") == [b"coffee.example" if believed else b"tea.example"]
                # What depends on a field that no cache has in its key is never public.
                assert (b"private" in b"".join(answer.all("cache-control"))) is believed
                prefix = b"/-/coffee/" if believed else b"/-/tea/"
                for file in (b"l.js", b"w.js", b"o.js"):
                    script = b"GET %b%b HTTP/1.1\r\nHost: tea.example\r\n%b\r\n\r\n" % (prefix, file, told)
                    answer = await client.ask(script)
                    caching = answer.all("cache-control")[0]
                    assert answer.status == 200
                    assert caching == (b"private" if believed else b"public") + b", max-age=3600"


@pytest.mark.parametrize(
    "target",
    [
        b"/%2d/clew/health",
        b"/-%2Fclew/health",
        b"//-/clew/health",
        b"/./-/clew/health",
        b"/x/../-/clew/health",
        b"/-/./clew/health",
        b"/-/CLEW/health",
        b"/-/clew\\health",
        b"/-/clew;x/health",
        b"/x/-/clew/health",
    ],
)
async def test_paths_similar_to_the_prefix_belong_to_the_shop(tmp_path: Path, target: bytes) -> None:
    """proxy 1.2, 6.13"""
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        assert (await client.ask(get(target))).body == b"ok"
        assert shop.requests[0].target == target


@pytest.mark.parametrize(
    "target",
    [
        b"/-/clew/health",
        b"/-/clew/../../admin",
        b"/-/clew/%2e%2e/%2e%2e/admin",
        b"/-/clew//admin",
        b"/-/clew/health;x=/../admin",
        b"/-/clew/",
        b"/-/clew",
    ],
)
async def test_requests_under_the_prefix_never_reach_the_shop(tmp_path: Path, target: bytes) -> None:
    """proxy 1.2, 6.13, 8: whatever a shop would make of the path"""
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        response = await client.ask(get(target))
        assert response.status in (200, 400, 404)
        assert response.body != b"ok"
        assert (await client.ask(get(b"/-/clew/health"))).body == b"ok\n"
        assert shop.requests == []


async def test_only_clews_own_cookie_is_read_and_the_shop_gets_it_too(tmp_path: Path) -> None:
    """proxy 2.12, 2.10: the shop may send it back with an order"""
    cookies = b'clew_visitor=abc; session="a,b"; =; clew_other=1'
    async with (
        Shop(answering(HTML)) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        for lines in ((), NAVIGATION):
            await client.ask(get(b"/", *lines, b"Cookie: " + cookies))
        assert [request.all("cookie") for request in shop.requests] == [[cookies]] * 2


@pytest.mark.parametrize(("lines", "narrowed"), [(NAVIGATION, True), ((b"Sec-Fetch-Dest: image",), False)])
async def test_only_where_we_may_edit_the_answer_do_we_ask_for_another_coding(
    tmp_path: Path, lines: tuple[bytes, ...], narrowed: bool
) -> None:
    """proxy 2.15"""
    offered = b"gzip, deflate, br;q=0.9, x-own"
    async with (
        Shop(answering(OK)) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        await client.ask(get(b"/", *lines, b"Accept-Encoding: " + offered))
        assert (shop.requests[0].all("accept-encoding") != [offered]) is narrowed


async def test_header_names_are_lower_case_and_the_shops_order_is_kept(tmp_path: Path) -> None:
    """proxy 2.4, 2.3"""
    answer = b"HTTP/1.1 200 OK\r\nX-Zeta: 1\r\nContent-Length: 2\r\nX-ALPHA: 2\r\nx-zeta: 3\r\n\r\nok"
    async with (
        Shop(answering(answer)) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        response = await client.ask(get(b"/", b"SOAPAction: x", b"X-Custom: A"))
        assert [name for name, _ in response.headers] == [b"x-zeta", b"content-length", b"x-alpha", b"x-zeta"]
        assert [name for name, _ in shop.requests[0].headers[:3]] == [b"host", b"soapaction", b"x-custom"]


async def test_ready_shows_whether_the_shop_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proxy 6.13"""
    monkeypatch.setattr(dial_module, "KNOWN_FOR", -1.0)
    ready = get(b"/-/clew/ready")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    site = {"upstream": f"http://127.0.0.1:{address[1]}"}
    async with clew(tmp_path, site) as (port, proxy), Client(port) as client:
        response = await client.ask(ready)
        assert (response.status, response.all("cache-control")) == (503, [b"no-store"])
        assert b"cannot be reached" in response.body
        assert (await client.ask(get(b"/-/clew/health"))).status == 200
        with socket.create_server(address):
            assert (await client.ask(ready)).status == 200
            proxy.service.hub.close()
            response = await client.ask(ready)
            assert (response.status, b"stopping" in response.body) == (503, True)


async def test_one_shop_that_is_down_does_not_make_the_others_unready(tmp_path: Path) -> None:
    """proxy 6.13"""
    async with (
        Shop(answering(OK)) as shop,
        clew(
            tmp_path,
            {"hosts": ["up.example"], "upstream": shop.url},
            {"hosts": ["down.example"], "upstream": "unix:/nowhere/shop.sock"},
        ) as (port, _),
        Client(port) as client,
    ):
        for host, status in ((b"up.example", 200), (b"down.example", 503)):
            asked = b"GET /-/clew/ready HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
            assert (await client.ask(asked)).status == status


async def test_a_page_that_is_edited_keeps_the_shops_host_to_itself(tmp_path: Path) -> None:
    """proxy 1.7, 5.1, 5.4"""
    answer = HTML.replace(
        b"Content-Type:",
        b"Set-Cookie: a=1; Domain=shop.internal\r\n"
        b"Link: <http://shop.internal/>; rel=canonical\r\nContent-Type:",
    )
    async with (
        Shop(answering(answer)) as shop,
        clew(tmp_path, {"upstream": shop.url, "upstream_host": "shop.internal"}) as (port, _),
        Client(port) as client,
    ):
        response = await client.ask(get(b"/", *NAVIGATION))
        assert response.body == EDITED
        assert response.all("set-cookie") == [b"a=1"]
        assert response.all("link") == [b"<http://shop.example/>; rel=canonical"]
        assert shop.requests[0].all("host") == [b"shop.internal"]


def test_uvicorn_does_not_change_addresses_and_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proxy 4.3, 2.13: uvicorn would take anybody on this machine for a proxy, and add Server and Date"""
    told: list[Any] = []
    monkeypatch.setattr(server_module, "run", lambda config, sockets, loader: told.extend([config, *sockets]))
    settings = Settings.model_validate({"secret": "s" * 40, "sites": [{"name": "shop"}]})
    server_module.serve(loader(tmp_path / "clew.toml", {}), settings, port=0)
    config, *sockets = told
    for sock in sockets:
        sock.close()
    assert {config.proxy_headers, config.server_header, config.date_header} == {False}


async def test_events_arrive_one_by_one_as_the_shop_sent_them(tmp_path: Path) -> None:
    """proxy 7: nothing is packed, held back or taken out of a stream of events, even for a page's client"""
    go_on = asyncio.Event()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-transform\r\n"
        b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(head + b"9\r\ndata: 1\n\n\r\n")
        await go_on.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        await ended(reader)

    lines = (*NAVIGATION, b"Accept-Encoding: gzip, br", b"Last-Event-ID: 41")
    async with (
        Shop(script) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        client.writer.write(get(b"/events", *lines))
        async with asyncio.timeout(PATIENCE):
            response = await client.head()
            assert response.all("cache-control") == [b"no-transform"]
            assert response.all("x-accel-buffering") == [b"no"]
            assert response.all("content-encoding") == []
            assert await client.reader.readuntil(b"data: 1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
            go_on.set()
            assert await client.reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        assert shop.requests[0].all("last-event-id") == [b"41"]


async def test_environment_proxies_are_not_used_for_the_shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proxy 8: no proxy, no .netrc, no cookie jar, on a name for which such tools would use them"""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login secret password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 2\r\n\r\nok"
    async with (
        Shop(answering(answer)) as shop,
        clew(tmp_path, {"upstream": f"http://localhost:{shop.port}"}) as (port, _),
        Client(port) as client,
    ):
        for _ in range(2):
            assert (await client.ask(get())).body == b"ok"
        assert len(shop.requests) == 2
        for request in shop.requests:
            assert request.all("authorization") == request.all("cookie") == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", id="another answer"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nstray",
            id="stray bytes",
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", id="204 with a body"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", id="304 with a body"),
        pytest.param(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\nevil", id="205 with a body"),
    ],
)
async def test_no_visitor_gets_leftover_bytes_of_another_response(tmp_path: Path, answer: bytes) -> None:
    """proxy 3.5"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        request = await shop.request(reader)
        writer.write(answer if request.target == b"/first" else OK)
        await ended(reader)

    async with (
        Shop(script) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as one,
        Client(port) as two,
    ):
        first = await one.ask(get(b"/first"))
        assert b"evil" not in first.body
        second = await two.ask(get(b"/second"))
        assert (second.status, second.body) == (200, b"ok")
        assert shop.connections == 2


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
async def test_requests_that_may_have_had_an_effect_are_not_repeated(tmp_path: Path, method: bytes) -> None:
    """proxy 6.5: a kept connection that dies under a request"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(OK)
        await shop.request(reader)

    async with (
        Shop(script) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        assert (await client.ask(get())).status == 200
        response = await client.ask(get(b"/once", method=method))
        assert (response.status, response.all("cache-control")) == (502, [b"no-store"])
        assert [request.target for request in shop.requests] == [b"/", b"/once"]


async def test_reason_phrases_of_the_shop_are_not_kept_but_every_status_is(tmp_path: Path) -> None:
    """proxy 5.11"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            status = (await shop.request(reader)).target[1:]
            writer.write(b"HTTP/1.1 " + status + b" Very Odd\r\nContent-Length: 0\r\n\r\n")

    async with (
        Shop(script) as shop,
        clew(tmp_path, {"upstream": shop.url}) as (port, _),
        Client(port) as client,
    ):
        for status in (200, 226, 299, 308, 418, 451, 499, 511, 520, 599):
            assert (await client.ask(get(b"/%d" % status))).status == status
        for status in (b"600", b"999", b"099"):
            assert (await client.ask(get(b"/" + status))).status == 502


async def test_an_app_receives_the_servers_own_disconnect(tmp_path: Path) -> None:
    """proxy 6.8: `receive` is the server's; nothing is invented on its way"""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(receive)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        raise AssertionError("nobody asked")

    async def send(message: Any) -> None:
        return None

    database = f"sqlite:{tmp_path / 'clew.db'}"
    settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [{"name": "shop"}]}
    mount = ClewMiddleware(app, Settings.model_validate(settings))
    for lines in ([], [(b"sec-fetch-dest", b"document"), (b"sec-fetch-mode", b"navigate")]):
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": [(b"host", b"shop.example"), *lines],
            "client": ("203.0.113.9", 5000),
        }
        await mount(scope, receive, send)
    await mount.service.stop()
    assert seen == [receive, receive]
