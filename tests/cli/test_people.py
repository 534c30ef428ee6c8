"""`clew desk`: roles, invitations, passwords, second factors, sessions and the audit trail by commands."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from clew.cli import app
from clew.service.second_factor import FactorCipher, digest
from clew.settings.model import Settings
from clew.stores.ledger.agents import Agents, Place
from clew.stores.ledger.books import Ledger
from typer.testing import CliRunner, Result

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
PASSWORD = "correct horse battery"
T = TypeVar("T")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "clew.toml"
    sites = "".join(
        f'[[sites]]\nname = "{name}"\nhosts = ["{name}.test"]\nupstream = "http://127.0.0.1:8000"\n'
        for name in ("shop", "other")
    )
    top = f'secret = "{SECRET}"\ndesk_host = "desk.test"\nledger = "sqlite:{tmp_path}/clew.db"\n'
    file.write_text(f'{top}store = "sqlite:{tmp_path}/clew.db"\n{sites}')
    add = run(file, "add-user", "root", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert add.exit_code == 0, add.output
    return file


def run(config: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["desk", *arguments, "--config", str(config)], input=stdin)


def on(config: Path, work: Callable[[Ledger], Awaitable[T]]) -> T:
    async def done() -> T:
        ledger = Ledger(f"sqlite:{config.parent}/clew.db")
        await ledger.db.open()
        try:
            return await work(ledger)
        finally:
            await ledger.db.close()

    return asyncio.run(done())


def key_of(result: Result, path: str) -> str:
    assert result.exit_code == 0, result.output
    address = urlsplit(result.output.splitlines()[0])
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"https://desk.test{path}"
    return parse_qs(address.query)["key"][0]


def actions(config: Path) -> list[str]:
    lines = run(config, "audit", "--format", "ndjson").output.splitlines()
    return [json.loads(line)["action"] for line in reversed(lines)]


def test_a_role_is_given_changed_listed_and_taken_away(config: Path) -> None:
    added = run(
        config,
        "add-user",
        "bo",
        "--password-stdin",
        "--role",
        "lead",
        "--site",
        "shop",
        stdin=f"{PASSWORD}\n",
    )
    assert "Added bo, lead, for site shop" in added.output
    assert "owner: other; lead: shop" in run(config, "set-role", "bo", "owner", "--site", "other").output
    assert "bo" in run(config, "users", "--role", "owner", "--site", "other").output
    assert "bo" not in run(config, "users", "--role", "owner", "--site", "shop").output
    assert run(config, "set-role", "bo", "none", "--site", "shop").exit_code == 0
    last = run(config, "set-role", "bo", "none", "--site", "other")
    assert (last.exit_code, "no role at any site" in last.output) == (1, True)
    for wrong in (("bo", "boss"), ("nobody", "lead"), ("bo", "lead", "--site", "nothing")):
        assert run(config, "set-role", *wrong).exit_code == 1
    assert actions(config) == ["person.added", "person.added", "person.role", "person.role"]


def test_an_invitation_is_printed_listed_used_and_revoked(config: Path) -> None:
    made = run(config, "invite", "--role", "lead", "--site", "shop", "--note", "Cy")
    key = key_of(made, "/-/clew/site/shop/desk/join")
    (line,) = run(config, "links").output.splitlines()[1:]
    assert "Cy" in line
    assert line.rstrip().endswith("7 days")
    assert key not in run(config, "links").output

    async def use(ledger: Ledger) -> bool:
        return await ledger.desk_links.accept(key, "cy", PASSWORD, 0.0, ledger.agents, shown=None) is not None

    assert on(config, use)
    assert "lead: shop" in run(config, "users").output
    key_of(run(config, "invite", "--role", "agent"), "/-/clew/site/shop/desk/join")
    (line,) = run(config, "links").output.splitlines()[1:]
    assert run(config, "links", "--revoke", line.split()[0]).exit_code == 0
    assert run(config, "links", "--revoke", line.split()[0]).exit_code == 1
    assert run(config, "invite", "--role", "boss").exit_code == 1


def test_a_new_password_by_link_is_for_somebody_who_is_there(config: Path) -> None:
    key = key_of(run(config, "reset-password", "root"), "/-/clew/site/shop/desk/reset")

    async def use(ledger: Ledger) -> str | None:
        return await ledger.desk_links.set_password(key, "another long password", 0.0, ledger.agents)

    assert on(config, use) == "root"
    assert on(config, use) is None
    unknown = run(config, "reset-password", "nobody")
    assert (unknown.exit_code, "no agent 'nobody'" in unknown.output) == (1, True)


def test_a_lost_second_factor_is_taken_away_and_sessions_end(config: Path) -> None:
    settings = Settings.model_validate({"secret": SECRET, "sites": [{"name": "shop"}]})

    async def set_up(ledger: Ledger) -> None:
        now = 4_000_000_000.0
        await ledger.second_factors.begin(
            "root", FactorCipher(settings).seal("JBSWY3DPEHPK3PXP", "root"), now
        )
        done = await ledger.second_factors.confirm("root", now, lambda _: 1, [digest("x", "root")], "")
        assert done.right
        verified = await Agents(ledger.db).verify("root", PASSWORD, None)
        assert verified is not None
        await ledger.agents.start_session("root", Place(None, "desk.test"), now, verified, device="Firefox")

    on(config, set_up)
    assert "Firefox" in run(config, "sessions", "root").output
    assert "Ended 1 session of root" in run(config, "sessions", "root", "--end", "all").output
    assert run(config, "reset-second-factor", "root").exit_code == 0
    assert on(config, lambda ledger: ledger.second_factors.find("root")) is None
    assert run(config, "reset-second-factor", "root").exit_code == 1
    assert actions(config)[-2:] == ["person.sessions", "person.factor_reset"]


def test_the_trail_is_printed_as_csv_and_names_the_command_line(config: Path) -> None:
    lines = run(config, "audit").output.splitlines()
    assert lines[0] == "at,site,who,action,subject,network,details"
    assert ",command line" in lines[1]
    assert "person.added,root" in lines[1]
    # Without --role too: the first person is an owner.
    assert '""role"": ""owner""' in lines[1]
    assert PASSWORD not in run(config, "audit").output
    assert len(run(config, "audit", "--action", "login").output.splitlines()) == 1
