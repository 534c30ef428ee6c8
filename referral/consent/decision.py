"""Decides what a visitor has consented to, from all that is known of it.

Sources can disagree. For each purpose the decision is made in this order:

1. The Global Privacy Control is a refusal of marketing, as the site's `gpc` says. It comes with each request,
   so it is newer than any choice that was kept, and California's regulation (11 CCR §7025) lets it prevail.
2. The most specific source counts: what the page tells clew in particular, then the visitor's own choice,
   then "nobody is asked here", then Google's Consent Mode, which was told by one of them. Where none of these
   says anything, a visitor cookie that was issued with consent shows that it was given.
3. Among equally specific ones the later choice counts. Where a time is missing, or they are equal, the
   refusal counts: a grant must be shown by the one who relies on it (GDPR Art. 7(1)), a refusal need not be.

A network is granted at most what the purposes are; a TC string can refuse it in particular. Everything that
was read is kept as evidence, also what did not count.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from msgspec.structs import replace

from ...settings.model import Site
from ..catalogue import Catalogue
from ..cookie import Known
from ..touches import UNNEEDED, Touch
from . import cookies
from .message import PageMessage, signals
from .signals import PURPOSES, Consent, Purpose, Rank, Signal
from .tcf import Vendor

EVIDENCE = 24  # signals that are kept, the first of each source
# A device's clock may run ahead; a choice from further in the future is as good as one without a time.
AHEAD = 86_400


@dataclass(frozen=True, slots=True)
class Terms:
    """What a site asks for: see `[sites.consent]`. `vendors` are the networks of its partners, by id, that
    are vendors of the TCF. `necessary`: clicks that their networks count as strictly necessary need no
    consent."""

    mode: Literal["ask", "assume", "strict"]
    purposes: tuple[Purpose, ...] = ("marketing",)
    gpc: Literal["always", "us", "ignore"] = "us"
    service: str = "clew"
    vendors: Mapping[str, Vendor] = field(default_factory=dict)
    necessary: bool = False

    @property
    def asks(self) -> bool:
        """Whether anything has to be read before a visitor may be recognised."""
        return self.mode != "assume"


def terms_of(site: Site, catalogue: Catalogue) -> Terms:
    """What a site's settings ask for."""
    networks = (catalogue.networks[p.network] for p in site.partners if p.network is not None)
    vendors = {network.id: network.vendor for network in networks if network.vendor is not None}
    chosen = site.consent
    return Terms(
        chosen.mode,
        tuple(chosen.purposes),
        chosen.gpc,
        chosen.service,
        vendors,
        chosen.necessary_clicks,
    )


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision on one purpose or network, and why, in words. `basis` is the source that decided it, and
    when the choice was made, as far as that is known."""

    consent: Consent
    why: str
    basis: str = ""


@dataclass(frozen=True, slots=True)
class ConsentState:
    """What a visitor has consented to. `consent` is what counts for recognising it: all of the purposes that
    the site asks for. `networks` holds the networks that a TC string refuses or grants in particular; for any
    other ask `of`. `tcf` is the TC string for networks that take one. `sure`: the request's own cookies or
    the page decided it; else only the browser's control or an earlier consent did, or nothing has."""

    consent: Consent
    why: str
    purposes: Mapping[Purpose, Ruling] = field(default_factory=dict)
    networks: Mapping[str, Ruling] = field(default_factory=dict)
    evidence: tuple[Signal, ...] = ()
    tcf: str = ""
    sure: bool = True
    basis: str = ""

    def of(self, network: str) -> Ruling:
        """The decision on a network of the catalogue."""
        return self.networks.get(network) or Ruling(self.consent, self.why)


_EVERYTHING: Mapping[Purpose, bool] = dict.fromkeys(PURPOSES, True)
ASSUMED = ConsentState(Consent.GRANTED, 'assumed: mode = "assume"')


def of_request(
    terms: Terms,
    headers: Iterable[tuple[bytes, bytes]],
    now: float,
    *,
    agreed: bool = False,
    message: PageMessage | None = None,
) -> ConsentState:
    """The state of a request with these headers, names in lower case; see `decide`."""
    if not terms.asks and message is None:
        return ASSUMED
    cookie_headers: list[bytes] = []
    gpc = False
    for name, value in headers:
        if name == b"cookie":
            cookie_headers.append(value)
        elif name == b"sec-gpc":
            gpc = value.strip() == b"1"
    return decide(terms, cookie_headers, gpc, message, now, agreed=agreed)


def decide(
    terms: Terms,
    cookie_headers: Sequence[bytes],
    gpc: bool,
    message: PageMessage | None,
    now: float,
    *,
    agreed: bool = False,
) -> ConsentState:
    """The state of one request. `gpc`: it has `Sec-GPC: 1`. `cookie_headers` are raw. `agreed`: it has a
    visitor cookie that was issued with consent.

    With `mode = "assume"` nothing is parsed; only a page's own `clew.consent("denied")` counts. Never raises.
    """
    if terms.mode == "assume":
        if message is None or message.choice != "denied":
            return ASSUMED
        found: tuple[Signal, ...] = tuple(signals(PageMessage(message.choice), now))
    else:
        of_page = () if message is None else tuple(signals(message, now))
        found = (*of_page, *cookies.read(cookie_headers, terms.service))[: EVIDENCE - 2]
    said = any(purpose in signal.says for signal in found for purpose in terms.purposes)
    if agreed:
        found = (*found, Signal("visitor cookie", "", "consent was given earlier", _EVERYTHING, Rank.KEPT))
    if gpc and terms.asks:
        found = (_gpc(terms, found), *found)
    purposes = {purpose: _ruling(terms, purpose, found, now) for purpose in PURPOSES}
    whole = _all_of(purposes, terms.purposes)
    string = _string(found, now)
    networks = dict(_networks(terms, whole, string))
    return ConsentState(
        whole.consent,
        whole.why,
        purposes,
        networks,
        found,
        string.text if string is not None else "",
        said,
        whole.basis,
    )


def _gpc(terms: Terms, found: Sequence[Signal]) -> Signal:
    source, raw = "Sec-GPC", "1"
    if terms.gpc == "ignore":
        return Signal(source, raw, 'not counted: gpc = "ignore"')
    region = next((s.region for s in found if s.region), "")
    abroad = region and not region.upper().startswith("US")
    if terms.gpc == "us" and terms.mode != "strict" and abroad:
        return Signal(source, raw, f'not counted: gpc = "us", and the visitor is in {region}')
    return Signal(source, raw, "the browser's Global Privacy Control", {"marketing": False})


def _ruling(terms: Terms, purpose: Purpose, found: Sequence[Signal], now: float) -> Ruling:
    said = [s for s in found if purpose in s.says]
    if terms.mode == "strict":
        # Only a visitor's own choice can grant.
        said = [s for s in said if s.rank >= Rank.CHOSEN or s.rank is Rank.KEPT or not s.says[purpose]]
    if not said:
        return Ruling(Consent.PENDING, _unsaid(found))
    if (control := next((s for s in said if s.source == "Sec-GPC"), None)) is not None:
        return Ruling(Consent.DENIED, f"Sec-GPC: {control.why}")
    rank = max(s.rank for s in said)
    top = [s for s in said if s.rank is rank]
    refusals = [s for s in top if not s.says[purpose]]
    grants = [s for s in top if s.says[purpose]]
    chosen = max(refusals or grants, key=lambda s: _when(s, now))
    if refusals and grants:
        latest = max(grants, key=lambda s: _when(s, now))
        # A refusal without a time may be newer than any grant.
        timed = all(_when(s, now) for s in refusals)
        if timed and _when(latest, now) > _when(chosen, now):
            chosen = latest
    consent = Consent.GRANTED if chosen.says[purpose] else Consent.DENIED
    return Ruling(consent, f"{chosen.source}: {chosen.why}", _basis(chosen, now))


def _basis(signal: Signal, now: float) -> str:
    if signal.rank is Rank.KEPT or (when := _when(signal, now)) <= 0:
        return signal.source
    return f"{signal.source}, {datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC"


def _when(signal: Signal, now: float) -> float:
    return signal.at if signal.at is not None and signal.at <= now + AHEAD else 0.0


def _unsaid(found: Sequence[Signal]) -> str:
    if not found:
        return "no consent tool's choice was seen"
    return f"no choice yet; {found[0].source}: {found[0].why}"


def _all_of(purposes: Mapping[Purpose, Ruling], wanted: Sequence[Purpose]) -> Ruling:
    """Denied where one purpose is, else pending where one is, else granted."""
    rulings = [purposes[purpose] for purpose in wanted]
    for consent in (Consent.DENIED, Consent.PENDING):
        for ruling in rulings:
            if ruling.consent is consent:
                return ruling
    return rulings[0]


def _string(found: Sequence[Signal], now: float) -> Signal | None:
    """The signal with the latest TC string that may be relied on."""
    strings = [s for s in found if s.tcf is not None]
    return max(strings, key=lambda s: _when(s, now), default=None)


def _networks(terms: Terms, whole: Ruling, string: Signal | None) -> Iterator[tuple[str, Ruling]]:
    if string is None or string.tcf is None or whole.consent is not Consent.GRANTED:
        return
    for network, vendor in terms.vendors.items():
        why = string.tcf.permits(vendor)
        consent = Consent.DENIED if why else Consent.GRANTED
        yield network, Ruling(consent, f"{string.source}: {why or f'vendor {vendor.id} is permitted'}")


def recognised(terms: Terms, state: ConsentState, known: Known | None) -> Known | None:
    """What a cookie tells of a visitor, as far as its consent goes. Without it, one that holds only what
    needs none."""
    if known is None or state.consent is Consent.GRANTED:
        return known
    return known if known.necessary and terms.necessary else None


def permitted(touch: Touch | None, state: ConsentState, necessary: Touch | None = None) -> Touch | None:
    """A touch without the clicks of networks that the visitor refused in particular, with what shows its
    consent; None where nothing is left of it. Clicks that are `necessary` stay: they need no consent."""
    if touch is None or state is ASSUMED or state.consent is not Consent.GRANTED:
        return touch
    granted = [click for click in touch.clicks if state.of(click.network).consent is Consent.GRANTED]
    unneeded = () if necessary is None else necessary.clicks
    kept = tuple(click for click in touch.clicks if click in granted or click in unneeded)
    if not (kept or touch.campaign or touch.referrer):
        return None
    return replace(touch, clicks=kept, consent=UNNEEDED if kept and not granted else state.basis)
