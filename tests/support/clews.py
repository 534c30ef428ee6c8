"""`clew serve` and the command line as tests run them, and what they left behind."""

import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from clew_forks import Fork, can_fork
from processes import Program, free_port

AGENT = "anna"
PASSWORD = "correct horse battery staple"


def run_clew(
    *arguments: str, environ: Mapping[str, str], cwd: Path | None = None, typed: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command of `clew` to its end, in a process of its own."""
    command = [sys.executable, "-m", "clew", *arguments]
    whole = {**os.environ, **environ}
    if not can_fork(whole):
        return subprocess.run(command, cwd=cwd, env=whole, input=typed, capture_output=True, text=True)
    process = Fork(arguments, whole, cwd, stderr=subprocess.PIPE)
    stdout, stderr = process.communicate(typed)
    return subprocess.CompletedProcess(command, process.wait(), stdout, stderr)


class ClewFolder:
    """Where a clew lives: its settings file, its secrets, its database."""

    def __init__(self, folder: Path, settings: str, environ: Mapping[str, str] | None = None) -> None:
        self.path = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = folder / "clew.toml"
        self.settings.write_text(settings, encoding="utf-8")
        self.environ = {"CLEW_SECRET": secrets.token_urlsafe(48), **(environ or {})}

    def run(self, *arguments: str, typed: str = "") -> str:
        """Run a command of `clew` to its end; returns what it printed. Raises AssertionError if it fails."""
        config = ("--config", str(self.settings))
        done = run_clew(*arguments, *config, environ=self.environ, cwd=self.path, typed=typed)
        assert done.returncode == 0, f"clew {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def add_agent(self) -> None:
        """An account for AGENT with PASSWORD."""
        self.run("desk", "add-user", AGENT, "--password-stdin", typed=PASSWORD)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds; JSON columns are read."""
        address = f"file:{self.path / 'clew.db'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [{k: _read(v) for k, v in dict(row).items()} for row in connection.execute(query)]


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value


class ClewProgram(Program):
    """A running command of `clew`."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._arguments = list(arguments)
        command = [sys.executable, "-m", "clew", *arguments]
        super().__init__(command, environ=environ, cwd=cwd, on_line=on_line)

    def _started(self, environ: Mapping[str, str], cwd: Path | None) -> Any:
        whole = {**os.environ, **environ}
        if not can_fork(whole):
            return super()._started(environ, cwd)
        return Fork(self._arguments, whole, cwd)


class ClewServe(ClewProgram):
    """`clew serve` on a port of its own."""

    def __init__(
        self,
        folder: ClewFolder,
        options: Sequence[str] = (),
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["serve", "--config", str(folder.settings), "--port", str(self.port), *options],
            environ=folder.environ,
            cwd=folder.path,
            on_line=on_line,
        )
        try:
            self.wait_for_port(self.port)
        except BaseException:
            self.end()
            raise


def events(program: Program, name: str) -> list[dict[str, Any]]:
    """The events of one name in a program's JSON log."""
    return [found for line in list(program.lines) if (found := _event(line)) and found.get("event") == name]


def wait_for_event(
    program: Program,
    name: str,
    seconds: float = 60,
    where: Callable[[dict[str, Any]], bool] = lambda found: True,
) -> dict[str, Any]:
    """The first event of that name, of those that `where` wants, now or as soon as it comes; raises
    NotReadyError."""

    def wanted(line: str) -> bool:
        found = _event(line)
        return found is not None and found.get("event") == name and where(found)

    found = _event(program.wait_for_line(wanted, seconds))
    assert found is not None
    return found


def _event(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
