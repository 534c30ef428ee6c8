"""The servers of the tests end with the process that started them, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from database_servers import Postgres, Server, lives, until
from quick_databases import Ledgers

ROOT = Path(__file__).parents[2]
PLACES = (ROOT / "tests" / "support", ROOT / "examples")
SCRIPT = """
import sys
from database_servers import Postgres, Redis

with {server}() as server:
    if {frozen}:
        server.freeze()
    print(server.process.pid, server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("server", ["Postgres", "Redis"])
def test_a_server_ends_when_its_starter_is_killed(server: str, frozen: bool) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(server=server, frozen=frozen)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(map(str, PLACES))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid, folder = starter.stdout.readline().split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children or server == "Redis"
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    until(lambda: not any(map(lives, map(int, [pid, *children]))), "it lives on")
    until(lambda: not Path(folder).exists(), "its folder is still there")


def test_a_database_recovers_after_a_sigkill_of_all_its_processes() -> None:
    with Postgres() as server:
        server.execute("CREATE TABLE kept (number int)")
        for number in range(2):
            server.execute(f"INSERT INTO kept VALUES ({number})")
            process = server.process
            assert process is not None
            every = [process.pid, *process.children()]
            server.kill()
            assert not any(map(lives, every))
            server.start()
        assert server.execute("SELECT number FROM kept") == [(0,), (1,)]
        assert "not properly shut down" in (server.folder / "log").read_text()


def test_a_removed_server_leaves_nothing_behind() -> None:
    server: Server = Postgres()
    with server:
        process = server.process
        assert process is not None
        every = [process.pid, *process.children()]
    assert not any(map(lives, every))


WRITE = "INSERT INTO canned (site, agent, shortcut, texts, changed_at) VALUES ('shop', '', 'hi', '{}', 1)"


def test_a_database_that_is_lent_again_is_empty_and_counts_from_one(ledgers: Ledgers) -> None:
    name = ledgers.lend()
    for _ in range(2):
        ledgers.server.execute(WRITE, name)
        assert ledgers.server.execute("SELECT id FROM canned", name) == [(1,)]
        ledgers.take_back(name)
        assert ledgers.lend() == name
        assert ledgers.server.execute("SELECT id FROM canned", name) == []
    ledgers.take_back(name)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE canned",
        "ALTER TABLE canned DROP texts",
        "ANALYZE",
        "UPDATE alembic_version SET version_num = '9'",
    ],
)
def test_a_database_that_is_not_as_the_migration_left_it_is_not_lent_again(
    ledgers: Ledgers, change: str
) -> None:
    name = ledgers.lend()
    for statement in (WRITE, change):
        ledgers.server.execute(statement, name)
    ledgers.take_back(name)
    assert ledgers.server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == []
