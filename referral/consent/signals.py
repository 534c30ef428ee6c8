"""What one source says of a visitor's consent, before it is weighed against the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Literal

from .tcf import TCString

Purpose = Literal["preferences", "statistics", "marketing"]
PURPOSES: tuple[Purpose, ...] = ("preferences", "statistics", "marketing")

# The purposes of the TCF that each of ours needs: 1 store and access, 7 measure advertising, 8 content.
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
    """How specific a source is: a higher one outweighs a lower one."""

    KEPT = 0  # the visitor cookie, which was issued with consent
    DERIVED = 1  # told by a tag that itself only heard of it: Google's Consent Mode
    UNASKED = 2  # the law, or the tool, asks nobody here: no consent needed, not opted out, implied
    CHOSEN = 3  # the visitor's own choice
    TOLD = 4  # told to clew in particular: the page's clew.consent()


@dataclass(frozen=True, slots=True)
class Signal:
    """One source's word. `says` has True (granted) or False (denied) for the purposes of which it says
    anything; `at` is when the choice was made, in unix seconds, None where that is not known. `region` is an
    ISO 3166 code. `tcf` is the TC string where it may be relied on, `text` its text. `unread`: it says
    nothing because it could not be read, or may not be relied on."""

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
    """A value shortened for people, without characters that a terminal or a log would act on."""
    short = raw if len(raw) <= SHOWN else f"{raw[: SHOWN - 1]}…"
    return "".join(c if c.isprintable() else "�" for c in short)


def tcf_signal(source: str, text: str, found: TCString) -> Signal:
    """What a decoded TC string says; nothing, if it may not be relied on."""
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
