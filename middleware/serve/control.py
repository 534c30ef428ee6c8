"""How `clew reload` reaches the server that runs with a settings file, and how it is answered.

By a socket in Linux's abstract namespace (unix(7)), named after the settings file: it needs no folder that
both may write to, is there under systemd's PrivateTmp too, and goes with its process. Whoever asks has to be
the server's user, or root. A question is one line, an answer one JSON object.
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
# How long to leave those who ask alone where the system has no room for one more connection.
PAUSE_SECONDS = 0.5
# Some hundred bytes for each error, and thousands of files that may have one.
ANSWER_BYTES = 16 << 20
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def listen(config: Path) -> list[socket.socket]:
    """Listening sockets for the settings file, one for each of its names; empty where the system has no
    abstract sockets."""
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


def questions(listening: socket.socket) -> list[Callable[[Reloaded], None]]:
    """Who asks for a reload, and is the user that this process runs as, or root; see `Questions`."""
    found: list[Callable[[Reloaded], None]] = []
    while True:
        try:
            sock, _ = listening.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # They still wait, so that the next look at the socket would find them at once.
                time.sleep(PAUSE_SECONDS)
            return found
        sock.settimeout(ASK_SECONDS)
        asked = b""
        with suppress(OSError):
            if _peer(sock)[1] in (0, os.geteuid()):
                asked = sock.recv(len(RELOAD))
        if asked == RELOAD:
            found.append(partial(_say, sock))
        else:
            sock.close()


def _say(sock: socket.socket, result: Reloaded) -> None:
    with sock, suppress(OSError):
        sock.sendall(json.dumps(asdict(result)).encode())


def _read(data: bytes) -> Reloaded:
    found = json.loads(data)
    changes = Changes(**{key: tuple(names) for key, names in found["changes"].items()})
    problems = tuple(Problem(**problem) for problem in found["problems"])
    return Reloaded(problems, changes, int(found["sites"]), float(found["seconds"]))


def ask_all(config: Path, seconds: float) -> list[tuple[int, Reloaded | None]]:
    """Have every server that runs with this settings file read it again: each one's process id, and what
    became of it, None where it did not say within so many seconds."""
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
            # Any user may take a name in this namespace: only root asks processes of other users.
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
    """All that the other side says. Raises TimeoutError, or ValueError if it is too much."""
    data = bytearray()
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        part = sock.recv(1 << 16)
        if not part:
            return bytes(data)
        data += part
        if len(data) > ANSWER_BYTES:
            raise ValueError("the answer is too long")
    raise TimeoutError


def _names(config: Path) -> Iterator[list[bytes]]:
    """The names of the sockets, for the path as it is written and for what its links lead to: of each the
    first that is free is taken."""
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
