import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from clew.cli import app, reachable
from clew.cli.reachable import unreachable, unusable_stores
from clew.settings.model import Settings
from clew.stores.ledger.connection import executing
from clew.stores.ledger.postgresql import PostgresDatabase
from database_servers import Postgres, Redis
from processes import free_port
from sqlalchemy import text
from typer.testing import CliRunner


def settings(*upstreams: str | None) -> Settings:
    sites = [{"name": f"s{n}", "hosts": [f"{n}.example"], "upstream": u} for n, u in enumerate(upstreams)]
    return Settings.model_validate({"secret": "x" * 40, "sites": sites})


def nobody_there() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


async def test_each_shop_that_takes_no_connection_is_named_at_each_site_that_has_it(tmp_path: Path) -> None:
    """field G4"""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        away, file = nobody_there(), f"unix:{tmp_path}/shop.sock"
        found = await unreachable(settings(there, away, None, away, file))
    assert [(w.path, w.severity) for w in found] == [
        (("sites", 1, "upstream"), "warning"),
        (("sites", 3, "upstream"), "warning"),
        (("sites", 4, "upstream"), "warning"),
    ]
    assert "refused" in found[0].message
    assert "no such file" in found[2].message


async def test_a_silent_shop_is_waited_for_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """field G4"""
    monkeypatch.setattr(reachable, "SECONDS", 0.05)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", never)
    (found,) = await unreachable(settings("http://shop.example"))
    assert "no connection within" in found.message


def stores(**addresses: str) -> Settings:
    return settings("http://shop.example").model_copy(update=addresses)


async def test_stores_that_cannot_be_used_are_told(postgres: Postgres, redis_server: Redis) -> None:
    away = f"127.0.0.1:{free_port()}"
    # What `clew serve` waits for is a warning.
    found = await unusable_stores(stores(ledger=f"postgresql://clew@{away}/clew", store=f"redis://{away}/0"))
    assert [(w.path, w.severity) for w in found] == [(("ledger",), "warning"), (("store",), "warning")]
    assert all(away in one.message and "start it" in (one.hint or "") for one in found)
    # What it refuses is an error.
    nobody = postgres.url("nobody")
    found = await unusable_stores(stores(ledger=nobody, store=nobody))
    assert [w.severity for w in found] == ["error", "error"]
    assert all('"nobody" does not exist' in one.message for one in found)
    # One that answers, but is no Redis; and one that has no such database.
    found = await unusable_stores(stores(store=f"redis://127.0.0.1:{postgres.port}/0"))
    assert [w.path for w in found] == [("store",)]
    found = await unusable_stores(stores(store=f"redis://127.0.0.1:{redis_server.port}/99"))
    assert "out of range" in found[0].message


async def test_looking_at_stores_changes_nothing_in_them(postgres: Postgres) -> None:
    name = await asyncio.to_thread(postgres.database)
    assert await unusable_stores(stores(ledger=postgres.url(name), store=postgres.url(name))) == []
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert await asyncio.to_thread(postgres.execute, tables, name) == [(0,)]


async def test_a_user_who_may_make_no_tables_is_told_how(postgres: Postgres) -> None:
    """PostgreSQL 15 gives that right to a database's owner only."""
    name = await asyncio.to_thread(postgres.database)
    await asyncio.to_thread(postgres.execute, "CREATE ROLE guest LOGIN", name)
    guest = postgres.url(name).replace("clew@", "guest@")
    await asyncio.to_thread(postgres.execute, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    found = await unusable_stores(stores(ledger=guest, store=guest))
    assert [w.severity for w in found] == ["error", "error"]
    assert all("GRANT CREATE ON SCHEMA public" in one.message for one in found)


async def test_a_ledger_of_a_later_version_is_told(postgres: Postgres) -> None:
    address = postgres.url(await asyncio.to_thread(postgres.database))
    db = PostgresDatabase(address)
    await db.open()
    await db.transact(executing(text("UPDATE alembic_version SET version_num = '9999'")))
    await db.close()
    (found,) = await unusable_stores(stores(ledger=address))
    assert found.severity == "error"
    assert "its version is '9999'" in found.message


def test_check_connects_unless_it_is_offline(tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    file = tmp_path / "clew.toml"
    file.write_text(
        f'secret = "Wq8TzYp3mK5vXr7nBc2LdGh9JsFa4EuD6"\nledger = "postgresql://clew@{away}/clew"\n'
        '[[sites]]\nname = "shop"\nhosts = ["shop.example"]\n'
    )
    run = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert f"{file}:2 ledger: warning: postgresql://{away} cannot be used now" in run.stdout
    assert run.exit_code == 0
    run = CliRunner().invoke(app, ["check", "--offline", "--config", str(file)])
    assert "ledger:" not in run.stdout
    assert run.exit_code == 0


def test_a_command_on_postgresql_says_nothing_but_its_result(postgres: Postgres, tmp_path: Path) -> None:
    """It ended while a connection that only `clew serve` needs was being made, and asyncio told of that."""
    file = tmp_path / "clew.toml"
    file.write_text(
        f'secret = "Wq8TzYp3mK5vXr7nBc2LdGh9JsFa4EuD6"\nledger = "{postgres.url(postgres.database())}"\n'
        '[[sites]]\nname = "shop"\nhosts = ["shop.example"]\n'
    )
    for command in ("migrate", "orders", "orders"):
        run = [Path(sys.executable).with_name("clew"), command, "--config", file]
        done = subprocess.run(run, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
        assert done.stderr == ""
