"""The catalogue's entries of calls: what each is for, how it is written, who is asked for a token, and what
the response means.

The data is in `networks.toml`; `networks_file.py` checks it and builds these values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Encoding = Literal["query", "form", "json", "graphql", "path", "xml", "none"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Setting = str | int | bool
# conversion: a new order. adjust: its amount or items changed. cancel: it is no sale any more. approve,
# decline: the commission of a reported order is, or is not, to be paid. lookup: finds out what the network
# calls an order. result: asks what became of a call that the network has accepted.
Purpose = Literal["conversion", "adjust", "cancel", "approve", "decline", "lookup", "result"]
# Those that tell the network of an event.
PURPOSES: Final[tuple[Purpose, ...]] = ("conversion", "adjust", "cancel", "approve", "decline")
# What the network does with a call that it has had before.
# ignored: nothing. overwrites: it has the later values. counts: it counts the order twice.
Repeat = Literal["ignored", "overwrites", "counts", "unknown"]
# Where a parameter is written: `body` is the place of the encoding (a query for `query`), `url` fills {name}
# of the address.
Place = Literal["body", "query", "url", "header"]
# How often clew knows a value: of each order, of some, or of none. What a call requires of the second kind,
# an order may lack, and then it cannot be reported by this call; with one of the third the call cannot be
# made.
Known = Literal["always", "sometimes", "never"]
Digest = Literal["md5", "sha1", "sha256", "sha512", "hmac-sha1", "hmac-sha256", "hmac-sha512"]

# Steps of a path in a JSON body that stand for a position in a list.
REPORT: Final = -1  # of the report in its batch
ELEMENT: Final = -2  # of the item or the commission group
# A key of a JSON body that is the order's number.
ORDER_KEY: Final = "{order_id}"

# The sources of parameters. `setting` and `const` use `Param.argument`.
SOURCES: Mapping[str, Known] = MappingProxyType(
    {
        "click_id": "always",
        "click_ids": "always",  # all stored ids of the network, joined by `join`; one id is a list of one
        "order_id": "always",
        "amount": "always",  # order value after discount, net of tax and shipping
        "amount.before": "sometimes",  # of a correction: the amount that was reported last
        "amount.change": "always",  # to the amount that was reported last; negative if it is less now
        "currency": "always",
        "channel": "always",  # where the order was closed: web, chat or phone
        "event": "always",  # order, adjust, cancel, approve or decline
        "state": "always",  # of the order, see orders.model.OrderState
        "order_time": "always",
        "landing_time": "always",
        "now": "always",  # when the call is made
        "voucher": "always",  # empty if none was used: the parameter is left out
        "consent.gdpr": "always",  # 1 with a TC string
        "consent.tcf": "always",
        "consent.marketing": "always",  # yes or no as the visitor chose; else left out
        "commission_group": "always",  # setting `commission_group`, one for the whole order
        "part.group": "always",  # of each commission group: its code
        "part.amount": "always",  # and what falls to it; together they are the amount
        "setting": "always",
        "const": "always",
        "template": "always",  # `template`, with other sources in it
        "body": "always",  # the body as it is sent, for signatures in a header
        "kept": "sometimes",  # what the network's response to the conversion contained at `keep`
        "discount": "sometimes",
        "tax": "sometimes",
        "shipping": "sometimes",
        "customer_type": "sometimes",  # new or returning
        "item.sku": "sometimes",
        "item.name": "sometimes",
        "item.category": "sometimes",
        "item.group": "sometimes",  # the commission group of its category
        "item.quantity": "sometimes",
        "item.unit_price": "sometimes",
        "item.discount": "sometimes",  # on the line: unit_price × quantity − discount is `item.line_total`
        "item.line_total": "sometimes",  # the line's part of the amount; together they are the amount
        "item.change": "sometimes",  # the line's part of `amount.change`
        "item.tax": "sometimes",
        "item.index": "sometimes",  # from 1
        "item.count": "sometimes",
        "email_sha256": "sometimes",  # of the address in lower case, in hex
        "customer_id": "never",
        "email": "never",
        "email_md5": "never",
        "email_sha1": "never",
        "ip": "never",
        "user_agent": "never",
        "country": "never",
        "payment_method": "never",
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
        "fbc": "click id as fb.1.<landing unix ms>.<click id>",
    }
)


_AMOUNT: Final = ("decimal", "decimal2", "number", "minor", "integer")
_TIME: Final = ("unix", "unix_ms", "iso8601")
# The formats of a source, the default first. Other sources are text.
_SOURCE_FORMATS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("amount", "amount.before", "amount.change", "part.amount"), _AMOUNT),
    **dict.fromkeys(
        ("item.unit_price", "item.discount", "item.line_total", "item.change", "item.tax"), _AMOUNT
    ),
    **dict.fromkeys(("discount", "tax", "shipping"), _AMOUNT),
    **dict.fromkeys(("order_time", "landing_time", "now"), _TIME),
    **dict.fromkeys(("item.quantity", "item.index", "item.count"), ("text", "integer")),
    "click_id": ("text", "integer", "fbc"),
    "state": ("text", "integer"),
    "setting": ("text", "integer", "boolean"),
    "const": ("text", "integer", "boolean"),
}


def formats_of(source: str) -> tuple[str, ...]:
    """The formats of this source, the default first."""
    return _SOURCE_FORMATS.get(source, ("text",))


def word_of(source: str) -> str:
    """The word of SOURCES of a `from`."""
    return "setting" if source.startswith("settings.") else source.partition(":")[0]


def argument_of(source: str) -> str:
    """The settings key, or the constant, of a `from`."""
    return source.removeprefix("settings.") if word_of(source) == "setting" else source.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a call.

    `name` is the network's own; for `json` and `graphql` `path` is the position of the value in the body
    (text: key of an object, number: index of a list, REPORT, ELEMENT and ORDER_KEY see there), else it is
    `(name,)`.
    `argument` is the settings key if `source` is `setting`, the value if it is `const`. `place`: see Place.

    A parameter of an `item.` or `part.` source is `repeated`: its name has {n} or its path ELEMENT, else
    `join` joins the values. A `template` with `each` is repeated likewise. `when`: it is sent only if the
    order's items are known ("items"), only if they are not ("no items"), or only in tests ("test").

    `of` lists the landing parameters whose click id this parameter accepts (`Click.param`); empty: any.
    `after` and `until` take the part of a text behind the first of the one and before the first of the other.
    `values` maps clew's values to the network's, where they differ; `*` stands for all others. `negative`
    turns the sign of an amount. `remove`: characters that become blanks, since they have a meaning to the
    network. `escape` percent-encodes what goes into a template. `digest` hashes the value, with the settings
    key `key` if it is an HMAC; hex, or `base64`; without its secret there is no value. `prefix` is written
    before it. `default` replaces a missing value.
    """

    name: str
    source: str
    argument: str = ""
    required: bool = False
    format: str = "text"
    path: tuple[str | int, ...] = ()
    place: Place = "body"
    join: str = ""
    each: Literal["", "item", "part"] = ""
    template: str = ""
    when: Literal["", "items", "no items", "test"] = ""
    of: tuple[str, ...] = ()
    after: str = ""
    until: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    max_length: int | None = None
    negative: bool = False
    remove: str = ""
    escape: bool = False
    digest: Digest | None = None
    key: str = ""
    base64: bool = False
    prefix: str = ""
    default: Setting | None = None

    @property
    def repeated(self) -> bool:
        """Whether it is written once for each item or commission group."""
        return self.each != "" and not self.join


@dataclass(frozen=True, slots=True)
class Answer:
    """Conditions for a response; all of them must be true.

    `status`: inclusive range. `contains`, `lacks`: text in the body. `pointer` (RFC 6901) into a JSON body:
    the value there must be one of `equals`, or, where that is empty, must be missing, null or empty.
    """

    status: tuple[int, int]
    contains: str = ""
    lacks: str = ""
    pointer: str = ""
    equals: tuple[str | int | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Each:
    """Where a response says what became of each report of a batch.

    `list` points to a list. Its elements name their report by its order id at `key`, by its position in the
    call at `index`, or, where both are empty, by their own position. With `failed` the list has only the
    reports that were refused. Without it, `pointer` in an element must be one of `ok` (empty: must be
    missing, null or empty); of `already`: the network had it before; of `later`: try again. `text` points to
    the words of a refusal. All pointers but `list` are relative to the element.
    """

    list: str
    key: str = ""
    index: str = ""
    failed: bool = False
    pointer: str = ""
    ok: tuple[str | int | bool, ...] = ()
    already: tuple[str | int | bool, ...] = ()
    later: tuple[str | int | bool, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Find:
    """Where the response to a lookup has the order: in the list at `list`, as the element that has the
    order's number at `key`. What is kept is relative to that element."""

    list: str
    key: str


@dataclass(frozen=True, slots=True)
class Success:
    """The responses that mean that the network has recorded the report.

    `already`: the network had recorded it before. `later`: it is to be sent again, whatever the status.
    `done`: until it is true of the response, what became of an accepted call is not known yet. `silent`: the
    endpoint always responds the same, so success only means that it was reached; for the rest
    see the network's reports. `each`: what became of each report, where `ok` is true of the response.
    """

    ok: Answer
    already: Answer | None = None
    later: Answer | None = None
    done: Answer | None = None
    silent: bool = False
    each: Each | None = None


@dataclass(frozen=True, slots=True)
class OAuth:
    """The OAuth 2.0 token that a call needs (RFC 6749 §4.4 and §6). All texts are templates over the
    settings.

    `basic`: the client names itself by HTTP Basic, else in the body of the request. `params` are added to
    the body. `header` is the call's Authorization header, with the token as `{token}`. `seconds`: how long a
    token lasts if the response does not say.
    """

    grant: Literal["client_credentials", "refresh_token"]
    url: str
    client: str
    secret: str
    refresh: str = ""
    basic: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    header: str = "Bearer {token}"
    seconds: int = 3600


@dataclass(frozen=True, slots=True)
class Trial:
    """How a call is marked as a test: another address, or settings that are added. A parameter may be sent
    only in tests, too. None of them: not at all."""

    url: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """A response that a network gives, and what clew makes of it: of each report, in their order. `kept` is
    what a lookup finds in it."""

    status: int
    body: str
    outcomes: tuple[str, ...]
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """A call as it is sent: what goes in, and exactly what comes out.

    `reports` are fields of postbacks.model.Report, over those of the catalogue's own example. `source` names
    where the call was taken from, empty if it was made up because none is published. `now` is unix seconds.
    `test`: it is marked as a test.
    """

    reports: tuple[Mapping[str, object], ...]
    settings: Mapping[str, Setting]
    groups: Mapping[str, str]
    url: str
    headers: Mapping[str, str]
    body: str
    source: str = ""
    now: float = 0.0
    token: str = ""
    kept: str = ""
    test: bool = False
    responses: tuple[Response, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One key of a partner's `settings`. `secret`: masked in logs and in the ledger."""

    name: str
    required: bool
    secret: bool = False
    default: Setting | None = None


@dataclass(frozen=True, slots=True)
class CallEntry:
    """One call of a network.

    `url`, the values of `headers` and both parts of `basic` (HTTP Basic user and password) are templates
    over the settings, `{advertiser_id}`; in `url` each value is percent-encoded, except in the host.
    `document` is the GraphQL document if `encoding` is `graphql`: the body is {"query", "variables"}, and
    `path` of the params is inside the variables; if it is `xml`, it is the body, with the params as
    `{name}`.

    `batch`: how many reports one call may carry. `without_items`: the item id of the one line that stands
    for an order whose items are not known; empty: an order without items has none. `keep` points to a value
    of the response that later calls about the order need (source `kept`), in a lookup in the element of
    `find`. `lookup` is the call that finds that value if no response had it. `job` points to what the
    network calls an accepted call; `result` is the call that asks what became of it.

    `within`: seconds after the order within which the network wants the call. `after`: seconds after the
    order before which it does not take it. `days`: how many days after the order it takes it. `per_minute`:
    how many calls it takes in a minute from one account. None: not stated.

    `needs` names the data or features that the call requires and clew does not have (`customer_id`,
    `browser`, `endpoint`…); empty: the call can be made.
    """

    id: str
    purposes: frozenset[Purpose]
    method: Method
    url: str
    encoding: Encoding
    success: Success
    params: tuple[Param, ...]
    settings: Mapping[str, SettingSpec]
    preferred: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    basic: tuple[str, str] | None = None
    oauth: OAuth | None = None
    document: str = ""
    batch: int = 1
    without_items: str = ""
    keep: str = ""
    find: Find | None = None
    lookup: "CallEntry | None" = None
    job: str = ""
    result: "CallEntry | None" = None
    repeat: Repeat = "unknown"
    within: int | None = None
    after: int | None = None
    days: int | None = None
    per_minute: int | None = None
    test: Trial = Trial()
    needs: frozenset[str] = frozenset()
    examples: tuple[Example, ...] = ()

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again if it is not known what became of it."""
        return self.repeat in ("ignored", "overwrites")

    @property
    def has_tests(self) -> bool:
        """Whether a call can be marked as a test."""
        marked = any(param.when == "test" for param in self.params)
        return marked or bool(self.test.url or self.test.settings)

    def missing(self, settings: Mapping[str, Setting]) -> list[str]:
        """The required settings that are missing."""
        return [
            s.name
            for s in self.settings.values()
            if s.required and s.default is None and s.name not in settings
        ]
