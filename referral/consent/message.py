"""What a page and the browser tell of consent: by `__tcfapi`, `__gpp`, Consent Mode, `clew.consent()`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .bits import UnreadableError
from .gpp import LONGEST, StateOptOut
from .gpp import decode as decode_gpp
from .signals import Purpose, Rank, Signal, shown, tcf_signal
from .tcf import decode as decode_tcf

# Google's consent types (developers.google.com/tag-platform/security/concepts/consent-mode), and ours.
_TYPES: Mapping[str, Purpose] = {
    "functionality_storage": "preferences",
    "analytics_storage": "statistics",
    "ad_storage": "marketing",
}


@dataclass(frozen=True, slots=True)
class PageMessage:
    """What the loader tells of a page. `told` is the last call of `clew.consent()`: granted, denied or empty.

    `tcf` is the string of a `__tcfapi` whose visitor has chosen, `gdpr` what it says of whether the GDPR
    applies. `mode` are Google's consent types with granted or denied, those alone that were *updated*: a
    default is not the visitor's choice.
    """

    told: str = ""
    tcf: str = ""
    gdpr: bool | None = None
    gpp: str = ""
    mode: Mapping[str, str] = field(default_factory=dict)


def read_message(data: object) -> PageMessage | None:
    """The loader's message, from JSON that anybody may have sent; None where it says nothing."""
    if not isinstance(data, dict):
        return None
    told, tcf, gdpr, gpp, mode = (data.get(key) for key in ("told", "tcf", "gdpr", "gpp", "mode"))
    message = PageMessage(
        told if told in ("granted", "denied") else "",
        tcf if isinstance(tcf, str) and len(tcf) <= LONGEST else "",
        gdpr if isinstance(gdpr, bool) else None,
        gpp if isinstance(gpp, str) and len(gpp) <= LONGEST else "",
        {name: mode[name] for name in _TYPES if mode.get(name) in ("granted", "denied")}
        if isinstance(mode, dict)
        else {},
    )
    return message if message != PageMessage() else None


def signals(message: PageMessage, now: float) -> Iterator[Signal]:
    """What a page's message says. What cannot be read is a signal that says nothing, and why."""
    if message.told:
        says: dict[Purpose, bool] = dict.fromkeys(_TYPES.values(), message.told == "granted")
        yield Signal("clew.consent()", message.told, f"the page says {message.told}", says, Rank.TOLD, now)
    if message.gdpr is False:
        unasked: dict[Purpose, bool] = dict.fromkeys(_TYPES.values(), True)
        why = "the page's consent tool says that the GDPR does not apply"
        yield Signal("__tcfapi", "gdprApplies=false", why, unasked, Rank.UNASKED)
    elif message.tcf:
        yield tcf_or_why("__tcfapi", message.tcf)
    if message.gpp:
        yield from _of_gpp(message.gpp)
    if message.mode:
        raw = ", ".join(f"{name}={value}" for name, value in message.mode.items())
        given = {_TYPES[name]: value == "granted" for name, value in message.mode.items()}
        yield Signal("Consent Mode", shown(raw), "the page updated it", given, Rank.DERIVED, now)


def tcf_or_why(source: str, text: str) -> Signal:
    """The signal of a TC string, which may be anything."""
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
    """In the United States nobody is asked first: whoever has not opted out has not refused."""
    source, raw = f"__gpp {state.name}", shown(text)
    if state.opted_out:
        why = "opted out of sale, sharing or targeted advertising"
        return Signal(source, raw, why, {"marketing": False}, region="US")
    if state.gpc:
        return Signal(source, raw, "carries the Global Privacy Control", {"marketing": False}, region="US")
    if state.opted_out is None:
        return Signal(source, raw, "no opt-out applies", region="US")
    says: dict[Purpose, bool] = dict.fromkeys(_TYPES.values(), True)
    return Signal(source, raw, "not opted out", says, Rank.UNASKED, region="US")
