"""`clew export` and `GET export/…`: each row once, changed orders again, and files that programs can read."""

import asyncio
import csv
import io
import json
import os
import re
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.cli import app as commands
from clew.middleware.asgi.mount import ClewMiddleware
from clew.stores.ledger.errors import LedgerError
from clew.stores.ledger.exports import COLUMNS, Exports, Wanted
from clew.stores.ledger.exposures import Exposure
from filled import TOKEN, TOML, Filled
from starlette.applications import Starlette
from typer.testing import CliRunner, Result

ALL = Wanted()


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Filled]:
    (tmp_path / "clew.toml").write_text(TOML, encoding="utf-8")
    filled = Filled(tmp_path)
    await filled.service.open()
    await filled.bought("v1", "=cmd|' /C calc'!A0")
    await filled.order("1001", "59.90", "v1")
    await filled.order("1002", "0.10")
    await filled.offer("v1", await filled.talk("v1", "=HYPERLINK(1)"))
    await filled.callback("v1")
    await filled.service.ledger.exposures.write(
        [Exposure("shop", "sizes", "1", "v1", "question", {"eligible": filled.now})]
    )
    at = filled.service.sites.settings_of("shop")
    assert at is not None
    await filled.service.rule_editing.set(at, "", "eva", "", filled.now, 0)
    yield filled
    await filled.service.close()


async def run(folder: Path, *arguments: str) -> Result:
    line = ["export", *arguments, "--config", str(folder / "clew.toml")]
    return await asyncio.to_thread(CliRunner().invoke, commands, line)


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def cursor(result: Result) -> str:
    found = re.fullmatch(r"cursor: (\S+)", result.stderr.splitlines()[-1])
    assert found, result.stderr
    return found[1]


async def numbers(shop: Filled, after: str | None, limit: int = 1) -> tuple[list[str], str]:
    """The orders of an export, requested page by page, and the cursor at its end."""
    found: list[str] = []
    while True:
        page = await Exports(shop.service.ledger.db).page("orders", ALL, after, limit)
        found += [str(row["order_id"]) for row in page.rows]
        after = page.cursor
        if not page.more:
            return found, after


async def test_an_export_continues_where_the_last_one_ended(shop: Filled) -> None:
    shop.now += 60
    found, end = await numbers(shop, None)
    assert found == ["1001", "1002"]
    assert await numbers(shop, end) == ([], end)
    await shop.order("1003", "1.00")
    await shop.refund("1001", "9.90")
    shop.now += 60
    again, end = await numbers(shop, end)
    assert again == ["1003", "1001"], "the new one, and the one that changed"
    assert (await numbers(shop, end))[0] == []


async def test_an_order_that_changes_between_two_pages_is_not_missed(shop: Filled) -> None:
    shop.now += 60
    exports = Exports(shop.service.ledger.db)
    first = await exports.page("orders", ALL, None, 1)
    await shop.refund("1001", "9.90")
    await shop.refund("1002", "0.05")
    shop.now += 60
    rest, _ = await numbers(shop, first.cursor)
    assert sorted(rest) == ["1001", "1002"]


async def test_what_is_written_after_the_clock_was_set_back_is_exported_too(shop: Filled) -> None:
    _, end = await numbers(shop, None)
    shop.now -= 86400
    await shop.order("1003", "1.00")
    await shop.refund("1001", "9.90")
    assert (await numbers(shop, end))[0] == ["1003", "1001"]


async def test_two_orders_that_are_the_same_are_shown_as_merged(shop: Filled) -> None:
    shop.now += 60
    _, end = await numbers(shop, None)
    await shop.order("1002", "0.10", further=("1001",))
    shop.now += 60
    page = await Exports(shop.service.ledger.db).page("orders", ALL, end, 10)
    told = {row["order_id"]: (row["state"], row["merged_into"]) for row in page.rows}
    assert len(told) == 2
    assert sorted(told.values(), key=str) == [("merged", "1001"), ("placed", None)]


async def test_every_kind_has_its_documented_columns(shop: Filled, tmp_path: Path) -> None:
    await shop.deliver()
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    for kind, columns in COLUMNS.items():
        found = rows(await run(tmp_path, kind, "--format", "ndjson"))
        assert found, kind
        assert all(set(row) == set(columns) for row in found), kind
        line = next(
            line for line in text.splitlines() if line.startswith(f"| `{kind}` | ") and "`site`" in line
        )
        assert re.findall(r"`(\w+)`", line.split("|")[-2]) == list(columns)


async def test_money_is_decimal_text_and_times_are_rfc_3339(shop: Filled, tmp_path: Path) -> None:
    await shop.deliver()
    first, _ = rows(await run(tmp_path, "orders", "--format", "ndjson"))
    assert (first["total"], first["currency"]) == ("59.90", "EUR")
    assert first["recorded_at"] == "2023-11-14T22:13:21.000Z"
    (credit, nobody) = rows(await run(tmp_path, "credits", "--format", "ndjson"))
    assert (credit["partner"], credit["part"], nobody["partner"]) == ("blog", "1", None)
    (postback,) = rows(await run(tmp_path, "postbacks", "--format", "ndjson"))
    assert (postback["state"], postback["amount"]) == ("delivered", "59.90")
    (touch,) = rows(await run(tmp_path, "touches", "--format", "ndjson"))
    assert (touch["visitor"], touch["utm_source"], touch["landing"]) == ("v1", "mail", "/spring")


async def test_a_period_and_a_site_can_be_chosen(shop: Filled, tmp_path: Path) -> None:
    period = ("--since", "2023-11-14T22:13:22", "--format", "ndjson")
    assert [row["order_id"] for row in rows(await run(tmp_path, "orders", *period))] == ["1002"]
    until = ("--until", "2023-11-14T22:13:22", "--format", "ndjson")
    assert [row["order_id"] for row in rows(await run(tmp_path, "orders", *until))] == ["1001"]
    assert rows(await run(tmp_path, "orders", "--site", "other", "--format", "ndjson")) == []


async def test_the_command_ends_with_its_cursor_and_takes_it(shop: Filled, tmp_path: Path) -> None:
    first = await run(tmp_path, "orders", "--format", "ndjson", "--limit", "1")
    assert [row["order_id"] for row in rows(first)] == ["1001"]
    rest = await run(tmp_path, "orders", "--format", "ndjson", "--after", cursor(first))
    assert [row["order_id"] for row in rows(rest)] == ["1002"]
    wrong = await run(tmp_path, "credits", "--after", cursor(first))
    assert wrong.exit_code == 2
    assert "no cursor of credits" in re.sub(r"\W+", " ", wrong.output)


async def test_csv_files_contain_no_formulas(shop: Filled, tmp_path: Path) -> None:
    found = list(csv.DictReader(io.StringIO((await run(tmp_path, "credits")).stdout)))
    assert found[0]["click_id"] == "'=cmd|' /C calc'!A0"
    (message,) = csv.DictReader(io.StringIO((await run(tmp_path, "conversations")).stdout))
    assert message["text"] == "'=HYPERLINK(1)"


async def test_a_file_is_private_and_whole_or_not_there(
    shop: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "orders.csv"
    assert (await run(tmp_path, "orders", "--output", str(target))).exit_code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(target.read_text("utf-8").splitlines()) == 3

    async def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Exports, "page", fails)
    other = tmp_path / "other.csv"
    assert (await run(tmp_path, "orders", "--output", str(other))).exit_code == 1
    assert [name for name in os.listdir(tmp_path) if name.startswith("other")] == []


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
async def test_nothing_is_written_if_the_ledger_cannot_be_read(
    shop: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    async def fails(*_: object) -> None:
        raise LedgerError("the ledger is locked")

    monkeypatch.setattr(Exports, "page", fails)
    result = await run(tmp_path, "orders", "--format", form)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""


async def test_an_export_without_rows_has_its_header(shop: Filled, tmp_path: Path) -> None:
    result = await run(tmp_path, "orders", "--until", "2001-01-01")
    assert result.stdout.split() == [",".join(COLUMNS["orders"])]


async def test_parquet_has_the_same_rows(shop: Filled, tmp_path: Path) -> None:
    from pyarrow import parquet

    target = tmp_path / "orders.parquet"
    assert (await run(tmp_path, "orders", "--format", "parquet", "--output", str(target))).exit_code == 0
    plain = rows(await run(tmp_path, "orders", "--format", "ndjson"))
    table = parquet.read_table(target)
    assert table.column_names == list(COLUMNS["orders"])
    assert table.to_pylist() == [{name: row[name] for name in COLUMNS["orders"]} for row in plain]


async def test_without_pyarrow_the_command_says_what_to_install(
    shop: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = await run(tmp_path, "orders", "--format", "parquet")
    assert told.exit_code == 1
    assert "clew[parquet]" in told.stderr


@pytest_asyncio.fixture
async def client(shop: Filled) -> AsyncIterator[httpx2.AsyncClient]:
    app = ClewMiddleware(Starlette(), shop.service.settings)
    await app.service.open()
    app.startup.started = True  # nothing is delivered here
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx2.ASGITransport(app, client=("192.0.2.7", 1))
    base = "https://shop.example/-/clew/"
    async with httpx2.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
        yield client
    await app.service.close()


async def pages(client: httpx2.AsyncClient, **query: str) -> tuple[list[str], str]:
    found: list[str] = []
    while True:
        answer = await client.get("export/orders", params=query)
        assert answer.status_code == 200, answer.text
        *lines, end = map(json.loads, answer.text.splitlines())
        assert len(lines) <= int(query["limit"])
        found += [line["order_id"] for line in lines]
        query["after"] = end["cursor"]
        if not end["more"]:
            return found, end["cursor"]


async def test_the_api_gives_the_same_page_by_page(client: httpx2.AsyncClient, shop: Filled) -> None:
    for number in range(1003, 1063):
        await shop.order(str(number), "1.00")
    found, end = await pages(client, since="2023-11-01", limit="55")
    assert found == [str(number) for number in range(1001, 1063)]
    await shop.refund("1005", "0.50")
    assert (await pages(client, after=end, limit="55"))[0] == ["1005"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("export/orders?after=credits-1", 400),
        ("export/orders?since=yesterday", 400),
        ("export/orders?limit=1001", 400),
    ],
)
async def test_the_api_reports_wrong_parameters(client: httpx2.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


async def test_the_api_wants_the_token_and_is_limited(client: httpx2.AsyncClient) -> None:
    refused = await client.get("export/orders", headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    answers = [(await client.get("export/orders?limit=1")).status_code for _ in range(61)]
    assert answers == [200] * 60 + [429]


@pytest.mark.parametrize("kind", ["orders", "credits", "postbacks", "touches", "conversations"])
async def test_a_period_without_rows_ends_with_a_cursor_behind_earlier_ones(shop: Filled, kind: str) -> None:
    await shop.deliver()
    shop.now += 3600
    exports = Exports(shop.service.ledger.db)
    earlier = await exports.page(kind, ALL, None, 50)
    nothing = await exports.page(kind, Wanted(since=shop.now - 60), None, 50)
    assert nothing.rows == ()
    assert earlier.rows
    assert (await exports.page(kind, ALL, nothing.cursor, 50)).rows == ()


@pytest.mark.parametrize("kind", ["orders", "credits", "postbacks", "touches"])
async def test_the_columns_of_ndjson_are_in_the_documented_order(
    shop: Filled, tmp_path: Path, kind: str
) -> None:
    await shop.deliver()
    shop.now += 60
    found = rows(await run(tmp_path, kind, "--format", "ndjson"))
    assert [list(row) for row in found] == [list(COLUMNS[kind])] * len(found)
