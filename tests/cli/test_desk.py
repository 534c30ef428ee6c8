"""`clew desk`: agents from the command line, with a real settings file and ledger."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from clew.cli import app
from clew.stores.ledger.agents import Agents
from clew.stores.ledger.engines import database_at
from typer.testing import CliRunner, Result

PASSWORD = "correct horse battery"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "clew.toml"
    file.write_text(
        f"""
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
store = "sqlite:{tmp_path}/clew.db"
ledger = "sqlite:{tmp_path}/clew.db"
desk_host = "desk.test"

[[sites]]
name = "shop"
hosts = ["shop.test"]
upstream = "http://127.0.0.1:8000"

[[sites]]
name = "other"
hosts = ["other.test"]
upstream = "http://127.0.0.1:8001"
"""
    )
    return file


def run(config: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["desk", *arguments, "--config", str(config)], input=stdin)


def verified(config: Path, name: str, password: str, site: str = "shop") -> bool:
    async def ask() -> bool:
        db = database_at(f"sqlite:{config.parent}/clew.db")
        await db.open()
        try:
            return await Agents(db).verify(name, password, site)
        finally:
            await db.close()

    return asyncio.run(ask())


def add(config: Path, name: str, *more: str) -> Result:
    return run(config, "add-user", name, "--password-stdin", *more, stdin=f"{PASSWORD}\n")


def test_an_agent_is_added_with_a_password_typed_twice(config: Path) -> None:
    result = run(config, "add-user", "bo", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert "Added bo, owner, for all sites" in result.output
    assert PASSWORD not in result.output
    assert verified(config, "bo", PASSWORD)


def test_two_different_passwords_are_prompted_again(config: Path) -> None:
    result = run(config, "add-user", "bo", stdin=f"{PASSWORD}\nanother one\n{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert verified(config, "bo", PASSWORD)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_password_comes_from_standard_input_without_its_line_end(config: Path, end: str) -> None:
    result = run(config, "add-user", "bo", "--password-stdin", stdin=f"{PASSWORD}{end}")
    assert result.exit_code == 0, result.output
    assert verified(config, "bo", PASSWORD)


def test_an_agent_of_one_site_is_known_there_only(config: Path) -> None:
    assert add(config, "bo", "--site", "shop").exit_code == 0
    assert verified(config, "bo", PASSWORD, "shop")
    assert not verified(config, "bo", PASSWORD, "other")


def test_an_unknown_site_is_refused_with_the_known_ones(config: Path) -> None:
    result = add(config, "bo", "--site", "shpo")
    assert result.exit_code == 1
    assert "no site 'shpo'; there are: shop, other" in result.output


@pytest.mark.parametrize("password", ["short", "", "x" * 201])
def test_a_password_of_a_wrong_length_is_refused(config: Path, password: str) -> None:
    result = run(config, "add-user", "bo", "--password-stdin", stdin=f"{password}\n")
    assert result.exit_code == 1
    assert "10 to 200 characters" in result.output
    assert not (config.parent / "clew.db").exists()


@pytest.mark.parametrize("name", ["a b", "<b>", "", "x" * 65])
def test_a_name_that_cannot_be_is_refused(config: Path, name: str) -> None:
    result = add(config, name)
    assert result.exit_code == 1
    assert "a name is" in result.output


def test_a_name_is_given_once(config: Path) -> None:
    assert add(config, "bo").exit_code == 0
    result = add(config, "bo")
    assert result.exit_code == 1
    assert "already" in result.output


def test_a_password_is_changed(config: Path) -> None:
    add(config, "bo")
    result = run(config, "set-password", "bo", "--password-stdin", stdin="another password\n")
    assert result.exit_code == 0, result.output
    assert verified(config, "bo", "another password")
    assert not verified(config, "bo", PASSWORD)


def test_a_removed_agent_cannot_log_in_and_is_listed_as_removed(config: Path) -> None:
    add(config, "bo")
    add(config, "cy", "--site", "other")
    assert run(config, "remove-user", "bo").exit_code == 0
    assert not verified(config, "bo", PASSWORD)
    lines = [" ".join(line.split()) for line in run(config, "users").output.splitlines()]
    assert "bo – owner: all sites – removed never" in lines
    assert "cy – agent: other – active never" in lines


def test_the_name_that_visitors_see_is_given_and_changed(config: Path) -> None:
    """field E21"""

    def shown() -> str:
        return next(line for line in run(config, "users").output.splitlines() if line.startswith("bo "))

    assert add(config, "bo", "--name", "Bo Miller").exit_code == 0
    assert "Bo Miller" in shown()
    assert run(config, "set-name", "bo", "Bo M.").exit_code == 0
    assert "Bo M." in shown()
    assert run(config, "set-name", "bo", "a\x1b[2Jb").exit_code == 1
    assert run(config, "set-name", "nobody", "B").exit_code == 1
    assert run(config, "set-name", "bo", "").exit_code == 0
    assert "Bo" not in shown()


@pytest.mark.parametrize("command", [("set-password", "--password-stdin"), ("remove-user",)])
def test_an_agent_who_is_not_there_is_an_error_that_says_so(config: Path, command: tuple[str, ...]) -> None:
    add(config, "bo")
    result = run(config, command[0], "nobody", *command[1:], stdin=f"{PASSWORD}\n")
    assert result.exit_code == 1
    assert "no agent 'nobody'" in result.output


def test_without_agents_the_list_says_how_to_add_one(config: Path) -> None:
    add(config, "bo")
    with closing(sqlite3.connect(config.parent / "clew.db")) as connection, connection:
        connection.execute("DELETE FROM agents")
    result = run(config, "users")
    assert result.exit_code == 0
    assert "There are no agents yet" in result.output
    assert "add-user" in result.output


@pytest.mark.parametrize(
    "command", [("users",), ("remove-user", "bo"), ("set-name", "bo", "Bo"), ("set-password", "bo")]
)
def test_a_command_other_than_add_user_makes_no_ledger(config: Path, command: tuple[str, ...]) -> None:
    """A wrong settings file, or a wrong folder, would look like a desk without agents."""
    result = run(config, *command, stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 1
    assert "there is no ledger at" in result.output
    assert not (config.parent / "clew.db").exists()


def test_a_name_with_brackets_is_no_markup(config: Path) -> None:
    assert add(config, "bo", "--name", "[red]Bo").exit_code == 0
    assert "[red]Bo" in run(config, "users").output


def test_a_ledger_that_cannot_be_opened_is_a_clear_error(config: Path) -> None:
    (config.parent / "clew.db").write_text("this is not a database, however long one looks at it")
    result = add(config, "bo")
    assert result.exit_code == 1
    assert "cannot be used" in result.output
    assert "Traceback" not in result.output


def test_a_ledger_of_another_kind_is_a_clear_error(config: Path) -> None:
    config.write_text(config.read_text().replace(f"sqlite:{config.parent}/clew.db", "mysql://x/y"))
    result = add(config, "bo")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_partners_account_is_no_agents(config: Path) -> None:
    with config.open("a") as file:
        file.write(
            '\n[[sites.partners]]\nid = "anna"\nparam = "aff"\npostback = "https://p.test/?c={click_id}"\n'
        )
    assert "no partner 'nobody'" in add(config, "pat", "--partner", "nobody").output
    done = add(config, "pat", "--partner", "anna")
    assert (done.exit_code, "for anna at site other" in done.output) == (0, True), done.output
    assert not verified(config, "pat", PASSWORD, "other")
    assert "anna" in run(config, "users").output
