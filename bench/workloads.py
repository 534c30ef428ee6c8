"""The shop's files, and the request of each workload as a browser sends it."""

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clew.injector.tag import tag

HOST = "shop.example"
TAG = tag("/-/clew/")
PAGE_BYTES = 100 * 1024
JSON_BYTES = 2 * 1024
IMAGE_BYTES = 1024 * 1024
DOWNLOAD_BYTES = 10 * 1024 * 1024

_WORDS = ["espresso", "grinder", "filter", "water", "steam", "crema", "portafilter", "bean", "roast", "cup"]
_BROWSER = {
    "Host": HOST,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Referer": f"http://{HOST}/",
    "Sec-Fetch-Site": "same-origin",
}
NAVIGATION = _BROWSER | {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
}
_FETCH = _BROWSER | {"Accept": "*/*", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"}
_IMAGE = _BROWSER | {
    "Accept": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Sec-Fetch-Dest": "image",
    "Sec-Fetch-Mode": "no-cors",
}


@dataclass(frozen=True)
class Workload:
    """One kind of request, and the peers to measure (names of `peers.PEERS`).

    `edited`: the response must contain the tag. `coding`: the response's Content-Encoding.
    """

    name: str
    title: str
    path: str
    headers: Mapping[str, str]
    media_type: str
    peers: Sequence[str]
    edited: bool = False
    coding: str = ""


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "html100k",
            "A page of 100 KB",
            "/page.html",
            NAVIGATION,
            "text/html",
            ("nginx", "nginx_head", "mitmdump", "httpx", "httpx2"),
            edited=True,
        ),
        Workload(
            "gzip100k",
            "A page of 100 KB, the client wants gzip",
            "/page.html",
            NAVIGATION | {"Accept-Encoding": "gzip"},
            "text/html",
            ("nginx_gunzip", "nginx_gzip"),
            edited=True,
            coding="gzip",
        ),
        Workload(
            "json2k",
            "2 KB of JSON, passed through",
            "/data.json",
            _FETCH,
            "application/json",
            ("nginx", "mitmdump"),
        ),
        Workload(
            "bin1m",
            "An image of 1 MB, passed through",
            "/image.jpg",
            _IMAGE,
            "image/jpeg",
            ("nginx", "mitmdump"),
        ),
    )
}


def page(seed: int) -> bytes:
    """A page of 100 KB: a head, words, links."""
    rng = random.Random(seed)
    start = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Shop</title></head><body>"
    end = "</body></html>"
    parts, size = [start], len(start)
    while size < PAGE_BYTES:
        text = f"<p><a href='/p/{rng.randrange(9999)}'>{' '.join(rng.choices(_WORDS, k=12))}</a></p>\n"
        parts.append(text)
        size += len(text)
    return ("".join(parts)[: PAGE_BYTES - len(end)] + end).encode("ascii")


def files(seed: int) -> dict[str, bytes]:
    """The shop's files by path, including the page compressed."""
    rng = random.Random(seed)
    html = page(seed)
    products = [{"id": n, "name": " ".join(rng.choices(_WORDS, k=6)), "price": "19.90"} for n in range(50)]
    return {
        "/page.html": html,
        "/page.html.gz": gzip.compress(html, 6, mtime=0),
        "/data.json": json.dumps({"products": products}).encode("ascii")[:JSON_BYTES],
        "/image.jpg": rng.randbytes(IMAGE_BYTES),
        "/download.bin": rng.randbytes(DOWNLOAD_BYTES),
    }


def write_shop(folder: Path, seed: int) -> dict[str, bytes]:
    """Write the files into `folder`/www, readable for any user, and the tag into `folder`."""
    found = files(seed)
    (folder / "www").mkdir()
    for path, content in found.items():
        (folder / "www" / path.removeprefix("/")).write_bytes(content)
    (folder / "tag.html").write_bytes(TAG)
    folder.chmod(0o755)
    return found


def tagged(html: bytes) -> bytes:
    """The expected page, with the tag right after `<head>`."""
    return html.replace(b"<head>", b"<head>" + TAG, 1)


def tagged_at_end(html: bytes) -> bytes:
    """The page with the tag at the usual place for widgets, before `</body>`."""
    return html.replace(b"</body>", TAG + b"</body>", 1)
