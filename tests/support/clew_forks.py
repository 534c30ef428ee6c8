"""Processes of `clew` without their imports, which take 1.5 s of CPU in hundreds of tests: a process that has
done them forks for each. What such a process does, its signals and its end are those of `python -m clew`."""

import array
import atexit
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

_FDS = 4  # standard input, output and error, and the socket that hears how the process fares
_NAMED = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_")
"""What is read before the first line of a program, so that a fork is too late for it."""


class Fork:
    """A forked process, with what is used here of `subprocess.Popen`. It leads a session of its own."""

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        cwd: Path | None,
        *,
        stderr: int = subprocess.STDOUT,
    ) -> None:
        told, tell = socket.socketpair()
        stdin, write_in = os.pipe()
        read_out, stdout = os.pipe()
        read_err, error = os.pipe() if stderr == subprocess.PIPE else (-1, os.dup(stdout))
        message = json.dumps([list(arguments), dict(environ), str(cwd or Path.cwd())]).encode()
        fds = array.array("i", [stdin, stdout, error, tell.fileno()])
        with _asking:
            _server().sendall(len(message).to_bytes(4))
            _server().sendmsg([message[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            _server().sendall(message[1:])
        for fd in (stdin, stdout, error):
            os.close(fd)
        tell.close()
        self.stdin: IO[str] = os.fdopen(write_in, "w")
        self.stdout: IO[str] = os.fdopen(read_out, errors="replace")
        self.stderr: IO[str] | None = os.fdopen(read_err, errors="replace") if read_err >= 0 else None
        self._told = told.makefile("rb")
        self._socket = told
        self._waiting = threading.Lock()
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, that of a signal being negative; raises subprocess.TimeoutExpired."""
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired("clew", timeout or 0)
        try:
            if self.returncode is None:
                with selectors.DefaultSelector() as selector:
                    selector.register(self._socket, selectors.EVENT_READ)
                    if not selector.select(timeout):
                        raise subprocess.TimeoutExpired("clew", timeout or 0)
                self.returncode = int(self._told.readline())
                self._told.close()
                self._socket.close()
            return self.returncode
        finally:
            self._waiting.release()

    def communicate(self, typed: str) -> tuple[str, str]:
        """What it printed, after its end; `typed` is its input."""
        parts: dict[str, str] = {}
        read = {"out": self.stdout, "err": self.stderr}
        readers = [
            threading.Thread(target=lambda name=name, pipe=pipe: parts.update({name: pipe.read()}))
            for name, pipe in read.items()
            if pipe is not None
        ]
        for reader in readers:
            reader.start()
        with suppress(BrokenPipeError), self.stdin:
            self.stdin.write(typed)
        for reader in readers:
            reader.join()
        self.wait()
        for pipe in read.values():
            if pipe is not None:
                pipe.close()
        return parts["out"], parts.get("err", "")


def _early(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_NAMED)}


_OURS = _early(os.environ)


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a fork runs as a process with all these variables would."""
    return _early(environ) == _OURS


_asking = threading.Lock()


@cache
def _server() -> socket.socket:
    """The process that forks, which ends with this one."""
    ours, theirs = socket.socketpair()
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "clew_forks", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env=environ,
        start_new_session=True,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# -- in the process that forks


def _received(control: socket.socket) -> tuple[list[Any], list[int]] | None:
    """The next process to start, and its files; None once nobody asks any more."""
    head = control.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        return None
    length = int.from_bytes(head)
    first, fds, _, _ = socket.recv_fds(control, 1, _FDS)
    return json.loads(first + control.recv(length - 1, socket.MSG_WAITALL)), fds


def _become(asked: list[Any], fds: list[int]) -> None:
    """The rest of the start of a program, in the forked process."""
    arguments, environ, cwd = asked
    os.setsid()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(fds[number], number)
        before = getattr(sys, name)
        file = open(number, "wb" if number else "rb", buffering=0 if number else -1, closefd=False)  # noqa: SIM115
        text = io.TextIOWrapper(
            file, encoding=before.encoding, errors=before.errors, write_through=bool(number)
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    os.write(fds[3], b"%d\n" % os.getpid())
    for fd in fds:
        os.close(fd)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = arguments


def _fork_all(control: socket.socket) -> bool:
    """Fork as asked. True in each new process, False once nobody asks any more."""
    wakened, waken = socket.socketpair()
    for end in (wakened, waken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waken.fileno())
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wakened, selectors.EVENT_READ)
    tell: dict[int, int] = {}  # sockets by process
    while True:
        for key, _ in selector.select():
            if key.fileobj is wakened:
                wakened.recv(4096)
                continue
            found = _received(control)
            if found is None:
                for pid in tell:
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                return False
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                for end in (control, wakened, waken):
                    end.close()
                for fd in tell.values():
                    os.close(fd)
                _become(*found)
                return True
            tell[pid] = found[1][3]
            for fd in found[1][:3]:
                os.close(fd)
        _reap(tell)


def _reap(tell: dict[int, int]) -> None:
    while tell:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = tell.pop(pid)
        with suppress(OSError):
            os.write(fd, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(fd)


def _main() -> None:
    import gc

    import clew.__main__
    import clew.middleware.proxy.mount
    import clew.middleware.serve.server
    import clew.postbacks.client
    import clew.referral.domains
    import clew.referral.networks_file
    import clew.stores.ledger.postgresql
    import clew.stores.visits_redis
    from alembic import command, config  # noqa: F401

    clew.postbacks.client._certificates()
    clew.referral.domains._suffixes()
    clew.referral.networks_file.load()
    gc.freeze()
    if _fork_all(socket.socket(fileno=int(sys.argv[1]))):
        # As of `python -m clew`: workers that it starts import this one.
        sys.modules["__main__"] = clew.__main__
        sys.argv[0] = str(clew.__main__.__file__)
        clew.__main__.main()


if __name__ == "__main__":
    _main()
