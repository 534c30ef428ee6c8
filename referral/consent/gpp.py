"""Decodes strings of the IAB's Global Privacy Platform, as far as they concern us.

Format: github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, Core and Sections. Of the sections of
the United States only the opt-outs from sale, sharing and targeted advertising are read, and the Global
Privacy Control that some carry.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .bits import Bits, UnreadableError
from .tcf import TCString
from .tcf import decode as decode_tcf

SECTIONS = 32  # there are 27
LONGEST = 16_384  # characters

_TCF_EU, _USP = 2, 6
_HEADER, _VERSION = 3, 1
_GPC = 1  # the type of the subsection with the Global Privacy Control


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a section has its opt-outs, in bits from its beginning. Each has two bits: 0 does not apply,
    1 opted out, 2 did not opt out."""

    name: str
    opt_outs: tuple[int, ...]


# By the section's id. The first bits are the version, and notices.
_STATES: Mapping[int, _Places] = {
    7: _Places("usnat", (18, 20, 22)),
    8: _Places("usca", (12, 14)),
    9: _Places("usva", (12, 14)),
    10: _Places("usco", (12, 14)),
    11: _Places("usut", (14, 16)),
    12: _Places("usct", (12, 14)),
    13: _Places("usfl", (12, 14)),
    14: _Places("usmt", (12, 14)),
    15: _Places("usor", (12, 14)),
    16: _Places("ustx", (12, 14)),
    17: _Places("usde", (12, 14)),
    18: _Places("usia", (14, 16)),
    19: _Places("usne", (12, 14)),
    20: _Places("usnh", (12, 14)),
    21: _Places("usnj", (12, 14)),
    22: _Places("ustn", (12, 14)),
    23: _Places("usmn", (12, 14)),
    24: _Places("usmd", (16, 18)),
    25: _Places("usin", (16, 18)),
    26: _Places("usky", (16, 18)),
    27: _Places("usri", (16, 18)),
}
_WITHOUT_GPC = frozenset((9, 11, 13, 25, 26, 27))


@dataclass(frozen=True, slots=True)
class StateOptOut:
    """A section of the United States. `opted_out` is None where none of its opt-outs applies."""

    name: str
    opted_out: bool | None
    gpc: bool = False


@dataclass(frozen=True, slots=True)
class GPPString:
    """A decoded GPP string: `ids` of its sections, and those that are read."""

    ids: tuple[int, ...]
    tcf: TCString | None = None
    states: tuple[StateOptOut, ...] = ()


def decode(text: str) -> GPPString:
    """A GPP string. Raises UnreadableError."""
    if len(text) > LONGEST:
        raise UnreadableError(f"longer than {LONGEST} characters")
    header, *sections = text.strip().split("~", SECTIONS + 1)
    ids = tuple(_ids(Bits(header)))
    if len(ids) != len(sections):
        raise UnreadableError(f"{len(sections)} sections, but its header names {len(ids)}")
    tcf: TCString | None = None
    states: list[StateOptOut] = []
    for number, section in zip(ids, sections, strict=True):
        if number == _TCF_EU:
            tcf = decode_tcf(section)
        elif number == _USP:
            states.append(usp(section))
        elif number in _STATES:
            states.append(_state(number, section))
    return GPPString(ids, tcf, tuple(states))


def usp(text: str) -> StateOptOut:
    """The US Privacy string of the CCPA, `1YNN`: version, notice, opt-out of sale, LSPA. Raises
    UnreadableError."""
    if len(text) != 4 or text[0] != "1" or not set(text[1:].upper()) <= set("YN-"):
        raise UnreadableError("not a US Privacy string")
    return StateOptOut("uspv1", {"Y": True, "N": False}.get(text[2].upper()))


def _ids(bits: Bits) -> Iterator[int]:
    if bits.number(6) != _HEADER:
        raise UnreadableError("not a GPP string")
    if (version := bits.number(6)) != _VERSION:
        raise UnreadableError(f"version {version}, not {_VERSION}")
    last, count = 0, 0
    for _ in range(bits.number(12)):
        is_range = bits.flag()
        first = last + bits.fibonacci()
        last = first + bits.fibonacci() if is_range else first
        count += last - first + 1
        if count > SECTIONS:
            raise UnreadableError(f"more than {SECTIONS} sections")
        yield from range(first, last + 1)


def _state(number: int, text: str) -> StateOptOut:
    places = _STATES[number]
    core, *rest = text.split(".", 3)
    given = [_choice(core, place) for place in places.opt_outs]
    if 3 in given:
        raise UnreadableError(f"{places.name}: 3 is no choice")
    opted_out = True if 1 in given else False if 2 in given else None
    return StateOptOut(places.name, opted_out, number not in _WITHOUT_GPC and any(map(_gpc, rest)))


def _choice(core: str, place: int) -> int:
    bits = Bits(core)
    bits.number(place)
    return bits.number(2)


def _gpc(text: str) -> bool:
    bits = Bits(text)
    return bits.number(2) == _GPC and bits.flag()
