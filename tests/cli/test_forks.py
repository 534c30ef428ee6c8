"""What most tests run `clew` by: processes that are forked instead of started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from clews import ClewProgram, run_clew
from database_servers import lives, until
from processes import Program


@pytest.mark.parametrize("arguments", [("check", "--config", "no.toml"), ("nothing",)], ids=" ".join)
def test_a_command_prints_and_ends_as_a_started_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    environ = {"COLUMNS": "100"}
    found = run_clew(*arguments, environ=environ, cwd=tmp_path)
    real = subprocess.run(
        [sys.executable, "-m", "clew", *arguments],
        env={**os.environ, **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout, found.stderr) == (real.returncode, real.stdout, real.stderr)


SETTINGS = """
secret = "env:CLEW_SECRET"
[[sites]]
name = "shop"
hosts = ["shop.test"]
upstream = "http://127.0.0.1:9"
"""
STARTER = """
import os, sys, time
from pathlib import Path
from clews import ClewProgram
clew = ClewProgram(["serve", "--port", "0"], environ={"CLEW_SECRET": "s" * 43}, cwd=Path(sys.argv[1]))
print(clew.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_by_its_signals(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "clew.toml").write_text(SETTINGS)
    environ = {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}
    with ClewProgram(["serve", "--port", "0"], environ=environ, cwd=tmp_path) as clew:
        clew.wait_for_line(lambda line: "clew listens on" in line)
        assert clew.running
        os.kill(clew.pid, number)
        assert clew.wait(60) == (0 if number == signal.SIGTERM else -number)
        assert not clew.running


def test_it_ends_with_the_process_that_wanted_it(tmp_path: Path) -> None:
    (tmp_path / "clew.toml").write_text(SETTINGS)
    environ = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with Program([sys.executable, "-c", STARTER, str(tmp_path)], environ=environ) as starter:
        pid = int(starter.wait_for_line(str.isdigit))
        assert lives(pid)
        starter.kill()
    until(lambda: not lives(pid), "it lives on")
