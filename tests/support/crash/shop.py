"""The shop: a start page, a checkout, and a confirmation page that shows the order in its address."""

import asyncio
from contextlib import suppress
from typing import Final

from raw_http import read_request

# In the settings of a site.
SETTINGS: Final = """
[sites.order]
page = "/thanks/*"
id = "#number"
total = "#total"
currency = "EUR"
"""
PAGE: Final = (
    '<!doctype html><html><head><title>Shop</title></head><body><p id="number">{number}</p>'
    '<p id="total">{total} €</p>' + "<p>Thank you for your order." * 20 + "</body></html>"
)
OTHER: Final = "<!doctype html><html><head><title>Shop</title></head><body><p>Mugs</body></html>"


def confirmation(number: str, total: object) -> str:
    """The address of an order's page."""
    return f"/thanks/{number}/{total}"


class Shop:
    """Use it as a context."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Shop":
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await read_request(reader)
                parts = request.target.decode().partition("?")[0].strip("/").split("/")
                text = PAGE.format(number=parts[1], total=parts[2]) if parts[0] == "thanks" else OTHER
                body = text.encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )
                await writer.drain()
        writer.close()
