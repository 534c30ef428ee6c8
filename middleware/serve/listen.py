"""The sockets that the server listens on. They are bound before anything else starts."""

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress


class BindError(Exception):
    """An address cannot be listened on; the message says which, why, and what to do."""


def bind(host: str, port: int) -> list[socket.socket]:
    """A bound socket for each address of `host`; with port 0 the system chooses one for all of them.

    Connections are accepted only when a server listens. Raises BindError.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BindError(
            f"cannot listen on {host}: {error.strerror}; name an address of this machine"
        ) from error
    sockets: list[socket.socket] = []
    refusal: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            refusal = error
    # `localhost` may have an address of a family that a container does not support.
    if not sockets and refusal is not None:
        hint = (
            "another program uses it; choose another port"
            if refusal.errno == errno.EADDRINUSE
            else "choose another address"
        )
        text = f"cannot listen on {host}:{port}: {(refusal.strerror or str(refusal)).lower()}; {hint}"
        raise BindError(text) from refusal
    return sockets


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        with suppress(OSError):
            sock.close()
        raise
    sock.set_inheritable(True)
    return sock


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9180` or `[::1]:9180`."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def addresses(sockets: Sequence[socket.socket]) -> list[str]:
    """The addresses of the sockets as URLs: `http://127.0.0.1:8080`, `http://[::1]:8080`."""
    found = []
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        found.append(f"http://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"http://{host}:{port}")
    return found
