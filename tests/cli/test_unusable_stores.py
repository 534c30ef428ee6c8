"""Every command reports a file that is not a ledger, or of another version, and what to do."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from clew.cli import app
from clews import run_clew
from typer.testing import CliRunner

SETTINGS = """
secret = "Yx8dk2LmQz7RtVbN4wPcJ6hGfS1aE9uK0oTi"
ledger = "sqlite:clew.db"

[[sites]]
name = "shop"
upstream = "http://127.0.0.1:9"
"""


def text(file: Path) -> None:
    file.write_text("this is no database, however long one looks at it; enough for a header " * 9)


def sql(*statements: str) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        connection = sqlite3.connect(file)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return make


def damaged(file: Path) -> None:
    sql("CREATE TABLE t (x)", *("INSERT INTO t VALUES (randomblob(4000))" for _ in range(9)))(file)
    content = bytearray(file.read_bytes())
    content[100:2000] = b"\xff" * 1900
    file.write_bytes(content)


VERSION = "CREATE TABLE alembic_version (version_num TEXT)"
DAMAGES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "text": (text, ("file is not a database", "name another")),
    "damaged": (damaged, ("malformed", "copy")),
    "later version": (
        sql(VERSION, "INSERT INTO alembic_version VALUES ('9f3a')"),
        ("'9f3a'", "'0001'", "pip install --upgrade clew"),
    ),
    "two versions": (
        sql(VERSION, "INSERT INTO alembic_version VALUES ('0001'), ('9f3a')"),
        ("'0001', '9f3a'", "pip install --upgrade clew"),
    ),
    "another alembic": (sql("CREATE TABLE alembic_version (other TEXT)"), ("alembic_version", "another")),
    "another program": (sql("CREATE TABLE orders (id INTEGER)"), ("'orders'", "another program")),
    "any other program": (sql("CREATE TABLE users (id INTEGER)"), ("'users'", "another program")),
    "no version": (sql(VERSION, "CREATE TABLE orders (id INTEGER)"), ("none", "0001")),
}
COMMANDS = [
    ["postbacks", "list"],
    ["desk", "users"],
    ["orders"],
    ["report"],
    ["explain", "visitor", "abcdef", "--url", "/"],
    ["serve", "--port", "0"],
]


def tables(file: Path) -> list[str] | str:
    try:
        with closing(sqlite3.connect(file)) as connection:
            return [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    except sqlite3.DatabaseError as error:
        return str(error)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of clew: `serve` and `check` as a program, the others in this process."""
    (folder / "clew.toml").write_text(SETTINGS)
    if command[0] not in ("serve", "check"):
        done = CliRunner().invoke(app, [*command, "--config", str(folder / "clew.toml")])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)
    return run_clew(*command, "--config", str(folder / "clew.toml"), environ={})


CASES = [(command, "later version") for command in COMMANDS] + [
    (COMMANDS[0], name) for name in DAMAGES if name != "later version"
]


@pytest.mark.parametrize(("command", "damage"), [*CASES, (COMMANDS[-1], "text")])
def test_a_file_that_is_not_a_ledger_is_reported_in_words(
    tmp_path: Path, command: list[str], damage: str
) -> None:
    """field G10"""
    make, words = DAMAGES[damage]
    make(tmp_path / "clew.db")
    before = tables(tmp_path / "clew.db")
    done = run(tmp_path, *command)
    told = done.stdout + done.stderr
    assert done.returncode in (1, 3)
    assert f"the ledger {tmp_path / 'clew.db'} cannot be used" in told
    for word in words:
        assert word in told
    assert "Traceback" not in told
    assert "sqlalche.me" not in told
    assert tables(tmp_path / "clew.db") == before


@pytest.mark.parametrize("command", [COMMANDS[-2], COMMANDS[-1]])
def test_a_file_that_is_not_a_visit_store_is_reported_in_words(tmp_path: Path, command: list[str]) -> None:
    """field G10: the same of the other file."""
    text(tmp_path / "clew-visits.db")
    done = run(tmp_path, *command)
    told = done.stdout + done.stderr
    assert done.returncode in (1, 3)
    assert f"the visit store {tmp_path / 'clew-visits.db'} cannot be used: file is not a database" in told
    assert "`store`" in told
    assert "Traceback" not in told


def test_a_file_of_another_program_gets_no_visits(tmp_path: Path) -> None:
    """field G10"""
    sql("CREATE TABLE users (id INTEGER)")(tmp_path / "clew-visits.db")
    done = run(tmp_path, "serve", "--port", "0")
    assert done.returncode == 3
    assert "it has a table 'users', which is another program's" in done.stdout + done.stderr
    assert tables(tmp_path / "clew-visits.db") == ["users"]


def test_explaining_creates_no_files(tmp_path: Path) -> None:
    """field G10: as with every command that only looks"""
    done = run(tmp_path, "explain", "visitor", "abcdef", "--url", "/")
    assert done.returncode == 1
    assert "there is no visit store at" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clew.toml"]


def test_a_terminal_of_another_encoding_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(tmp_path, "check")
    assert done.returncode == 0
    assert "\\u2192" in done.stdout
    assert "Traceback" not in done.stderr
