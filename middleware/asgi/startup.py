"""Starts and stops the service: with the server's lifespan, or at a request if there is no lifespan."""

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...service.service import Service
from .standby import cannot_start, one_line

TRY_AGAIN_SECONDS = 10
# How long the app's startup, and a request, wait for clew to start.
START_SECONDS = 10.0
LATE_SECONDS = 1.0


class Startup:
    """Starts and stops `service` in front of `app`.

    A start that fails is tried again every ten seconds; until then `why` gives the reason. With `strict` the
    server's startup fails instead.
    """

    announces = True  # cleared by a server that announces itself once it listens
    on_start: Callable[[], None] = staticmethod(lambda: None)
    on_stop: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, service: Service, app: ASGIApp, *, strict: bool) -> None:
        self.started = False
        self.why = "starting"
        self._service = service
        self._app = app
        self._strict = strict
        self._starting: asyncio.Task[None] | None = None
        self._wait_until = 0.0
        self._try_again_at = 0.0

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the app starts and stop after it has stopped, also if the app has no lifespan."""
        answered = received = False

        async def inner_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "lifespan.startup":
                received = True
                try:
                    await self.start(START_SECONDS)
                except Exception as error:
                    await inner_send({"type": "lifespan.startup.failed", "message": cannot_start(error)})
                    raise
            return message

        async def inner_send(message: Message) -> None:
            nonlocal answered
            answered = True
            if message["type"].startswith("lifespan.shutdown"):
                await self.stop()
            await send(message)

        try:
            await self._app(scope, inner_receive, inner_send)
        except Exception:
            # Some apps, such as Django's, refuse a lifespan. It is then handled here alone.
            if answered:
                raise
        if not answered:
            await self._own_lifespan(receive, send, starting=received)

    async def at_request(self) -> bool:
        """Start at a request if the server has no lifespan or the start failed. Returns whether the service
        is running. The request waits one second at most, then the shop serves it without clew."""
        if time.monotonic() >= self._try_again_at:
            await self.start(LATE_SECONDS)
        return self.started

    async def _own_lifespan(self, receive: Receive, send: Send, *, starting: bool) -> None:
        """`starting` is whether the app got the startup message before it refused the lifespan."""
        while True:
            if starting:
                await send({"type": "lifespan.startup.complete"})
            message = await receive()
            starting = message["type"] == "lifespan.startup"
            if starting:
                await self.start(START_SECONDS)
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self, seconds: float) -> None:
        """Start, or wait for a start in progress, for at most `seconds`. Raises only if `strict`."""
        if self._starting is None:
            self._wait_until = time.monotonic() + seconds
            self._starting = asyncio.create_task(self._try_start(), name="clew-start")
        left = max(0.0, self._wait_until - time.monotonic())
        task = self._starting
        await asyncio.wait({task}, timeout=None if self._strict else left)
        if self._strict and not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _try_start(self) -> None:
        try:
            await self._service.start()
        except Exception as error:
            self._try_again_at = time.monotonic() + TRY_AGAIN_SECONDS
            self.why = one_line(error)
            if self._strict:
                raise
            self._service.events.notice("unusable", site="", key="start", why=self.why)
        else:
            self.started = True
            self.on_start()
            if self.announces:
                self._service.announce()
        finally:
            self._starting = None

    async def stop(self) -> None:
        """Stop, even during a start."""
        if (starting := self._starting) is not None:
            starting.cancel()
            await asyncio.wait({starting})
        self.on_stop()
        await self._service.stop()
