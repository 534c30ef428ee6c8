"""`GET openapi.json`: the API for programs as an OpenAPI 3.1 document, made from its operations."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from ...events.metrics import VERSION
from ...postbacks.outgoing import (
    CALLBACK_EVENTS,
    COMMISSION_EVENTS,
    CREDIT_EVENTS,
    HOLD_EVENTS,
    LOAD_EVENTS,
    OFFER_EVENTS,
    ORDER_EVENTS,
    PAYOUT_EVENTS,
    POSTBACK_EVENTS,
    PRESENCE_EVENTS,
    RULES_EVENTS,
    TALK_EVENTS,
    TEST,
    TYPES,
)
from ..context import RequestContext
from . import commissions, exports, forget, orders, rules, schemas
from .operation import Operation, Parameter, routes_of
from .schemas import Document, Error

_EVENTS: Mapping[str, type[BaseModel]] = {
    **dict.fromkeys(ORDER_EVENTS, schemas.OrderEvent),
    **dict.fromkeys(CREDIT_EVENTS, schemas.CreditEvent),
    **dict.fromkeys(POSTBACK_EVENTS, schemas.PostbackEvent),
    **dict.fromkeys(HOLD_EVENTS, schemas.HoldEvent),
    **dict.fromkeys(COMMISSION_EVENTS, schemas.CommissionEvent),
    **dict.fromkeys(PAYOUT_EVENTS, schemas.PayoutEvent),
    **dict.fromkeys(OFFER_EVENTS, schemas.OfferEvent),
    **dict.fromkeys(CALLBACK_EVENTS, schemas.CallbackEvent),
    **dict.fromkeys(TALK_EVENTS, schemas.TalkEvent),
    **dict.fromkeys(PRESENCE_EVENTS, schemas.PresenceEvent),
    **dict.fromkeys(LOAD_EVENTS, schemas.LoadEvent),
    **dict.fromkeys(RULES_EVENTS, schemas.RulesEvent),
    TEST: schemas.TestEvent,
}
_TEMPLATE = "#/components/schemas/{model}"
_ABOUT = (
    "For the shop's own programs. Amounts are decimal text with a dot, times RFC 3339. Every error is "
    '`{"error": "what is wrong, and what to do"}`.'
)
# Of every operation: a wrong parameter, over a limit, a store that fails. And of those with a token.
_ALWAYS, _WITH_TOKEN = (400, 429, 503), (401, 403)


def document(prefix: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """The document of a site with this prefix."""
    listed = list(operations)
    bodies = {one.body for one in listed if one.body is not None}
    answers: set[type[BaseModel]] = {Error, *_EVENTS.values()}
    for one in listed:
        answers.update(a for a in one.answers.values() if not isinstance(a, str))
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((body, "validation") for body in bodies),
        *((answer, "serialization") for answer in answers),
    ]
    modes.sort(key=lambda pair: pair[0].__name__)
    names, definitions = models_json_schema(modes, ref_template=_TEMPLATE)
    named: dict[Any, Any] = {model: schema for (model, _), schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "clew", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": prefix.rstrip("/")}],
        "paths": paths,
        "webhooks": {name: _event(name, model, named) for name, model in _EVENTS.items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": definitions["$defs"],
        },
    }


def _operation(one: Operation, schemas: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    errors = {*_ALWAYS, *one.errors, *(_WITH_TOKEN if one.scope is not None else ())}
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.about,
        "parameters": [_parameter(p) for p in one.parameters],
        "responses": {
            **{str(status): _answer(status, answer, schemas) for status, answer in one.answers.items()},
            **{str(status): _answer(status, Error, schemas) for status in sorted(errors)},
        },
    }
    if one.scope is not None:
        found["security"] = [{"token": []}]
        found["description"] = f"The token needs the scope `{one.scope}`."
    if one.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[one.body]}},
        }
    return found


def _event(name: str, model: type[BaseModel], schemas: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    """A webhook that clew sends to an endpoint of the shop's own."""
    body = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": name},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": schemas[model],
        },
    }
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "post": {
            "summary": TYPES[name],
            "description": "Signed as Standard Webhooks 1.0.0 says.",
            "parameters": [
                {"name": one, "in": "header", "required": True, "schema": {"type": "string"}}
                for one in headers
            ],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"2XX": {"description": "It was taken."}},
        }
    }


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.place,
        "required": one.place == "path",
        "description": one.about,
        "schema": dict(one.schema),
    }


def _answer(
    status: int, answer: type[BaseModel] | str, schemas: Mapping[type[BaseModel], Any]
) -> dict[str, Any]:
    if isinstance(answer, str):
        content = {answer: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": schemas[answer]}}
    return {"description": HTTPStatus(status).phrase, "content": content}


async def _openapi(_request: Request, at: RequestContext) -> Response:
    # Made once; it takes some 30 ms.
    written = await asyncio.to_thread(_written, at.site.prefix)
    return Response(written, media_type="application/json")


@cache
def _written(prefix: str) -> str:
    return json.dumps(document(prefix, operations))


operations = [
    *orders.operations,
    *commissions.operations,
    *rules.operations,
    *exports.operations,
    *forget.operations,
    Operation("GET", "/openapi.json", "get_openapi", "This document.", _openapi, {200: Document}),
]
routes = routes_of(operations)
