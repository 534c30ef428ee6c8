"""The page's own sources of consent: `__tcfapi`, `__gpp`, Consent Mode, `clew.consent()`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .bits import UnreadableError
from .gpp import LONGEST, StateOptOut
from .gpp import decode as decode_gpp
from .signals import Purpose, Rank, Signal, shown, tcf_signal
from .tcf import decode as decode_tcf

# Google's consent types (developers.google.com/tag-platform/security/concepts/consent-mode) and clew's
# purposes.
_TYPES: Mapping[str, Purpose] = {
    "functionality_storage": "preferences",
    "analytics_storage": "statistics",
    "ad_storage": "marketing",
}


@dataclass(frozen=True, slots=True)
class PageMessage:
    """The loader's message about a page. `choice` is the last value passed to `clew.consent()`: granted,
    denied or empty.

    `tcf` is the string from `__tcfapi` once the visitor has chosen, `gdpr` whether the GDPR applies according
    to it. `mode` are Google's consent types with granted or denied, but only those that were *updated*: a
    default is not the visitor's choice.
    """

    choice: str = ""
    tcf: str = ""
    gdpr: bool | None = None
    gpp: str = ""
    mode: Mapping[str, str] = field(default_factory=dict)


def read_message(data: object) -> PageMessage | None:
    """The loader's message, from untrusted JSON; None if it has no valid value."""
    if not isinstance(data, dict):
        return None
    choice, tcf, gdpr, gpp, mode = (data.get(key) for key in ("choice", "tcf", "gdpr", "gpp", "mode"))
    message = PageMessage(
        choice if choice in ("granted", "denied") else "",
        tcf if isinstance(tcf, str) and len(tcf) <= LONGEST else "",
        gdpr if isinstance(gdpr, bool) else None,
        gpp if isinstance(gpp, str) and len(gpp) <= LONGEST else "",
        {name: mode[name] for name in _TYPES if mode.get(name) in ("granted", "denied")}
        if isinstance(mode, dict)
        else {},
    )
    return message if message != PageMessage() else None


def signals(message: PageMessage, now: float) -> Iterator[Signal]:
    """The signals in a page's message. A value that cannot be read becomes a signal without purposes."""
    if message.choice:
        says: dict[Purpose, bool] = dict.fromkeys(_TYPES.values(), message.choice == "granted")
        why = f"the page reported {message.choice}"
        yield Signal("clew.consent()", message.choice, why, says, Rank.EXPLICIT, now)
    if message.gdpr is False:
        granted: dict[Purpose, bool] = dict.fromkeys(_TYPES.values(), True)
        why = "the page's consent tool reports that the GDPR does not apply"
        yield Signal("__tcfapi", "gdprApplies=false", why, granted, Rank.NOT_REQUIRED)
    elif message.tcf:
        yield tcf_or_why("__tcfapi", message.tcf)
    if message.gpp:
        yield from _of_gpp(message.gpp)
    if message.mode:
        raw = ", ".join(f"{name}={value}" for name, value in message.mode.items())
        given = {_TYPES[name]: value == "granted" for name, value in message.mode.items()}
        yield Signal("Consent Mode", shown(raw), "the page updated it", given, Rank.DERIVED, now)


def tcf_or_why(source: str, text: str) -> Signal:
    """The signal of a TC string, which may be invalid."""
    try:
        return tcf_signal(source, text, decode_tcf(text))
    except UnreadableError as error:
        return Signal(source, shown(text), f"unreadable: {error}", unread=True)


def _of_gpp(text: str) -> Iterator[Signal]:
    try:
        found = decode_gpp(text)
    except UnreadableError as error:
        yield Signal("__gpp", shown(text), f"unreadable: {error}", unread=True)
        return
    if found.tcf is not None:
        section = text.strip().split("~")[1 + found.ids.index(2)]
        yield tcf_signal("__gpp tcfeuv2", section, found.tcf)
    yield from (_opt_out(state, text) for state in found.states)
    if found.tcf is None and not found.states:
        yield Signal("__gpp", shown(text), "no section that clew reads")


def _opt_out(state: StateOptOut, text: str) -> Signal:
    """The signal of a US section. US law requires an opt-out only: a visitor who has not opted out counts as
    granting."""
    source, raw = f"__gpp {state.name}", shown(text)
    if state.opted_out:
        why = "opted out of sale, sharing or targeted advertising"
        return Signal(source, raw, why, {"marketing": False}, region="US")
    if state.gpc:
        return Signal(source, raw, "carries the Global Privacy Control", {"marketing": False}, region="US")
    if state.opted_out is None:
        return Signal(source, raw, "no opt-out applies", region="US")
    says: dict[Purpose, bool] = dict.fromkeys(_TYPES.values(), True)
    return Signal(source, raw, "not opted out", says, Rank.NOT_REQUIRED, region="US")
