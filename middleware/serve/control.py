"""How `clew reload` reaches the server that runs with a settings file.

It uses a socket in Linux's abstract namespace (unix(7)), named after the settings file: that needs no shared
folder, works with systemd's PrivateTmp, and ends with its process. The client has to run as the server's user
or as root. A request is one line, a response one JSON object.
"""

import errno
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path

from ...settings.changes import Changes
from ...settings.load import Problem
from ...settings.reloading import Reloaded

# How many servers may run with one settings file, each on its own port.
SERVERS = 16
RELOAD = b"reload\n"
ASK_SECONDS = 5.0
# Pause before the next accept if the system has no resources for another connection.
PAUSE_SECONDS = 0.5
# Some hundred bytes for each error, and thousands of files that may have one.
ANSWER_BYTES = 16 << 20
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def listen(config: Path) -> list[socket.socket]:
    """Listening sockets for the settings file, one for each of its names; empty if the system has no abstract
    sockets."""
    found = []
    for names in _names(config):
        for name in names:
            sock = _socket()
            if sock is None:
                return []
            try:
                sock.bind(name)
            except OSError:
                sock.close()
                continue
            sock.listen()
            found.append(sock)
            break
    return found


def reload_requests(listening: socket.socket) -> list[Callable[[Reloaded], None]]:
    """The pending requests for a reload by the user of this process or by root; see `Requests`."""
    found: list[Callable[[Reloaded], None]] = []
    while True:
        try:
            sock, _ = listening.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # The connection stays pending: without a pause the next accept would fail at once.
                time.sleep(PAUSE_SECONDS)
            return found
        sock.settimeout(ASK_SECONDS)
        line = b""
        with suppress(OSError):
            if _peer(sock)[1] in (0, os.geteuid()):
                line = sock.recv(len(RELOAD))
        if line == RELOAD:
            found.append(partial(_reply, sock))
        else:
            sock.close()


def _reply(sock: socket.socket, result: Reloaded) -> None:
    with sock, suppress(OSError):
        sock.sendall(json.dumps(asdict(result)).encode())


def _read(data: bytes) -> Reloaded:
    found = json.loads(data)
    changes = Changes(**{key: tuple(names) for key, names in found["changes"].items()})
    problems = tuple(Problem(**problem) for problem in found["problems"])
    return Reloaded(problems, changes, int(found["sites"]), float(found["seconds"]))


def reload_all(config: Path, seconds: float) -> list[tuple[int, Reloaded | None]]:
    """Have every server that runs with this settings file reload it. Returns each one's process id and
    result, None if there was none within `seconds`."""
    found: dict[int, Reloaded | None] = {}
    for name in (name for names in _names(config) for name in names):
        sock = _socket()
        if sock is None:
            break
        with sock:
            sock.settimeout(ASK_SECONDS)
            try:
                sock.connect(name)
            except OSError:
                continue
            pid, user = _peer(sock)
            # Any user may bind a name in this namespace: only root connects to processes of other users.
            if pid not in found and (user in (0, os.geteuid()) or os.geteuid() == 0):
                found[pid] = _answer(sock, seconds)
    return list(found.items())


def _answer(sock: socket.socket, seconds: float) -> Reloaded | None:
    try:
        sock.sendall(RELOAD)
        return _read(_received(sock, time.monotonic() + seconds))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _received(sock: socket.socket, until: float) -> bytes:
    """All that the other side sends. Raises TimeoutError, and ValueError if it is too long."""
    data = bytearray()
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        part = sock.recv(1 << 16)
        if not part:
            return bytes(data)
        data += part
        if len(data) > ANSWER_BYTES:
            raise ValueError("the response is too long")
    raise TimeoutError


def _names(config: Path) -> Iterator[list[bytes]]:
    """The names of the sockets, for the path as given and for its real path; the first free name of each is
    used."""
    for path in dict.fromkeys((os.path.abspath(config), os.path.realpath(config))):
        digest = blake2b(os.fsencode(path), digest_size=16).hexdigest()
        yield [f"\0clew/{digest}/{number}".encode() for number in range(SERVERS)]


def _socket() -> socket.socket | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Process id and user id of the other side, as the kernel states them."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(packed)
    return pid, user
