"""Clicks and touches, and their compact form for the cookie and the store."""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

SAME_ARRIVAL = 30 * 60

# The names of a touch's fields in its compact form.
_SHORT = {
    "at": "t",
    "clicks": "c",
    "campaign": "u",
    "referrer": "r",
    "landing": "l",
    "doubt": "d",
    "consent": "k",
    "claim": "a",
    "shown": "s",
    "signs": "f",
}

# `Touch.consent` of clicks that need none.
UNNEEDED = "not needed: the network counts the click as strictly necessary"

# Why a click is suspicious: the values of `Touch.doubt`, with texts for people.
INSIDE, CHECKOUT, ELSEWHERE, BOT = "inside", "checkout", "elsewhere", "bot"
DOUBTS: Mapping[str, str] = {
    INSIDE: "it was made on one of the shop's own pages",
    CHECKOUT: "it stood in the address of the checkout or the confirmation page",
    ELSEWHERE: "the address it stood in is not one of the shop's",
    BOT: "its client calls itself a crawler",
}
# Those that earn nothing whatever the partner's terms.
_NEVER = (ELSEWHERE, BOT)

# What is unusual about how a click came: the values of `Touch.signs`. It earns; its order may be held.
AUTOMATED, CROWD, OWN = "automated", "crowd", "own"


class Click(Struct, frozen=True, array_like=True):
    """One click id from the landing URL.

    `value` is the id after percent-decoding, with bytes outside UTF-8 as surrogate escapes, so that
    `value.encode("utf-8", "surrogateescape")` is byte for byte what the network sent. `partner` is the id
    of the partner that earns by it, or None if the network is not enabled for the site.
    """

    network: str
    param: str
    value: str
    partner: str | None = None


class Touch(Struct, frozen=True, omit_defaults=True, rename=_SHORT):
    """One arrival with attribution. `at` is the landing time in unix seconds. `doubt` is empty, or a key of
    DOUBTS: then the arrival did not come from outside, and its clicks earn nothing unless the partner's
    terms allow it. `consent` is what shows the visitor's consent to keeping it, at a site that asks: the
    source, and when the choice was made. `claim` names the protocol by which an agent claimed it, and the
    touch point; empty for what clew saw. `shown`: a page asked `decide` within half an hour after it, so a
    person probably saw where it led. `signs` are what is unusual about the request: AUTOMATED (not a
    person's browser), CROWD (too many clicks of this partner from one client network), OWN (from a network
    of the partner)."""

    at: int
    clicks: tuple[Click, ...] = ()
    campaign: Mapping[str, str] = {}
    referrer: str = ""
    landing: str = ""
    doubt: str = ""
    consent: str = ""
    claim: str = ""
    shown: bool = False
    signs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The compact form: short keys, absent where empty. Cookie and store have the same."""
        data = to_builtins(self)
        assert isinstance(data, dict)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Touch":
        """The reverse of `to_json`; raises msgspec.ValidationError on anything else."""
        return convert(data, cls)


def doubted(touch: Touch, partner: str, inside: Collection[str]) -> bool:
    """Whether a touch earns a partner nothing because it did not come from outside, or not from a person.
    `inside` are the partners whose terms allow clicks inside the shop."""
    return touch.doubt != "" and (touch.doubt in _NEVER or partner not in inside)


def earning_click(touch: Touch) -> Click | None:
    """The earning click of a touch: of those with a partner, the last in the landing URL.

    Each redirect appends its own id, so the last one belongs to the last referrer. None for a suspicious
    touch, since the partners' terms are not known here.
    """
    if touch.doubt:
        return None
    return next((c for c in reversed(touch.clicks) if c.partner is not None), None)


def merge(*groups: tuple[Touch, ...]) -> tuple[Touch, ...]:
    """Touches of several sources (store, cookie), each once, oldest first.

    The same click seen again (a reload, a restored tab) is the first click, not a new one; a suspicious one
    is dropped if all its clicks are known, since shops pass ids on from page to page. An arrival without a
    click id is the same when campaign and landing repeat within 30 minutes of the last time.
    """
    last: dict[object, int] = {}
    seen: set[tuple[str, str, str]] = set()
    places: dict[object, int] = {}
    out: list[Touch] = []
    for touch in sorted((t for group in groups for t in group), key=lambda t: (t.at, bool(t.doubt))):
        key: object | None
        if touch.clicks:
            ids = frozenset((c.network, c.param, c.value) for c in touch.clicks)
            key = None if touch.doubt else ids
            known = ids <= seen if touch.doubt else ids in last
            seen |= ids
        else:
            source = tuple(sorted(touch.campaign.items())) or touch.referrer
            key = (touch.landing, source)
            known = key in last and touch.at - last[key] <= SAME_ARRIVAL
        if key is not None:
            last[key] = touch.at
        if not known:
            if touch.clicks and key is not None:
                places[key] = len(out)
            out.append(touch)
        elif touch.shown and key in places and not out[places[key]].shown:
            # Of two copies, one was made before its page was shown.
            out[places[key]] = replace(out[places[key]], shown=True)
    return tuple(out)


def with_shown(touches: tuple[Touch, ...], now: float, clicks: tuple[Click, ...] = ()) -> tuple[Touch, ...]:
    """The touches, after a page asked `decide` at `now`: those with a partner's click of the half hour before
    were shown, and so were those with the `clicks` of the page's own address. The same object if nothing
    changes."""
    if all(touch.shown or not touch.clicks for touch in touches):
        return touches
    found = tuple(
        replace(touch, shown=True)
        if not touch.shown
        and any(click.partner is not None for click in touch.clicks)
        and (0 <= now - touch.at <= SAME_ARRIVAL or touch.clicks == clicks)
        else touch
        for touch in touches
    )
    return touches if all(a is b for a, b in zip(found, touches, strict=True)) else found
