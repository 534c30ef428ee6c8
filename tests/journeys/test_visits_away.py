"""A visitor whose visits are in Redis or PostgreSQL, while that server hangs, is gone, or comes back empty:
the pages go on, the conversation too, and the order is credited (fields D4, D7)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clews import ClewFolder, ClewServe, events, wait_for_event
from database_servers import Postgres, Redis
from small_shops import SmallShop, html

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
secret = "env:CLEW_SECRET"
store = "env:STORE"
log = "json"

[[sites]]
name = "shop"
upstream = "{shop}"
api_token = "s3cret-token-of-the-shop"

[[sites.partners]]
id = "friend"
param = "friend"
postback = "http://127.0.0.1:9/sale?click={{click_id}}&order={{order_id}}"
allow_private = true

[sites.invites]
holdout = 0

[[sites.rules]]
name = "second-page"
when = ["visit.pages >= 2"]
action = "invite"

[sites.order]
page = "/thanks*"
id = "#number"
total = "#total"
currency = "EUR"
"""
PAGE = '<p id="number">{number}</p><p id="total">59.90 €</p>'
HEADERS = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
INSIDE = HEADERS | {"Sec-Fetch-Site": "same-origin"}
BEARER = {"authorization": "Bearer s3cret-token-of-the-shop"}
# What the machine adds, which all tests share.
SLOW = 1.0
PAGE_SECONDS = 0.3 + SLOW


@pytest.fixture
def shop() -> Iterator[SmallShop]:
    pages = {f"/thanks/{n}": html(PAGE.format(number=n)) for n in range(5)}
    with SmallShop({"/": html("<p>Mugs</p>"), "/checkout": html("<p>Pay</p>"), **pages}) as shop:
        yield shop


@pytest.fixture(params=[Redis, Postgres])
def server(request: pytest.FixtureRequest) -> Iterator[Redis | Postgres]:
    found: Redis | Postgres = request.param()
    try:
        found.start()
        yield found
    finally:
        found.remove()


def address(server: Redis | Postgres) -> str:
    return server.url() if isinstance(server, Redis) else server.url(server.database())


class Visitor:
    """A browser that follows the partner's link."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client
        self.views = 0

    def page(self, path: str, headers: dict[str, str] = INSIDE) -> float:
        """How long it took."""
        began = time.monotonic()
        answer = self.client.get(path, headers=headers)
        assert (answer.status_code, answer.text.endswith("</html>")) == (200, True)
        assert "/-/clew/l.js" in answer.text
        return time.monotonic() - began

    def decide(self) -> tuple[dict[str, Any], float]:
        """The answer, and how long it took."""
        self.views += 1
        began = time.monotonic()
        body = {"view": f"view-{self.views:04}", "url": f"{self.client.base_url}/", "title": "Mugs"}
        answer = self.client.post("/-/clew/decide", json=body)
        assert answer.status_code == 200
        return answer.json(), time.monotonic() - began


@contextmanager
def visiting(clew: ClewServe) -> Iterator[Visitor]:
    with httpx2.Client(base_url=clew.address, timeout=30) as client:
        visitor = Visitor(client)
        visitor.page("/?friend=c1", HEADERS | {"Sec-Fetch-Site": "cross-site"})
        yield visitor


def wait_until(found: Callable[[], bool]) -> None:
    """What `ready` says may be two seconds old."""
    until = time.monotonic() + 30
    while not found():
        assert time.monotonic() < until
        time.sleep(0.05)


def credited(folder: ClewFolder) -> dict[str, str | None]:
    """The partner of each order."""
    found = folder.rows(
        "SELECT orders.order_id AS number, shares.partner AS partner FROM orders "
        'LEFT JOIN shares ON shares."order" = orders.id'
    )
    return {row["number"]: row["partner"] for row in found}


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_pages_talks_and_credit_go_on_while_the_visit_store_is_away(
    tmp_path: Path, shop: SmallShop, server: Redis | Postgres, how: str
) -> None:
    folder = ClewFolder(tmp_path, SETTINGS.format(shop=shop.address), {"STORE": address(server)})
    with ClewServe(folder) as clew, visiting(clew) as visitor, visiting(clew) as silent:
        visitor.decide()
        silent.decide()
        for one in (visitor, silent):
            # A store that has just been started may answer too late for a page.
            wait_until(lambda one=one: one.decide()[0]["rule"] == "second-page")
        wrote = visitor.client.post("/-/clew/messages", json={"text": "hello", "client_id": "m-00000001"})
        assert wrote.status_code == 201
        away, back = halted(server, how)
        away()
        try:
            took = [visitor.page("/"), visitor.page("/?friend=c2", HEADERS), visitor.page("/checkout")]
            answers = [visitor.decide() for _ in range(3)]
            assert max(*took, *(seconds for _, seconds in answers)) < PAGE_SECONDS
            # The conversation is known to the ledger; the pages of the visit only to the store.
            assert [answer["conversation"] for answer, _ in answers] == [True] * 3
            assert silent.decide()[0]["rule"] is None
            said = {"text": "still there?", "client_id": "m-00000002"}
            assert visitor.client.post("/-/clew/messages", json=said).status_code == 201
            visitor.page("/thanks/1")
            wait_for_event(clew, "credit")
            told = wait_for_event(clew, "visits_down")
            assert "127.0.0.1" in told["why"]
            ready = visitor.client.get("/-/clew/ready")
            assert (ready.status_code, bool(ready.json()["visits"])) == (200, True)
            assert "clew_visits_up 0.0" in visitor.client.get("/-/clew/metrics").text
        finally:
            back()
        wait_for_event(clew, "visits_up")
        silent.decide()
        assert silent.decide()[0]["rule"] == "second-page"
        # Also where the store has lost what was written just before it was killed.
        wait_until(lambda: visitor.decide()[0]["conversation"])
        visitor.page("/thanks/2")
        clew.wait_for_line(lambda _: len(events(clew, "credit")) >= 2, 20)
        wait_until(lambda: "visits" not in visitor.client.get("/-/clew/ready").json())
        assert len(events(clew, "visits_down")) == 1
    assert credited(folder) == {"1": "friend", "2": "friend"}


def halted(server: Redis | Postgres, how: str) -> tuple[Callable[[], None], Callable[[], None]]:
    return (server.freeze, server.thaw) if how == "frozen" else (server.kill, server.start)


def test_a_shops_server_is_told_to_come_again_where_only_the_store_knows_the_visitor(
    tmp_path: Path, shop: SmallShop
) -> None:
    """An order by API names its visitor by the cookie's value, which is enough, or by its id."""
    server = Redis()
    try:
        server.start()
        folder = ClewFolder(tmp_path, SETTINGS.format(shop=shop.address), {"STORE": server.url()})
        with ClewServe(folder) as clew, visiting(clew) as visitor:
            visitor.decide()
            cookie = visitor.client.cookies["clew_visitor"]
            server.kill()
            order = {"id": "7", "total": "59.90", "currency": "EUR"}
            by_id = httpx2.post(
                f"{clew.address}/-/clew/orders", json=order | {"visitor": "v" * 26}, headers=BEARER
            )
            assert (by_id.status_code, by_id.headers["retry-after"]) == (503, "2")
            assert "visit store" in by_id.json()["error"]
            by_cookie = httpx2.post(
                f"{clew.address}/-/clew/orders", json=order | {"visitor": cookie}, headers=BEARER
            )
            assert by_cookie.status_code == 201
        assert credited(folder) == {"7": "friend"}
    finally:
        server.remove()


def test_two_machines_share_what_is_known_of_a_visitor(tmp_path: Path, shop: SmallShop) -> None:
    """Each with a ledger of its own here; the visits are in one Redis, which is emptied in between."""
    server = Redis()
    try:
        server.start()
        environ = {"STORE": server.url(), "CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}
        text = SETTINGS.format(shop=shop.address)
        folders = [ClewFolder(tmp_path / name, text, environ) for name in ("one", "two")]
        with ClewServe(folders[0]) as one, ClewServe(folders[1]) as two, visiting(one) as visitor:
            visitor.decide()
            cookie = f"clew_visitor={visitor.client.cookies['clew_visitor']}"
            with httpx2.Client(base_url=two.address, headers={"cookie": cookie}, timeout=30) as client:
                elsewhere = Visitor(client)
                elsewhere.views = 10
                assert elsewhere.decide()[0]["rule"] == "second-page"
                server.kill()
                server.start()
                wait_for_event(two, "started")
                elsewhere.decide()
                if events(two, "visits_down"):
                    wait_for_event(two, "visits_up")
                elsewhere.decide()
                assert elsewhere.decide()[0]["rule"] == "second-page"
                elsewhere.page("/thanks/3")
                wait_for_event(two, "credit")
        assert credited(folders[1]) == {"3": "friend"}
    finally:
        server.remove()
