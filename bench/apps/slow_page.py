"""A shop that waits, then sends its page piece by piece: `slow_page.py PORT`."""

import asyncio
import sys

PIECES = [
    b"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Shop</title>",
    b"</head><body><h1>Espresso</h1>",
    *(b"<p>%d</p>" % number + b"beans " * 300 for number in range(2)),
    b"</body></html>",
]
WAIT_SECONDS = 0.01
GAP_SECONDS = 0.004
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"


async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(WAIT_SECONDS)
            writer.write(HEAD)
            for number, piece in enumerate(PIECES):
                if number:
                    await asyncio.sleep(GAP_SECONDS)
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has disconnected
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
