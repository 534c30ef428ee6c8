"""When the service starts and stops: with the server's lifespan, or at a request where there is none."""

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...service.service import Service
from .standby import cannot_start, one_line

TRY_AGAIN_SECONDS = 10
# How long the app's start, and a request, wait for ours.
START_SECONDS = 10.0
LATE_SECONDS = 1.0


class Startup:
    """Starts and stops `service` in front of `app`.

    A start that fails is tried again every ten seconds; `why` says what is missing until then. With `strict`
    it fails the server's start instead.
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
        """Start before the app starts and stop after it has stopped; also for an app that has no lifespan."""
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
            # Django's app, for one, refuses a lifespan: then the lifespan is ours alone.
            if answered:
                raise
        if not answered:
            await self._own_lifespan(receive, send, starting=received)

    async def at_request(self) -> bool:
        """Start at a request, for servers without a lifespan and where the start failed; whether the service
        runs. The request waits for a second at most: then the shop goes on without us."""
        if time.monotonic() >= self._try_again_at:
            await self.start(LATE_SECONDS)
        return self.started

    async def _own_lifespan(self, receive: Receive, send: Send, *, starting: bool) -> None:
        """`starting`: the startup message went to the app, which then refused it."""
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
        """Start, or wait for the start that is under way, for at most so long. Raises only if `strict`."""
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
        """Stop, also in the middle of a start."""
        if (starting := self._starting) is not None:
            starting.cancel()
            await asyncio.wait({starting})
        self.on_stop()
        await self._service.stop()
