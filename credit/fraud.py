"""Signs that a partner did not earn an order by honest means. They hold the order's postbacks, and change
neither its amounts nor its shares.

Pure. What was found stays with the decision's inputs, so an order that is held does not become free because
its visitor's record is not kept any more.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from ..orders.doubt import Doubt, Kind
from ..referral.touches import AUTOMATED, CROWD, OWN, SAME_ARRIVAL, Touch
from ..settings.model import Fraud, Site
from .arrivals import DAY
from .channels import PAID_SEARCH, paid_channel
from .terms import Terms

HOUR: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Why a partner's share of an order is doubted, as text. With `at` it is about the click of that time
    (unix seconds), and only if the partner earns by it."""

    partner: str
    kind: Kind
    text: str
    at: float | None = None

    @property
    def key(self) -> tuple[str, str, float | None]:
        """What it is about."""
        return self.partner, self.kind, self.at

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        found = {"partner": self.partner, "kind": self.kind, "text": self.text}
        return found if self.at is None else {**found, "at": self.at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """What a site's settings say of fraud. `emails` are the hashes of its partners' e-mail addresses, by
    partner; `bidders` may bid on the `brand`, whose words are in plain form (`_plain`). `hold_claims`: what
    agents claim of an order is held."""

    rules: Fraud = field(default_factory=Fraud)
    hold_claims: bool = False
    emails: Mapping[str, frozenset[str]] = field(default_factory=dict)
    bidders: frozenset[str] = frozenset()
    brand: tuple[str, ...] = ()

    @classmethod
    def of(cls, site: Site) -> "Suspects":
        """From a site's settings."""
        return cls(
            rules=site.fraud,
            hold_claims=site.credit.claims == "hold",
            emails={p.id: frozenset(map(_hashed, p.emails)) for p in site.partners if p.emails},
            bidders=frozenset(p.id for p in site.partners if p.brand_bidding),
            brand=tuple(filter(None, map(_plain, site.fraud.brand))),
        )


def _hashed(email: str) -> str:
    return email if "@" not in email else sha256(email.encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known beside the touches. `email` is the hash of the buyer's address. `views`: pages of this
    visitor have asked `decide`, so its browser runs the tag. `own` are partners who were seen as this
    visitor, `again` how often it followed a known link again within a day, by partner. `pace` says of a
    partner why it has too many orders. `untagged` says of a landing address whether its page has no tag."""

    email: str | None = None
    views: bool = False
    own: Collection[str] = ()
    again: Mapping[str, int] = field(default_factory=dict)
    pace: Mapping[str, str] = field(default_factory=dict)
    untagged: Collection[str] = ()


def suspicions(
    suspects: Suspects, order_time: float, touches: Sequence[Touch], terms: Terms, evidence: Evidence
) -> tuple[Suspicion, ...]:
    """All that is suspicious of an order placed at `order_time`, whoever earns it."""
    found = [
        *_selves(suspects, order_time, touches, terms, evidence),
        *_clicks(suspects, order_time, touches, terms, evidence),
        *(Suspicion(partner=p, kind="velocity", text=f"{p}: {why}") for p, why in evidence.pace.items()),
    ]
    return tuple({one.key: one for one in reversed(found)}.values())[::-1]


def partners_of(touches: Iterable[Touch], terms: Terms) -> frozenset[str]:
    """The partners that touches may earn for."""
    found = (terms.partner(click) for touch in touches for click in touch.clicks)
    return frozenset(partner for partner in found if partner is not None)


def both(before: Sequence[Suspicion], now: Sequence[Suspicion]) -> tuple[Suspicion, ...]:
    """What was found before stays, with its text."""
    return tuple({one.key: one for one in (*now, *before)}.values())


def doubts(
    found: Iterable[Suspicion], shares: Iterable[tuple[str, float | None]], *, chosen: bool
) -> tuple[Doubt, ...]:
    """The doubts about a decision with these shares: partner and time of the click. None if a person has
    `chosen` who earns it."""
    if chosen:
        return ()
    earning = dict(shares)
    return tuple(
        Doubt(one.kind, one.text)
        for one in found
        if one.partner in earning and one.at in (None, earning[one.partner])
    )


def _selves(
    suspects: Suspects, order_time: float, touches: Sequence[Touch], terms: Terms, evidence: Evidence
) -> Iterator[Suspicion]:
    if not suspects.rules.self_referral:
        return

    def found(partner: str, text: str) -> Suspicion:
        return Suspicion(partner=partner, kind="self", text=f"{partner} may be the buyer: {text}")

    for partner, hashes in suspects.emails.items():
        if evidence.email is not None and evidence.email.lower() in hashes:
            yield found(partner, "the order has the partner's own e-mail address")
    for partner in evidence.own:
        yield found(partner, "the visitor was seen in the partner's own network, or signed in as the partner")
    for partner in sorted(partners_of((t for t in touches if OWN in t.signs), terms)):
        yield found(partner, "a click came from the partner's own network")
    most = suspects.rules.own_clicks
    for partner in sorted(partners_of(touches, terms)) if most else ():
        recent = [t for t in touches if partner in partners_of([t], terms) and _within(t, order_time, DAY)]
        count = len(recent) + evidence.again.get(partner, 0)
        if count >= most:
            why = f"the visitor followed the partner's links {count} times within a day before the order"
            yield found(partner, why)


def _within(touch: Touch, order_time: float, seconds: float) -> bool:
    return -60 <= order_time - touch.at <= seconds


def _clicks(
    suspects: Suspects, order_time: float, touches: Sequence[Touch], terms: Terms, evidence: Evidence
) -> Iterator[Suspicion]:
    rules = suspects.rules
    runs = evidence.views or any(touch.shown for touch in touches)
    for touch in touches:
        when = datetime.fromtimestamp(touch.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for partner in sorted(partners_of([touch], terms)):

            def about(kind: Kind, text: str, touch: Touch = touch, partner: str = partner) -> Suspicion:
                return Suspicion(partner=partner, kind=kind, text=text, at=float(touch.at))

            click = f"the click of {partner} of {when} UTC"
            if rules.automated == "hold" and AUTOMATED in touch.signs:
                yield about("bot", f"{click} was made by a program, not by a person's browser")
            if suspects.hold_claims and touch.claim and not _was_made(touch, partner, touches, terms):
                yield about("claim", f"{click} is what an agent claims of the order: no browser showed it")
            if rules.network_clicks and CROWD in touch.signs:
                yield about(
                    "crowd",
                    f"{click} was one of more than {rules.network_clicks} in an hour from one network",
                )
            if (
                suspects.brand
                and partner not in suspects.bidders
                and (term := _bought(touch, suspects.brand))
            ):
                yield about("brand", f"{click} came by an advertisement on the shop's own name: {term!r}")
            if rules.unseen and runs and _is_unseen(touch, order_time, evidence):
                yield about(
                    "unseen",
                    f"{click} was never followed by a page view, as when a link is loaded in secret; "
                    "the visitor's other pages were seen",
                )


def _was_made(claim: Touch, partner: str, touches: Sequence[Touch], terms: Terms) -> bool:
    """Whether the visitor itself came by the click that an agent claims."""
    values = {click.value for click in claim.clicks if terms.partner(click) == partner}
    made = (click for touch in touches if not touch.claim for click in touch.clicks)
    return any(terms.partner(click) == partner and click.value in values for click in made)


def _is_unseen(touch: Touch, order_time: float, evidence: Evidence) -> bool:
    """Whether nobody saw where a click led. Within half an hour the page may still come."""
    early = order_time - touch.at <= SAME_ARRIVAL
    # What an agent claims, no browser has seen.
    known = touch.shown or touch.doubt or touch.claim
    return not (known or early or touch.landing in evidence.untagged)


def _bought(touch: Touch, brand: Sequence[str]) -> str:
    """The search term with the brand by which an advertisement in a search engine was shown; empty if there
    is none."""
    if not brand or paid_channel(touch) != PAID_SEARCH:
        return ""
    for term in _terms(touch):
        plain = _plain(term)
        for word in brand:
            tight = word.replace(" ", "")
            # Also "acmeshop" and "acmes" for "acme".
            begins = len(tight) > 3 and any(one.startswith(tight) for one in plain.split())
            if begins or f" {word} " in f" {plain} ":
                return term[:100]
    return ""


def _terms(touch: Touch) -> Iterator[str]:
    """What was searched for, by the campaign or the search engine's address."""
    yield from (touch.campaign[name] for name in ("utm_term", "utm_campaign") if name in touch.campaign)
    for address in (touch.referrer, touch.landing):
        try:
            query = parse_qs(urlsplit(address).query, max_num_fields=100)
        except ValueError:
            continue
        yield from (text for name in ("q", "p", "query", "keyword", "kw") for text in query.get(name, ()))


_MARKS: Final = re.compile(r"[\W_]+")


def _plain(text: str) -> str:
    """Words in lower case with one blank between them."""
    return _MARKS.sub(" ", text.casefold()).strip()
