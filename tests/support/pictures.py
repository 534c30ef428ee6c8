"""Pictures and other files as visitors send them, good and bad."""

import io
import zlib

from PIL import Image

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


def photo(width: int = 64, height: int = 48, behind: bytes = b"") -> bytes:
    """A JPEG that says where it was taken, and has something behind it."""
    exif = Image.Exif()
    exif[0x010E] = "taken at Elm Street 5"
    exif[0x0112] = 6  # to be turned
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "JPEG", exif=exif, comment=b"a comment")
    return out.getvalue() + behind


def picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new(mode, size, 120 if mode in ("L", "P") else None).save(out, kind)
    return out.getvalue()


def bomb(side: int = 20_000) -> bytes:
    """A PNG of a few kilobytes with hundreds of millions of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    head = side.to_bytes(4) + side.to_bytes(4) + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(side // 8 + 1) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def words(data: bytes) -> Image.Image:
    """The picture in the bytes, decoded."""
    found = Image.open(io.BytesIO(data))
    found.load()
    return found
