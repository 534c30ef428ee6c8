"""Makes a picture anew, in a process of its own: `python -I picture.py PIXELS SIDE BYTES`, from standard
input to standard output, which gets a line of JSON with its type, width and height, and then its bytes.

Nothing of the file is left but its pixels: no place and time of a photo, and no other file behind or inside
of the picture. It runs apart, with limits of its own, because the libraries that read pictures are written in
C: what one of them lets happen ends here, and so does what takes too long. Imports nothing of clew.

Exit codes: 0, 3 for a picture that is broken or of no known format, 4 for one with too many pixels.
"""

import io
import json
import resource
import sys

BROKEN, TOO_LARGE = 3, 4
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
SECONDS = 20
QUALITY = 85


def main(pixels: int, side: int, most: int) -> int:
    """Read, make anew, write."""
    _limit(pixels)
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # checked here, before anything is decoded
    try:
        with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=FORMATS) as source:
            width, height = source.size
            if width * height > pixels:
                return TOO_LARGE
            if source.format == "JPEG":
                source.draft("RGB", (side, side))  # decodes no more pixels than are wanted
            source.load()
            lossless = source.format in ("PNG", "GIF")
            picture = ImageOps.exif_transpose(source)
            clear = "A" in picture.getbands() or "transparency" in picture.info
            picture = picture.convert("RGBA" if clear else "RGB")
        picture.thumbnail((side, side))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, MemoryError):
        return BROKEN
    except Exception:  # decoders raise what they like
        return BROKEN
    picture.info.clear()
    out = io.BytesIO()
    if clear or lossless:
        picture.save(out, "PNG")
    if not out.tell() or out.tell() > most:
        out = io.BytesIO()
        if clear:
            whole = Image.new("RGB", picture.size, "white")
            whole.paste(picture, mask=picture.getchannel("A"))
            picture = whole
        lossless = clear = False
        picture.save(out, "JPEG", quality=QUALITY)
    kind = "image/png" if clear or lossless else "image/jpeg"
    head = {"type": kind, "width": picture.width, "height": picture.height}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + out.getvalue())
    sys.stdout.buffer.flush()
    return 0


def _limit(pixels: int) -> None:
    """At most so much memory and time, and no file."""
    memory = 512 * 2**20 + 16 * pixels
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, hard))


if __name__ == "__main__":
    sys.exit(main(*(int(one) for one in sys.argv[1:4])))
