"""uvicorn's WebSocket protocol, extended to answer every handshake."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11

from .pages import closing
from .protocol import MAX_HEAD

_REFUSED = b"HTTP/1.1 400 Bad Request\r\n"

# One line holds all cookies; the library's default of 8 KB refuses handshakes that carry more. It reads its
# environment variable, WEBSOCKETS_MAX_LINE_LENGTH, at its first import, which may be anybody's.
http11.MAX_LINE_LENGTH = max(http11.MAX_LINE_LENGTH, MAX_HEAD)


class AnsweringWebSocket(WebSocketsSansIOProtocol):
    """A handshake that the `websockets` library cannot read (with a body, a method other than GET, too many
    fields) is answered with 400. uvicorn alone would send nothing and keep the connection open."""

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            self.transport.write(closing(_REFUSED))
            self.transport.close()
