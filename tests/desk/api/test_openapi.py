"""The OpenAPI document describes what a running clew does."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clews import ClewFolder, ClewServe

TOKEN = "wJ7q-2xLrW7mZc4JpYb8NfHs"
READER = "reader-6mZc4JpYb8NfHsD3gA"
MANY = "{ client = 1000000, site = 1000000, all = 1000000 }"
SETTINGS = f"""
secret = "env:CLEW_SECRET"
limits = {{ exports = {MANY}, tokens = {MANY} }}

[[sites]]
name = "shop"
hosts = ["127.0.0.1"]
upstream = "http://127.0.0.1:9"
api_token = "{TOKEN}"
api_tokens = [{{ name = "reader", token = "{READER}", scopes = ["orders:read", "export"] }}]
"""
# 422 is for what JSON Schema cannot say: an order number that is a label, a visitor that is unknown. A cursor
# is opaque, so a schema cannot tell one of this export from any other text. Personal data in the claim of an
# agent is a 400 by its protocol.
CHECKS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]

[parameters]
"path.number" = "1001"

[[operations]]
include-path = "/orders"

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422"]

[[operations]]
include-path = "/commissions"

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403"]

[[operations]]
include-path = "/export/{kind}"

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404"]
"""
GENERATOR = """
package_name_override: generated_clew
post_hooks: []
content_type_overrides:
  application/x-ndjson: application/octet-stream
"""
FIRST = {"id": "1001", "total": "59.90", "currency": "EUR"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClewServe]:
    server = ClewServe(ClewFolder(tmp_path_factory.mktemp("clew"), SETTINGS))
    try:
        answer = httpx2.post(f"{server.address}/-/clew/orders", json=FIRST, headers=bearer(TOKEN))
        assert answer.status_code == 201, answer.text
        yield server
    finally:
        server.end()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_schemathesis_finds_nothing(clew: ClewServe, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CHECKS)
    base = f"{clew.address}/-/clew"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"),
        *(f"{base}/openapi.json", "--url", base, "--header", f"Authorization: Bearer {TOKEN}"),
        *("--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 selected / 10 total" in done.stdout


def test_a_generated_client_reports_and_reads_an_order(
    clew: ClewServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx2.get(f"{clew.address}/-/clew/openapi.json").content)
    config = tmp_path / "config.yml"
    config.write_text(GENERATOR)
    command = [
        *(str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--path", str(document)),
        *("--config", str(config), "--output-path", str(tmp_path / "client"), "--fail-on-warning"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path / "client")

    def generated(name: str) -> Any:
        return importlib.import_module(f"generated_clew{name}")

    with generated("").AuthenticatedClient(f"{clew.address}/-/clew", token=TOKEN) as client:
        body = generated(".models").OrderBody.from_dict({"id": "G-7", "total": "12.00", "currency": "EUR"})
        recorded = generated(".api.default.report_order").sync(client=client, body=body)
        assert (recorded.id, recorded.total, recorded.created) == ("G-7", "12.00", True)
        again = generated(".api.default.report_order").sync(client=client, body=body)
        assert again.created is False
        story = generated(".api.default.get_order").sync("G-7", client=client)
        assert story.order.total == "12.00"
        assert story.order.partner is None
        assert [step.kind for step in story.history] == ["report", "credit"]
        page = generated(".api.default.list_orders").sync(client=client, limit=1)
        assert len(page.orders) == 1
        rest = generated(".api.default.list_orders").sync(client=client, cursor=page.next_)
        assert "1001" in [order.id for order in rest.orders]


def test_a_token_may_do_what_its_scopes_say(clew: ClewServe) -> None:
    with httpx2.Client(base_url=f"{clew.address}/-/clew/", headers=bearer(READER)) as reader:
        assert reader.get("orders").status_code == 200
        assert reader.get("export/orders").status_code == 200
        for answer in (
            reader.post("orders", json=FIRST | {"id": "S-1"}),
            reader.post("forget", json={"visitor": "aaaabbbbccccddddeeeeffff22"}),
        ):
            assert answer.status_code == 403
            assert "this token may only orders:read, export" in answer.json()["error"]
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        assert reader.get("orders/S-1").status_code == 404
    assert httpx2.get(f"{clew.address}/-/clew/orders").status_code == 401
    wrong = httpx2.get(f"{clew.address}/-/clew/orders", headers=bearer("wrong-token-of-nobody-1"))
    assert wrong.status_code == 401


def test_orders_are_listed_by_what_is_asked(clew: ClewServe) -> None:
    with httpx2.Client(base_url=f"{clew.address}/-/clew/", headers=bearer(TOKEN)) as client:
        for number, state in (("L-1", "placed"), ("L-2", "paid"), ("L-3", "cancelled")):
            order = {"id": number, "total": "5.00", "currency": "EUR", "state": state, "channel": "phone"}
            assert client.post("orders", json=order).status_code == 201

        def listed(**query: str) -> list[str]:
            found = [one["id"] for one in client.get("orders", params=query).json()["orders"]]
            # Other tests have orders there too.
            return [number for number in found if number.startswith("L-")]

        assert listed(channel="phone") == ["L-3", "L-2", "L-1"]
        assert listed(channel="phone", state="paid") == ["L-2"]
        assert listed(channel="phone", until="2026-01-01") == []
        assert listed(channel="phone", since="2026-01-01T00:00:00Z") == ["L-3", "L-2", "L-1"]
        for query, problem in (
            ({"state": "payed"}, "state: 'payed' is none of seen, held, placed"),
            ({"stat": "paid"}, "unknown parameter 'stat': known are state, channel"),
            ({"since": "yesterday"}, "since: 'yesterday' is no date"),
            ({"limit": "1001"}, "limit: from 1 to 1000"),
            ({"cursor": "x"}, "cursor: a whole number"),
        ):
            answer = client.get("orders", params=query)
            assert (answer.status_code, problem in answer.json()["error"]) == (400, True), answer.text
        twice = client.get("orders?state=paid&state=placed")
        assert (twice.status_code, twice.json()["error"]) == (400, "state is there 2 times: send it once")


def test_a_page_of_many_orders_is_followed_by_the_rest(clew: ClewServe) -> None:
    with httpx2.Client(base_url=f"{clew.address}/-/clew/", headers=bearer(TOKEN)) as client:
        for number in range(130):
            order = {"id": f"P-{number}", "total": "1.00", "currency": "EUR", "state": "charged_back"}
            assert client.post("orders", json=order).status_code == 201
        found, cursor = [], None
        while True:
            query = {"state": "charged_back", "limit": "60"} | ({"cursor": cursor} if cursor else {})
            page = client.get("orders", params=query).json()
            assert len(page["orders"]) <= 60
            found += [one["id"] for one in page["orders"]]
            if (cursor := page["next"]) is None:
                break
    ours = [number for number in found if number.startswith("P-")]
    assert ours == [f"P-{number}" for number in reversed(range(130))]
    assert len(found) == len(set(found))


def test_the_document_names_each_scope_and_each_error(clew: ClewServe) -> None:
    document = json.loads(httpx2.get(f"{clew.address}/-/clew/openapi.json").content)
    assert document["servers"] == [{"url": "/-/clew"}]
    report = document["paths"]["/orders"]["post"]
    assert report["description"] == "The token needs the scope `orders:write`."
    assert {"200", "201", "202", "401", "403", "413", "422", "429", "503"} <= set(report["responses"])
