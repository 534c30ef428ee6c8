"""`clew forget` beside a running `clew serve`, whose visitor comes back with its old cookie."""

import json
from pathlib import Path

import httpx2
import pytest
from clews import ClewFolder, ClewServe, wait_for_event
from small_shops import SmallShop, html

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[[sites]]
name = "shop"
upstream = "{shop}"
[sites.order]
page = "/thanks"
id = "#n"
total = "#t"
currency = "EUR"
[[sites.partners]]
id = "blog"
param = "ref"
postback = "http://127.0.0.1:9/?c={{click_id}}"
allow_private = true
"""
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}


def test_a_visitor_who_is_forgotten_while_clew_serves_does_not_come_back(tmp_path: Path) -> None:
    pages = {"/": html("hello"), "/thanks": html("<b id=n>1001</b><b id=t>59.90</b>")}
    with SmallShop(pages) as shop:
        folder = ClewFolder(tmp_path / "clew", SETTINGS.format(shop=shop.address))
        with ClewServe(folder, ["--workers", "2"]) as clew, httpx2.Client(base_url=clew.address) as browser:
            page = {"url": f"{clew.address}/?ref=A1", "view": "view-0001"}
            browser.get("/?ref=A1", headers=NAVIGATION)
            for _ in range(2):
                assert browser.post("/-/clew/decide", json=page).status_code == 200
            said = {"text": "my secret", "client_id": "client-0001"}
            assert browser.post("/-/clew/messages", json=said).status_code == 201
            browser.get("/thanks", headers=NAVIGATION)
            wait_for_event(clew, "order")
            (order,) = folder.rows("SELECT visitor FROM orders")
            visitor, cookie = order["visitor"], browser.cookies["clew_visitor"]
            assert visitor

            receipt = json.loads(folder.run("forget", cookie, "--json"))
            assert receipt["visitors"] == [visitor]
            went = {line["table"] for line in receipt["went"]}
            assert {"visits", "messages", "conversations", "orders", "sightings", "decisions"} <= went
            assert folder.rows("SELECT text FROM messages") == []

            def with_old_cookie() -> dict[str, str]:
                browser.cookies.clear()
                return {"Cookie": f"clew_visitor={cookie}"}

            # Each worker gets some of these.
            for number in range(4):
                again = {"url": f"{clew.address}/", "view": f"view-1{number:03}"}
                answer = browser.post("/-/clew/decide", json=again, headers=with_old_cookie())
                assert answer.headers["set-cookie"].startswith("clew_visitor="), "another visitor"
                headers = {**NAVIGATION, **with_old_cookie()}
                assert browser.get("/thanks", headers=headers).status_code == 200
            later = {"text": "me again", "client_id": "client-0002"}
            answer = browser.post("/-/clew/messages", json=later, headers=with_old_cookie())
            assert answer.status_code == 201
            clew.end()
        (order,) = folder.rows("SELECT visitor, total FROM orders")
        assert (order["visitor"], order["total"]) == (None, "59.90")
        for table in ("orders", "sightings", "decisions", "conversations"):
            query = f"SELECT count(*) AS n FROM {table} WHERE visitor = '{visitor}'"
            assert folder.rows(query) == [{"n": 0}], table
        assert folder.rows("SELECT text FROM messages") == [{"text": "me again"}]
        assert [share["partner"] for share in folder.rows("SELECT partner FROM shares")] == ["blog"]
