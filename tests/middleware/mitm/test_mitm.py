"""clew in mitmproxy: a real mitmdump between a client and a shop, tested with raw bytes."""

import asyncio
import gzip
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import brotli
import httpx2
import pytest
import pytest_asyncio
from clew.injector.tag import tag
from clew.stores.visits_record import unpacked
from clews import AGENT, PASSWORD, ClewFolder
from mitms import ClewMitm, Mitmdump
from mount_chat import files_and_pages_go_both_ways
from raw_http import PATIENCE, Client, Request, Response, Shop, get
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

Writer = asyncio.StreamWriter
Answer = Callable[[Request, asyncio.StreamReader, Writer], Awaitable[None]]

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[[sites]]
name = "shop"
debug = true
cobrowsing = { enabled = true }
"""
TAG = tag("/-/clew/")
PAGE = (
    b"<!doctype html>\r\n<html><head>\n<title>caf\xe9</title></head><body>"
    + b"<p>pot\0</p>" * 500
    + b"</body></html>"
)
EDITED = PAGE.replace(b"<head>", b"<head>" + TAG)
HTML = b"Content-Type: text/html; charset=iso-8859-1"
NAVIGATION = (b"Sec-Fetch-Dest: document", b"Sec-Fetch-Mode: navigate")


def answer(*lines: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body), b"", b""]) + body


class Town:
    """A shop that answers by path, and mitmdump in front of it."""

    def __init__(
        self, shop: Shop, mitm: ClewMitm, folder: ClewFolder, answers: dict[bytes, bytes | Answer]
    ) -> None:
        self.shop = shop
        self.mitm = mitm
        self.folder = folder
        self._answers = answers

    def answers(self, path: bytes, answer: bytes | Answer) -> None:
        self._answers[path] = answer

    def client(self) -> Client:
        return Client(self.mitm.port)

    async def ask(self, request: bytes, method: str = "GET") -> Response:
        async with self.client() as client:
            return await client.ask(request, method)

    @property
    def last(self) -> Request:
        return self.shop.requests[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    answers: dict[bytes, bytes | Answer] = {}

    async def script(shop: Shop, reader: asyncio.StreamReader, writer: Writer) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request = Request(*_split(head))
            shop.requests.append(request)
            await shop.notify()
            found = answers[request.target.partition(b"?")[0]]
            if isinstance(found, bytes):
                writer.write(found)
            else:
                await found(request, reader, writer)
            await writer.drain()

    folder = ClewFolder(tmp_path_factory.mktemp("mitm"), SETTINGS)
    async with Shop(script) as shop:
        with ClewMitm(shop.url, folder=folder, cwd=folder.path) as mitm:
            yield Town(shop, mitm, folder, answers)


def _split(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return line, [(name, value.removeprefix(b" ")) for name, _, value in (f.partition(b":") for f in fields)]


# -- what passes


async def test_a_page_is_edited_once_and_is_the_shops_own_otherwise(town: Town) -> None:
    town.answers(b"/", answer(HTML, b'ETag: "a"', b"X-Shop: caf\xe9", body=PAGE))
    response = await town.ask(get(b"/", *NAVIGATION))
    assert response.body == EDITED
    assert response.all("content-length") == [b"%d" % len(EDITED)]
    assert response.all("x-shop") == [b"caf\xe9"]
    assert response.all("x-clew") == [b"edit"]


async def test_bodies_that_are_not_pages_pass_unchanged(town: Town) -> None:
    body = bytes(range(256)) * 3000
    lines = (b"Content-Type: image/png", b'ETag: "a"', b"Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT")
    town.answers(b"/a.png", answer(*lines, body=body))
    response = await town.ask(get(b"/a.png", b"Sec-Fetch-Dest: image"))
    assert response.body == body
    assert response.all("etag") == [b'"a"']
    assert not response.all("x-clew")


async def test_a_body_that_turns_out_to_be_no_page_keeps_the_head_that_waited_for_it(town: Town) -> None:
    body = b'{"price": "12.00", "html": "<head>"}'
    town.answers(b"/", answer(HTML, b'ETag: "a"', body=body))
    response = await town.ask(get(b"/", *NAVIGATION))
    assert response.body == body
    assert response.all("etag") == [b'"a"']
    assert response.all("content-length") == [b"%d" % len(body)]
    assert response.all("x-clew")[0].startswith(b"pass")


async def test_an_http_1_0_client_gets_an_edited_page_without_chunks(town: Town) -> None:
    town.answers(b"/", answer(HTML, b"Content-Encoding: gzip", body=gzip.compress(PAGE)))
    response = await town.ask(get(b"/", *NAVIGATION).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert response.body == EDITED
    assert not response.all("transfer-encoding")
    assert not response.all("content-length")


async def test_the_request_reaches_the_shop_byte_for_byte(town: Town) -> None:
    """Hard cases proxy 1.1, 1.10, 2.1, 2.2, 2.3, 2.6, 4.1."""
    town.answers(b"/a%2Fb//c/./d/../e%20f", answer(body=b"ok"))
    target = b"/a%2Fb//c/./d/../e%20f?x=%41&y=a+b&z=;q&&=&[k]=1|2"
    lines = [b"X-A: 1", b"X-A: caf\xe9", b"X-A: 1", b'Cookie: a=\xff; b="1,2"', b"X-Forwarded-For: 1.2.3.4"]
    hops = [b"Connection: close, X-Secret", b"X-Secret: 1", b"TE: trailers", b"Proxy-Authorization: x"]
    response = await town.ask(get(target, *lines, *hops))
    assert response.body == b"ok"
    assert town.last.target == target
    assert town.last.all("x-a") == [b"1", b"caf\xe9", b"1"]
    assert town.last.all("cookie") == [b'a=\xff; b="1,2"']
    for name in ("x-forwarded-for", "x-forwarded-host", "forwarded", "x-secret", "te", "proxy-authorization"):
        assert not town.last.all(name), name
    assert town.last.all("host") == [town.shop.url.removeprefix("http://").encode()]


async def test_several_set_cookie_stay_several(town: Town) -> None:
    """Hard case proxy 2.3."""
    town.answers(
        b"/", answer(HTML, b"Set-Cookie: a=1", b"Set-Cookie: b=2; Path=/", b"Set-Cookie: a=3", body=PAGE)
    )
    response = await town.ask(get(b"/", *NAVIGATION))
    assert response.all("set-cookie") == [b"a=1", b"b=2; Path=/", b"a=3"]


async def test_hop_by_hop_headers_are_not_sent_to_the_client(town: Town) -> None:
    lines = (b"Connection: X-Secret", b"X-Secret: 1", b"Keep-Alive: timeout=5", b"X-Open: 1")
    town.answers(b"/", answer(HTML, *lines, body=PAGE))
    response = await town.ask(get(b"/", *NAVIGATION))
    assert response.all("x-open") == [b"1"]
    assert not any(response.all(name) for name in ("x-secret", "keep-alive", "connection"))


# -- streams


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked", b"Content-Length: 36", b"Connection: close"]
)
async def test_the_first_byte_of_a_page_comes_before_its_last(town: Town, framing: bytes) -> None:
    go_on = asyncio.Event()
    chunked = framing.startswith(b"Transfer")

    async def slowly(request: Request, reader: asyncio.StreamReader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\n" + framing + b"\r\n\r\n")
        for part in (b"<html><head><title>a</title>", b"</head> "):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            await go_on.wait()
        writer.write(b"0\r\n\r\n" if chunked else b"")
        await writer.drain()
        if framing == b"Connection: close":
            writer.close()

    town.answers(b"/slow", slowly)
    async with town.client() as client:
        client.writer.write(get(b"/slow", *NAVIGATION))
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(TAG + b"<title>a</title>")
        go_on.set()
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(b"</head> ")


async def test_an_upload_is_streamed_to_the_shop(town: Town) -> None:
    arrived = asyncio.Event()

    async def take(request: Request, reader: asyncio.StreamReader, writer: Writer) -> None:
        assert await reader.readexactly(5) == b"first"
        arrived.set()
        assert await reader.readexactly(6) == b"second"
        writer.write(answer(body=b"thanks"))

    town.answers(b"/upload", take)
    async with town.client() as client:
        client.writer.write(get(b"/upload", b"Content-Length: 11", method=b"POST") + b"first")
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
        assert (await client.ask(b"second")).body == b"thanks"


# -- codings, validators, parts


@pytest.mark.parametrize("accepts", [b"gzip", b"identity"])
async def test_a_compressed_page_is_edited_and_compressed_for_the_client(town: Town, accepts: bytes) -> None:
    town.answers(b"/", answer(HTML, b"Content-Encoding: gzip", body=gzip.compress(PAGE)))
    response = await town.ask(get(b"/", *NAVIGATION, b"Accept-Encoding: " + accepts))
    assert town.last.all("accept-encoding") == [b"identity"]
    assert response.complete
    assert response.all("content-encoding") == ([b"gzip"] if accepts == b"gzip" else [])
    assert (gzip.decompress(response.body) if accepts == b"gzip" else response.body) == EDITED


async def test_a_coding_that_could_not_be_bounded_passes_untouched(town: Town) -> None:
    """mitmproxy holds brotli back at a version without an output limit. Hard case injection 4.4."""
    packed = brotli.compress(PAGE)
    town.answers(b"/", answer(HTML, b"Content-Encoding: br", body=packed))
    response = await town.ask(get(b"/", *NAVIGATION, b"Accept-Encoding: br"))
    assert response.body == packed
    assert response.all("content-encoding") == [b"br"]
    assert response.all("x-clew") == [b"pass; coding"]


async def test_validators_are_mapped_both_ways(town: Town) -> None:
    town.answers(b"/", answer(HTML, b'ETag: "a"', body=PAGE))
    head = await town.ask(get(b"/", *NAVIGATION, method=b"HEAD"), "HEAD")
    page = await town.ask(get(b"/", *NAVIGATION))
    (etag,) = page.all("etag")
    assert etag == head.all("etag")[0] != b'"a"'
    town.answers(b"/", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n')
    async with town.client() as client:
        again = await client.ask(get(b"/", *NAVIGATION, b"If-None-Match: " + etag))
        assert (again.status, again.all("etag")) == (304, [etag])
        assert town.last.all("if-none-match") == [b'"a"']
        town.answers(b"/", answer(body=b"ok"))
        assert (await client.ask(get(b"/"))).body == b"ok"


async def test_a_part_of_a_page_stays_the_part_that_it_is(town: Town) -> None:
    body = PAGE[:100]
    lines = (HTML, b"Content-Range: bytes 0-99/%d" % len(PAGE), b'ETag: "a"')
    town.answers(b"/", answer(*lines, body=body, status=b"206 Partial Content"))
    response = await town.ask(get(b"/", *NAVIGATION, b"Range: bytes=0-99"))
    assert (response.status, response.body, response.all("etag")) == (206, body, [b'"a"'])


# -- visitors


async def test_a_redirecting_landing_page_keeps_the_click_and_it_is_written_down_before(town: Town) -> None:
    known: list[list[str]] = []

    async def redirect(request: Request, reader: asyncio.StreamReader, writer: Writer) -> None:
        with closing(sqlite3.connect(town.folder.path / "clew-visits.db")) as database:
            rows = [unpacked(row[0]) for row in database.execute("SELECT data FROM visits")]
        known.append([touch.campaign["utm_campaign"] for row in rows for touch in row.touches])
        writer.write(answer(b"Location: /home", status=b"302 Found"))

    town.answers(b"/landing", redirect)
    response = await town.ask(get(b"/landing?utm_source=mail&utm_campaign=spring-sale", *NAVIGATION))
    assert response.status == 302
    assert response.all("location") == [b"/home"]
    (cookie,) = (line for line in response.all("set-cookie") if line.startswith(b"clew_visitor="))
    # The line of the log may come after the response.
    town.mitm.wait_for_line(lambda line: '"touch"' in line and '"spring-sale"' in line)
    # From the second sign of life on it is in the store as well.
    back = b"Cookie: " + cookie.partition(b";")[0]
    await town.ask(get(b"/landing?utm_source=mail&utm_campaign=summer", *NAVIGATION, back))
    assert known == [[], ["spring-sale", "summer"]]


async def test_own_pages_and_live_streams_work_through_mitmproxy(town: Town) -> None:
    base = f"{town.mitm.address}/-/clew/"
    asked = len(town.shop.requests)
    async with httpx2.AsyncClient(base_url=base, trust_env=False) as visitor:
        assert (await visitor.get("health")).text == "ok\n"
        assert "clew" in (await visitor.get("l.js")).text
        decided = await visitor.post("decide", json={"url": f"{town.mitm.address}/"})
        assert decided.json()["action"] == "show"
        for number, text in enumerate(("Hi", "Anybody?")):
            if number == 0:
                sent = await visitor.post("messages", json=message(number, text))
                assert sent.status_code == 201
                stream = await visitor.send(visitor.build_request("GET", "stream"), stream=True)
                heard = stream.aiter_text()
            else:
                await visitor.post("messages", json=message(number, text))
            async with asyncio.timeout(PATIENCE):
                while text not in await anext(heard):
                    pass
        await stream.aclose()
        elsewhere = {"origin": "https://evil.test"}
        refused = await visitor.post("messages", json=message(2, "x"), headers=elsewhere)
        assert refused.status_code == 403
    assert len(town.shop.requests) == asked


async def test_files_and_the_visitors_page_pass_mitmproxy(town: Town) -> None:
    town.folder.add_agent()
    asked = len(town.shop.requests)
    await files_and_pages_go_both_ways(town.mitm.address, AGENT, PASSWORD)
    assert len(town.shop.requests) == asked


def message(number: int, text: str) -> dict[str, str]:
    return {"text": text, "client_id": f"client-000{number}", "language": "en"}


async def test_own_pages_are_not_served_without_a_ticket(town: Town) -> None:
    """The port for own pages trusts mitmproxy's report of a visitor, and no other client's."""
    ports = {int(line.split(":")[1].split()[0], 16) for line in _listening(town.mitm)}
    behind = ports - {town.mitm.port}
    assert len(behind) == 1
    async with Client(behind.pop()) as client:
        ticket = b"X-Clew-Ticket: " + b"0" * 32
        assert (await client.ask(get(b"/-/clew/health", ticket))).status == 421


def _listening(mitm: ClewMitm) -> Iterator[str]:
    """Local addresses of the sockets on which mitmdump listens (proc(5), /proc/pid/net/tcp)."""
    found = [p for p in Path("/proc").glob("[0-9]*") if _parent(p) == mitm._process.pid]
    assert len(found) == 1
    inodes = {link.readlink().name for link in (found[0] / "fd").iterdir() if link.is_symlink()}
    for line in (found[0] / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            yield fields[1]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


async def test_a_websocket_passes(town: Town) -> None:
    async def echo(socket: ServerConnection) -> None:
        seen.append(socket.request.headers["origin"])
        async for text in socket:
            await socket.send(text)
        await socket.close()

    seen: list[str] = []
    folder = ClewFolder(town.folder.path / "socket", SETTINGS)
    async with serve(echo, "127.0.0.1", 0, subprotocols=[Subprotocol("talk")]) as shop:
        url = f"http://127.0.0.1:{next(iter(shop.sockets)).getsockname()[1]}"
        with ClewMitm(url, folder=folder, cwd=folder.path) as mitm:
            address = mitm.address.replace("http:", "ws:")
            options = {"origin": Origin(mitm.address), "subprotocols": [Subprotocol("talk")], "proxy": None}
            async with connect(f"{address}/talk", **options) as socket:
                for text in ("héllo", b"\x00\xff", "x" * 300_000):
                    await socket.send(text)
                    assert await socket.recv() == text
                assert socket.subprotocol == "talk"
            assert seen == [url]


@pytest.mark.parametrize("below", ["desk/x", "desk/", "health", ""])
async def test_a_websocket_below_the_prefix_is_never_the_shops(town: Town, below: str) -> None:
    """field E1"""
    before = len(town.shop.requests)
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            f"ws://localhost:{town.mitm.port}/-/clew/{below}",
            proxy=None,
            additional_headers=[("Cookie", "clew_desk=x")],
        )
    assert refused.value.response.status_code == 404
    assert len(town.shop.requests) == before


@pytest.mark.parametrize("lines", [NAVIGATION, (b"Sec-Fetch-Dest: image",)], ids=["page", "image"])
async def test_the_desks_cookies_are_not_sent_to_the_shop(town: Town, lines: tuple[bytes, ...]) -> None:
    """field E1"""
    town.answers(b"/", answer(HTML, body=PAGE))
    await town.ask(get(b"/", b"Cookie: a=1; clew_desk=x; b=2", b"Cookie: clew_desk_login=y", *lines))
    assert town.last.all("cookie") == [b"a=1; b=2"]


async def test_two_host_headers_are_refused_on_own_pages(town: Town) -> None:
    """field E23"""
    twice = get(b"/-/clew/health").replace(b"\r\n\r\n", b"\r\nHost: other.example\r\n\r\n")
    assert (await town.ask(twice)).status == 400


async def test_a_refused_websocket_keeps_its_status(town: Town) -> None:
    town.answers(b"/talk", answer(body=b"not you", status=b"401 Unauthorized"))
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"ws://localhost:{town.mitm.port}/talk", proxy=None)
    assert refusal.value.response.status_code == 401


# -- failures


BROKEN = {
    "a length that is not kept": b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\nContent-Length: 9999\r\n\r\n" + PAGE,
    "chunks without an end": b"HTTP/1.1 200 OK\r\n"
    + HTML
    + b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PAGE), PAGE),
    "a packed page that is cut off": answer(
        HTML, b"Content-Encoding: gzip", body=gzip.compress(PAGE * 3 + bytes(range(256)) * 300)[:-9]
    ),
}


@pytest.mark.parametrize("shop", BROKEN.values(), ids=BROKEN)
async def test_an_aborted_page_is_visibly_incomplete(town: Town, shop: bytes) -> None:
    """Hard cases proxy 6.3, 6.4."""

    async def break_off(request: Request, reader: asyncio.StreamReader, writer: Writer) -> None:
        writer.write(shop)
        await writer.drain()
        writer.close()

    town.answers(b"/broken", break_off)
    response = await town.ask(get(b"/broken", *NAVIGATION))
    assert TAG in response.body
    assert not response.complete


async def test_a_client_that_leaves_ends_the_shops_side_too(town: Town) -> None:
    """Hard case proxy 6.7."""

    async def endless(request: Request, reader: asyncio.StreamReader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"d\r\n<head><title>\r\n")
        await reader.read()

    closed = town.shop.closed
    town.answers(b"/endless", endless)
    async with town.client() as client:
        client.writer.write(get(b"/endless", *NAVIGATION))
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(TAG)
    await town.shop.until(lambda: town.shop.closed > closed)


FAULTS = {
    "the exchange, at the request": "clew.injector.eligible.request_reason",
    "the exchange, at the response": "clew.injector.eligible.response_reason",
    "the editor": "clew.middleware.exchange.response.PageEdit",
    "the addon, at the request": "clew.middleware.mitm.request.onward",
    "the addon, at the response": "clew.middleware.mitm.response.end_to_end",
}
SABOTAGE = """
import functools, pathlib, pkgutil
chosen = pathlib.Path({chosen!r})
def sabotaged(fault, whole):
    @functools.wraps(whole, updated=())
    def part(*arguments, **named):
        if chosen.read_text() == fault:
            raise RuntimeError(fault)
        return whole(*arguments, **named)
    return part
for fault in {faults!r}:
    module, _, name = fault.rpartition(".")
    module = pkgutil.resolve_name(module)
    setattr(module, name, sabotaged(fault, getattr(module, name)))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sabotaged(
    town: Town, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Mitmdump, Path]]:
    """mitmdump before the town's shop, and the file that names the fault to have."""
    folder = ClewFolder(tmp_path_factory.mktemp("sabotaged"), SETTINGS)
    chosen, script = folder.path / "fault", folder.path / "sabotage.py"
    chosen.write_text("")
    script.write_text(SABOTAGE.format(chosen=str(chosen), faults=list(FAULTS.values())))
    with Mitmdump(folder, f"reverse:{town.shop.url}", scripts=[script]) as mitm:
        yield mitm, chosen


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_any_failure_of_clew_leaves_the_page_unchanged_and_is_counted(
    town: Town, sabotaged: tuple[Mitmdump, Path], fault: str
) -> None:
    mitm, chosen = sabotaged
    town.answers(b"/", answer(HTML, b'ETag: "a"', body=PAGE))
    before = await _faults(mitm)
    chosen.write_text(fault)
    async with Client(mitm.port) as client:
        response = await client.ask(get(b"/", *NAVIGATION))
    chosen.write_text("")
    assert response.complete
    assert response.body == PAGE
    assert response.all("etag") == [b'"a"']
    mitm.wait_for_line(lambda line: '"fault"' in line and fault in line)
    assert await _faults(mitm) == before + 1
    async with Client(mitm.port) as client:
        assert (await client.ask(get(b"/", *NAVIGATION))).body == EDITED


async def _faults(mitm: Mitmdump) -> float:
    async with httpx2.AsyncClient(base_url=f"{mitm.address}/-/clew/", trust_env=False) as visitor:
        text = (await visitor.get("metrics")).text
    return sum(float(n) for n in re.findall(r'clew_events_total{event="fault",site="[^"]*"} (.*)', text))


# -- modes, and the command


async def test_in_regular_mode_the_shop_keeps_its_own_address(tmp_path: Path) -> None:
    async def script(shop: Shop, reader: asyncio.StreamReader, writer: Writer) -> None:
        while await shop.request(reader):
            writer.write(answer(HTML, b"Location: " + shop.url.encode() + b"/a", body=PAGE))

    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    async with Shop(script) as shop:
        with Mitmdump(folder, "regular") as mitm:
            async with Client(mitm.port) as client:
                host = shop.url.removeprefix("http://").encode()
                request = get(shop.url.encode() + b"/", *NAVIGATION).replace(b"shop.example", host)
                response = await client.ask(request)
                own = await client.ask(
                    request.replace(b" http://" + host + b"/", b" http://" + host + b"/-/clew/health")
                )
            assert response.body == EDITED
            assert response.all("location") == [shop.url.encode() + b"/a"]
            assert shop.requests[0].target == b"/"
            assert shop.requests[0].all("host") == [host]
            assert own.body == b"ok\n"


async def test_in_reverse_mode_without_rewriting_the_shop_sees_what_the_reverse_proxy_would_send(
    tmp_path: Path,
) -> None:
    async def script(shop: Shop, reader: asyncio.StreamReader, writer: Writer) -> None:
        while await shop.request(reader):
            writer.write(answer(HTML, b"Strict-Transport-Security: max-age=9", body=PAGE))

    folder = ClewFolder(tmp_path / "clew", SETTINGS)
    async with Shop(script) as shop:
        with ClewMitm(shop.url, "--keep-host", folder=folder, cwd=tmp_path) as mitm:
            async with Client(mitm.port) as client:
                response = await client.ask(get(b"/", *NAVIGATION, b"X-Forwarded-For: 6.6.6.6"))
            assert response.body == EDITED
            assert response.all("strict-transport-security") == [b"max-age=9"]
            (seen,) = shop.requests
            assert seen.all("host") == [b"shop.example"] == seen.all("x-forwarded-host")
            assert seen.all("x-forwarded-for") == [b"127.0.0.1"]


ORDER = b"""<html><head><script type="application/ld+json">{"@context": "https://schema.org",
"@type": "Order", "orderNumber": "1001", "price": "59.90", "priceCurrency": "EUR"}</script></head></html>"""


async def test_mitm_without_settings_shows_events_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(shop: Shop, reader: asyncio.StreamReader, writer: Writer) -> None:
        while (await shop.request(reader)).target != b"/away":
            writer.write(answer(HTML, body=ORDER))
        writer.write(answer(b"Location: https://www.shop.example/", status=b"301 Moved Permanently"))

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with Shop(script) as shop:
        with ClewMitm(f"{shop.url}/start?a=b", cwd=tmp_path) as mitm:
            mitm.wait_for_line(lambda line: f"open {mitm.address}/start?a=b" in line)
            async with Client(mitm.port) as client:
                await client.ask(get(b"/?utm_source=mail", *NAVIGATION))
                await client.ask(get(b"/away", *NAVIGATION))
            desk = mitm.wait_for_line(lambda line: "password" in line)
            password = desk.rpartition(" ")[2]
            async with httpx2.AsyncClient(base_url=f"{mitm.address}/-/clew/desk/", trust_env=False) as agent:
                csrf = (await agent.get("login")).cookies["clew_desk_login"]
                login = {"name": "me", "password": password, "csrf": csrf}
                assert (await agent.post("login", data=login)).status_code == 303
            for wanted in (
                r"touch +utm_source=mail on /",
                r"edit +GET /\?utm_source=mail  200  \d+ ms",
                r"pass +GET /away  301  status  \d+ ms",
                r"away +the shop redirects to https://www\.shop\.example: to see that one, run `clew mitm https://www\.shop",
                r"order +.*1001",
            ):
                mitm.wait_for_line(lambda line, wanted=wanted: re.search(wanted, line) is not None)
            assert _of_the_try(tmp_path)
            assert mitm.end() == 0
        assert not _of_the_try(tmp_path)


def _of_the_try(folder: Path) -> list[Path]:
    return list(folder.glob("clew-mitm-*"))
