"""One server process: uvicorn's server, which says where it listens once it does."""

import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import uvicorn

from .listen import addresses


class Running(uvicorn.Server):
    """Serves the reverse proxy that its config loads."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, listen, and then say so."""
        proxy: Any = self.config.loaded_app
        proxy.announces = False
        await super().startup(sockets)
        if self.started:
            proxy.service.announce(addresses=addresses(sockets or []))
            if self.config.workers == 1:
                say_where(sockets or [])


def say_where(sockets: Sequence[socket.socket]) -> None:
    """Print where clew listens, on stdout: whatever the log's form and level are."""
    with suppress(OSError):
        sys.stdout.write(f"clew listens on {' and '.join(addresses(sockets))}\n")
        sys.stdout.flush()
