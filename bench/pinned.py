"""Starts the processes of a benchmark on given cores, and ends them with all their children."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
# The server under test has one core; its upstream and the clients have the other.
SERVER_CORE, LOAD_CORE = str(CORES[0]), str(CORES[-1])
BOTH_CORES = f"{SERVER_CORE},{LOAD_CORE}"

READY_SECONDS = 30.0
END_SECONDS = 10.0
OPEN_FILES = 4096

Process = subprocess.Popen[bytes]


class BenchError(Exception):
    """A server did not start, or gave a wrong response."""


@contextmanager
def running(command: list[str], port: int, folder: Path, cores: str) -> Iterator[Process]:
    """A process in `folder` on these cores, as soon as something listens on its port. Raises BenchError."""
    log = folder / f"{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *command], stdout=out, stderr=out, cwd=folder, start_new_session=True
        )
    try:
        if not _listens(port, process):
            raise BenchError(f"did not start: {' '.join(command)}\n{log.read_text(errors='replace')}")
        yield process
    finally:
        _end(process)


def _listens(port: int, process: Process) -> bool:
    """Whether something listens before the process ends or 30 seconds are over."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as sock:
            sock.settimeout(1)
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def _end(process: Process) -> None:
    # It may have ended by itself, with its children.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def cpu_seconds(process: Process) -> dict[int, float]:
    """CPU time so far of each process in the group that `process` leads (proc(5), /proc/pid/stat)."""
    used = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[2]) == process.pid:
            used[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def resident_kb(process: Process) -> int:
    """Resident memory of all processes in the group, in KiB (proc(5), VmRSS)."""
    total = 0
    for pid in cpu_seconds(process):
        status = Path(f"/proc/{pid}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return total


def settle(process: Process) -> None:
    """Wait up to five seconds until a server is idle again, since it shares its core with the next one."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        before = sum(cpu_seconds(process).values())
        time.sleep(0.05)
        if sum(cpu_seconds(process).values()) - before <= 0.01:
            return


def allow_open_files() -> None:
    """Raise the limit of open files for this process and its children. Raises BenchError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        raise BenchError(
            f"{OPEN_FILES} open files are needed, but only {hard} are allowed: raise `ulimit -Hn`"
        )
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
