"""Parses and validates an order from a shop's server or an agent."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from .checks import checked_text
from .claims import AffiliateAttribution, Attribution, ClaimError, digest_of, refuse_personal
from .ids import normalised
from .model import Channel, Item, OrderError, OrderSeen, OrderState, Refund, RefundItem, Source
from .money import checked_currency, checked_total, currencies
from .status import LATEST
from .wording import field_problem

BODY_LIMIT = 64 * 1024  # bytes
ITEMS = 200
REFUNDS = 50
REFUND_ITEMS = 400  # of all refunds together
FIELDS = 100
PROBLEMS = 10
FRACTION = 12
NUMBERS = 5
VISITOR_LENGTH = 4096  # characters; longer than any cookie of a visitor
_PLAIN = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


class ParsedOrder(NamedTuple):
    """An order, its visitor as the sender named it (None if it did not), and what agents claim of it."""

    order: OrderSeen
    visitor: str | None
    claims: tuple[AffiliateAttribution, ...] = ()
    attribution: Mapping[str, str] | None = None


def _id(value: object) -> object:
    # Many shops number their orders: 1001 and "1001" are one id.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _decimal(value: object, part: str) -> object:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, str) or not _PLAIN.fullmatch(value.strip()):
        raise OrderError(f'{part}: write it as a number with a dot for the decimals, for example "59.90"')
    return Decimal(value.strip())


def _amount(part: str) -> BeforeValidator:
    return BeforeValidator(lambda value: value if value is None else _decimal(value, part))


def _small(value: object, part: str, places: int, *, signed: bool = False) -> object:
    """A number below 10^`places` with at most FRACTION digits after the dot. It takes minutes to compute with
    one of a huge exponent."""
    found = None if value is None else _decimal(value, part)
    if not isinstance(found, Decimal):
        return found
    if found < 0 and not signed:
        raise OrderError(f"{part}: it is negative")
    if found and found.adjusted() >= places:
        raise OrderError(f"{part}: it is too large; the limit is 10^{places}")
    if not found:
        return Decimal()
    is_short = found.as_tuple().exponent in range(-FRACTION, places)
    return found if is_short else round(found, FRACTION).normalize()


def _text(part: str, length: int = 200) -> AfterValidator:
    return AfterValidator(lambda value: checked_text(value, part, length))


def _time(value: object) -> object:
    """Seconds of a time with its zone, as RFC 3339 writes it, or of unix seconds."""
    if value is None:
        return None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        found = float(value)
    else:
        moment = None
        with suppress(ValueError):
            moment = datetime.fromisoformat(str(value).strip())
        if moment is None or moment.tzinfo is None:
            raise OrderError('a time: write it with its zone, for example "2026-11-23T10:00:00Z"')
        found = moment.timestamp()
    if not 0 < found < LATEST:
        raise OrderError("a time: it is not one of these years")
    return found


# What JSON Schema can say of these values; the validators say the rest.
_ID_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 200}, {"type": "integer"}]}
)
_TEXT_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})
_AMOUNT_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": 0, "exclusiveMaximum": 10**15},
            {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]+)?$"},
        ]
    }
)
_TIME_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": int(LATEST)},
        ]
    }
)
_CURRENCY_SCHEMA = WithJsonSchema({"type": "string", "enum": currencies()})
_SIGNED_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": -(10**15), "exclusiveMaximum": 10**15},
            {"type": "string", "pattern": r"^-?[0-9]{1,15}(\.[0-9]+)?$"},
        ]
    }
)
_QUANTITY_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": 0, "exclusiveMaximum": 10**9},
            {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]+)?$"},
        ]
    }
)
Amount = Annotated[Decimal, _amount("an amount"), _AMOUNT_SCHEMA]
Time = Annotated[float, BeforeValidator(_time), _TIME_SCHEMA]


def _of_item(part: str) -> BeforeValidator:
    # A line may be a discount.
    return BeforeValidator(lambda value: _small(value, part, 15, signed=True))


Quantity = Annotated[Decimal, BeforeValidator(lambda value: _small(value, "quantity", 9)), _QUANTITY_SCHEMA]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ItemBody(_Body):
    """A line of the order."""

    id: Annotated[str, BeforeValidator(_id), _text("items: id"), _ID_SCHEMA]
    name: Annotated[str, _text("items: name"), _TEXT_SCHEMA] = ""
    category: Annotated[str, _text("items: category"), _TEXT_SCHEMA] = ""
    quantity: Quantity = Decimal(1)
    price: Annotated[Decimal, _of_item("items: price"), _SIGNED_SCHEMA] | None = None
    discount: Annotated[Decimal, _of_item("items: discount"), _SIGNED_SCHEMA] | None = None
    tax: Annotated[Decimal, _of_item("items: tax"), _SIGNED_SCHEMA] | None = None


class RefundItemBody(_Body):
    """What of a line was refunded."""

    id: Annotated[str, BeforeValidator(_id), _text("refunds: items: id"), _ID_SCHEMA]
    quantity: Quantity = Decimal(1)
    amount: (
        Annotated[
            Decimal,
            BeforeValidator(lambda value: _small(value, "refunds: items: amount", 15)),
            _AMOUNT_SCHEMA,
        ]
        | None
    ) = None


class RefundBody(_Body):
    """Money that went back, by the shop's own id of the refund."""

    id: Annotated[str, BeforeValidator(_id), _text("refunds: id"), _ID_SCHEMA]
    amount: Amount
    items: Annotated[list[RefundItemBody], Field(max_length=ITEMS)] = []


def _with(*fields: str) -> dict[str, Any]:
    """JSON Schema: these fields are there, and not null."""
    there = {"not": {"anyOf": [{"type": "null"}, {"type": "array", "maxItems": 0}]}}
    return {"required": list(fields), "properties": dict.fromkeys(fields, there)}


# As `_missing` says it.
_NEEDED: dict[str, Any] = {
    "allOf": [
        {
            "anyOf": [
                _with("id"),
                _with("numbers"),
                _with("visitor"),
                _with("total", "email_hash"),
                _with("total", "coupon"),
            ]
        },
        {"anyOf": [_with("total"), _with("state"), _with("refunds")]},
        {"anyOf": [_with("currency"), {"not": {"anyOf": [_with("total"), _with("refunds")]}}]},
    ]
}


class OrderBody(_Body):
    """The fields of `POST orders`."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_NEEDED)

    id: Annotated[str, BeforeValidator(_id), _text("id"), _ID_SCHEMA] | None = None
    total: Annotated[Decimal, _amount("total"), _AMOUNT_SCHEMA] | None = None
    currency: Annotated[str, AfterValidator(checked_currency), _CURRENCY_SCHEMA] | None = None
    visitor: Annotated[str, _text("visitor", VISITOR_LENGTH), _TEXT_SCHEMA] | None = None
    channel: Channel | None = None
    coupon: Annotated[str, _text("coupon"), _TEXT_SCHEMA] | None = None
    state: OrderState | None = None
    numbers: Annotated[
        list[Annotated[str, BeforeValidator(_id), _text("numbers"), _ID_SCHEMA]], Field(max_length=NUMBERS)
    ] = []
    refunds: Annotated[list[RefundBody], Field(max_length=REFUNDS)] = []
    placed_at: Time | None = None
    updated_at: Time | None = None
    net: Amount | None = None
    shipping: Amount | None = None
    tax: Amount | None = None
    discount: Amount | None = None
    customer: Literal["new", "returning"] | None = None
    email_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    items: Annotated[list[ItemBody], Field(max_length=ITEMS)] | None = None
    recurring: bool = False
    affiliate_attribution: (
        AffiliateAttribution | Annotated[list[AffiliateAttribution], Field(min_length=1, max_length=2)] | None
    ) = None
    attribution: Attribution | None = None

    @property
    def claims(self) -> tuple[AffiliateAttribution, ...]:
        """What agents claim by the Agentic Commerce Protocol."""
        said = self.affiliate_attribution
        return () if said is None else tuple(said) if isinstance(said, list) else (said,)


def parse_order(body: bytes) -> ParsedOrder:
    """The order in a JSON body with the fields of OrderBody.

    Amounts are numbers or plain decimal text, read without loss. Raises OrderError, naming each wrong field.
    """
    if len(body) > BODY_LIMIT:
        raise OrderError(f"the body has {len(body)} bytes; at most {BODY_LIMIT} are allowed")
    return parsed_order(json_object(body), "api")


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; its numbers with a dot are decimals. Raises OrderError."""
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
            "the body cannot be read: an exponent or the depth of its JSON is too large"
        ) from error
    if not isinstance(values, Mapping):
        raise OrderError('the body is not a JSON object; send {"id": …, "total": …, "currency": …}')
    return values


def parsed_order(values: Mapping[str, Any], source: Source) -> ParsedOrder:
    """The order in the fields of OrderBody. Raises OrderError that names the first PROBLEMS wrong fields."""
    problems, body = [], None
    if len(values) > FIELDS:
        raise OrderError(f"the body has {len(values)} fields; docs/api.md names those of an order")
    try:
        body = OrderBody.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        _refuse_claims(found)
        problems = [field_problem(one) for one in found[:PROBLEMS]]
        problems += [f"and {len(found) - PROBLEMS} more"] if len(found) > PROBLEMS else []
    problems += _missing(values, source)
    if body is None or problems:
        raise OrderError("; ".join(problems))
    if sum(len(one.items) for one in body.refunds) > REFUND_ITEMS:
        raise OrderError(f"refunds: they name more than {REFUND_ITEMS} items; send them without `items`")
    listed = isinstance(body.affiliate_attribution, list)
    refuse_personal(body.claims, body.attribution, listed=listed)
    return ParsedOrder(_seen(body, source), body.visitor, body.claims, body.attribution)


def _refuse_claims(problems: Iterable[Mapping[str, Any]]) -> None:
    """Raise ClaimError for a claim that is not as its protocol says."""
    for one in problems:
        if one["loc"] and one["loc"][0] in ("affiliate_attribution", "attribution"):
            # The names of the alternatives in a union are part of the place.
            place = [str(p) for p in one["loc"] if p != "AffiliateAttribution" and "[" not in str(p)]
            param = "$." + ".".join(place)
            raise ClaimError("invalid_type", param, f"{param.removeprefix('$.')}: {one['msg']}")


def _missing(values: Mapping[str, Any], source: Source) -> Iterator[str]:
    """What is needed beside what is there: only a state or refunds of a known order go without a total."""
    if values.get("id") is None and not values.get("numbers"):
        beside = values.get("total") is not None and (values.get("email_hash") or values.get("coupon"))
        if source not in ("api", "webhook") or not (values.get("visitor") or beside):
            yield "id: it is missing; without it send `visitor`, or the total with `email_hash` or `coupon`"
    alone = values.get("state") is not None or bool(values.get("refunds"))
    if values.get("total") is None and not alone:
        yield "total: it is missing; only a `state` or `refunds` of a known order go without"
    if values.get("currency") is None and (
        values.get("total") is not None or values.get("refunds") or not alone
    ):
        yield 'currency: it is missing; write for example "EUR"'


def _seen(body: OrderBody, source: Source) -> OrderSeen:
    number = normalised(body.id) if body.id is not None else None

    def amount(value: Decimal | None) -> Decimal | None:
        return None if value is None or body.currency is None else checked_total(value, body.currency)

    return OrderSeen(
        id=None if number is None else number.id,
        total=amount(body.total),
        currency=body.currency,
        source=source,
        coupon=body.coupon,
        channel=body.channel,
        placed_at=body.placed_at,
        # A webhook always says the state, unless it is one that clew does not know.
        state=body.state or ("placed" if body.total is not None and source != "webhook" else None),
        spelling=number.spelling if number is not None and number.spelling != number.id else None,
        further=tuple(dict.fromkeys(normalised(n, "numbers").id for n in body.numbers)),
        as_of=body.updated_at,
        net=amount(body.net),
        shipping=amount(body.shipping),
        tax=amount(body.tax),
        discount=amount(body.discount),
        customer=body.customer,
        items=None if body.items is None else tuple(Item(**dict(item)) for item in body.items),
        refunds=tuple(
            Refund(one.id, amount(one.amount) or Decimal(), tuple(RefundItem(**dict(i)) for i in one.items))
            for one in body.refunds
        ),
        email_hash=body.email_hash,
        recurring=body.recurring,
        claimed=digest_of(body.claims, body.attribution),
    )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON parsers disagree about which of two values counts (RFC 8259 §4).
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"{twice[:40]!r} is in it twice")
    return values


def _whole(digits: str) -> int:
    if len(digits) > 200:
        raise ValueError(f"a number in it has {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
