"""The values of the parameters of a network's call: their sources and formats.

The catalogue names both (`referral.calls.SOURCES` and `FORMATS`). Here they are tables, so a new network
needs an entry in the catalogue and no code.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from types import MappingProxyType
from urllib.parse import quote

from ..orders.money import minor_digits
from ..referral.calls import Param, Setting, argument_of, formats_of, word_of
from .lines import Line, Part, lines, parts
from .masking import masked_click
from .model import Report

# What goes into a JSON body; in a query or a form all of it becomes text.
Json = str | int | bool | Decimal | list["Json"] | dict[str, "Json"]
Element = Line | Part
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CLICKS = ("click_id", "click_ids")
_WHOLE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Given:
    """The input of the values: the report, and the partner's settings over the network's defaults.

    `lines` and `parts` are the order's items and commission groups (see `given`). `now` is unix seconds,
    `kept` what the network's response to the order contained, `body` the body, for a signature in a header.
    `test`: the call is marked as a test. `masked`: click ids are masked.
    """

    report: Report
    settings: Mapping[str, Setting]
    now: float = 0.0
    kept: str = ""
    body: str = ""
    lines: tuple[Line, ...] = field(default=())
    parts: tuple[Part, ...] = field(default=())
    test: bool = False
    masked: bool = False

    @property
    def has_items(self) -> bool:
        """Whether the order's items are known."""
        return bool(self.lines)


def given(
    report: Report,
    settings: Mapping[str, Setting],
    groups: Mapping[str, str] = MappingProxyType({}),
    *,
    now: float = 0.0,
    kept: str = "",
    without_items: str = "",
    test: bool = False,
) -> Given:
    """The input for a report, with its items and commission groups; `groups` are the partner's."""
    default = str(settings.get("commission_group", ""))
    found = lines(report, groups, default, without_items)
    return Given(report, settings, now, kept, "", found, parts(report, found, default), test)


def is_due(param: Param, given: Given) -> bool:
    """Whether a call of this kind has the parameter."""
    match param.when:
        case "items":
            return given.has_items
        case "no items":
            return not given.has_items
        case "test":
            return given.test
        case _:
            return True


def value(param: Param, given: Given, element: Element | None = None) -> Json | None:
    """The parameter's value; None if there is none, for example for an order without a voucher. `element` is
    the item or the commission group for which it is written.

    Raises ValueError, naming the settings key, for a setting that does not fit the format.
    """
    if param.when and not is_due(param, given):
        return None
    if param.digest is not None and not _has_secrets(param, given):
        return None
    found = _joined(param, given) if element is None and param.each else _one(param, given, element)
    if found is None:
        return None
    if param.digest is not None:
        found = _digest(param, text(found), given)
    return f"{param.prefix}{text(found)}" if param.prefix else found


def elements(param: Param, given: Given) -> tuple[Element, ...]:
    """What the parameter is written for once each."""
    return given.lines if param.each == "item" else given.parts


def text(found: Json) -> str:
    """A value in a query or a form: 1 and 0 for true and false."""
    if isinstance(found, bool):
        return "1" if found else "0"
    return format(found, "f") if isinstance(found, Decimal) else str(found)


def _joined(param: Param, given: Given) -> Json | None:
    """The values of all items in one text. One that is not known keeps its place."""
    values = [_one(param, given, element) for element in elements(param, given)]
    if all(found is None for found in values):
        return None
    written = ["" if found is None else text(found) for found in values]
    if param.source != "template":
        # A separator inside of a value would end it.
        written = [one.replace(param.join, " ") for one in written]
    return param.join.join(written)


def _one(param: Param, given: Given, element: Element | None) -> Json | None:
    found = _filled(param, given, element) if param.source == "template" else _read(param, given, element)
    if found is None or found == "":
        found = param.default
    if isinstance(found, str):
        if param.source != "template":  # there it is done for what goes in
            for character in param.remove:
                found = found.replace(character, " ")
        found = param.values.get(found, param.values.get("*", found))[: param.max_length]
        if param.format == "integer" and param.values:
            return int(found) if _WHOLE.fullmatch(found) else None
    return None if found == "" else found


def _read(param: Param, given: Given, element: Element | None) -> Json | None:
    if element is not None and (of_element := _OF_ELEMENT.get(param.source)) is not None:
        return of_element(param, given, element)
    read = _SOURCES.get(param.source)
    found = read(param, given) if read else None
    if isinstance(found, str) and (param.after or param.until):
        found = _cut(param, found)
    return _masked(found) if given.masked and param.source in _CLICKS and param.format != "fbc" else found


def _masked(found: Json | None) -> Json | None:
    if isinstance(found, list):
        return [masked_click(str(one)) for one in found]
    return found if found is None or found == "" else masked_click(str(found))


def _filled(param: Param, given: Given, element: Element | None) -> str | None:
    """The template with its values; None if it has values, and none of them is known."""
    known, written = not any(isinstance(part, Param) for part in compiled(param.template)), []
    for part in compiled(param.template):
        if isinstance(part, str):
            written.append(part)
            continue
        found = _read(part, given, element)
        known = known or (found is not None and found != "")
        one = "" if found is None else text(found)
        for character in param.remove:
            one = one.replace(character, " ")
        written.append(quote(one.encode("utf-8", "surrogateescape"), safe="") if param.escape else one)
    return "".join(written) if known else None


@cache
def compiled(template: str) -> tuple[str | Param, ...]:
    """The texts and the values of a template, `{order_id}` or `{amount:minor}`."""
    found: list[str | Param] = []
    for number, part in enumerate(_PLACEHOLDER.split(template)):
        if number % 2 == 0:
            found += [part] if part else []
            continue
        source, _, written = part.partition(":")
        word = word_of(source)
        found.append(Param("", word, argument_of(source), format=written or formats_of(word)[0]))
    return tuple(found)


def _has_secrets(param: Param, given: Given) -> bool:
    """Whether the partner has the settings that a digest is made with."""
    keys = [
        one.argument for one in compiled(param.template) if isinstance(one, Param) and one.source == "setting"
    ]
    return all(given.settings.get(key, "") != "" for key in (*keys, *([param.key] if param.key else [])))


def _digest(param: Param, found: str, given: Given) -> str:
    content = found.encode("utf-8", "surrogateescape")
    kind = str(param.digest)
    if kind.startswith("hmac-"):
        key = str(given.settings.get(param.key, "")).encode("utf-8")
        digest = hmac.new(key, content, kind.removeprefix("hmac-")).digest()
    else:
        digest = hashlib.new(kind, content, usedforsecurity=False).digest()
    return b64encode(digest).decode("ascii") if param.base64 else digest.hex()


def _plain(found: Setting | None, param: Param) -> Json | None:
    if found is None or found == "":
        return None
    if param.format == "boolean":
        return str(found).lower() in ("1", "true")
    if param.format == "integer":
        if not str(found).strip().isdecimal():
            raise ValueError(f"{param.source}s.{param.argument} must be a whole number for {param.name}")
        return int(found)
    return str(found)


def _cut(param: Param, found: str) -> Json | None:
    """The part of a text that the parameter takes."""
    found = found.partition(param.after)[2] if param.after else found
    found = found.partition(param.until)[0] if param.until else found
    if param.format == "integer":
        return int(found) if _WHOLE.fullmatch(found) else None
    return found


def _click(param: Param, given: Given) -> Json | None:
    report = given.report
    # A network with several kinds of click id (gclid, wbraid) has one parameter for each kind.
    if param.of and report.click_param and report.click_param not in param.of:
        return None
    if param.format == "fbc" and report.click_id:
        click_id = masked_click(report.click_id) if given.masked else report.click_id
        return f"fb.1.{report.landing_time * 1000}.{click_id}"
    return report.click_id


def _clicks(param: Param, given: Given) -> Json | None:
    found = _click(param, given)
    return found if param.join or not found else [found]


def _money(amount: Decimal | None, param: Param, given: Given) -> Json | None:
    if amount is None:
        return None
    amount = -amount if param.negative else amount
    digits = minor_digits(given.report.currency)
    match param.format:
        case "number":
            return amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
        case "decimal2":
            return format(amount.quantize(Decimal("0.01"), ROUND_HALF_UP), "f")
        case "minor":
            return int(amount.scaleb(digits).to_integral_value(ROUND_HALF_UP))
        case "integer":
            return int(amount.to_integral_value(ROUND_HALF_UP))
        case _:
            return format(amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP), "f")


def _amount(name: str) -> Callable[[Param, Given], Json | None]:
    def read(param: Param, given: Given) -> Json | None:
        written: str = getattr(given.report, name)
        return _money(Decimal(written), param, given) if written else None

    return read


def _change(param: Param, given: Given) -> Json | None:
    report = given.report
    return _money(Decimal(report.amount) - Decimal(report.before or 0), param, given)


def _time(seconds: float, param: Param) -> Json | None:
    if not seconds:
        return None
    if param.format == "iso8601":
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if "%" in param.format:
        return datetime.fromtimestamp(seconds, UTC).strftime(param.format)
    return int(seconds * 1000) if param.format == "unix_ms" else int(seconds)


def _quantity(param: Param, line: Line) -> Json:
    whole = line.quantity.to_integral_value()
    if param.format == "integer":
        return int(line.quantity.to_integral_value(ROUND_HALF_UP))
    return format(whole if whole == line.quantity else line.quantity.normalize(), "f")


def _of_line(read: Callable[[Param, Line], Json | None]) -> Callable[[Param, Given, Element], Json | None]:
    return lambda param, _, element: read(param, element) if isinstance(element, Line) else None


def _money_of(name: str) -> Callable[[Param, Given, Element], Json | None]:
    return lambda param, given, element: _money(getattr(element, name), param, given)


# Of an item or a commission group.
_OF_ELEMENT: Mapping[str, Callable[[Param, Given, Element], Json | None]] = MappingProxyType(
    {
        "item.sku": _of_line(lambda p, line: line.sku),
        "item.name": _of_line(lambda p, line: line.name),
        "item.category": _of_line(lambda p, line: line.category),
        "item.group": _of_line(lambda p, line: line.group),
        "item.quantity": _of_line(_quantity),
        "item.index": _of_line(lambda p, line: line.index if p.format == "integer" else str(line.index)),
        "item.count": _of_line(lambda p, line: line.count if p.format == "integer" else str(line.count)),
        "item.unit_price": _money_of("unit_price"),
        "item.discount": _money_of("discount"),
        "item.line_total": _money_of("total"),
        "item.change": _money_of("change"),
        "item.tax": _money_of("tax"),
        "part.group": lambda p, g, element: element.group,
        "part.amount": _money_of("amount"),
    }
)

_SOURCES: Mapping[str, Callable[[Param, Given], Json | None]] = MappingProxyType(
    {
        "click_id": _click,
        "click_ids": _clicks,
        "order_id": lambda p, g: g.report.order_id,
        "amount": _amount("amount"),
        "amount.before": _amount("before"),
        "amount.change": _change,
        "currency": lambda p, g: g.report.currency,
        "channel": lambda p, g: g.report.channel,
        "event": lambda p, g: g.report.event,
        "state": lambda p, g: g.report.state,
        "order_time": lambda p, g: _time(g.report.order_time, p),
        "landing_time": lambda p, g: _time(g.report.landing_time, p),
        "now": lambda p, g: _time(g.now, p),
        "voucher": lambda p, g: g.report.voucher,
        "consent.gdpr": lambda p, g: "1" if g.report.tcf else None,
        "consent.tcf": lambda p, g: g.report.tcf,
        # What nobody was asked for is nobody's consent.
        "consent.marketing": lambda p, g: {"granted": "yes", "denied": "no"}.get(g.report.consent),
        "commission_group": lambda p, g: _plain(g.settings.get("commission_group"), p),
        "setting": lambda p, g: _plain(g.settings.get(p.argument), p),
        "const": lambda p, g: _plain(p.argument, p),
        "body": lambda p, g: g.body,
        "kept": lambda p, g: g.kept,
        "discount": _amount("discount"),
        "tax": _amount("tax"),
        "shipping": _amount("shipping"),
        "customer_type": lambda p, g: g.report.customer,
        # The hash is sent only with the person's yes, whatever the site's mode of consent is.
        "email_sha256": lambda p, g: g.report.email_sha256 if g.report.consent == "granted" else None,
    }
)
