"""Renders the calls to any network from its entries in the catalogue."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from xml.sax.saxutils import escape

from ..referral.calls import ELEMENT, ORDER_KEY, REPORT, CallEntry, Param, Purpose, Setting
from ..referral.catalogue import Network
from ..settings.model import Partner
from .call import Call, RenderError, json_text, percent
from .masking import MASK
from .model import Report
from .values import Given, Json, elements, given, is_due, text, value

_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")
_ANY = re.compile(r"\{([^{}]+)\}")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_TYPES = {
    "json": "application/json",
    "graphql": "application/json",
    "form": "application/x-www-form-urlencoded",
    "xml": "text/xml; charset=utf-8",
}
PURPOSE: Mapping[str, Purpose] = MappingProxyType(
    {
        "order": "conversion",
        "adjust": "adjust",
        "cancel": "cancel",
        "approve": "approve",
        "decline": "decline",
    }
)
_WORDS: Mapping[Purpose, str] = MappingProxyType(
    {
        "conversion": "orders from servers",
        "adjust": "changes of an order",
        "cancel": "cancellations",
        "approve": "approvals",
        "decline": "refusals",
    }
)
Path = tuple[str | int, ...]


class LackingError(RenderError):
    """The order has no value for something that the call requires."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A value at its place. `number` is the item's or the group's, 0 for a value of the order."""

    param: Param
    name: str
    value: Json
    number: int = 0


def chosen(partner: Partner, network: Network, purpose: Purpose = "conversion") -> CallEntry | None:
    """The network's call for this purpose for which the partner's settings suffice, the preferred one if
    there are several. If they suffice for none, the one with the fewest missing settings.

    None if the network has none, or not the one that the setting `conversion` names.
    """
    found = network.calls_for(purpose, partner.plain_settings)
    return min(found, key=lambda c: (bool(c.needs), len(missing(partner, c))), default=None)


def missing(partner: Partner, entry: CallEntry) -> list[str]:
    """The required settings that are missing. A host is not required if `endpoint` replaces it."""
    lacking = entry.missing(partner.plain_settings)
    if partner.endpoint is None:
        return lacking
    host = set(_PLACEHOLDER.findall(_host_and_rest(entry.url)[0]))
    return [key for key in lacking if key not in host]


def usable(partner: Partner, network: Network, purpose: Purpose) -> CallEntry:
    """The call for this purpose. Raises RenderError if it cannot be made, with the reason."""
    entry = chosen(partner, network, purpose)
    if entry is None:
        if (why := network.nothing.get(purpose)) is not None:
            raise RenderError(f"there is nothing to report to {network.name}: {why}")
        by_hand = network.by_hand.get(purpose)
        raise RenderError(
            f"{network.name} takes {_WORDS[purpose]} only by hand: {by_hand}"
            if by_hand
            else f"{network.name} has no call for {_WORDS[purpose]}"
        )
    if entry.needs:
        raise RenderError(
            f"{network.name}, call {entry.id}: it needs {', '.join(sorted(entry.needs))}, "
            "which clew does not have"
        )
    if lacking := missing(partner, entry):
        keys = ", ".join(f"settings.{key}" for key in lacking)
        raise RenderError(f"partner {partner.id}: {network.name} ({entry.id}) needs {keys}")
    return entry


def unable(partner: Partner, network: Network, report: Report, now: float) -> str | None:
    """Why a report cannot be sent to the network by a call; None if it can."""
    try:
        entry = usable(partner, network, PURPOSE[report.event])
        if (over := window_over(network, entry, report, now)) is not None:
            return over
        # What an earlier response contained is known only where the call is made.
        list(_fields(partner, entry, _input(partner, entry, report, now, "kept")))
    except RenderError as error:
        return str(error)
    return None


def window_over(network: Network, entry: CallEntry, report: Report, now: float) -> str | None:
    """Why the network does not take this report any more; None if it does."""
    if entry.days is None or now <= report.order_time + entry.days * 86400:
        return None
    return f"the network's window of {entry.days} days after the order is over ({network.name}, {entry.id})"


def network_call(
    partner: Partner,
    reports: Sequence[Report],
    network: Network,
    now: float,
    *,
    token: str = "",
    kept: Sequence[str] = (),
    test: bool = False,
    entry: CallEntry | None = None,
) -> Call:
    """The call that tells a network of these reports: several of one event, as many as the entry's `batch`;
    or another call about them, `entry`.

    `token` is the OAuth token if the entry asks for one, `kept` what the responses to the orders contained,
    by report. `test` marks it as a test. Raises RenderError if it cannot be built.
    """
    entry = entry or usable(partner, network, PURPOSE[reports[0].event])
    inputs = [
        _input(partner, entry, report, now, kept[n] if n < len(kept) else "", test=test)
        for n, report in enumerate(reports)
    ]
    secrets = {s.name for s in entry.settings.values() if s.secret and s.name in inputs[0].settings}
    url, headers, body = _built(partner, entry, inputs, token, test=test)
    hidden = {**inputs[0].settings, **dict.fromkeys(secrets, MASK)}
    shown = [replace(one, report=_masked(one.report), settings=hidden, masked=True) for one in inputs]
    cut = [p for p in entry.params if p.source == "click_id" and (p.after or p.until)]
    shown_url, _, shown_body = _built(partner, entry, shown, MASK, test=test)
    return Call(
        method=entry.method,
        url=url,
        headers=headers,
        body=body.encode("utf-8"),
        masked=f"{entry.method} {shown_url} {shown_body}".rstrip(),
        success=entry.success,
        keys=tuple(report.order_id for report in reports),
        hidden=tuple(
            {
                *(shape for report in reports for shape in (report.click_id, percent(report.click_id))),
                *(text(part) for one in inputs for p in cut if (part := value(p, one)) is not None),
                *(report.email_sha256 for report in reports if report.email_sha256),
                *(str(inputs[0].settings[name]) for name in secrets),
                *([token] if token else []),
            }
        ),
    )


def _masked(report: Report) -> Report:
    return replace(report, email_sha256=MASK) if report.email_sha256 else report


def _input(
    partner: Partner, entry: CallEntry, report: Report, now: float, kept: str, *, test: bool = False
) -> Given:
    defaults = {s.name: s.default for s in entry.settings.values() if s.default is not None}
    settings = {**defaults, **partner.plain_settings, **(entry.test.settings if test else {})}
    groups = partner.commission_groups
    return given(report, settings, groups, now=now, kept=kept, without_items=entry.without_items, test=test)


def _built(
    partner: Partner, entry: CallEntry, inputs: Sequence[Given], token: str, *, test: bool
) -> tuple[str, dict[str, str], str]:
    """Address, headers and body."""
    settings = inputs[0].settings
    found = [list(_fields(partner, entry, one)) for one in inputs]
    first = found[0]
    body = _body(entry, found, [one.report.order_id for one in inputs])
    url = _address(partner, entry.test.url if test and entry.test.url else entry.url, settings, first)
    if entry.encoding == "path":
        url += _segments([f for f in first if f.param.place == "body"])
    query = "body" if entry.encoding == "query" else "query"
    if pairs := _pairs(f for f in first if f.param.place in (query, "query")):
        url += f"{'&' if '?' in url else '?'}{pairs}"
    headers = {name: filled(template, settings) for name, template in entry.headers.items()}
    if entry.basic is not None:
        user, password = (filled(part, settings) for part in entry.basic)
        headers["Authorization"] = "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
    if entry.oauth is not None:
        headers["Authorization"] = filled(entry.oauth.header, {**settings, "token": token})
    if entry.encoding in _TYPES:
        headers["Content-Type"] = _TYPES[entry.encoding]
    if any(param.place == "header" for param in entry.params):
        signed = _fields(partner, entry, replace(inputs[0], body=body), headers=True)
        headers |= {field.name: text(field.value) for field in signed}
    return url, headers, body


def _fields(partner: Partner, entry: CallEntry, one: Given, *, headers: bool = False) -> Iterator[_Field]:
    """The values of a report. Raises RenderError, naming what is missing or wrong."""
    params = [param for param in entry.params if (param.place == "header") == headers]
    try:
        for each, run in groupby(params, key=lambda param: param.each if param.repeated else ""):
            if each:
                yield from _repeated(list(run), one)
                continue
            for param in run:
                if (found := value(param, one)) is not None:
                    yield _Field(param, param.name, found)
                elif param.required and is_due(param, one):
                    raise LackingError(f"{param.name} is required, but there is no {_what(param)}")
    except LackingError:
        raise
    except ValueError as error:
        raise RenderError(f"partner {partner.id}: {error}") from error


def _repeated(params: Sequence[Param], one: Given) -> Iterator[_Field]:
    """The values of all items, or of all commission groups: all parameters of one, then those of the next."""
    for number, element in enumerate(elements(params[0], one), start=1):
        for param in params:
            if (found := value(param, one, element)) is not None:
                yield _Field(param, _numbered(param.name, number), found, number)
            elif param.required and is_due(param, one):
                raise LackingError(f"{param.name} is required, but an item has no {_what(param)}")
    for param in params:
        if param.required and is_due(param, one) and not elements(param, one):
            known = "items" if param.each == "item" else "commission group"
            raise LackingError(f"{param.name} is required, but the order has no {known}")


def _numbered(name: str, number: int) -> str:
    """{n} counts from 1, {i} from 0."""
    return name.replace("{n}", str(number)).replace("{i}", str(number - 1))


def _what(param: Param) -> str:
    return param.template or (f"settings.{param.argument}" if param.source == "setting" else param.source)


# -- encodings


def _body(entry: CallEntry, found: Sequence[Sequence[_Field]], orders: Sequence[str]) -> str:
    first = [field for field in found[0] if field.param.place == "body"]
    match entry.encoding:
        case "form":
            return _pairs(first)
        case "json":
            return json_text(_document(found, orders))
        case "graphql":
            document: Json = {"query": entry.document, "variables": _document(found, orders)}
            return json_text(document)
        case "xml":
            values = {field.name: escape(text(field.value)) for field in first}
            return _ANY.sub(lambda m: values.get(m[1], ""), entry.document)
        case _:
            return ""


def _pairs(found: Iterator[_Field] | Sequence[_Field]) -> str:
    return "&".join(f"{percent(field.name)}={percent(text(field.value))}" for field in found)


def _segments(found: Sequence[_Field]) -> str:
    """key:value segments, and one group in brackets for each item."""
    plain = [f"{f.name}:{percent(text(f.value))}" for f in found if not f.number]
    groups = [
        "[" + "/".join(f"{f.name}:{percent(text(f.value))}" for f in run) + "]"
        for _, run in groupby((f for f in found if f.number), key=lambda f: f.number)
    ]
    return "/".join(plain) + ("/" if plain and groups else "") + "".join(groups)


def _document(found: Sequence[Sequence[_Field]], orders: Sequence[str]) -> Json:
    root: dict[str | int, object] = {}
    for number, fields in enumerate(found):
        for field in fields:
            if field.param.place == "body":
                _put(root, _placed(field, number, orders[number]), field.value)
    return _listed(root)


def _placed(field: _Field, report: int, order: str) -> Path:
    """The path with the positions of the report and of the item, and the order's number."""
    path = field.param.path or (field.param.name,)
    found: list[str | int] = []
    for step in path:
        if step == REPORT:
            found.append(report)
        elif step == ELEMENT:
            found.append(field.number - 1)
        elif step == ORDER_KEY:
            found.append(order)
        else:
            found.append(_numbered(step, field.number) if isinstance(step, str) else step)
    return tuple(found)


def _put(root: dict[str | int, object], path: Path, found: Json) -> None:
    node = root
    for key in path[:-1]:
        node = node.setdefault(key, {})  # type: ignore[assignment]
    node[path[-1]] = found


def _listed(node: object) -> Json:
    """Converts objects whose keys are numbers into lists."""
    if not isinstance(node, dict):
        return node  # type: ignore[return-value]
    if node and all(isinstance(key, int) for key in node):
        return [_listed(node[key]) for key in sorted(node)]
    return {str(key): _listed(inner) for key, inner in node.items()}


# -- address


def _address(partner: Partner, url: str, settings: Mapping[str, Setting], fields: Sequence[_Field]) -> str:
    host, rest = _host_and_rest(url)
    values = {**{key: str(found) for key, found in settings.items()}}
    values |= {field.name: text(field.value) for field in fields if field.param.place == "url"}
    target = _PLACEHOLDER.sub(lambda m: percent(values[m[1]]), rest)
    if partner.endpoint is not None:
        return partner.endpoint + target
    scheme, _, name = host.partition("://")
    name = filled(name, settings)
    if not _HOST.fullmatch(name):
        keys = ", ".join(f"settings.{key}" for key in _PLACEHOLDER.findall(host))
        raise RenderError(f'partner {partner.id}: {keys} is not a host name such as "track.example.com"')
    return f"{scheme}://{name}{target}"


def _host_and_rest(url: str) -> tuple[str, str]:
    end = re.search(r"(?<=[^:/])[/?]|$", url)
    cut = end.start() if end else len(url)
    return url[:cut], url[cut:]


def filled(template: str, settings: Mapping[str, Setting]) -> str:
    """A template over the settings; one that is missing is empty."""
    return _PLACEHOLDER.sub(lambda m: str(settings.get(m[1], "")), template)
