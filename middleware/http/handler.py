"""What the server's side of a connection and a handler of requests know of each other.

An app that has `handler_for` is asked for one at each request. A handler answers without ASGI: the server
calls it back for the request's body and for what the client does, and it writes to the client's connection.
"""

import asyncio
from typing import Protocol

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl


class ClientConnection(Protocol):
    """The client's connection, as the server keeps it."""

    transport: asyncio.Transport
    flow: FlowControl
    loop: asyncio.AbstractEventLoop

    def on_response_complete(self) -> None:
        """The answer is out: the next request may start."""

    def end(self) -> None:
        """Close the connection once the client has what was written. Nothing may be written after this."""


class RequestHandler:
    """Answers one request. Made when the head is complete; `start` begins it, once the answers to earlier
    requests on the connection are out. The body may come before that.

    The attributes are those of uvicorn's own request cycle, beside which a handler stands in the server's
    pipeline: the server reads them, and clears `keep_alive` to have the connection closed after the answer.
    """

    keep_alive: bool
    response_complete = False
    disconnected = False

    @property
    def more_body(self) -> bool:
        """Whether some of the request's body has not come yet."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin. Never raises: what cannot be answered is refused."""
        raise NotImplementedError

    def body_received(self, data: bytes) -> None:
        """A piece of the request's body."""
        raise NotImplementedError

    def body_complete(self) -> None:
        """The request's body is complete."""
        raise NotImplementedError

    def body_malformed(self) -> None:
        """The request's body breaks the protocol: no more of it will come."""
        raise NotImplementedError

    def client_ready(self) -> None:
        """The client has taken what was written, and can be sent more."""
        raise NotImplementedError

    def client_gone(self) -> None:
        """The client has left."""
        raise NotImplementedError


class HandlerFactory(Protocol):
    """An app that answers some requests without ASGI."""

    def handler_for(
        self, client: ClientConnection, scope: Scope, *, keep_alive: bool
    ) -> RequestHandler | None:
        """The handler of a request; None where it goes through ASGI. `scope` is ASGI's, as far as it is
        needed; `keep_alive` says whether the request lets the connection stay open."""


class Place(Protocol):
    """The place of one connection among all that are open."""

    def busy(self) -> None:
        """A request begins."""

    def waits(self) -> None:
        """All requests are answered: it waits for the next."""

    def leave(self) -> None:
        """The connection has ended, or is one of another kind now. May be called more than once."""


class ConnectionCounter(Protocol):
    """An app that bounds how many connections clients keep open."""

    def connected(self, client: ClientConnection, address: str | None) -> Place | None:
        """The place of a connection that a client has opened; None refuses it."""
