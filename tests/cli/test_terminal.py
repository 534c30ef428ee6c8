"""What commands print was often written by strangers: none of it may act on the terminal (field E20)."""

import asyncio
import io
import re
import time
from decimal import Decimal
from pathlib import Path

import pytest
from clew.cli import app, postbacks
from clew.cli.terminal import open_console
from clew.orders.model import OrderSeen
from clew.postbacks.model import Attempt, Report
from clew.referral.touches import Click
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.outbox import Outbox
from recorded import Credit, put_order
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner, Result

# A window's title, a color, a cleared screen, C1's form of it, a right-to-left override, a way out of it.
HOSTILE = "\x1b]0;title\x07\x1b[31m\x1b[2J\x9b2J\u202egnp\u2066x\u200f\u2028y"
ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
CLI = Path(postbacks.__file__).parent


@pytest.fixture
def config(tmp_path: Path) -> Path:
    ledger = f"sqlite:{tmp_path / 'clew.db'}"
    file = tmp_path / "clew.toml"
    file.write_text(
        f"""
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
ledger = "{ledger}"
store = "sqlite:{tmp_path / "visits.db"}"

[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
"""
    )
    asyncio.run(fill(ledger))
    return file


async def fill(ledger: str) -> None:
    """An order of which every text is hostile, as a ledger may hold it that an earlier version wrote."""
    db = database_at(ledger)
    await db.open()
    now = time.time()
    order = OrderSeen(f"10{HOSTILE}", Decimal("59.90"), "EUR", "page", spelling=HOSTILE, coupon=HOSTILE)
    await put_order(
        db,
        order,
        visitor=HOSTILE[:40],
        channel="web",
        conversation=None,
        agent=HOSTILE,
        credit=Credit(f"blog{HOSTILE}", Click("", "ref", HOSTILE, "blog"), now, HOSTILE, ()),
        reports=[Report("order", f"blog{HOSTILE}", HOSTILE, "ref", order.id, "59.90", "EUR", "web", 1, 1)],
        now=now,
    )
    outbox = Outbox(db)
    (waiting,) = await outbox.waiting(now + 9, each=1, limit=1)
    (row,) = await outbox.claim([waiting.id], now + 9, now + 99)
    await outbox.finish(row, Attempt(now, f"GET {HOSTILE}", 400, HOSTILE, "dead"), "dead", now + 10**6)
    await db.close()


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize(
    "command",
    [("postbacks", "list"), ("postbacks", "list", "--json"), ("orders",), ("orders", "--json"), ("report",)],
)
def test_control_characters_of_strangers_do_not_reach_the_terminal(
    config: Path, command: tuple[str, ...], columns: str
) -> None:
    """field E20"""
    result = run(*command, "--config", str(config), columns=columns)
    assert result.exit_code == 0, result.output
    assert "blog" in result.output
    assert not ACTING.search(result.output), ascii(result.output)
    assert "u202e" in result.output


def test_control_characters_in_errors_and_answers_do_not_reach_the_terminal(config: Path) -> None:
    """field E20: `explain` names the visitor and the address, `settle` the order."""
    for command in (
        ("explain", "visitor", f"abc{HOSTILE}", "--url", "/cart"),
        ("explain", "visitor", "abc", "--url", f"http://{HOSTILE}/"),
        ("postbacks", "release", f"pb{HOSTILE}"),
        ("postbacks", "retry", f"pb{HOSTILE}"),
    ):
        result = run(*command, "--config", str(config))
        assert result.exit_code == 1, result.output
        assert not ACTING.search(result.output), ascii(result.output)


def test_colors_and_tables_of_our_own_are_kept() -> None:
    """field E20"""
    file = io.StringIO()
    console = open_console(file=file, force_terminal=True, color_system="standard", width=60)
    table = Table("name", box=None)
    table.add_row(Text(HOSTILE, "red"))
    console.print(table)
    console.print("[green]fine[/green]")
    printed = file.getvalue()
    assert "\x1b[32mfine\x1b[0m" in printed
    assert "\x1b[31m" in printed
    assert not ACTING.search(re.sub("\x1b\\[[0-9;]*m", "", printed)), ascii(printed)


def test_every_command_prints_through_the_one_place() -> None:
    """field E20"""
    for file in CLI.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "terminal.py":
            assert not re.search(r"\bConsole\(", text), file.name
            assert not re.search(r"\bprint\((?<!\.print\()", text), file.name
            assert not re.search(r"typer\.(echo|secho)\((?!json\.dumps)", text), file.name


def run(*arguments: str, columns: str = "80") -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": columns})
