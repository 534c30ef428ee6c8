"""Limits through the mounts: who counts as one client, whatever a client says of itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.middleware.proxy.mount import ReverseProxy
from clew.settings.model import Settings

ASK = {"view": "view-number-1", "url": "http://shop.test/", "language": "en"}


@pytest_asyncio.fixture
async def clew(tmp_path: Path) -> AsyncIterator[ReverseProxy]:
    proxy = ReverseProxy(
        Settings.model_validate(
            {
                "secret": "an-unlikely-secret-0123456789-ABCDEF",
                "store": f"sqlite:{tmp_path / 'visits.db'}",
                "ledger": f"sqlite:{tmp_path / 'ledger.db'}",
                "trusted_proxies": ["10.0.0.0/8"],
                "limits": {"conversations": {"client": 3}},
                "sites": [{"name": "shop", "hosts": ["shop.test"], "upstream": "http://127.0.0.1:9"}],
            }
        )
    )
    await proxy.service.start()
    yield proxy
    await proxy.service.stop()


async def opens(clew: ReverseProxy, peer: str, forwarded: str = "") -> int:
    """A new visitor's first message, from `peer`; its status."""
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    transport = httpx2.ASGITransport(app=clew, client=(peer, 50000))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://shop.test/-/clew/", headers=headers
    ) as client:
        assert (await client.post("decide", json=ASK)).status_code == 200
        return (await client.post("messages", json={"text": "hello", "client_id": "widget-id-1"})).status_code


@pytest.mark.parametrize("way", ["direct", "behind our proxy", "invented hops", "invented header", "ipv6"])
async def test_a_client_cannot_appear_as_several(clew: ReverseProxy, way: str) -> None:
    """field E3: the address is that of the last untrusted hop."""
    taken = []
    for number in range(6):
        if way == "direct":
            taken.append(await opens(clew, "198.51.100.9"))
        elif way == "behind our proxy":
            taken.append(await opens(clew, "10.0.0.1", "198.51.100.9"))
        elif way == "invented hops":
            taken.append(await opens(clew, "10.0.0.1", f"203.0.113.{number}, 198.51.100.9"))
        elif way == "invented header":
            taken.append(await opens(clew, "198.51.100.9", f"203.0.113.{number}"))
        else:
            taken.append(await opens(clew, f"2001:db8:0:1:{number:x}::1"))
    assert taken == [201] * 3 + [429] * 3


async def test_customers_behind_a_trusted_proxy_are_counted_separately(clew: ReverseProxy) -> None:
    """field E3."""
    assert [await opens(clew, "10.0.0.1", f"198.51.100.{n}") for n in range(6)] == [201] * 6
