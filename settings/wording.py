"""Texts of settings errors: pydantic's errors rewritten for the person who wrote the file.

The texts contain keys but no values of the file, since any value may be a secret.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from .letters import not_ascii
from .model import Settings
from .positions import KeyPath

Context = Mapping[str, Any]

_PATTERNS = {
    r"^[A-Za-z0-9_.-]{1,64}$": "1 to 64 letters, digits, underscores, dots or hyphens",
    r"^[A-Za-z0-9_.~-]{1,64}$": "the name of an address parameter: up to 64 letters, digits, _ . ~ -",
    r"^[A-Za-z0-9_.:-]{1,64}$": "the name of an event: 1 to 64 letters, digits, or _ . : -",
    r"^(customer\.(logged_in|group|first_name)|[a-z][a-z0-9_]{0,31})$": (
        "customer.logged_in, customer.group, customer.first_name, or a name of your own: up to 32 small "
        "letters, digits and underscores, as in [sites.facts.points]"
    ),
    r"^#[0-9a-fA-F]{6}$": 'a colour such as "#1b5e9e"',
    r"^[A-Z]{3}$": 'an ISO 4217 code such as "EUR"',
}

# pydantic's error type → what the value must be.
_NEEDED: dict[str, Callable[[Context], str]] = {
    **dict.fromkeys(("string_type",), lambda _: "a text"),
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), lambda _: "a whole number"
    ),
    **dict.fromkeys(
        ("decimal_type", "decimal_parsing", "float_type", "float_parsing", "finite_number"),
        lambda _: "a number",
    ),
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda _: "true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), lambda _: "a table"),
    **dict.fromkeys(("ip_v4_network", "ip_v6_network"), lambda _: 'a network such as "10.0.0.0/8"'),
    "list_type": lambda _: "a list",
    "literal_error": lambda ctx: str(ctx["expected"]).replace("'", '"'),
    "string_pattern_mismatch": lambda ctx: _PATTERNS.get(ctx["pattern"], f"of the form {ctx['pattern']}"),
    "string_too_short": lambda ctx: _long(ctx["min_length"]),
    "greater_than": lambda ctx: f"more than {ctx['gt']}",
    "greater_than_equal": lambda ctx: f"{ctx['ge']} or more",
    "less_than": lambda ctx: f"less than {ctx['lt']}",
    "less_than_equal": lambda ctx: f"{ctx['le']} or less",
}

_MISSING = {
    "sites": 'write at least one: [[sites]] and below it name = "shop"',
    "name": 'write name = "…": letters, digits, underscores, dots, hyphens',
    "id": 'write id = "…": letters, digits, underscores, dots, hyphens',
    "action": 'write action = "invite", "open", "callback", "number", "show", "hide" or "nothing"',
    "page": 'write page = "/checkout/thank-you*": the path of the confirmation page, * for any characters',
}


Severity = Literal["error", "warning"]
"""A file with warnings but no errors is valid."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One error or warning: where it is, what is wrong, what to do."""

    path: KeyPath
    message: str
    hint: str = ""
    severity: Severity = "error"


def fresh_secret(key: str = "secret") -> str:
    """A line to paste into the settings, with a new random secret."""
    return f'{key} = "{secrets.token_urlsafe(32)}"'


def missing_variable(path: KeyPath, name: str, empty: bool) -> Wording:
    """The error for a value `env:NAME` whose variable is not set or empty."""
    message = f"the environment variable {name} is {'empty' if empty else 'not set'}"
    if path == ("secret",):
        return Wording(path, message, f"for a new one: export {name}={secrets.token_urlsafe(32)}")
    return Wording(path, message, f"set {name} before clew starts")


def worded(errors: Sequence[ErrorDetails], data: Mapping[str, Any], at: KeyPath = ()) -> Iterator[Wording]:
    """All errors of one validation, one for each key. `data` is what was validated, `at` its own position."""
    found: dict[KeyPath, list[ErrorDetails]] = {}
    union: set[KeyPath] = set()
    for error in errors:
        path, skipped = _place(error, data)
        found.setdefault(path, []).append(error)
        if skipped:
            union.add(path)
    for path, here in found.items():
        # Where a text or a table is allowed, an error inside the table shows that a table was meant.
        if path in union and any(other[: len(path)] == path and other != path for other in found):
            continue
        yield _wording((*at, *path), here)


def _place(error: ErrorDetails, data: Any) -> tuple[KeyPath, bool]:
    """The path of an error in the file, and whether pydantic named branches of a union on the way."""
    path: KeyPath = ()
    skipped = False
    for segment in error["loc"]:
        try:
            data = data[segment]
        except (LookupError, TypeError):
            if error["type"] != "missing":
                skipped = skipped or segment != "[key]"
                continue
        path = (*path, segment)
    return path, skipped


def _wording(path: KeyPath, errors: Sequence[ErrorDetails]) -> Wording:
    first = errors[0]
    kind, context = first["type"], first.get("ctx", {})
    if kind == "missing":
        return Wording(path, "is missing", _missing_hint(path))
    if kind == "extra_forbidden":
        name = str(path[-1])
        return Wording(path, f"unknown key{not_ascii(name)}", nearest(name, _known_keys(path[:-1])))
    if first["loc"][-1:] == ("[key]",):
        message = f"unknown key{not_ascii(str(path[-1]))}"
        if kind not in _NEEDED:
            return Wording(path, message, first["msg"])
        says = "known are" if kind == "literal_error" else "a key is"
        return Wording(path, message, f"{says} {_NEEDED[kind](context)}")
    if kind == "value_error":
        message, _, hint = str(context.get("error", first["msg"])).partition("; ")
        return Wording(path, message, hint)
    if kind == "too_short":
        if context.get("field_type") == "List":
            return Wording(path, "is empty", _missing_hint(path))
        hint = fresh_secret() if path == ("secret",) else ""
        return Wording(path, f"must be {_long(context['min_length'])}", hint)
    needed = dict.fromkeys(_NEEDED[e["type"]](e.get("ctx", {})) for e in errors if e["type"] in _NEEDED)
    if not needed:
        return Wording(path, first["msg"])
    # Of a value that may be a secret nothing is shown: none of these types is one.
    named = first["input"] if kind in ("literal_error", "string_pattern_mismatch") else None
    odd = not_ascii(named) if isinstance(named, str) else ""
    return Wording(path, f"must be {' or '.join(needed)}{odd}", _hint(path, errors))


def _missing_hint(path: KeyPath) -> str:
    name = str(path[-1])
    return fresh_secret() if path == ("secret",) else _MISSING.get(name, f"write {name} = …")


def _long(characters: int) -> str:
    return f"at least {characters} characters long" if characters > 1 else "a text that is not empty"


def _hint(path: KeyPath, errors: Sequence[ErrorDetails]) -> str:
    given = errors[0]["input"]
    kinds = {error["type"] for error in errors}
    if "string_type" in kinds and isinstance(given, int | float) and not isinstance(given, bool):
        return "write it in quotes"
    if "list_type" in kinds and isinstance(given, Mapping):
        return f"write [[{'.'.join(str(part) for part in path if isinstance(part, str))}]] with two brackets"
    if "list_type" in kinds:
        return 'write ["…"]'
    if "literal_error" in kinds and isinstance(given, str):
        known = re.findall(r"'([^']*)'", str(errors[0].get("ctx", {}).get("expected")))
        close = get_close_matches(given.lower(), known, 1, 0.5)
        return f'did you mean "{close[0]}"?' if close else ""
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the most similar known name, or all known names."""
    plain = {key.lower().replace("-", "_"): key for key in known}
    wanted = name.lower().replace("-", "_")
    part = [key for key in plain if len(wanted) > 2 and wanted in key]
    close = part or get_close_matches(wanted, plain, 1, 0.6)
    if close:
        return f"did you mean {plain[close[0]]}?"
    return f"known are {', '.join(sorted(plain.values()))}"


def _known_keys(path: KeyPath) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Settings
    for part in path:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
