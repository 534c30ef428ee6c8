"""Confirmation pages behind the proxy: what a shop shows, and the order that stands in the ledger then."""

from pathlib import Path
from typing import Any

from clew.middleware.proxy import ReverseProxy
from clew.settings.model import Settings
from desks import until
from raw_http import Client, Shop, answering, get, serving

NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html")


class Behind:
    """A shop that answers everything with `page`, behind clew, once asked for its confirmation page."""

    def __init__(self, folder: Path, page: str, order: dict[str, Any]) -> None:
        self._folder, self._page, self._order = folder, page.encode(), order

    async def seen(self) -> tuple[Any, dict[str, float]]:
        """The order in the ledger, None if it could not be read, and the counts of the journal's events."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
        database = f"sqlite:{self._folder / 'clew.db'}"
        async with Shop(answering(head % len(self._page) + self._page)) as shop:
            site = {
                "name": "shop",
                "hosts": ["shop.example"],
                "upstream": shop.url,
                "order": {"page": "/thanks", **self._order},
            }
            proxy = ReverseProxy(
                Settings.model_validate(
                    {
                        "secret": "0123456789abcdefghijklmnopqrstuvwxyz-XYZ",
                        "store": database,
                        "ledger": database,
                        "sites": [site],
                    }
                )
            )
            async with serving(proxy, lifespan="on") as port, Client(port) as client:
                answer = await client.ask(get(b"/thanks", *NAVIGATION))
                assert answer.status == 200
                service = proxy.service
                told = service.registry.get_sample_value

                def events() -> dict[str, float]:
                    names = ("order", "order_unreadable", "page_unread")
                    counted = ((n, told("clew_events_total", {"site": "shop", "event": n})) for n in names)
                    return {n: count for n, count in counted if count}

                await until(lambda: bool(events()))
                (order, *_) = (*await service.ledger.orders.list("shop"), None)
                return order, events()


async def test_a_page_of_many_attributes_stops_nobody_and_is_told_of(tmp_path: Path) -> None:
    """field E4"""
    page = "<html><head></head><p id=id>1</p><p " + " ".join(f"a{n}" for n in range(70_000)) + ">"
    order, events = await Behind(tmp_path, page, {"id": "#id", "total": "#total"}).seen()
    assert order is None
    assert events == {"page_unread": 1}


async def test_an_id_of_ten_thousand_letters_is_told_of(tmp_path: Path) -> None:
    """field E4"""
    page = f"<html><head></head><p id=id>{'Order ' * 2000}</p>"
    order, events = await Behind(tmp_path, page, {"id": "#id", "total": "#total"}).seen()
    assert order is None
    assert events == {"order_unreadable": 1}
