"""Masks URLs for the store, the log, the desk and the command line, by one rule.

URLs may contain secrets: session and reset tokens, e-mail addresses, keys of other services. Their names
cannot be listed, so known parameters are listed instead: a query value is kept only if its parameter is known
(click ids, campaigns, parameters of the site's page types and searches) or in the site's `keep_query`. Of all
other parameters only the name is kept. The fragment and the user before the host are always removed. In
paths, segments after words such as `reset`, e-mail addresses and random-looking texts are replaced by "…".
"""

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from urllib.parse import unquote

from .query import printable, raw_pairs

HIDDEN = "…"
SEARCH_PARAMS = ("q", "query", "s", "search", "keyword", "text")

ADDRESS_LENGTH = 4096  # maximum characters of a URL that are read
# Size of the cache of masked URLs, for all sites, and the maximum length of a cached URL.
OFTEN, OFTEN_LENGTH = 4096, 300
NAME_LENGTH = 64  # maximum characters of a parameter's name; longer ones are removed
VALUE_LENGTH = 600  # characters of a value; a longer one is hidden
SECRET_LENGTH = 16  # minimum length of a random-looking text that is masked
SHOWN = 300  # maximum characters of a title, a URL or a click id that are displayed
CARD_LENGTH = 15  # digits: a product's number (GTIN) has up to 14, a card's 13 to 19

_WHERE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)")
# The path segment after one of these is secret.
_SECRET_FOLLOWS = frozenset(
    (
        *("reset", "resetpassword", "passwordreset", "newpassword", "createpassword", "setpassword"),
        *("lostpassword", "recover", "recovery", "token", "secret", "magic", "magiclink", "activate"),
        *("activation", "verify", "verification", "verifyemail", "emailverification", "confirmemail"),
        *("unsubscribe", "optout", "invite", "invitation", "otp", "jwt", "sso", "oauth"),
    )
)
_INNER = re.compile(r"[?;&]|%3f|%3b|%26", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{24,}", re.IGNORECASE)
_PARTS = re.compile(r"[-_.~+ ]")
_CHANGE = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"]@[A-Za-z0-9]")
# Control characters, characters that change the text direction (Unicode UAX #9), bytes outside UTF-8.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BLANKS = re.compile(r"(\s+)")


class Masking:
    """The rule for one site. `clicks` are the parameters with click ids, `kept` the others whose values are
    kept; names are case-insensitive. Without them every value is hidden."""

    def __init__(self, clicks: Iterable[str] = (), kept: Iterable[str] = ()) -> None:
        self._clicks = frozenset(name.lower() for name in clicks)
        self._kept = frozenset(name.lower() for name in kept) | self._clicks

    @cached_property
    def without_clicks(self) -> "Masking":
        """The same rule, but that the values of click ids are hidden too."""
        return Masking((), self._kept - self._clicks)

    def keeps(self, name: bytes) -> bool:
        """Whether the value of a parameter (decoded name) is kept."""
        return name.decode("utf-8", "replace").lower() in self._kept

    def stored(self, address: str) -> str:
        """A URL or path with query as it may be stored and shown at the desk."""
        if len(address) > OFTEN_LENGTH:
            return self._masked(address, shorten=False)
        return _often(self._clicks, self._kept, address, False)

    def logged(self, address: str) -> str:
        """Like `stored`, for the log and for consoles: click ids are shortened too."""
        if len(address) > OFTEN_LENGTH:
            return self._masked(address, shorten=True)
        return _often(self._clicks, self._kept, address, True)

    def _masked(self, address: str, shorten: bool) -> str:
        address = address[:ADDRESS_LENGTH].partition("#")[0]
        where = _WHERE.match(address)
        begin = where.end() if where else 0
        path, mark, query = address[begin:].partition("?")
        if where is not None:
            # What stands before an @ is a name and a password.
            path = f"{where[1] or ''}//{where[2].rpartition('@')[2]}{masked_path(path)}"
        else:
            path = masked_path(path)
        shown = self.query(query.encode("utf-8", "surrogatepass"), shorten) if mark else ""
        return f"{path}?{shown}" if shown else path

    def query(self, query: bytes, shorten: bool = False) -> str:
        """A raw query with the values that stay."""
        return "&".join(self.pairs(query, shorten))

    def pairs(self, query: bytes, shorten: bool = False) -> list[str]:
        """Each parameter of a raw query, `name=value` or the name alone."""
        return [
            self._pair(printable(name), printable(value), shorten)
            for name, value in raw_pairs(query, self.keeps)
            if name
        ]

    def _pair(self, name: str, value: str, shorten: bool) -> str:
        if len(name) > NAME_LENGTH:
            return HIDDEN
        plain = unquote(name)
        key = plain.lower()
        if key not in self._kept:
            return HIDDEN if "=" in plain or _is_secret(plain) else name
        if key in self._clicks:
            return f"{name}={short(value)}" if shorten else f"{name}={value}"
        if len(value) > VALUE_LENGTH or _has_address(unquote(value)):
            return f"{name}={HIDDEN}"
        inner = _INNER.search(value)
        if inner is not None and ("=" in value or "%3d" in value.lower()):
            value = value[: inner.start()] + HIDDEN  # an address within the address, with values of its own
        return f"{name}={value}"


@lru_cache(OFTEN)
def _often(clicks: frozenset[str], kept: frozenset[str], address: str, shorten: bool) -> str:
    """A shop's pages are few, and each is looked at again and again."""
    return Masking(clicks, kept)._masked(address, shorten)


# Also in the wide forms that spreadsheets with an East Asian input method read.
_SIGNS = "=+\\-@＝＋－＠"
_FORMULA = re.compile(rf"[{_SIGNS}\t\r\n]")
# A spreadsheet that separates by semicolons begins a cell within ours.
_FORMULA_WITHIN = re.compile(rf"([;\t\r\n][ \"']*)(?=[{_SIGNS}])")


def short(click_id: str) -> str:
    """A click id as the log shows it: its beginning, enough to tell it from others of a day."""
    return click_id[: min(6, len(click_id) // 2)] + HIDDEN if click_id else ""


def masked_path(path: str) -> str:
    """A path without what only its receiver should know."""
    shown: list[str] = []
    follows = False
    for segment in path.split("/"):
        name, semicolon, _ = segment.partition(";")
        plain = unquote(name)
        hide = bool(name) and (follows or _is_secret(plain))
        # Parameters of a segment: `/cart;jsessionid=…`.
        shown.append((HIDDEN if hide else name) + (semicolon and f";{HIDDEN}"))
        follows = follows or re.sub(r"[-_]", "", plain).lower() in _SECRET_FOLLOWS
    return "/".join(shown)


def masked_text(text: str) -> str:
    """Text of people, such as a page's title, without e-mail addresses."""
    if "@" not in text:
        return text
    return "".join(HIDDEN if _has_address(word) else word for word in _BLANKS.split(text))


def _has_address(text: str) -> bool:
    text = unquote(text) if "%" in text else text
    return _ADDRESS.search(text) is not None


def _is_secret(text: str) -> bool:
    if len(text) < 3:
        return False
    if _has_address(text) or _UUID.fullmatch(text):
        return True
    if len(text) >= SECRET_LENGTH and text.startswith("eyJ"):
        return True  # base64 of {": a JSON Web Token
    if any(map(_is_random, _PARTS.split(text))):
        return True
    # In base64url, - and _ are letters.
    mixed = not (text.islower() or text.isupper()) and any(c.isdigit() for c in text)
    return mixed and len(text) >= SECRET_LENGTH and _changes_often(text)


def _is_random(text: str) -> bool:
    """Whether letters and digits, or small and capital letters, change as often as in no word or number."""
    if len(text) < SECRET_LENGTH:
        return len(text) >= CARD_LENGTH and text.isdecimal()
    if text.isdecimal() or _HEX.fullmatch(text) or (text.isupper() and not text.isalpha()):
        return True
    return _changes_often(text)


def _changes_often(text: str) -> bool:
    return len(_CHANGE.findall(text)) * 4 >= len(text) - 1


def one_line(text: str) -> str:
    """What strangers wrote, for a page of people: one line of at most 300 characters, none of which could
    make it look like something else."""
    shown = " ".join(text[: SHOWN + 1].split())
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
    return _ACTING.sub("\ufffd", shown)


def without_acting(text: str) -> str:
    """A text in one line without characters that act on what is around it, at its full length."""
    return " ".join(_ACTING.sub(" ", text).split())


def _cell(text: str) -> str:
    """A text for a file that a spreadsheet opens, with an apostrophe before it where it would be taken for a
    formula (OWASP, CSV Injection), also in one that has other separators. A negative amount is none."""
    is_negative = text[:1] == "-" and text[1:].replace(".", "", 1).isdecimal()
    text = _FORMULA_WITHIN.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) and not is_negative else text


def cells(row: Iterable[str | int | None]) -> list[str | int | None]:
    """A row of such a file: each one that clew writes as CSV."""
    return [_cell(value) if isinstance(value, str) else value for value in row]
