"""A TCP proxy before a server, which cuts or holds connections at a chosen byte."""

import asyncio
import contextlib
from types import TracebackType


class CuttingProxy:
    """Passes connections on to a port of this machine. Use it as an async context manager.

    `cut_asked` and `cut_answered` are bytes after which the connection is reset: of what clients send, and of
    what the server answers, counted over all connections since they were set. What the server receives
    before the cut it executes. While `held`, nothing is passed on in either direction.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flow = asyncio.Event()
        self._flow.set()
        self.port = 0
        self.cut_asked: int | None = None
        self.cut_answered: int | None = None
        self.cuts = 0
        self.delay = 0.0  # seconds by which each part of an answer is late
        self.connections = 0
        self.asked = bytearray()
        """What clients sent, since it was cleared last."""
        self.answered = 0

    async def __aenter__(self) -> "CuttingProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """As a link that was cut without a word: connections stay open, and nothing arrives."""
        self._flow.clear()

    def release(self) -> None:
        self._flow.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        there = None
        try:
            await self._flow.wait()
            from_server, there = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [
                asyncio.create_task(self._pass(reader, there, asked=True)),
                asyncio.create_task(self._pass(from_server, writer, asked=False)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            # asyncio's streams log a task of theirs that was cancelled as a failure.
            pass
        finally:
            self._tasks.discard(task)
            for one in (writer, there):
                if one is not None:
                    one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flow.wait()
                if not asked and self.delay:
                    await asyncio.sleep(self.delay)
                data, cut = self._until_cut(data, asked=asked)
                writer.write(data)
                await writer.drain()
                if cut:
                    self.cuts += 1
                    return

    def _until_cut(self, data: bytes, *, asked: bool) -> tuple[bytes, bool]:
        left = self.cut_asked if asked else self.cut_answered
        passed, cut = (data, False) if left is None or left > len(data) else (data[:left], True)
        if asked:
            self.asked += passed
            self.cut_asked = None if left is None or cut else left - len(data)
        else:
            self.answered += len(passed)
            self.cut_answered = None if left is None or cut else left - len(data)
        return passed, cut
