"""Other settings in one of several workers: made ready first, swapped in when all workers have them ready."""

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
    """What of the settings is other, to be sent to a worker: of thousands of sites few are."""

    top: Settings  # without its sites
    names: tuple[str, ...]
    sites: dict[str, Site]
    changes: Changes
    base: int  # the number of the swap that brought the old settings; 0: those of the start

    @classmethod
    def between(cls, old: Settings, new: Settings, base: int) -> "Update":
        """What has to be sent to whoever has the old ones, which came by the swap `base`."""
        sites = {site.name: site for site in new.sites}
        changes = Changes.between({site.name: site for site in old.sites}, sites)
        other = {name: sites[name] for name in (*changes.added, *changes.changed)}
        return cls(new.model_copy(update={"sites": []}), tuple(sites), other, changes, base)

    def applied(self, old: Settings) -> Settings:
        """The new settings, where the old ones are. Raises KeyError where they are others."""
        before = {site.name: site for site in old.sites}
        return self.top.model_copy(update={"sites": [self.sites.get(n) or before[n] for n in self.names]})


class Follower:
    """Does in a worker what the process that started it orders: `prepare`, then `swap` or `drop`; `refused`
    tells of settings that were not taken, `unchanged` of a reload without changes. Each order and each answer
    is (kind, number, value). `base` is the number of the swap that brought the settings which the worker
    starts with."""

    def __init__(self, connection: Connection, base: int = 0) -> None:
        self._connection = connection
        self._base = base
        self._ready: dict[int, SiteTable] = {}

    def catch_up(self, service: Service) -> None:
        """Before the worker serves: take what was ordered while it started."""
        with suppress(OSError, EOFError):
            while self._connection.poll(SWAP_SECONDS if self._ready else 0):
                self._obey(self._connection.recv(), service, lambda work: work())

    def start(self, service: Service) -> None:
        """Obey in a thread from now on; the loop that runs is the service's."""
        loop = asyncio.get_running_loop()

        def in_loop(work: Callable[[], T]) -> T:
            return called(loop, work)

        def obey() -> None:
            while (order := self._received()) is not None:
                try:
                    self._obey(order, service, in_loop)
                except Exception:
                    _LOG.exception("an order to the worker failed: %s", order[0])
                    if order[0] == "swap":
                        # The other workers serve by the new settings: whoever replaces this one does too.
                        os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=obey, name="clew-follow", daemon=True).start()

    def _received(self) -> tuple[str, int, Any] | None:
        """The next order; None where there will be none."""
        with suppress(OSError, EOFError):
            order: tuple[str, int, Any] = self._connection.recv()
            return order
        return None

    def _send(self, *answer: object) -> None:
        with suppress(OSError):  # who waited for it has gone
            self._connection.send(answer)

    def _obey(
        self, order: tuple[str, int, Any], service: Service, in_loop: Callable[[Callable[[], Any]], Any]
    ) -> None:
        kind, number, value = order[0], order[1], order[2] if len(order) > 2 else None
        match kind:
            case "prepare":
                self._send("ready", number, self._prepare(number, value, service))
            case "swap":
                table = self._ready.pop(number, None)
                if table is None:
                    raise LookupError(f"the settings of swap {number} were not made ready")
                in_loop(lambda: _swap(service, table, tell=value))
                self._base = number
                self._send("swapped", number, True)
            case "drop":
                self._ready.pop(number, None)
            case "refused":
                problems, asked = value
                in_loop(lambda: service.refuse_swap(problems, asked=asked))
            case "unchanged":
                in_loop(lambda: service.announce_swap(Changes()))

    def _prepare(self, number: int, update: Update, service: Service) -> str:
        """Why it cannot be done; empty if it can."""
        if update.base != self._base:
            return f"has the settings of swap {self._base}, and not those of {update.base}"
        try:
            self._ready[number] = SiteTable(update.applied(service.settings))
        except Exception as error:
            return f"cannot take the settings: {error!r}"
        return ""


def _swap(service: Service, table: SiteTable, *, tell: bool) -> None:
    changes = service.swap(table.settings, table)
    if tell:
        service.announce_swap(changes)
