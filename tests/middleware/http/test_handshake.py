"""Handshakes of WebSockets with long lines, whatever was imported first."""

import os
import subprocess
import sys

import pytest

HANDSHAKE = """
from websockets.server import ServerProtocol
connection = ServerProtocol()
connection.receive_data(
    b"GET /live HTTP/1.1\\r\\nHost: shop.example\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
    b"Cookie: a=" + b"x" * 60_000 + b"\\r\\n\\r\\n"
)
assert connection.handshake_exc is None, connection.handshake_exc
(request,) = connection.events_received()
assert len(request.headers["Cookie"]) == 60_002
"""
OURS = "import clew.middleware.http.handshake\n"


@pytest.mark.parametrize("limit", [None, "100"])
@pytest.mark.parametrize(
    "imports",
    [
        OURS,
        "import websockets.http11, websockets.server\n" + OURS,
        "import uvicorn.protocols.websockets.websockets_sansio_impl\n" + OURS,
        "import clew.middleware.serve.server\n",
    ],
    ids=["ours", "the library", "uvicorn", "the server"],
)
def test_a_handshake_may_carry_as_many_cookies_as_a_request(imports: str, limit: str | None) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "WEBSOCKETS_MAX_LINE_LENGTH"}
    if limit is not None:
        environ["WEBSOCKETS_MAX_LINE_LENGTH"] = limit
    done = subprocess.run(
        [sys.executable, "-c", imports + HANDSHAKE], env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
