"""Normalises order numbers: `#1003`, `Order 1003` and `Bestellnummer: 1003` are all 1003.

Numbers from pages, the API and agents are normalised, so that one order is not recorded twice. Known labels,
number signs, punctuation around the number and blanks are removed. Letter case, leading zeros, prefixes and
suffixes stay, since two orders may differ in them.
"""

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import re2  # type: ignore[import-untyped]

from .checks import checked_text
from .model import OrderError

# Invisible, though not of the category Cf: variation selectors, fillers.
_UNSEEN: Final = frozenset(map(chr, [0x34F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)]))
# Dashes, full-width characters, and the number sign that is a character of its own.
_SAME: Final = {
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-"),
    **{ord(wide): chr(ord(wide) - 0xFEE0) for wide in map(chr, range(0xFF01, 0xFF5F)) if wide != "－"},
    **dict.fromkeys(map(ord, "№"), "#"),
}
_AROUND: Final = " \t.,:;!?#*'\"`´‘’‚‛“”„«»‹›()[]{}<>|·•،。、؛「」『』【】〈〉《》"
_NUMBER_SIGN: Final = re2.compile(r"^(?i:(?:no|nr|num|nbr|n|br|αρ|núm|n[º°o])\.\s*[º°]?|n[º°]|#)\s*[:#]?\s*")


# Words inside labels. Before a number they make it a quantity: "your order of 3 items".
_OF: Final = frozenset({"of", "de", "da", "do", "di", "du", "des", "von", "van"})
# A text with so many words beside the number is a sentence.
SENTENCE: Final = 3


class OrderId(NamedTuple):
    """`id` identifies the order; `spelling` is the text as the shop wrote it, blanks collapsed."""

    id: str
    spelling: str


def normalised(text: str, part: str = "id") -> OrderId:
    """The order number in a text.

    Raises OrderError naming `part` if the text is empty, too long, has a control character, or is a label
    without a number: otherwise a shop that always sends `Order #` would have one order only.
    """
    spelling = checked_text(" ".join(_visible(text).split()), part)
    plain = unicodedata.normalize("NFC", _folded(spelling))
    number = _joined(_bare(_trimmed(plain))) or plain
    if not any(c.isalnum() for c in number) or _is_label(number):
        raise OrderError(f"{part}: {spelling[:40]!r} has no order number")
    return OrderId(number, spelling)


def shown(text: str, part: str = "id") -> OrderId:
    """Like `normalised`, for the text of a page: also refuses words without a number, such as a heading.

    Raises OrderError naming `part`.
    """
    found = normalised(text, part)
    if (sentence := _of_sentence(found, part)) is not None:
        return sentence
    words = found.id.split()
    if not any(c.isdigit() for c in found.id) and (
        len(words) > 1 or not found.id.isupper() or len(words[0]) < 5
    ):
        raise OrderError(
            f"{part}: {found.spelling[:40]!r} has no order number; choose the element that has it"
        )
    return found


def _of_sentence(found: OrderId, part: str) -> OrderId | None:
    """The number in `Thank you! Your order 1003 has been received`: the one word with digits, after a label.
    None if the text is not a sentence. Raises OrderError if it is one without exactly one such number."""
    words = [_trimmed(word) for word in _folded(found.spelling).split()]
    if sum(len(word) > 1 and word.isalpha() and word in found.id for word in words) < SENTENCE:
        return None
    numbers = [at for at, word in enumerate(words) if any(c.isdigit() for c in word)]
    if not numbers:
        return None
    before = words[numbers[0] - 1] if numbers[0] else ""
    if len(numbers) == 1 and _is_label(before) and before.casefold() not in _OF:
        return OrderId(normalised(words[numbers[0]], part).id, found.spelling)
    raise OrderError(
        f"{part}: {found.spelling[:60]!r} is a sentence; choose the element that has only the number"
    )


def same(one: str, other: str) -> bool:
    """Whether two texts name one order."""
    try:
        return normalised(one).id == normalised(other).id
    except OrderError:
        return False


def _trimmed(text: str) -> str:
    """The text without punctuation around it. A closing bracket stays if it closes one inside: "1001(2)"."""
    bare = text.strip(_AROUND)
    return bare + ")" if bare.count("(") > bare.count(")") else bare


def _visible(text: str) -> str:
    # Zero-width characters, soft hyphens, marks of direction: Cf.
    return "".join(c for c in text if unicodedata.category(c) != "Cf" and c not in _UNSEEN)


def _folded(text: str) -> str:
    """Digits of all scripts as ASCII, full-width characters as ordinary ones, one kind of dash."""
    text = text.translate(_SAME)
    return "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text)


def _bare(text: str) -> str:
    """The text without a label before the number and a sentence after it."""
    labelled = False
    while True:
        word, rest = _first_word(text)
        sign = _NUMBER_SIGN.match(text)
        if rest and _is_label(word) and not _may_be_prefix(word, text, labelled):
            text = rest
        elif sign is not None and sign.end() < len(text):
            text = text[sign.end() :]
        elif rest := _behind_colon(text):
            text = rest
        else:
            break
        text, labelled = _trimmed(text), True
    return _without_sentence(text) if labelled else text


def _first_word(text: str) -> tuple[str, str]:
    """The first word, which ends before a blank or a sign, and the rest."""
    end = next((at for at, c in enumerate(text) if c in " :#.º°" or c.isdigit()), len(text))
    word, rest = text[:end], text[end:]
    if rest[:1].isdigit() and not _unspaced(word):
        return "", ""  # "SO1001", "ORDER1001": letters that touch digits are part of the number
    return word, rest.strip(" :#.º°")


def _unspaced(word: str) -> bool:
    """Whether a word is in a script without blanks between a word and a number."""
    return bool(word) and all(unicodedata.category(c) == "Lo" for c in word)


def _is_label(word: str) -> bool:
    return word.casefold() in _labels()


def _may_be_prefix(word: str, text: str, labelled: bool) -> bool:
    """`DE 1001` and `NO 1001` may be countries, `No 1001` and `Order NO 1001` are not."""
    if not word.isascii() or not word.isupper() or len(word) > 2:
        return False
    marked = text[len(word) :].lstrip()[:1] in (":", "#", ".")
    return not (marked or word in ("ID", "NR") or (labelled and word == "NO"))


def _behind_colon(text: str) -> str:
    """The text after an unknown label: `Votre dossier : 7`. A label in capitals may be a prefix."""
    label, colon, rest = text.partition(":")
    if not colon or not rest.startswith(" ") or any(c.isdigit() for c in label):
        return ""
    words = [
        w for w in label.split() if sum(c.isalpha() for c in w) >= 3 and not (w.isascii() and w.isupper())
    ]
    return rest.strip() if words else ""


def _without_sentence(text: str) -> str:
    """`1001` of "1001 has been placed": a number after a label, followed by a word in lower case."""
    number, _, rest = text.partition(" ")
    word = rest.partition(" ")[0].strip(_AROUND)
    ends = any(c.isdigit() for c in number) and len(word) > 1 and word.isalpha() and word.islower()
    return _trimmed(number) if ends else text


def _joined(text: str) -> str:
    """The text without insignificant blanks: "1 003" is 1003, "AB - 7" is AB-7; but "1001 1" is not 10011."""
    words = text.split()
    if len(words) > 1 and all(w.isdecimal() for w in words):
        sizes = {len(w) for w in words[1:]}
        grouped = sizes in ({3}, {4}) and len(words[0]) <= max(sizes)
        return "".join(words) if grouped else " ".join(words)
    joined = words[0] if words else ""
    for word in words[1:]:
        ends = joined[-1] + word[0]
        joined += (" " if ends.isalpha() or ends.isdecimal() else "") + word
    return joined


@cache
def _labels() -> frozenset[str]:
    lines = files(__package__).joinpath("labels.txt").read_text("utf-8").splitlines()
    words = (w for line in lines if not line.startswith("#") for w in line.split())
    return frozenset(unicodedata.normalize("NFC", w).casefold() for w in words)
