"""Runs programs in their own process groups, reads their output, and ends them with their children."""

import itertools
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

READY_SECONDS = 60.0
END_SECONDS = 20.0
LINES = 20_000

# The shell replaces itself with "$@". A second process in the same group kills the group when its standard
# input is closed, which happens when the parent process ends, even by SIGKILL.
_WATCHED = """
exec 3<&0 </dev/null
( { trap "" TERM INT HUP; read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 & )
exec "$@" 3<&-
"""


class NotReadyError(RuntimeError):
    """A program ended or did not become ready; the text has the end of its output."""


# Below the ports that the kernel gives to clients and to servers that ask for any (32768 and up on Linux), so
# that none of those takes a port between free_port() and the start of its server. Each process begins at a
# place of its own.
_PORTS = range(10_000, 32_000)
_places = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


def free_port(wanted: int = 0) -> int:
    """`wanted` if nothing listens there, else a port of the loopback address that is free now. It returns no
    port twice until it has returned all."""
    ports = (_PORTS[next(_places) % len(_PORTS)] for _ in _PORTS)
    for port in itertools.chain([wanted] if wanted else [], ports):
        with socket.socket() as sock, suppress(OSError):
            # As servers do: a port with connections in TIME_WAIT is free.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free on 127.0.0.1")


class Program:
    """A running program, which is killed when this process ends. `lines` has the last 20,000 lines of its
    output. `on_line` is called with each line, in another thread."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.command = list(command)
        self.lines: deque[str] = deque(maxlen=LINES)
        self._on_line = on_line
        self._changed = threading.Condition()
        self._process = self._started(environ or {}, cwd)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _started(self, environ: Mapping[str, str], cwd: Path | None) -> "subprocess.Popen[str]":
        """Start the process, with these variables besides those of this one."""
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "sh", *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            cwd=cwd,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program is running."""
        return self._process.poll() is None

    def wait_for_port(self, port: int, seconds: float = READY_SECONDS, host: str = "127.0.0.1") -> None:
        """Return when the port accepts connections. Raises NotReadyError on exit or timeout."""
        deadline = time.monotonic() + seconds
        while True:
            if self._process.poll() is not None:
                self._reader.join()
                raise NotReadyError(f"{self._name} ended with {self._process.returncode}:\n{self.tail()}")
            try:
                socket.create_connection((host, port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise NotReadyError(
                        f"{self._name}: no connection on port {port}:\n{self.tail()}"
                    ) from None
                time.sleep(0.02)

    def wait_for_line(self, wanted: Callable[[str], bool], seconds: float = READY_SECONDS) -> str:
        """The first past or future line for which `wanted` is true; raises NotReadyError."""

        def found() -> str | None:
            return next((line for line in self.lines if wanted(line)), None)

        with self._changed:
            line = self._changed.wait_for(found, seconds)
        if line is None:
            raise NotReadyError(f"{self._name}: no such line within {seconds} s:\n{self.tail()}")
        return line

    def tail(self, count: int = 40) -> str:
        """The last lines of the output."""
        return "\n".join(list(self.lines)[-count:])

    def wait(self, seconds: float) -> int:
        """Wait until the program exits. Returns the exit status; raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Send SIGKILL to the whole group."""
        self._signal(signal.SIGKILL)
        self._close()

    def end(self) -> int:
        """Send SIGTERM, and SIGKILL after twenty seconds. Returns the exit status."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._signal(signal.SIGKILL)
        return self._close()

    @property
    def _name(self) -> str:
        return " ".join(self.command)

    def _close(self) -> int:
        status = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = text.rstrip("\n")
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
            self._on_line(line)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
