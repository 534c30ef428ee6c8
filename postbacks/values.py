"""The values of the parameters of a network's call: their sources and formats.

The catalogue names both (`referral.catalogue.SOURCES` and `FORMATS`). Here they are tables, so a new network
needs an entry in the catalogue and no code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType

from ..orders.money import minor_digits
from ..referral.catalogue import Param, Setting
from .model import Report

# What goes into a JSON body; in a query or a form all of it becomes text.
Json = str | int | bool | Decimal | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Given:
    """The input of the values: the report, and the partner's settings over the network's defaults."""

    report: Report
    settings: Mapping[str, Setting]


def value(param: Param, given: Given) -> Json | None:
    """The parameter's value; None if there is none, for example for an order without a voucher.

    Raises ValueError, naming the settings key, for a setting that does not fit the format.
    """
    read = _SOURCES.get(param.source)
    found = read(param, given) if read else None
    if found is None or found == "":
        found = param.default
    if isinstance(found, str):
        found = param.values.get(found, found)[: param.max_length]
    return None if found == "" else found


def text(found: Json) -> str:
    """A value in a query or a form: 1 and 0 for true and false."""
    if isinstance(found, bool):
        return "1" if found else "0"
    return format(found, "f") if isinstance(found, Decimal) else str(found)


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


def _click(param: Param, given: Given) -> Json | None:
    report = given.report
    # A network with several kinds of click id (gclid, wbraid) has one parameter for each kind.
    if param.of and report.click_param and report.click_param not in param.of:
        return None
    if param.format == "fbc" and report.click_id:
        return f"fb.1.{report.landing_time * 1000}.{report.click_id}"
    return report.click_id


def _clicks(param: Param, given: Given) -> Json | None:
    found = _click(param, given)
    return found if param.join or not found else [found]


def _amount(param: Param, given: Given) -> Json:
    amount, digits = Decimal(given.report.amount), minor_digits(given.report.currency)
    match param.format:
        case "number":
            return amount
        case "decimal2":
            return format(amount.quantize(Decimal("0.01"), ROUND_HALF_UP), "f")
        case "minor":
            return int(amount.scaleb(digits))
        case "integer":
            return int(amount.to_integral_value(ROUND_HALF_UP))
        case _:
            return given.report.amount


def _time(seconds: int, param: Param) -> Json | None:
    if not seconds:
        return None
    if param.format == "iso8601":
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if "%" in param.format:
        return datetime.fromtimestamp(seconds, UTC).strftime(param.format)
    return seconds * 1000 if param.format == "unix_ms" else seconds


def _parts(param: Param, given: Given) -> Json | None:
    # One group for the whole order: clew does not know an order's items.
    group = given.settings.get("commission_group")
    if group is None:
        return None
    if param.format == "group_objects":
        return [{"code": str(group), "amount": Decimal(given.report.amount)}]
    return f"{group}:{given.report.amount}"


_SOURCES: Mapping[str, Callable[[Param, Given], Json | None]] = MappingProxyType(
    {
        "click_id": _click,
        "click_ids": _clicks,
        "order_id": lambda p, g: g.report.order_id,
        "amount": _amount,
        "currency": lambda p, g: g.report.currency,
        "channel": lambda p, g: g.report.channel,
        "order_time": lambda p, g: _time(g.report.order_time, p),
        "landing_time": lambda p, g: _time(g.report.landing_time, p),
        "voucher": lambda p, g: g.report.voucher,
        "consent.gdpr": lambda p, g: "1" if g.report.tcf else None,
        "consent.tcf": lambda p, g: g.report.tcf,
        # What nobody was asked for is nobody's consent.
        "consent.marketing": lambda p, g: {"granted": "yes", "denied": "no"}.get(g.report.consent),
        "commission_group": lambda p, g: _plain(g.settings.get("commission_group"), p),
        "parts": _parts,
        "setting": lambda p, g: _plain(g.settings.get(p.argument), p),
        "const": lambda p, g: _plain(p.argument, p),
    }
)
