"""How files come in and go out, for visitors and agents alike."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..chat.files import FileKind, Sniffer, disposition
from ..service.files import MEGABYTE, Upload
from ..settings.model import Site
from ..stores.ledger.files import PART, File
from .context import RequestContext
from .guard import Refused

UPLOAD_SECONDS: Final = 120.0
"""How long the bytes of a file may take: 10 MB with a slow telephone."""

NAME_BYTES: Final = 1000

# What is delivered was checked; if that ever failed, a browser would still neither run it nor guess another
# type, and it could do nothing at the shop's address: the policy puts it at an origin of its own.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


def offered(site: Site) -> Mapping[str, object] | None:
    """What visitors may send, for the widget; None for nothing."""
    files = site.files
    if not (files.from_visitors and files.types):
        return None
    return {"accept": accepted(site), "megabytes": files.megabytes}


_ACCEPTED: Final[Mapping[FileKind, str]] = {
    "picture": "image/jpeg,image/png,image/gif,image/webp",
    "pdf": ".pdf,application/pdf",
    "text": ".txt,.csv,.log,.md,text/plain",
}


def accepted(site: Site) -> str:
    """What a field for files offers, as the HTML attribute `accept` says it. Telephones make JPEG of their
    own formats for it."""
    return ",".join(_ACCEPTED[kind] for kind in site.files.types)


def most_bytes(at: RequestContext) -> int:
    """Bytes of a file at the site."""
    return at.site.settings.files.megabytes * MEGABYTE


def too_large(at: RequestContext) -> Refused:
    """The answer to a file with more."""
    most = at.site.settings.files.megabytes
    return Refused(413, f"a file has at most {most} MB", more={"reason": "size"})


def too_late() -> Refused:
    """The answer to a file that takes too long."""
    return Refused(408, f"the file did not arrive within {UPLOAD_SECONDS:.0f} seconds")


def spelled_name(given: str) -> str:
    """A name that was sent in a header, percent-encoded UTF-8."""
    return unquote(given[:NAME_BYTES], errors="replace")


@contextmanager
def temporary() -> Iterator[IO[bytes]]:
    """A file without a name, gone with the block. Bytes that strangers send wait there, not in memory."""
    with tempfile.TemporaryFile(buffering=0) as file:
        yield file


async def received(request: Request, at: RequestContext, file: IO[bytes], name: str) -> Upload:
    """The body of a request, written into `file` as it comes. Raises Refused: 413 if it is longer than the
    site allows, 408 if it takes too long."""
    most, upload = most_bytes(at), Upload(file, name, 0, Sniffer())
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > most):
        raise too_large(at)
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the body broke off")
                await _write(upload, message.get("body", b""), at)
                more = message.get("more_body", False)
    except TimeoutError:
        raise too_late() from None
    return upload


async def _write(upload: Upload, body: bytes, at: RequestContext) -> None:
    upload.size += len(body)
    if upload.size > most_bytes(at):
        raise too_large(at)
    for start in range(0, len(body), PART):
        piece = body[start : start + PART]
        upload.sniffer.feed(piece)
        upload.file.write(piece)
        if len(body) > PART:
            await asyncio.sleep(0)


async def copied(source: IO[bytes], at: RequestContext, file: IO[bytes], name: str) -> Upload:
    """The same of a file that came in a form."""
    upload = Upload(file, name, 0, Sniffer())
    source.seek(0)
    while piece := source.read(PART):
        await _write(upload, piece, at)
        await asyncio.sleep(0)
    return upload


def delivered(at: RequestContext, file: File) -> Response:
    """A file: pictures are shown, since they were made anew; everything else is only saved."""
    picture = file.type.startswith("image/")
    headers = {
        **_HEADERS,
        "Content-Type": file.type,
        "Content-Length": str(file.size),
        "Content-Disposition": disposition(file.name, inline=picture),
    }
    return StreamingResponse(_bytes(at, file), headers=headers)


async def _bytes(at: RequestContext, file: File) -> AsyncIterator[bytes]:
    async for part in at.service.ledger.files.parts(file.id):
        yield part
