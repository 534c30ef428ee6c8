"""One server process: uvicorn's server, and a second one for operations (metrics, health)."""

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import uvicorn

from ...desk.ops.listener import operations_app
from ...service.swapping import OneProcess
from ...settings.changes import Changes
from ...settings.load import Problem
from ...settings.model import Settings
from ..http.protocol import BoundedProtocol
from .following import Follower
from .listen import addresses

# Enough for a scraper and two load balancers; a flood must not use up file descriptors.
OPS_CONNECTIONS = 64


class AppOfSettings(Protocol):
    """Creates the app of a worker."""

    settings: Settings

    def __call__(self) -> Any:
        """The app."""


class ServeConfig(uvicorn.Config):
    """uvicorn's, with the sockets of the operations listener."""

    app: AppOfSettings
    ops: Sequence[socket.socket] = ()
    # Who else has bound names of the socket of `clew reload`, and what follows; empty if nothing does.
    socket_taken: tuple[str, str] = ("", "")


class Running(uvicorn.Server):
    """Serves the reverse proxy of its config, and the operations listener if there is one. It prints its
    addresses once it listens."""

    on_started: Callable[[], None] | None = None
    follower: Follower | None = None  # of several workers
    _one: OneProcess | None = None
    _ops: uvicorn.Server | None = None
    _ops_loop: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, listen, and print the addresses."""
        proxy: Any = self.config.loaded_app
        proxy.startup.announces = False
        self._one = OneProcess(proxy.service, asyncio.get_running_loop())
        if self.follower is not None:
            self.follower.catch_up(proxy.service)
        assert isinstance(self.config, ServeConfig)
        ops = self.config.ops
        for one in ops:
            # Whoever sees that the shop's address answers may use this one too; it waits for `_start_ops`.
            one.listen()
        await super().startup(sockets)
        if not self.started:
            return
        if self.follower is not None:
            self.follower.start(proxy.service)
        if ops:
            await self._start_ops(proxy.service, ops)
        if self.on_started is not None:
            self.on_started()
        proxy.service.announce(addresses=addresses(sockets or []), ops=addresses(ops))
        if self.config.workers == 1:
            if self.config.socket_taken[1]:
                proxy.service.socket_taken(*self.config.socket_taken)
            print_addresses(sockets or [], ops)

    @property
    def settings(self) -> Settings:
        """See `reloading.Target`, for a server of one process."""
        assert self._one is not None
        return self._one.settings

    def apply(self, settings: Settings) -> Changes:
        """See `reloading.Target`."""
        assert self._one is not None
        return self._one.apply(settings)

    def unchanged(self) -> None:
        """See `reloading.Target`."""
        assert self._one is not None
        self._one.unchanged()

    def refuse(self, problems: Sequence[Problem], *, requested: bool) -> None:
        """See `reloading.Target`."""
        assert self._one is not None
        self._one.refuse(problems, requested=requested)

    async def _start_ops(self, service: Any, sockets: Sequence[socket.socket]) -> None:
        config = uvicorn.Config(
            operations_app(service),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            limit_concurrency=OPS_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        config.load()
        self._ops = uvicorn.Server(config)
        self._ops.lifespan = config.lifespan_class(config)
        await self._ops.startup(list(sockets))
        self._ops_loop = asyncio.create_task(self._ops.main_loop(), name="clew-ops")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop. The operations listener stops last, so that `ready` reports the shutdown."""
        await super().shutdown(sockets)
        if self._ops is not None and self._ops_loop is not None:
            self._ops.should_exit = True
            await self._ops_loop
            self._ops.force_exit = True
            await self._ops.shutdown()


def print_addresses(sockets: Sequence[socket.socket], ops: Sequence[socket.socket]) -> None:
    """Print the addresses on stdout, independent of the log's format and level."""
    beside = f", for operations on {' and '.join(addresses(ops))}" if ops else ""
    with suppress(OSError):
        sys.stdout.write(f"clew listens on {' and '.join(addresses(sockets))}{beside}\n")
        sys.stdout.flush()
