"""A mitmproxy addon with the same edit as clew: the tag after `<head>`, streaming, also in gzip pages."""

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
            flow.response.stream = GzipPage()
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


class GzipPage:
    def __init__(self):
        self.page = Page()
        self.decompressor = zlib.decompressobj(GZIP)
        self.compressor = zlib.compressobj(1, zlib.DEFLATED, GZIP)

    def __call__(self, chunk):
        # mitmproxy marks the end of the body by an empty chunk.
        if not chunk:
            return self.compressor.compress(self.decompressor.flush()) + self.compressor.flush()
        return self.compressor.compress(self.page(self.decompressor.decompress(chunk)))


addons = [Insert()]
