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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import asyncpg
from processes import free_port

START_SECONDS = 30.0

# The server takes the place of this shell. Another process waits until its standard input is closed, which
# happens when the process that started it ends, even by SIGKILL. It then ends the server with its children,
# and deletes the server's folder. Children of PostgreSQL are not in the server's process group.
_WATCHED = """
signal=$1 folder=$2
shift 2
exec 3<&0 </dev/null
( {
    trap "" HUP INT QUIT TERM
    read -r _ <&3
    all="$$ $(cat /proc/$$/task/*/children)"
    kill -CONT $all
    kill -"$signal" $$
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $$ && sleep 0.1; done
    kill -KILL $all
    rm -rf "$folder"
} >/dev/null 2>&1 & )
exec "$@" 3<&-
"""


class ServerError(RuntimeError):
    """A server is not installed, or does not start."""


def _program(name: str) -> str:
    # Debian keeps the programs of each version of PostgreSQL outside of PATH.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or max(
        map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=""
    )
    if not found:
        raise ServerError(f"there is no program {name}: apt-get install postgresql pgbouncer redis-server")
    return found


class _Process:
    """A server's process, which ends with this one. `signal` is what it ends itself by; its output goes to
    a file in its folder."""

    def __init__(
        self, command: Sequence[str], folder: Path, by: str, environ: Mapping[str, str] | None = None
    ) -> None:
        with (folder / "log").open("ab") as log:
            self._popen = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", by, str(folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environ,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and its children."""
        for pid in (self.pid, *self.children()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def children(self) -> list[int]:
        with suppress(OSError):
            return [
                int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        return []

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the server, and wait until it has ended."""
        self._popen.send_signal(number)
        self.wait()

    def kill(self) -> None:
        """SIGKILL to the server and its children, as a power cut would; none of them cleans up."""
        # One that is stopped makes no more children.
        self._popen.send_signal(signal.SIGSTOP)
        children = self.children()
        for pid in (self.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()
        until(lambda: not any(map(lives, children)), "the children of a killed server live on")

    def wait(self) -> None:
        self._popen.wait(START_SECONDS)
        # The process that watches for the end of this one.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self._popen.stdin is not None
        self._popen.stdin.close()


def as_user(user: str | None, command: list[str]) -> list[str]:
    """The command, run by another user."""
    if user is None:
        return command
    account = pwd.getpwnam(user)
    return [
        *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
        *command,
    ]


def lives(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(true: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is true; raises ServerError with the other text if that takes too long."""
    late = time.monotonic() + START_SECONDS
    while not true():
        if time.monotonic() > late:
            raise ServerError(otherwise)
        time.sleep(0.01)


class Server:
    """A server that runs for as long as a block does."""

    process: _Process | None = None

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def freeze(self) -> None:
        """Have it accept connections, and answer nothing."""
        assert self.process is not None
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            self.process.send(signal.SIGCONT)

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
    is a command that runs another one where it is to run, for which it takes root. Its folder is made
    `within` another one, by initdb with further options (`made_with`). `certificate`, with its key, is for
    TLS."""

    def __init__(
        self,
        *,
        fast: bool = True,
        port: int | None = None,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
        within: Path | None = None,
        made_with: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.host = host
        self._inside = list(inside)
        self._more_environ = dict(environ or {})
        self.folder = Path(tempfile.mkdtemp(prefix="clew-postgres-", dir=within))
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user is not None:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        # What is written is in the kernel's hands when a process is killed, so that needs no fsync. A page
        # may be written in part, though.
        self._options = ["-F"] if fast else []
        self._options += ["-c", "max_connections=200", "-c", f"listen_addresses={host}"]
        self._options += ["-c", "unix_socket_directories="]
        made = ["-D", self._data, "-U", "clew", "-A", "trust", "-E", "UTF8", "--no-sync", *made_with]
        self._run("initdb", *made)
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {host}/16 trust\n")
        if certificate is not None:
            own = self.folder / "server.pem"
            own.write_bytes(certificate.read_bytes())
            own.chmod(0o600)
            if self.user is not None:
                os.chown(own, account.pw_uid, account.pw_gid)
            self._options += ["-c", "ssl=on", "-c", f"ssl_cert_file={own}", "-c", f"ssl_key_file={own}"]

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [_program(program), *arguments]
        return [*self._inside, *as_user(self.user, command)]

    @property
    def _environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **self._more_environ}

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, *arguments),
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=2 * START_SECONDS,
        )
        if done.returncode:
            raise ServerError(f"{program}: {done.stdout.decode(errors='replace')[-2000:]}")

    def start(self) -> None:
        command = self._command("postgres", "-D", self._data, *self._options, "-p", str(self.port))
        self.process = _Process(command, self.folder, "QUIT", self._environ)
        until(self._is_up, f"PostgreSQL does not start: {self._log()}")

    def _is_up(self) -> bool:
        """Whether it takes connections, or says that it is a standby, which may take none."""
        assert self.process is not None
        if not self.process.running:
            raise ServerError(f"PostgreSQL has ended: {self._log()}")
        try:
            said = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # As pg_ctl sees it: the first line is the process, the eighth its state.
        return said[:1] == [str(self.process.pid)] and "".join(said[7:8]).strip() in ("ready", "standby")

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Stop it as its administrator would."""
        if self.process is not None:
            self.process.end(signal.SIGINT)
            self.process = None

    def move(self, port: int) -> None:
        """Have it listen on another port from its next start on."""
        self.port = port

    def demote(self, *, hot: bool = True) -> None:
        """Have it be a standby at the next start. One that is not `hot` takes no connections, like a server
        that recovers from a crash."""
        (self.folder / "data" / "standby.signal").touch()
        self._options += ["-c", f"hot_standby={'on' if hot else 'off'}"]

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-w", "-s", "-D", self._data)

    def remove(self) -> None:
        if self.process is not None:
            self.thaw()
            # It gives its shared memory back.
            self.process.end(signal.SIGQUIT)
            self.process = None
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
        # A quarter of the work of writing all pages to the log as well. Before version 15 it is the only way.
        if int((self.folder / "data" / "PG_VERSION").read_text()) >= 15:
            copied += " STRATEGY FILE_COPY"
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
        self.process = _Process(command, self.folder, "TERM")
        until(lambda: self._answers() or self._has_ended(), "Redis does not answer")

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

    def _has_ended(self) -> bool:
        assert self.process is not None
        if self.process.running:
            return False
        raise ServerError(f"redis-server: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it as its administrator would."""
        if self.process is not None:
            self.process.end(signal.SIGTERM)
            self.process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: int = 0) -> str:
        return f"redis://{self.host}:{self.port}/{database}"


class PgBouncer(Server):
    """A pooler in front of a PostgreSQL server. `mode` is its `pool_mode`."""

    def __init__(self, server: Postgres, mode: str, *, pool: int = 20) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="clew-pgbouncer-"))
        self._user = server.user
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        (self.folder / "users").write_text('"clew" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\npool_mode = {mode}\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = trust\n"
            f"auth_file = {self.folder}/users\ndefault_pool_size = {pool}\n"
        )

    def start(self) -> None:
        command = as_user(self._user, [_program("pgbouncer"), str(self.folder / "pgbouncer.ini")])
        self.process = _Process(command, self.folder, "TERM")
        until(self._answers, "PgBouncer does not answer")

    def _answers(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise ServerError(f"pgbouncer: {(self.folder / 'log').read_text()[-2000:]}")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://clew@127.0.0.1:{self.port}/{database}"
