"""The client's side of `control`: asks each server of a settings file to reload, and checks what it gets."""

import socket
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_core import from_json

from ...settings.reloading import Reloaded
from .control import CLIENT_SECONDS, RELOAD, Peer, names_of, new_socket, peer_of, trusted_users

# Some hundred bytes for each error, and thousands of files that may have one.
ANSWER_BYTES = 16 << 20
# A server accepts the next clients when others have been answered.
BUSY_SECONDS = 0.05
# The user id of a socket that is not connected.
NOBODY = 2**32 - 1
_RESULT = TypeAdapter(Reloaded)
_KEYS = {field.name for field in fields(Reloaded)}


@dataclass(frozen=True, slots=True)
class Response:
    """What one server said: the result, or in `failure` why there is none. One that is not `trusted` was not
    asked. `peer` is None if nobody accepted the connection."""

    peer: Peer | None
    result: Reloaded | None = None
    failure: str = ""
    trusted: bool = True


def reload_all(config: Path, seconds: float, user: int | None = None) -> list[Response]:
    """Have every server that runs with this settings file reload it, all at the same time, within `seconds`.
    Servers of the own user, of root, and of the further `user` are asked."""
    until = time.monotonic() + seconds
    trusted = trusted_users(config) | ({user} if user is not None else set())
    names = [name for names in names_of(config) for name in names]
    with ThreadPoolExecutor(len(names)) as pool:
        connect = partial(_connected, until=min(until, time.monotonic() + CLIENT_SECONDS))
        connected = [sock for sock in pool.map(connect, names) if sock is not None]
        return list(pool.map(partial(_response, trusted=trusted, until=until), _once_each(connected)))


def _connected(name: bytes, until: float) -> socket.socket | None:
    """A socket that is connected, or is not because the server was too busy; None without a server."""
    if (sock := new_socket()) is None:
        return None
    sock.settimeout(max(0.0, until - time.monotonic()))
    while True:
        try:
            sock.connect(name)
            return sock
        except BlockingIOError:  # the queue of connections is full
            if time.monotonic() >= until:
                return sock
            time.sleep(BUSY_SECONDS)
        except OSError:
            sock.close()
            return None


def _once_each(connected: Sequence[socket.socket]) -> list[tuple[socket.socket, Peer | None]]:
    """The sockets with their peers; one of a server that has two names because its path leads over a link."""
    found: list[tuple[socket.socket, Peer | None]] = []
    for sock in connected:
        peer = peer_of(sock)
        if peer.user == NOBODY:
            found.append((sock, None))
        # A process of another container has no id here.
        elif peer.pid == 0 or all(peer != other for _, other in found):
            found.append((sock, peer))
        else:
            sock.close()
    return found


def _response(asked: tuple[socket.socket, Peer | None], trusted: Collection[int], until: float) -> Response:
    sock, peer = asked
    with sock:
        if peer is None:
            return Response(None, failure="its socket accepts no connection")
        if peer.user not in trusted:
            return Response(peer, trusted=False)
        try:
            sock.settimeout(CLIENT_SECONDS)
            sock.sendall(RELOAD)
            data = _received(sock, until)
            if not data:
                return Response(peer, failure="the server closed the connection without a response")
            return Response(peer, _parsed(data))
        except TimeoutError:
            return Response(peer, failure="there was no response in time")
        except OSError as error:
            return Response(peer, failure=f"the connection failed: {error.strerror or error}")
        except ValueError:
            return Response(
                peer, failure="the response is not one of clew serve; is it the same version of clew?"
            )
        except _TooLongError:
            return Response(peer, failure=f"the response is longer than {ANSWER_BYTES >> 20} MB")


def _parsed(data: bytes) -> Reloaded:
    """The result in a response. Raises ValueError."""
    # Unlike json.loads it refuses deep nesting by itself.
    found = from_json(data, allow_inf_nan=False)
    # All of them have a default, which must not stand for what was not said.
    if not isinstance(found, dict) or not found.keys() >= _KEYS:
        raise ValueError("keys are missing")
    return _RESULT.validate_json(data, strict=True)


class _TooLongError(Exception):
    """More bytes than any response has."""


def _received(sock: socket.socket, until: float) -> bytes:
    """All that the other side sends until it closes the connection. Raises OSError and _TooLongError."""
    data = bytearray()
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        part = sock.recv(1 << 16)
        if not part:
            return bytes(data)
        data += part
        if len(data) > ANSWER_BYTES:
            raise _TooLongError
    raise TimeoutError
