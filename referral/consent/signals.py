"""The signal of one source of a visitor's consent, before it is compared with the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Literal

from .tcf import TCString

Purpose = Literal["preferences", "statistics", "marketing"]
PURPOSES: tuple[Purpose, ...] = ("preferences", "statistics", "marketing")

# The purposes of the TCF that each of clew's needs: 1 store and access, 7 measure advertising, 8 content.
TCF_PURPOSES: Mapping[Purpose, tuple[int, ...]] = {
    "preferences": (1,),
    "statistics": (1, 8),
    "marketing": (1, 7),
}
SHOWN = 80  # characters of a value that are kept as evidence


class Consent(Enum):
    """A visitor's consent to being recognised and credited to a partner."""

    GRANTED = "granted"
    DENIED = "denied"
    PENDING = "pending"


class Rank(IntEnum):
    """How specific a source is: a higher rank has precedence."""

    KEPT = 0  # the visitor cookie, which was issued with consent
    DERIVED = 1  # reported by a tag that got it from another source: Google's Consent Mode
    NOT_REQUIRED = 2  # no consent is required here by law or by the tool, no opt-out, or implied consent
    CHOSEN = 3  # the visitor's own choice
    EXPLICIT = 4  # reported to clew itself: the page's clew.consent()


@dataclass(frozen=True, slots=True)
class Signal:
    """The consent in one source. `says` has True (granted) or False (denied) for the purposes that the source
    covers. `at` is when the choice was made, in Unix seconds, or None if not known. `region` is an ISO 3166
    code. `tcf` is the TC string if it is valid, `text` its text. `unread` is true if the source could not be
    read or must not be relied on; `says` is then empty."""

    source: str
    raw: str
    why: str
    says: Mapping[Purpose, bool] = field(default_factory=dict)
    rank: Rank = Rank.CHOSEN
    at: float | None = None
    region: str = ""
    tcf: TCString | None = None
    text: str = ""
    unread: bool = False


def shown(raw: str) -> str:
    """A value shortened for display, without control characters."""
    short = raw if len(raw) <= SHOWN else f"{raw[: SHOWN - 1]}…"
    return "".join(c if c.isprintable() else "�" for c in short)


def tcf_signal(source: str, text: str, found: TCString) -> Signal:
    """The signal of a decoded TC string; without purposes if it must not be relied on."""
    raw = shown(text)
    if found.invalid:
        return Signal(source, raw, found.invalid, at=found.updated, region="EU", unread=True)
    says = {
        purpose: all(number in found.consents for number in numbers)
        for purpose, numbers in TCF_PURPOSES.items()
    }
    consents = ", ".join(map(str, sorted(found.consents))) or "none"
    why = f"TCF, policy version {found.policy}: consent to purposes {consents}"
    return Signal(source, raw, why, says, at=found.updated, region="EU", tcf=found, text=text.strip())
