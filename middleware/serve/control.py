"""How `clew reload` reaches the server that runs with a settings file: the server's side.

It uses a socket in Linux's abstract namespace (unix(7)), named after the settings file: that needs no shared
folder, works with systemd's PrivateTmp, and ends with its process. Any user of the machine may bind such a
name, so both sides ask the kernel who the other is (SO_PEERCRED): the server answers its own user and root,
and `control_client` asks only servers that it trusts. A request is one line, a response one JSON object.
"""

import asyncio
import errno
import json
import logging
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ...settings.reloading import Reloaded, ReloadError

# How many servers may run with one settings file, each on its own port.
SERVERS = 16
RELOAD = b"reload\n"
# How long a client may take to send its request, and to read the response.
CLIENT_SECONDS = 5.0
# How many clients have a connection at the same time; others wait to be accepted.
CLIENTS = 16
# Pause before the next accept if the system has no resources for another connection.
PAUSE_SECONDS = 0.5
# For a server that has bound its name, and listens in a moment.
LISTEN_SECONDS = 0.1
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid

_LOG = logging.getLogger("clew.proxy")


class Peer(NamedTuple):
    """The process at the other end of a socket, by its id, and the id of its user."""

    pid: int
    user: int

    @property
    def user_name(self) -> str:
        """The name of the user, or its id if it has none here."""
        with suppress(KeyError):
            return pwd.getpwuid(self.user).pw_name
        return str(self.user)


class Listening(NamedTuple):
    """Listening sockets for a settings file, one for each of its names; none if the system has no abstract
    sockets. `taken_by` names other users that have bound a name, `warning` says what follows."""

    sockets: Sequence[socket.socket] = ()
    taken_by: str = ""
    warning: str = ""


def listen(config: Path) -> Listening:
    """Listen for requests to reload the settings file."""
    sockets: list[socket.socket] = []
    others: set[str] = set()
    refused = ""
    for names in names_of(config):
        for name in names:
            if (sock := new_socket()) is None:
                return Listening()
            try:
                sock.bind(name)
                sock.listen()
            except OSError as error:
                sock.close()
                refused = (error.strerror or str(error)).lower()
                if error.errno == errno.EADDRINUSE and (user := _other_user(name, config)) is not None:
                    others.add(user)
                continue
            sockets.append(sock)
            break
        else:
            what = "the socket cannot be bound, so `clew reload` does not reach this server, SIGHUP does: "
            return Listening(sockets, ", ".join(sorted(others)), what + refused)
    taken_by = ", ".join(sorted(others))
    return Listening(sockets, taken_by, "`clew reload` reaches this server by another name" if others else "")


def _other_user(name: bytes, config: Path) -> str | None:
    """Who listens at a name that is bound; None if it is a server that `clew reload` trusts."""
    found = None
    for pause in (LISTEN_SECONDS, 0.0):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(CLIENT_SECONDS)
            sock.connect(name)
            found = peer_of(sock)
            break
        time.sleep(pause)
    if found is None:
        return "a process that does not answer"
    return None if found.user in trusted_users(config) else found.user_name


def trusted_users(config: Path) -> set[int]:
    """The users whose process may be the server of a settings file: the own one and root; for root also the
    owner of the file, who decides on its content anyway."""
    found = {0, os.geteuid()}
    if os.geteuid() == 0:
        with suppress(OSError):
            found.add(config.stat().st_uid)
    return found


def names_of(config: Path) -> Iterator[list[bytes]]:
    """The names of the sockets, for the path as given and for its real path; the first free name of each is
    used."""
    for path in dict.fromkeys((os.path.abspath(config), os.path.realpath(config))):
        digest = blake2b(os.fsencode(path), digest_size=16).hexdigest()
        yield [f"\0clew/{digest}/{number}".encode() for number in range(SERVERS)]


def new_socket() -> socket.socket | None:
    """A socket for such names; None if the system has none."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def peer_of(sock: socket.socket) -> Peer:
    """The other side, as the kernel states it."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(packed)
    return Peer(pid, user)


class Control:
    """Answers requests at the `listening` sockets, in a thread of its own: a client that is slow, or silent,
    keeps neither the reloads waiting nor, for longer than its time, another client. `ask` requests a
    reload."""

    def __init__(self, listening: Sequence[socket.socket], ask: Callable[[], Future[Reloaded]]) -> None:
        self._listening = listening
        self._ask = ask
        self._users = (0, os.geteuid())
        self._clients: set[asyncio.Task[None]] = set()
        self._loop = asyncio.SelectorEventLoop()
        self._ended = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; requests that are waiting are answered now."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="clew-control", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread. Connections are closed."""
        if self._thread is None:
            self._loop.close()
            return
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        accepting = [asyncio.create_task(self._accept(sock)) for sock in self._listening]
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait((*accepting, ended), return_when=asyncio.FIRST_COMPLETED)

    async def _accept(self, listening: socket.socket) -> None:
        loop, room = asyncio.get_running_loop(), asyncio.Semaphore(CLIENTS)
        listening.setblocking(False)
        while True:
            await room.acquire()
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError:
                # Without descriptors the connection stays pending: the next accept would fail at once.
                await asyncio.sleep(PAUSE_SECONDS)
                room.release()
                continue
            client = loop.create_task(self._answer(sock))
            self._clients.add(client)
            client.add_done_callback(partial(self._answered, room))

    def _answered(self, room: asyncio.Semaphore, client: asyncio.Task[None]) -> None:
        room.release()
        self._clients.discard(client)
        if not client.cancelled() and (error := client.exception()) is not None:
            _LOG.error("a request of `clew reload` failed", exc_info=error)

    async def _answer(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock, suppress(OSError, ReloadError):  # it has gone, or was too slow; or clew is stopping
            if peer_of(sock).user not in self._users:
                return
            sock.setblocking(False)
            async with asyncio.timeout(CLIENT_SECONDS):
                line = b""
                while line != RELOAD:
                    part = await loop.sock_recv(sock, len(RELOAD) - len(line))
                    line += part
                    if not part or not RELOAD.startswith(line):
                        return
            result = await asyncio.wrap_future(self._ask())
            response = json.dumps(asdict(result)).encode()
            async with asyncio.timeout(CLIENT_SECONDS):
                await loop.sock_sendall(sock, response)
