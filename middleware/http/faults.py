"""What can go wrong between a client and the shop, each with the status that answers for it."""

import math


class UpstreamError(Exception):
    """The shop could not be reached, or its response cannot be forwarded.

    `status` is the client's status if no byte of the response was sent yet. After that the message must stay
    incomplete (RFC 9112 §8), so the error is raised again and the server closes the connection.
    """

    status = 502


class ConnectError(UpstreamError):
    """Nobody listens, the name does not resolve, or TLS failed."""


class ResponseError(UpstreamError):
    """What the shop sent is not an HTTP/1.1 response that can be framed safely (RFC 9112 §6.3)."""


class BrokenError(UpstreamError):
    """The shop closed the connection in the middle of an exchange."""


class StaleError(BrokenError):
    """The shop closed a connection before the first byte of an answer: usual on a reused one."""


class UpstreamTimeoutError(UpstreamError):
    """A phase took longer than its limit: connecting, the response head, or a pause within the body."""

    status = 504


class BusyError(UpstreamError):
    """All connections to the shop are in use, and none became free in time."""

    status = 503


class RequestError(Exception):
    """The client's request cannot be passed on: status 400."""

    status = 400


class RequestTimeoutError(RequestError):
    """The client's request was not complete in time."""

    status = 408


class TooManyError(RequestError):
    """The client has reached a limit (docs/operations.md#limits); it may retry after `wait` seconds."""

    status = 429

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.retry_after = math.ceil(wait)


class LoopError(RequestError):
    """The request has passed through this proxy before, more often than any sensible set-up asks for
    (RFC 5842 §7.2)."""

    status = 508


class LastHopError(RequestError):
    """An OPTIONS request that was sent to the last proxy it may pass, which is this one: not a fault
    (RFC 9110 §7.6.2)."""

    status = 200


class ClientGoneError(Exception):
    """The client disconnected or stopped responding: a response cannot be delivered."""
