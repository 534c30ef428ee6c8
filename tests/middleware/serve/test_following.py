"""Orders to one of several workers, and what becomes of it when one fails."""

import asyncio
import os
import signal
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest
from clew.middleware.serve import following
from clew.middleware.serve.following import Follower, Update
from clew.service.sites import SiteTable
from clew.settings.changes import Changes
from clew.settings.model import Settings

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
pytestmark = pytest.mark.timeout(300)


def settings(*names: str) -> Settings:
    sites = [{"name": name, "hosts": [f"{name}.example"]} for name in names]
    return Settings.model_validate({"secret": SECRET, "desk_host": "desk.example", "sites": sites})


class Stub:
    """What a follower uses of a service; the first calls fail as in a loop that is busy."""

    def __init__(self, busy: int = 0) -> None:
        self.settings = settings("a")
        self.busy = busy
        self.sites = SimpleNamespace(prepare=SiteTable)

    def swap(self, new: Settings, table: SiteTable) -> Changes:
        self._call()
        self.settings = new
        return Changes()

    def refuse_swap(self, problems: Any, *, requested: bool) -> None:
        self._call()

    def _call(self) -> None:
        if self.busy:
            self.busy -= 1
            raise TimeoutError


class Worker:
    """A follower that runs, and the other end of its pipe. `ended` is set when it ends its process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, busy: int = 0) -> None:
        self.orders, obeys = Pipe()
        self.stub = Stub(busy)
        self.ended: list[tuple[int, int]] = []
        monkeypatch.setattr(following.os, "kill", lambda *call: self.ended.append(call))
        self.follower = Follower(obeys)
        service: Any = self.stub
        self.follower.start(service)

    async def ask(self, *order: object) -> tuple[str, int, Any]:
        self.orders.send(order)
        return await asyncio.to_thread(_received, self.orders)


def _received(connection: Connection) -> tuple[str, int, Any]:
    assert connection.poll(20)
    found: tuple[str, int, Any] = connection.recv()
    return found


async def test_a_busy_loop_does_not_end_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch, busy=1)
    worker.orders.send(("refused", 0, ([], True)))
    update = Update.between(settings("a"), settings("a", "b"), 0)
    assert await worker.ask("prepare", 1, update) == ("ready", 1, "")
    assert await worker.ask("swap", 1, False) == ("swapped", 1, True)
    assert [site.name for site in worker.stub.settings.sites] == ["a", "b"]
    assert worker.ended == []
    worker.orders.close()


async def test_a_worker_that_cannot_swap_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started again, with the settings of the others."""
    worker = Worker(monkeypatch, busy=1)
    update = Update.between(settings("a"), settings("a", "b"), 0)
    assert await worker.ask("prepare", 1, update) == ("ready", 1, "")
    worker.orders.send(("swap", 1, False))
    # Its thread goes on, and answers after that.
    assert await worker.ask("prepare", 2, update) == ("ready", 2, "")
    assert worker.ended == [(os.getpid(), signal.SIGTERM)]
    worker.orders.close()


async def test_an_update_of_other_settings_is_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch)
    update = Update.between(settings("a"), settings("a", "b"), 0)
    assert await worker.ask("prepare", 1, update) == ("ready", 1, "")
    assert await worker.ask("swap", 1, False) == ("swapped", 1, True)
    assert await worker.ask("prepare", 3, Update.between(settings("a"), settings("b"), 2)) == (
        *("ready", 3),
        "has the settings of swap 1, and not those of 2",
    )
    right = Update.between(settings("a", "b"), settings("b"), 1)
    assert await worker.ask("prepare", 4, right) == ("ready", 4, "")
    assert worker.ended == []
    worker.orders.close()


async def test_a_worker_that_has_nothing_to_swap_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch)
    worker.orders.send(("swap", 1, False))
    update = Update.between(settings("a"), settings("a", "b"), 0)
    assert await worker.ask("prepare", 2, update) == ("ready", 2, "")
    assert worker.ended == [(os.getpid(), signal.SIGTERM)]
    worker.orders.close()
