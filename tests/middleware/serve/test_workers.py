"""The workers of one server: what a death of one means for the whole, and where the server listens."""

import itertools
import socket
import threading
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from clew.middleware.serve import workers as module
from clew.middleware.serve.listen import BindError, addresses, bind
from clew.middleware.serve.running import ServeConfig
from clew.middleware.serve.server import WorkerApp
from clew.middleware.serve.workers import MOST_RESTARTS, Worker, Workers
from clew.settings.model import Settings


def settings(*names: str) -> Settings:
    sites = [{"name": name, "hosts": [f"{name}.example"]} for name in names]
    return Settings.model_validate({"secret": "x" * 40, "desk_host": "desk.example", "sites": sites})


def supervised(*, once_ready: bool) -> Workers:
    """Without processes, and without the handlers of signals."""
    workers = Workers.__new__(Workers)
    workers.status = 0
    workers._once_ready = once_ready
    workers._deaths = deque(maxlen=MOST_RESTARTS)
    return workers


def dead(code: int | None) -> Any:
    return SimpleNamespace(exitcode=code, pid=4711)


@pytest.mark.parametrize(("code", "status"), [(3, 3), (1, 1), (0, 1), (-9, 137)])
def test_one_that_can_never_start_ends_the_whole_with_its_status(code: int, status: int) -> None:
    """field D6"""
    workers = supervised(once_ready=False)
    assert not workers._may_go_on(dead(code), hung=False)
    assert workers.status == status


def test_dead_workers_are_replaced_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """field D6"""
    clock = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: clock)
    workers = supervised(once_ready=True)
    assert all(workers._may_go_on(dead(-11), hung=False) for _ in range(MOST_RESTARTS))
    assert not workers._may_go_on(dead(-11), hung=False)
    assert workers.status == 139
    clock += 61
    assert workers._may_go_on(dead(-11), hung=False)


def test_one_that_still_imports_is_given_more_time_than_one_that_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, ticks = 1000.0, itertools.count()
    # Connection.poll waits until the clock has moved.
    monkeypatch.setattr(module.time, "monotonic", lambda: clock + next(ticks) / 1e6)
    worker = Worker(uvicorn.Config("app"), [], 0)
    worker.process = SimpleNamespace(is_alive=lambda: True)  # type: ignore[assignment]
    assert worker.is_alive()
    clock += 100
    assert worker.is_alive()
    worker.child_conn.send(b"pong")
    assert worker.is_alive()
    clock += 29
    assert worker.is_alive()
    clock += 2
    assert not worker.is_alive()


def test_a_worker_that_has_ended_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Process, "start", lambda worker: None)
    before = set(threading.enumerate())
    worker = Worker(uvicorn.Config("app"), [], 0)
    worker.start()
    (sender,) = set(threading.enumerate()) - before
    worker.close()
    sender.join(20)
    assert not sender.is_alive()
    assert worker._commands.closed
    assert worker._worker_end.closed


class Hung(Worker):
    """Prepares settings, and never confirms that it uses them."""

    was_ready = True

    def __init__(self, answers: Connection) -> None:
        self.given: list[float] = []
        self.process = SimpleNamespace(is_alive=lambda: True, pid=1)
        self._commands, self._reading = answers, threading.Lock()

    def send(self, *message: object) -> None:
        pass

    def reply(self, kind: str, number: int, seconds: float) -> Any:
        if kind == "ready":
            return ""
        self.given.append(seconds)
        return super().reply(kind, number, seconds)


def test_all_workers_together_have_one_deadline_to_use_new_settings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SWAP_SECONDS", 0.4)
    workers = supervised(once_ready=True)
    workers._lock, workers._number, workers._swapped = threading.Lock(), 0, 0
    old, new = settings("a"), settings("a", "b")
    workers.config = ServeConfig(WorkerApp(old, access_log=False))
    pipes = [Pipe() for _ in range(4)]
    workers.processes = [Hung(ours) for ours, _ in pipes]
    # The last one has confirmed before its turn comes.
    pipes[-1][1].send(("swapped", 1, True))
    assert workers.apply(new).added == ("b",)
    (first, *others) = [seconds for worker in workers.processes for seconds in worker.given]
    # The first takes all of it.
    assert (0 < first <= 0.4, others) == (True, [0.0, 0.0, 0.0])
    assert caplog.text.count("did not confirm") == 3


def test_a_name_with_two_families_gets_one_port_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """field G6"""
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    sockets = bind("localhost", 0)
    try:
        first, second = addresses(sockets)
        assert (first.rpartition(":")[0], second.rpartition(":")[0]) == (
            "http://127.0.0.1",
            "http://127.0.0.2",
        )
        assert first.rpartition(":")[2] == second.rpartition(":")[2] != "0"
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid"])
def test_an_address_that_cannot_be_had_is_named(host: str) -> None:
    with pytest.raises(BindError, match=f"cannot listen on {host}.*choose another|name an address"):
        bind(host, 0)


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        assert addresses([sock]) == ["http://[::]:0"]
