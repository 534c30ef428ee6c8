"""uvicorn's WebSocket protocol, extended to answer every handshake."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .pages import closing

_REFUSED = b"HTTP/1.1 400 Bad Request\r\n"


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
