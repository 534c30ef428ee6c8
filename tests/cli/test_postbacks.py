import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.cli.postbacks import app
from clew.orders.model import Item, OrderSeen
from clew.postbacks.model import Attempt, Postback, Report, State
from clew.referral.touches import Click
from clew.stores.ledger.connection import executing
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.outbox import Outbox
from recorded import Credit, put_order
from sqlalchemy import text
from typer.testing import CliRunner, Result

NOW = 1763860000.0
SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
ledger = "sqlite:{ledger}"

[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clew.toml"
    path.write_text(SETTINGS.format(ledger=tmp_path / "clew.db"), encoding="utf-8")
    return path


@pytest.fixture
def run(config: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(
        app, [*arguments, "--config", str(config)], env={"COLUMNS": "200"}
    )


@pytest.fixture
def owed(config: Path) -> Callable[..., list[str]]:
    """Postbacks in these states; their ids."""

    async def fill(states: tuple[State, ...], **more: Any) -> list[str]:
        db = database_at(f"sqlite:{config.parent / 'clew.db'}")
        await db.open()
        outbox, ids = Outbox(db), []
        for number, state in enumerate(states):
            order = OrderSeen(f"10000{number}", Decimal("59.90"), "EUR", "page")
            await put_order(
                db,
                order,
                channel="chat",
                credit=Credit("blog", Click("", "ref", "click", "blog"), 1.0, "for the test", ()),
                reports=[Report("order", "blog", "click", order.id, "59.90", "EUR", "chat", 1, 1, **more)],
                now=NOW + number,
            )
            (waiting,) = await outbox.waiting(NOW + 99, each=1, limit=1)
            ids.append(waiting.id)
            (row,) = await outbox.claim([waiting.id], NOW + 99, NOW + 199)
            answer = Attempt(NOW, "GET https://p.example/", 404, "no such [click]", "dead")
            await outbox.finish(row, answer, state, NOW + 10**6)
        await db.close()
        return ids

    return lambda *states, **more: asyncio.run(fill(states, **more))


def rows(config: Path) -> list[Postback]:
    async def read() -> list[Postback]:
        db = database_at(f"sqlite:{config.parent / 'clew.db'}")
        found = await Outbox(db).list()
        await db.close()
        return list(found)

    return asyncio.run(read())


def test_list_shows_each_postback_with_its_state_and_last_answer(
    run: Callable[..., Result], owed: Callable[..., list[str]]
) -> None:
    ids = owed("dead", "delivered")
    result = run("list")
    assert result.exit_code == 0
    assert all(i in result.output for i in ids)
    line = next(x for x in result.output.splitlines() if ids[0] in x)
    for word in ("dead", "shop 100000", "59.90 EUR", "blog", "chat", "no such [click]"):
        assert word in line


def test_list_can_be_narrowed_to_a_state_and_read_by_programs(
    run: Callable[..., Result], owed: Callable[..., list[str]]
) -> None:
    ids = owed("dead", "delivered", "unknown")
    found = [json.loads(line) for line in run("list", "--state", "unknown", "--json").output.splitlines()]
    assert [(f["id"], f["state"], f["report"]["order_id"]) for f in found] == [(ids[2], "unknown", "100002")]


def test_an_order_with_items_is_listed_for_programs(
    run: Callable[..., Result], owed: Callable[..., list[str]]
) -> None:
    goods = (Item(id="mug", price=Decimal("20.00"), category="Mugs"), Item(id="jug", price=Decimal("39.90")))
    owed("delivered", items=goods, left=(Decimal(), Decimal("39.90")))
    (found,) = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    assert [one["price"] for one in found["report"]["items"]] == ["20.00", "39.90"]
    assert found["report"]["left"] == ["0", "39.90"]


def test_an_empty_list_prints_a_text(run: Callable[..., Result], owed: Callable[..., list[str]]) -> None:
    owed()
    assert "no postbacks in the state dead" in run("list", "--state", "dead").output
    assert run("list", "--json").output == ""


def test_an_unknown_state_is_refused_with_the_known_ones(run: Callable[..., Result]) -> None:
    result = run("list", "--state", "lost")
    assert result.exit_code == 2
    assert "delivered" in result.output


def test_retry_makes_the_named_postbacks_due(
    run: Callable[..., Result], owed: Callable[..., list[str]], config: Path
) -> None:
    dead, unknown, _ = owed("dead", "unknown", "dead")
    result = run("retry", dead, unknown, dead)
    assert (result.exit_code, result.output.split()[0]) == (0, "2")
    assert {r.id for r in rows(config) if r.state == "due"} == {dead, unknown}


def test_retry_all_dead_leaves_the_others_alone(
    run: Callable[..., Result], owed: Callable[..., list[str]], config: Path
) -> None:
    owed("dead", "unknown", "dead", "delivered")
    assert run("retry", "--all-dead").output.startswith("2 due again")
    assert sorted(r.state for r in rows(config)) == ["delivered", "due", "due", "unknown"]


def test_retry_says_which_postback_it_cannot_send_again_and_why(
    run: Callable[..., Result], owed: Callable[..., list[str]]
) -> None:
    dead, delivered = owed("dead", "delivered")
    result = run("retry", "pb_x", delivered, dead)
    assert result.exit_code == 1
    assert "pb_x: no such postback" in result.output
    assert f"{delivered}: it was delivered" in result.output
    assert "1 due again" in result.output


@pytest.mark.parametrize("arguments", [[], ["pb_1", "--all-dead"]])
def test_retry_wants_ids_or_all_dead_but_not_both(run: Callable[..., Result], arguments: list[str]) -> None:
    result = run("retry", *arguments)
    assert result.exit_code == 2
    assert "--all-dead" in result.output


def test_a_ledger_that_is_not_there_is_an_error_and_is_not_made(
    run: Callable[..., Result], config: Path
) -> None:
    result = run("list")
    assert result.exit_code == 1
    assert f"there is no ledger at {config.parent / 'clew.db'}" in result.output
    assert not (config.parent / "clew.db").exists()


def test_a_file_that_is_no_ledger_is_a_clear_error(run: Callable[..., Result], config: Path) -> None:
    (config.parent / "clew.db").write_bytes(b"an order book" * 100)
    result = run("list")
    assert result.exit_code == 1
    assert "cannot be used: file is not a database" in result.output


def test_at_80_columns_words_are_whole_and_a_400_is_no_ok(
    config: Path, owed: Callable[..., list[str]]
) -> None:
    """field G5"""
    (postback,) = owed("dead")

    async def answer() -> None:
        db = database_at(f"sqlite:{config.parent / 'clew.db'}")
        await db.transact(executing(text("UPDATE postbacks SET last_status = 400, last_answer = 'ok'")))
        await db.close()

    asyncio.run(answer())
    result = CliRunner().invoke(app, ["list", "--config", str(config)], env={"COLUMNS": "80"})
    first, facts, told = result.output.splitlines()
    assert first == f"{postback}  dead"
    assert facts == "  order · shop 100000 · 59.90 EUR · blog · chat · 1 try"
    assert told == "  400: ok"
    result = CliRunner().invoke(app, ["list", "--json", "--config", str(config)])
    row = json.loads(result.output)
    assert (row["last_status"], row["last_answer"], row["state"], row["attempts"]) == (400, "ok", "dead", 1)


def test_the_status_of_the_last_answer_is_kept(
    run: Callable[..., Result], owed: Callable[..., list[str]]
) -> None:
    """field G5"""
    owed("dead")
    assert "404: no such [click]" in run("list").output


@pytest.mark.parametrize(
    ("arguments", "state", "amount"),
    [
        (("release", "{id}"), "due", "59.90"),
        (("correct", "{id}", "--amount", "5.99"), "due", "5.99"),
        (("refuse", "{id}"), "refused", "59.90"),
    ],
    ids=["release", "correct", "refuse"],
)
def test_held_postbacks_are_settled_with_a_name(
    run: Callable[..., Result],
    owed: Callable[..., list[str]],
    config: Path,
    arguments: tuple[str, ...],
    state: State,
    amount: str,
) -> None:
    """A released one is due once, a corrected one with the other amount, a refused one never."""
    (held,) = owed("held")
    assert "held" in run("list", "--state", "held").output
    assert run("retry", held).exit_code == 1
    result = run(*(a.format(id=held) for a in arguments), "--by", "bo")
    assert (result.exit_code, f"{amount} EUR" in result.output) == (0, True)
    *_, row = sorted(rows(config), key=lambda row: row.sequence)
    assert (row.state, row.report.amount, row.hold) == (state, amount, None)
    assert row.why is not None
    assert row.why.endswith("by bo")
    again = run("correct", held, "--amount", "1.00")
    assert again.exit_code == (0 if state == "refused" else 1)


@pytest.mark.parametrize("amount", ["12,99", "x", "1.234", "-1", "NaN"])
def test_an_amount_that_cannot_be_changes_nothing(
    run: Callable[..., Result], owed: Callable[..., list[str]], config: Path, amount: str
) -> None:
    (held,) = owed("held")
    assert run("correct", held, "--amount", amount).exit_code != 0
    (row,) = rows(config)
    assert (row.state, row.report.amount) == ("held", "59.90")
