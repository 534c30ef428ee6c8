"""The catalogue of networks: landing parameters, cookies, calls that report an order, and success rules.

The data is in `networks.toml`; `networks_file.py` checks the file and builds these values. No code depends on
a network's name: a new network is a new entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .consent.tcf import Vendor

Encoding = Literal["query", "form", "json", "graphql", "path"]
SameSite = Literal["Lax", "None", "Strict"]
Setting = str | int | bool
Kind = Literal["affiliate_network", "partner_platform", "sub_network", "ad_platform", "agent_protocol"]
Confidence = Literal["verified", "likely"]

# The sources of a call's parameters. `setting` and `const` use `Param.argument`. The second value is True if
# every order has it, False if it depends on the shop. A conversion that requires one of the latter has it
# in `needs`.
SOURCES: Mapping[str, bool] = MappingProxyType(
    {
        "click_id": True,
        "click_ids": True,  # all stored ids of the network, joined by `join`; one id is a list of one
        "order_id": True,
        "amount": True,  # order value after discount, net of tax and shipping
        "currency": True,
        "channel": True,  # where the order was closed: web, chat or phone
        "order_time": True,
        "landing_time": True,
        "voucher": True,  # empty if none was used: the parameter is left out
        "consent.gdpr": True,  # 1 with a TC string
        "consent.tcf": True,
        "consent.marketing": True,  # yes or no as the visitor chose; else left out
        "commission_group": True,  # setting `commission_group`, one for the whole order
        "parts": True,  # commission groups with their amounts; one group until orders know their items
        "setting": True,
        "const": True,
        "discount": False,
        "customer_type": False,
        "customer_id": False,
        "email": False,
        "email_sha256": False,
        "email_md5": False,
        "email_sha1": False,
        "ip": False,
        "user_agent": False,
        "country": False,
        "payment_method": False,
        "items": False,
        "item.sku": False,
        "item.name": False,
        "item.category": False,
        "item.quantity": False,
        "item.unit_price": False,
        "item.line_total": False,
        "item.discount": False,
        "item.index": False,
        "item.count": False,
    }
)

# The formats of values. For a time also a strftime pattern (with a `%`), always in UTC.
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "text": "unchanged",
        "decimal": "amount with a dot and the currency's minor digits (the default of amounts)",
        "decimal2": "amount with a dot and always two digits",
        "number": "JSON number with the currency's minor digits",
        "minor": "whole number of minor units (cents; JPY has none)",
        "integer": "whole number in JSON",
        "boolean": "true or false in JSON; 1 or 0 elsewhere",
        "unix": "seconds since 1970 (the default of times)",
        "unix_ms": "milliseconds since 1970",
        "iso8601": "2026-11-23T03:28:00Z",
        "group:amount": "parts as GROUP:12.34, several joined by `join`",
        "group_objects": 'parts as a JSON list of {"code": GROUP, "amount": 12.34}',
        "fbc": "click id as fb.1.<landing unix ms>.<click id>",
    }
)


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a call.

    `name` is the network's own; for `json` and `graphql` `path` is the position of the value in the body
    (text: key of an object, number: index of a list), else it is `(name,)`. `argument` is the settings key
    if `source` is `setting`, the value if it is `const`. `of` lists the landing parameters whose click id
    this parameter accepts (`Click.param`); empty: any. `values` maps clew's values to the network's, where
    they differ. A name with `{n}` is repeated for each item, counted from 1. `default` replaces a missing
    setting.
    """

    name: str
    source: str
    argument: str = ""
    required: bool = False
    format: str = "text"
    path: tuple[str | int, ...] = ()
    join: str = ""
    of: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    max_length: int | None = None
    default: Setting | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Conditions for a response; all of them must be true.

    `status`: inclusive range. `contains`, `lacks`: text in the body. `pointer` (RFC 6901) into a JSON body:
    the value there must be `equals`, or, where `equals` is None, must be missing, null or empty.
    """

    status: tuple[int, int]
    contains: str = ""
    lacks: str = ""
    pointer: str = ""
    equals: str | int | None = None


@dataclass(frozen=True, slots=True)
class Success:
    """The responses that mean that the network has recorded the order.

    `already`: the network had recorded it before. `silent`: the endpoint always responds the same, so success
    only means that it was reached; for the rest see the network's reports.
    """

    ok: Answer
    already: Answer | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One key of a partner's `settings`. `secret`: masked in logs and in the ledger."""

    name: str
    required: bool
    secret: bool = False
    default: Setting | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """One call that reports an order.

    `url`, the values of `headers` and both parts of `basic` (HTTP Basic user and password) are templates
    over the settings, `{advertiser_id}`; in `url` each value is percent-encoded, except in the host. `needs`
    names the data or features that the call requires and clew does not have yet (`items`, `customer_id`,
    `oauth2`, `browser`, `endpoint`…); empty: the call can be made. `document` is the GraphQL document if
    `encoding` is `graphql`; the body is {"query", "variables"}, and `path` of the params is inside the
    variables.
    """

    id: str
    method: Literal["GET", "POST"]
    url: str
    encoding: Encoding
    success: Success
    params: tuple[Param, ...]
    settings: Mapping[str, SettingSpec]
    preferred: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    basic: tuple[str, str] | None = None
    document: str = ""
    needs: frozenset[str] = frozenset()

    def missing(self, settings: Mapping[str, Setting]) -> list[str]:
        """The required settings that are missing."""
        return [
            s.name
            for s in self.settings.values()
            if s.required and s.default is None and s.name not in settings
        ]


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

    `retry_unknown`: a call without a response may be repeated, because the network ignores repeated calls.
    `own_param`: the advertiser chooses the landing parameter's name, so a partner must set `param`.
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
    retry_unknown: bool = False
    vendor: Vendor | None = None
    necessary: tuple[str, str | None] | None = None
    cookies: tuple[Cookie, ...] = ()
    conversions: tuple[Conversion, ...] = ()

    def conversion(self, settings: Mapping[str, Setting]) -> Conversion | None:
        """The call for a partner with these settings: the one that the setting `conversion` names, else the
        preferred one.

        None if the network has no server-side call, or none with the name in the setting.
        """
        chosen = settings.get("conversion")
        if chosen is not None:
            return next((c for c in self.conversions if c.id == chosen), None)
        return next((c for c in self.conversions if c.preferred), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All networks by id, the campaign parameters, and the hosts of payment providers (lower case)."""

    networks: Mapping[str, Network]
    utm: tuple[str, ...]
    payment_hosts: frozenset[str]
