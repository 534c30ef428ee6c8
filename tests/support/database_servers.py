"""Real PostgreSQL and Redis servers, each a process with a port and a folder of its own."""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import asyncpg

START_SECONDS = 30.0


class ServerError(RuntimeError):
    """A server is not installed, or does not start."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _program(name: str) -> str:
    # Debian keeps the programs of each version of PostgreSQL outside of PATH.
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default="")
    if not found:
        raise ServerError(f"there is no program {name}: apt-get install postgresql redis-server")
    return found


class Server:
    """A server that runs for as long as a block does."""

    def start(self) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Postgres(Server):
    """A PostgreSQL cluster. `fast` gives up what protects it from a power cut. It listens on `host`; `inside`
    is a command that runs another one where it is to run, for which it takes root."""

    def __init__(
        self,
        *,
        fast: bool = True,
        port: int | None = None,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.host = host
        self._inside = list(inside)
        self.folder = Path(tempfile.mkdtemp(prefix="clew-postgres-"))
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._options = ["-F", "-c", "full_page_writes=off"] if fast else []
        self._options += ["-c", "max_connections=200", "-c", f"listen_addresses={host}"]
        self._options += ["-c", "unix_socket_directories="]
        self._run("initdb", "-D", self._data, "-U", "clew", "-A", "trust", "-E", "UTF8", "--no-sync")
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {host}/16 trust\n")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), *arguments]
        if self._user is not None:
            user = pwd.getpwnam(self._user)
            ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            command = [*self._inside, "setpriv", *ids, *command]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=2 * START_SECONDS,
        )
        if done.returncode:
            raise ServerError(f"{program}: {done.stdout.decode(errors='replace')[-2000:]}")

    def start(self) -> None:
        # The server writes into a file: a pipe would be open for as long as it runs.
        log = str(self.folder / "log")
        options = " ".join([*self._options, "-p", str(self.port)])
        self._run("pg_ctl", "start", "-w", "-s", "-D", self._data, "-l", log, "-o", options)

    def stop(self) -> None:
        """Stop it as its administrator would."""
        self._run("pg_ctl", "stop", "-w", "-s", "-D", self._data, "-m", "fast")

    def move(self, port: int) -> None:
        """Have it listen on another port from its next start on."""
        self.port = port

    def kill(self) -> None:
        """End all its processes at once, as a crash would; the next start recovers from the log."""
        self._run("pg_ctl", "stop", "-w", "-s", "-D", self._data, "-m", "immediate")

    def demote(self, *, hot: bool = True) -> None:
        """Have it be a standby at the next start. One that is not `hot` takes no connections, like a server
        that recovers from a crash."""
        (self.folder / "data" / "standby.signal").touch()
        self._options += ["-c", f"hot_standby={'on' if hot else 'off'}"]

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-w", "-s", "-D", self._data)

    def freeze(self) -> None:
        """Have it accept connections, and answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            os.kill(pid, number)

    def remove(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.thaw()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://clew@{self.host}:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """The rows of a statement, for callers outside of a loop."""

        async def executed() -> list[Any]:
            connection = await asyncpg.connect(self.url(database))
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(executed())

    def database(self, template: str | None = None) -> str:
        """The name of a new database."""
        name = f"clew_{secrets.token_hex(6)}"
        copied = f" TEMPLATE {template}" if template else ""
        self.execute(f"CREATE DATABASE {name}{copied}")
        return name


class Redis(Server):
    """A Redis server that keeps nothing on the disk."""

    def __init__(
        self,
        *arguments: str,
        port: int | None = None,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.host = host
        self._inside = list(inside)
        self.folder = Path(tempfile.mkdtemp(prefix="clew-redis-"))
        self._arguments = arguments
        self._file: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self._inside, _program("redis-server"), *self._file, "--port", str(self.port)]
        command += [
            "--bind",
            self.host,
            "--protected-mode",
            "no",
            "--dir",
            str(self.folder),
            *self._arguments,
        ]
        if "--sentinel" not in self._arguments:
            command += ["--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise ServerError(f"redis-server: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def configure(self, text: str) -> None:
        """Have it read a file, which Sentinel also writes."""
        file = self.folder / "redis.conf"
        file.write_text(text)
        self._file = [str(file)]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                # Also a server that asks for a password, or still loads, is there.
                return connection.recv(64)[:1] in (b"+", b"-")
        except OSError:
            return False

    def stop(self) -> None:
        """End it as its administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Have it accept connections, and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
            self.process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: int = 0) -> str:
        return f"redis://{self.host}:{self.port}/{database}"
