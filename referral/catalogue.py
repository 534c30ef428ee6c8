"""The catalogue of networks: their landing parameters, their cookies, and their calls (`calls.py`).

The data is in `networks.toml`; `networks_file.py` checks the file and builds these values. No code depends on
a network's name: a new network is a new entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .calls import CallEntry, Purpose, Setting
from .consent.tcf import Vendor

SameSite = Literal["Lax", "None", "Strict"]
Kind = Literal["affiliate_network", "partner_platform", "sub_network", "ad_platform", "agent_protocol"]
Confidence = Literal["verified", "likely"]


@dataclass(frozen=True, slots=True)
class LandingParam:
    """A parameter of a landing URL that contains a click id.

    `any_case`: the name is case-insensitive. `shared`: other networks or shops use the name too, so it counts
    only if the network is enabled. `fallback`: it counts only if no other parameter of the network is
    present. `parts`: the click id is composed of these parameters by the template `value`, and `name` is one
    of them.
    """

    name: str
    any_case: bool = False
    shared: bool = False
    fallback: bool = False
    parts: tuple[str, ...] = ()
    value: str = ""


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie that clew sets on the landing response for a network. `days` is its lifetime.

    `value` is a template over `{click_id}`, `{landing_time:<strftime, UTC>}` and other parameters of the
    landing URL, `{ranMID}`. `of`: the landing parameters whose click it stores; empty: any. `when` and
    `unless` name a parameter of the landing URL that must, or must not, be present, with that value if there
    is one.
    """

    name: str
    days: int
    http_only: bool
    secure: bool
    same_site: SameSite | None = None
    value: str = "{click_id}"
    of: tuple[str, ...] = ()
    when: tuple[str, str | None] | None = None
    unless: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """An affiliate network or ad platform. `lookback_days` is its usual window, None if unknown.

    `own_param`: the advertiser chooses the landing parameter's name, so a partner must set `param`.
    `by_hand` says, for what no call reports, where a person reports it: a file, or the network's console.
    `nothing` says why there is nothing to report at all.
    `vendor` is the network as a vendor of the TCF, None where it is none, or not known to be one.
    `necessary` is a parameter of the landing URL, with its value if there is one, by which the network marks
    clicks that need no consent.
    """

    id: str
    name: str
    kind: Kind
    confidence: Confidence
    landing_params: tuple[LandingParam, ...] = ()
    own_param: bool = False
    lookback_days: int | None = None
    vendor: Vendor | None = None
    necessary: tuple[str, str | None] | None = None
    cookies: tuple[Cookie, ...] = ()
    calls: tuple[CallEntry, ...] = ()
    by_hand: Mapping[Purpose, str] = field(default_factory=dict)
    nothing: Mapping[Purpose, str] = field(default_factory=dict)

    @property
    def takes_email(self) -> bool:
        """Whether a call of it takes the hash of the customer's e-mail address."""
        return any(param.source == "email_sha256" for call in self.calls for param in call.params)

    @property
    def takes_customer(self) -> bool:
        """Whether a call of it says whether the customer is new or returning."""
        return any(param.source == "customer_type" for call in self.calls for param in call.params)

    def calls_for(self, purpose: Purpose, settings: Mapping[str, Setting]) -> tuple[CallEntry, ...]:
        """The calls for this purpose, the preferred one first. Of those for a conversion only the one that
        the setting `conversion` names, if it names one."""
        found = [call for call in self.calls if purpose in call.purposes]
        named = settings.get("conversion")
        if purpose == "conversion" and named is not None:
            found = [call for call in found if call.id == named]
        return tuple(sorted(found, key=lambda call: not call.preferred))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All networks by id, the campaign parameters, and the hosts of payment providers (lower case)."""

    networks: Mapping[str, Network]
    utm: tuple[str, ...]
    payment_hosts: frozenset[str]
