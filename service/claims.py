"""Claims of agents as arrivals, and a visitor's arrivals as claims: see `orders/claims.py`."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from ..orders.claims import AffiliateAttribution, ClaimError, refuse_personal
from ..orders.intake import ParsedOrder
from ..referral.touches import Click, Touch, earning_click
from .site import SiteRuntime

UCP: Final = "ucp"
# UCP names campaign parameters without the prefix that Google Analytics gave them.
_CAMPAIGN, _UTM = "campaign_", "utm_"
# No agent made a claim before; such a time stands for none, as 0001-01-01 and 1970-01-01 do in some programs.
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()


def touches_of_claims(site: SiteRuntime, parsed: ParsedOrder, now: float) -> tuple[Touch, ...]:
    """The arrivals that agents claim of an order. A claim that has expired, or says that it was made later
    than the order, is none. One that says that it was made before the year 2000 has no time."""
    ordered = min(parsed.order.placed_at or now, now)
    found = [_touch_of(site, claim, ordered) for claim in parsed.claims]
    found.append(_touch_of_params(site, parsed.attribution, ordered))
    return tuple(touch for touch in found if touch is not None)


def _touch_of(site: SiteRuntime, claim: AffiliateAttribution, ordered: float) -> Touch | None:
    issued, expires = _time(claim.issued_at), _time(claim.expires_at)
    if (issued or 0) > ordered or (expires is not None and expires < ordered):
        return None
    if issued is not None and issued < _EARLIEST:
        issued = None
    # Of two without a time the first touch point is the earlier one.
    at = int(issued if issued is not None else ordered - (claim.touchpoint == "first"))
    return Touch(at, (_click(site, claim),), claim=f"acp {claim.touchpoint}")


def _click(site: SiteRuntime, claim: AffiliateAttribution) -> Click:
    """The click of a claim. A network's own token is a click id of its; a publisher's id is one only at a
    partner without a network. Who is not known earns nothing."""
    partner = _partner(site, claim.provider)
    value = claim.token or ("" if partner in site.networks else claim.publisher_id)
    place = next((key for key, one in site.landing.partners().items() if one == partner), None)
    if partner is None or place is None or not value:
        return Click("acp", claim.provider, claim.token or claim.publisher_id or "")
    return Click(*place, value, partner)


def _partner(site: SiteRuntime, provider: str) -> str | None:
    """The partner that a provider names: by its id, or its network's id, name or domain, if only one partner
    is of that network."""
    name = provider.strip().lower()
    by_id = next((one for one in site.partners if one.lower() == name), None)
    if by_id is not None:
        return by_id
    names = {name, name.removeprefix("www.").partition(".")[0]}
    found = [p for p, network in site.networks.items() if names & {network.id, network.name.lower()}]
    return found[0] if len(found) == 1 else None


def _touch_of_params(
    site: SiteRuntime, attribution: Mapping[str, str] | None, ordered: float
) -> Touch | None:
    if not attribution:
        return None
    pairs = (
        (_UTM + n.removeprefix(_CAMPAIGN) if n.startswith(_CAMPAIGN) else n, v)
        for n, v in attribution.items()
    )
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)
    touch = site.landing.read(query.encode("ascii"), b"/", None, ordered)
    if touch is None:
        return None
    return Touch(touch.at, touch.clicks, touch.campaign, claim=UCP)


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="")


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None  # informational only
    return moment.timestamp() if moment.tzinfo is not None else None


def claims_of(site: SiteRuntime, touches: tuple[Touch, ...]) -> dict[str, Any]:
    """What an agent of the shop sends to a checkout for a visitor: the first and the last arrival that earn a
    partner something as `affiliate_attribution`, and the last one as `attribution`. What looks like personal
    data stays here."""
    earning = [touch for touch in sorted(touches, key=lambda t: t.at) if earning_click(touch) is not None]
    if not earning:
        return {"affiliate_attribution": [], "attribution": {}}
    points = {"first": earning[0], "last": earning[-1]}
    made = [_claim(site, touch, point) for point, touch in points.items()]
    return {
        "affiliate_attribution": [claim for claim in made if claim is not None],
        "attribution": dict(_params(earning[-1])),
    }


def _claim(site: SiteRuntime, touch: Touch, touchpoint: str) -> dict[str, Any] | None:
    click = earning_click(touch)
    assert click is not None
    network = site.networks.get(click.partner or "")
    given: dict[str, Any] = {
        "provider": network.id if network is not None else click.partner,
        "token": _text(click.value),
        "touchpoint": touchpoint,
        "issued_at": datetime.fromtimestamp(touch.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    try:
        refuse_personal([AffiliateAttribution.model_validate(given)], None)
    except (ClaimError, ValueError):
        return None
    return given


def _params(touch: Touch) -> Iterator[tuple[str, str]]:
    for name, value in (*((c.param, _text(c.value)) for c in touch.clicks), *touch.campaign.items()):
        try:
            refuse_personal((), {name: value})
        except ClaimError:
            continue
        yield name, value


def _text(value: str) -> str:
    """A click id as text of a JSON document: bytes outside UTF-8 are percent-encoded."""
    return value if value.isascii() else quote(value.encode("utf-8", "surrogateescape"), safe="/:?=&")
