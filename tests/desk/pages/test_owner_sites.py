"""The owner's pages on the desk's own host: several sites together, and none that an account is not for."""

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.desk.context import RequestContext
from clew.desk.ways import way
from clew.service.origin import Origin
from desks import DeskServer
from owner_orders import order

HOST = "http://desk.test"


class DeskHost(DeskServer):
    """The desk of both sites at `desk.test`."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        found = way(self.service.sites, scope["path"].encode())
        assert found is not None, scope["path"]
        at = RequestContext(self.service, found.site, Origin("203.0.113.7", "http", "desk.test"), found)
        inner = {**scope, "path": found.path.decode(), "root_path": found.root, "clew": at}
        await self._app(inner, receive, send)


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskHost]:
    built = DeskHost(tmp_path, hold={"amounts": False})
    await built.service.open()
    await order(built, "1001")
    await order(built, "2001", site="other", partner=None)
    await order(built, "1003")
    yield built
    await built.service.close()


def listed(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [number for number in ("1003", "2001", "1001") if f">{number}</a>" in answer.text]


async def test_an_account_for_all_sites_chooses_one_or_all(desk: DeskHost) -> None:
    client = await desk.agent(base=HOST)
    own = "site/shop/desk"
    assert listed(await client.get(f"{own}/orders")) == ["1003", "1001"]
    assert listed(await client.get(f"{own}/orders?site=other")) == ["2001"]
    every = await client.get(f"{own}/orders?site=all")
    assert listed(every) == ["1003", "2001", "1001"]
    # Each line leads to the desk of its own site.
    assert 'href="/-/clew/site/other/desk/orders/' in every.text
    assert 'href="/-/clew/site/shop/desk/orders/' in every.text
    assert (await client.get(f"{own}/orders?site=nosuch")).status_code == 404
    sheet = (await client.get(f"{own}/revenue.csv?site=all")).text
    assert sheet.count("\r\nshop,") == 1
    assert sheet.count("\r\nother,") == 1


async def test_pages_of_all_sites_follow_each_other(desk: DeskHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clew.desk.pages.order_list.ROWS", 1)
    client, path, found = await desk.agent(base=HOST), "site/shop/desk/orders?site=all", list[str]()
    while path:
        answer = await client.get(path)
        found += listed(answer)
        _, more, rest = answer.text.partition("desk/orders?site=all&amp;after=")
        path = f"site/shop/desk/orders?site=all&after={rest.partition(chr(34))[0]}" if more else ""
    assert sorted(found) == ["1001", "1003", "2001"]


@pytest.mark.parametrize("query", ["site=other", "site=all"])
async def test_an_account_for_one_site_gets_no_other(desk: DeskHost, query: str) -> None:
    client = await desk.agent("cy", site="shop", base=HOST)
    for page in ("orders", "orders.csv", "revenue", "revenue.csv"):
        assert (await client.get(f"site/shop/desk/{page}")).status_code == 200
        assert (await client.get(f"site/shop/desk/{page}?{query}")).status_code == 404
        assert (await client.get(f"site/other/desk/{page}")).status_code == 303
