"""Parses and validates an order from a shop's server or an agent."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from .checks import checked_text
from .ids import normalised
from .model import Channel, OrderError, OrderSeen, Source
from .money import checked_currency, checked_total

BODY_LIMIT = 16 * 1024  # bytes; the longest valid body is far smaller
VISITOR_LENGTH = 4096  # characters: the visitor's cookie as the shop's server got it fits
_PLAIN = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


class ParsedOrder(NamedTuple):
    """An order, and its visitor as the sender named it; None if it did not."""

    order: OrderSeen
    visitor: str | None


def _id(value: object) -> object:
    # Many shops number their orders: 1001 and "1001" are one id.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _total(value: object) -> object:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, str) or not _PLAIN.fullmatch(value.strip()):
        raise OrderError('total: write it as a number with a dot for the decimals, for example "59.90"')
    return Decimal(value.strip())


def _text(part: str, length: int = 200) -> AfterValidator:
    return AfterValidator(lambda value: checked_text(value, part, length))


class OrderBody(BaseModel):
    """The fields of `POST orders`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, BeforeValidator(_id), _text("id")]
    total: Annotated[Decimal, BeforeValidator(_total)]
    currency: Annotated[str, AfterValidator(checked_currency)]
    visitor: Annotated[str, _text("visitor", VISITOR_LENGTH)] | None = None
    channel: Channel | None = None
    coupon: Annotated[str, _text("coupon")] | None = None


def parse_order(body: bytes) -> ParsedOrder:
    """The order in a JSON body `{id, total, currency, visitor?, channel?, coupon?}`.

    `total` is a number or plain decimal text, read without loss. Raises OrderError, naming each wrong field.
    """
    if len(body) > BODY_LIMIT:
        raise OrderError(f"the body has {len(body)} bytes; at most {BODY_LIMIT} are taken")
    try:
        values = json.loads(
            body,
            parse_float=Decimal,
            parse_int=_whole,
            parse_constant=_no_constant,
            object_pairs_hook=_each_once,
        )
    except ValueError as error:
        raise OrderError(f"the body is not JSON: {error}") from error
    except (ArithmeticError, RecursionError) as error:
        raise OrderError(
            "the body is no JSON that can be read: an exponent or its depth is too large"
        ) from error
    if not isinstance(values, Mapping):
        raise OrderError('the body is not a JSON object; send {"id": …, "total": …, "currency": …}')
    return parsed_order(values, "api")


def parsed_order(values: Mapping[str, Any], source: Source) -> ParsedOrder:
    """The order in the fields of OrderBody. Raises OrderError that names each wrong field."""
    try:
        body = OrderBody.model_validate(values)
    except ValidationError as error:
        raise OrderError("; ".join(_problem(e) for e in error.errors())) from None
    number = normalised(body.id)
    order = OrderSeen(
        id=number.id,
        total=checked_total(body.total, body.currency),
        currency=body.currency,
        source=source,
        coupon=body.coupon,
        channel=body.channel,
        spelling=number.spelling if number.spelling != number.id else None,
    )
    return ParsedOrder(order, body.visitor)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Which of two amounts would it be? JSON's readers disagree (RFC 8259 §4).
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"{twice[:40]!r} stands in it twice")
    return values


def _whole(digits: str) -> int:
    if len(digits) > 200:
        raise ValueError(f"a number in it has {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _problem(error: Mapping[str, Any]) -> str:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, OrderError):
        return str(cause)
    return f"{'.'.join(str(p) for p in error['loc'])}: {error['msg']}"
