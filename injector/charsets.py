"""Decodes the bytes of a page as a browser would. Used for facts only, never for what is sent."""

import codecs
import re
from typing import Final

PRESCAN: Final = 1_024
"""Bytes in which a page may declare its charset (HTML §13.2.3.2)."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META: Final = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", re.IGNORECASE)

# Labels of the Encoding standard (§4.2) whose codec has another name in Python, or for which browsers use a
# superset.
_CODECS: Final = {
    "ascii": "cp1252",
    "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "gb18030": "gb18030",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ibm866": "cp866",
    "iso-2022-jp": "iso2022_jp",
    "iso-8859-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "ks_c_5601-1987": "cp949",
    "latin1": "cp1252",
    "macintosh": "mac_roman",
    "shift-jis": "cp932",
    "shift_jis": "cp932",
    "sjis": "cp932",
    "tis-620": "cp874",
    "us-ascii": "cp1252",
    "utf-16": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-16le": "utf-16-le",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "windows-949": "cp949",
    "x-sjis": "cp932",
    **{f"iso-8859-{part}": f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
}


def decoded(copy: bytes, charset: str | None) -> str:
    """The decoded text. The charset comes from the byte order mark, else from the header, else from `<meta>`;
    else it is UTF-8, or windows-1252 where the bytes are not UTF-8.

    A copy may end within a character; what cannot be decoded becomes U+FFFD.
    """
    for bom, codec in _BOMS:
        if copy.startswith(bom):
            return copy.decode(codec, "replace")
    codec = _CODECS.get((charset or "").strip().lower(), "")
    if not codec and (declared := _META.search(copy, 0, PRESCAN)):
        codec = _CODECS.get(declared[1].decode("ascii").lower(), "")
        # The declaration was readable as ASCII, so the page cannot be UTF-16 (HTML §13.2.3.2, step 15).
        codec = "utf-8" if codec.startswith("utf-16") else codec
    if codec:
        return copy.decode(codec, "replace")
    try:
        return copy.decode("utf-8")
    except UnicodeDecodeError as error:
        # An error in the last three bytes is a character that the copy cut in two.
        return copy.decode("utf-8" if error.start > len(copy) - 4 else "cp1252", "replace")
