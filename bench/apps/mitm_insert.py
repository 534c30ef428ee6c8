"""A mitmproxy addon that does clew's edit: the tag after `<head>`, streaming, packed pages packed again."""

import zlib
from pathlib import Path

TAG = Path("tag.html").read_bytes()
GZIP = 16 + zlib.MAX_WBITS


class Insert:
    def responseheaders(self, flow):
        headers = flow.response.headers
        if not headers.get("content-type", "").startswith("text/html"):
            flow.response.stream = True
        elif headers.get("content-encoding") == "gzip":
            headers.pop("content-length", None)
            headers["transfer-encoding"] = "chunked"
            flow.response.stream = Packed()
        else:
            if "content-length" in headers:
                headers["content-length"] = str(int(headers["content-length"]) + len(TAG))
            flow.response.stream = Page()


class Page:
    def __init__(self):
        self.done = False

    def __call__(self, chunk):
        if not self.done and (at := chunk.find(b"<head>")) >= 0:
            self.done = True
            return chunk[: at + 6] + TAG + chunk[at + 6 :]
        return chunk


class Packed:
    def __init__(self):
        self.page = Page()
        self.unpack = zlib.decompressobj(GZIP)
        self.pack = zlib.compressobj(1, zlib.DEFLATED, GZIP)

    def __call__(self, chunk):
        # mitmproxy says so that the body has come to its end.
        if not chunk:
            return self.pack.compress(self.unpack.flush()) + self.pack.flush()
        return self.pack.compress(self.page(self.unpack.decompress(chunk)))


addons = [Insert()]
