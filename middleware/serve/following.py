"""New settings in one of several workers: prepared first, then swapped in when all workers are ready."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ...service.service import Service
from ...service.sites import SiteTable
from ...service.swapping import SWAP_SECONDS, called
from ...settings.changes import Changes
from ...settings.model import Settings, Site

T = TypeVar("T")

_LOG = logging.getLogger("clew.proxy")


@dataclass(frozen=True, slots=True)
class Update:
    """The difference between two settings, to be sent to a worker: of thousands of sites few change."""

    top: Settings  # without its sites
    names: tuple[str, ...]
    sites: dict[str, Site]
    changes: Changes
    base: int  # the number of the swap that brought the old settings; 0: those of the start

    @classmethod
    def between(cls, old: Settings, new: Settings, base: int) -> "Update":
        """The update for a worker with the old settings, which came by the swap `base`."""
        sites = {site.name: site for site in new.sites}
        changes = Changes.between({site.name: site for site in old.sites}, sites)
        other = {name: sites[name] for name in (*changes.added, *changes.changed)}
        return cls(new.model_copy(update={"sites": []}), tuple(sites), other, changes, base)

    def applied(self, old: Settings) -> Settings:
        """The new settings, given the old ones. Raises KeyError if `old` are other settings."""
        before = {site.name: site for site in old.sites}
        return self.top.model_copy(update={"sites": [self.sites.get(n) or before[n] for n in self.names]})


class Follower:
    """Runs in a worker the commands of its parent process: `prepare`, then `swap` or `drop`; `refused`
    reports settings that were not accepted, `unchanged` a reload without changes, `socket_taken` that `clew
    reload` may not reach the server. Each command and each reply
    is (kind, number, value). `base` is the number of the swap that brought the settings which the worker
    starts with."""

    def __init__(self, connection: Connection, base: int = 0) -> None:
        self._connection = connection
        self._base = base
        self._ready: dict[int, SiteTable] = {}

    def catch_up(self, service: Service) -> None:
        """Run the commands that were sent while the worker started, before it serves."""
        with suppress(OSError, EOFError):
            while self._connection.poll(SWAP_SECONDS if self._ready else 0):
                self._run(self._connection.recv(), service, lambda work: work())

    def start(self, service: Service) -> None:
        """Run commands in a thread from now on; the running loop is the service's."""
        loop = asyncio.get_running_loop()

        def in_loop(work: Callable[[], T]) -> T:
            return called(loop, work)

        def follow() -> None:
            while (command := self._received()) is not None:
                try:
                    self._run(command, service, in_loop)
                except Exception:
                    _LOG.exception("a command to the worker failed: %s", command[0])
                    if command[0] == "swap":
                        # The other workers use the new settings, and so will the replacement of this one.
                        os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=follow, name="clew-follow", daemon=True).start()

    def _received(self) -> tuple[str, int, Any] | None:
        """The next command; None if there will be none."""
        with suppress(OSError, EOFError):
            command: tuple[str, int, Any] = self._connection.recv()
            return command
        return None

    def _send(self, *reply: object) -> None:
        with suppress(OSError):  # the parent has ended
            self._connection.send(reply)

    def _run(
        self, command: tuple[str, int, Any], service: Service, in_loop: Callable[[Callable[[], Any]], Any]
    ) -> None:
        kind, number, value = command[0], command[1], command[2] if len(command) > 2 else None
        match kind:
            case "prepare":
                self._send("ready", number, self._prepare(number, value, service))
            case "swap":
                table = self._ready.pop(number, None)
                if table is None:
                    raise LookupError(f"the settings of swap {number} were not prepared")
                in_loop(lambda: _swap(service, table, announce=value))
                self._base = number
                self._send("swapped", number, True)
            case "drop":
                self._ready.pop(number, None)
            case "refused":
                problems, requested = value
                in_loop(lambda: service.refuse_swap(problems, requested=requested))
            case "socket_taken":
                in_loop(lambda: service.socket_taken(*value))
            case "unchanged":
                in_loop(lambda: service.announce_swap(Changes()))

    def _prepare(self, number: int, update: Update, service: Service) -> str:
        """Prepare the settings. Returns why they cannot be used; empty if they can."""
        if update.base != self._base:
            return f"has the settings of swap {self._base}, and not those of {update.base}"
        try:
            self._ready[number] = service.sites.prepare(update.applied(service.settings))
        except Exception as error:
            return f"cannot take the settings: {error!r}"
        return ""


def _swap(service: Service, table: SiteTable, *, announce: bool) -> None:
    changes = service.swap(table.settings, table)
    if announce:
        service.announce_swap(changes)
