"""A shop that is not one's own, tried out in a browser through `clew mitm`: it stays on the local address."""

import asyncio
import ipaddress
import ssl
from pathlib import Path

import pytest
from certificates import certificate
from cryptography import x509
from mitms import ClewMitm
from playwright.async_api import Browser, BrowserContext, expect
from raw_http import Request, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

HOME = b"""<!doctype html><html lang="en"><head><title>Shop</title></head><body>
<form method="post" action="/basket"><button>Buy</button></form></body></html>"""
# Only by HTTP/2 do browsers send a body whose length they do not know.
UPLOAD = """async () => {
  const body = new ReadableStream({ start(stream) {
    for (const part of ["one ", "two"]) stream.enqueue(new TextEncoder().encode(part));
    stream.close();
  } });
  return await (await fetch("/upload", { method: "POST", body, duplex: "half" })).text();
}"""
BASKET = b'<!doctype html><html lang="en"><head><title>Basket</title></head><body>1 pot</body></html>'


def answer(*lines: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Type: text/html", *lines, length, b"", b""]) + body


async def shopkeeper(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A shop as shops on https are: it leads by absolute addresses, sets cookies for its own domain, and
    takes no order from a page of another origin."""
    own = shop.url.replace("127.0.0.1", "localhost").encode()
    while True:
        request = await shop.request(reader)
        writer.write(_answer(request, own))
        await writer.drain()


def _answer(request: Request, own: bytes) -> bytes:
    match request.target.partition(b"?")[0]:
        case b"/":
            return answer(b"Location: " + own + b"/home", status=b"302 Found")
        case b"/home":
            return answer(
                b"Set-Cookie: sid=7; Domain=localhost; Secure; HttpOnly; SameSite=None",
                b"Strict-Transport-Security: max-age=31536000; includeSubDomains",
                b"Content-Security-Policy: default-src 'self' 'unsafe-inline'; upgrade-insecure-requests",
                b'Alt-Svc: h3=":443"',
                body=HOME,
            )
        case b"/basket" if request.all("origin") == [own] and b"sid=7" in b"".join(request.all("cookie")):
            return answer(b"Location: " + own + b"/basket/seen", status=b"303 See Other")
        case b"/basket/seen":
            return answer(body=BASKET)
        case b"/upload":
            return answer(body=request.body)
        case _:
            return answer(status=b"403 Forbidden", body=b"<p>no</p>")


async def _buys(context: BrowserContext, mitm: ClewMitm, address: str) -> None:
    page = await context.new_page()
    await page.goto(f"{address}/?utm_source=mail")
    assert page.url == f"{address}/home"
    await expect(page.locator("clew-chat")).to_have_count(1)
    await page.get_by_role("button", name="Buy").click()
    await expect(page).to_have_title("Basket")
    assert page.url == f"{address}/basket/seen"
    await expect(page.locator("clew-chat")).to_have_count(1)
    mitm.wait_for_line(lambda line: "touch" in line)
    assert "fault" not in mitm.tail()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_foreign_shop_can_be_used_on_the_local_address(
    chromium: Browser, tmp_path: Path, scheme: str
) -> None:
    """Over https the browser uses HTTP/2 with mitmproxy."""
    names = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    path = certificate(tmp_path, *names)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)
    context = await chromium.new_context(ignore_https_errors=True)
    async with Shop(shopkeeper, tls=tls) as shop:
        url = shop.url.replace("127.0.0.1", "localhost")
        trust = f"ssl_verify_upstream_trusted_ca={path}"
        with ClewMitm(url, "--set", trust, cwd=tmp_path) as mitm:
            address = mitm.address.replace("http:", f"{scheme}:")
            await _buys(context, mitm, address)
            sent = await context.pages[0].evaluate(
                "performance.getEntriesByType('navigation')[0].nextHopProtocol"
            )
            assert sent == {"http": "http/1.1", "https": "h2"}[scheme]
            if scheme == "https":
                assert await context.pages[0].evaluate(UPLOAD) == "one two"
    await context.close()
