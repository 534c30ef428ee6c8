"""The form of one rule, made from the model of rules: a new key of the settings is a field here by itself."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from ...settings.load import Problem
from ...settings.model import Rule, Site
from ...settings.rule_text import inline_text, value_text

Kind = Literal["text", "choice", "lines", "value"]
"""How a value is typed: as it is; one of some; one a line; in TOML."""

TYPED: Final = "rule."
"""What stands before the names of a rule's fields."""

FIRST: Final = ("name", "enabled", "action", "when", "wait", "wait_page", "on", "text", "priority")
"""Keys that nearly every rule has; the others are below them, by subject."""

SUBJECTS: Final[Mapping[str, Sequence[str]]] = {
    "Texts": ("variants", "text_plain", "keywords", "text_from", "persona", "question"),
    "Offers, calls and departments": ("offer", "offer_out", "number", "closed", "department"),
    "When and how often": (
        *("cancel_on", "starts", "ends", "hours", "share", "pages", "per_visitor", "days"),
        *("forced", "default"),
    ),
    "Experiment and verdict": ("no_invite", "adaptive", "goal", "target", "stage"),
}

LABELS: Final[Mapping[str, str]] = {
    "when": "When: all of these lines are true",
    "enabled": "On",
    "wait": "Wait in the visit",
    "wait_page": "Wait on the page",
    "on": "On signals of the browser",
    "cancel_on": "Withdraw after events",
    "per_visitor": "Most invites of this rule for one visitor, within the days below",
    "days": "Days for that",
    "pages": "Pages of a visit that show its invite",
    "share": "Share of visitors, in %",
    "no_invite": "Share without the invite, in %",
    "question": "Ask a question in the invite",
    "forced": "Forced: first of its priority, also while agents have no time",
    "default": "Default rule: last of all, only while agents have time",
    "text_plain": "Text without placeholders",
    "text_from": "Text of a service",
    "variants": "Texts to compare, in place of the text",
    "keywords": "Search words that texts may say",
    "offer_out": "When no code is left",
    "number": "Phone number",
    "closed": "Number outside of the office hours",
    "adaptive": "More visitors for the text that does better",
    "stage": "Stage of the sale",
}
HINTS: Final[Mapping[str, str]] = {
    "name": "Letters, digits, _ . -",
    "priority": "Higher ones are asked first.",
    "when": 'One a line, for example cart.value > 50.0. A group: { any = ["…", "…"] }',
    "text": 'A text, or by language: { en = "…", de = "…" }',
    "wait": "For example 90s, 5m or 1h",
    "wait_page": "For example 90s, 5m or 1h",
    "on": "One a line: exit, back, rage, scroll 60%, idle 30s, visible .price, event add_to_cart",
    "cancel_on": "One a line, for example add_to_cart",
    "ends": "For example 2026-12-24 or 2026-12-24T18:00:00",
    "hours": '{ mon = ["09:00-17:30"], tue = ["09:00-17:30"] }',
    "target": "0.2 is one order in five conversations",
    "starts": "For example 2026-12-24 or 2026-12-24T18:00:00",
    "variants": '[{ name = "short", text = "…" }, { name = "long", text = "…" }]',
}
NOTHING: Final[Mapping[str, Sequence[str]]] = {}
LENGTH: Final = 20_000
"""Characters of a field."""


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a rule as a field: `value` is what is typed, `choices` those of a choice, `usual` the value
    without one. `problems` are what is wrong with it."""

    key: str
    kind: Kind
    label: str
    hint: str
    value: str
    choices: Sequence[str] = ()
    usual: str = ""
    required: bool = False
    problems: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """Lines of the field."""
        return min(20, max(3 if self.kind == "lines" else 2, self.value.count("\n") + 2))


class FieldError(ValueError):
    """A value that cannot be read; `key` is its field."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


Known = Mapping[str, Sequence[str]]
"""By key the values that a site has to choose from."""


def known_of(site: Site) -> Known:
    """What rules of a site can name."""
    found = {
        "persona": [*site.personas],
        "offer": [one.name for one in site.offers.coupons],
        "department": site.chat.departments,
    }
    return {key: names for key, names in found.items() if names}


def fields_of(table: Mapping[str, Any], known: Known = NOTHING) -> list[Field]:
    """The fields of a rule."""
    return [_field(key, _shown(_kind(key)[0], table.get(key)), known) for key in Rule.model_fields]


def subjects_of(fields: Sequence[Field]) -> list[tuple[str, list[Field]]]:
    """The fields that are not among the first, by subject."""
    by_key = {one.key: one for one in fields}
    found = [(name, [by_key.pop(key) for key in keys]) for name, keys in SUBJECTS.items()]
    rest = [one for key, one in by_key.items() if key not in FIRST]
    return [*found, ("Other", rest)] if rest else found


def typed_fields(
    typed: Mapping[str, str], problems: Sequence[tuple[str, str]] = (), known: Known = NOTHING
) -> list[Field]:
    """The fields as they were typed, with what is wrong: the keys and the messages."""
    return [
        replace(
            _field(key, typed.get(key, ""), known),
            problems=[message for wrong, message in problems if wrong == key],
        )
        for key in Rule.model_fields
    ]


def table_from(typed: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The table that a form says, in the order of the one before. Raises FieldError."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys((*(key for key in before if key in Rule.model_fields), *Rule.model_fields)):
        text = typed.get(key, "").replace("\r\n", "\n")
        if len(text) > LENGTH:
            raise FieldError(key, f"has {len(text):,} characters, at most {LENGTH:,} are taken")
        kind, annotation = _kind(key)
        if _shown(kind, before.get(key)).strip() == text.strip():
            # As it was: a value that is written in another way in the file stays so.
            if key in before:
                found[key] = before[key]
        elif text.strip():
            found[key] = _read(key, kind, annotation, text)
    return found


def problems_of(problems: Sequence[Problem], place: int) -> tuple[list[tuple[str, str]], list[Problem]]:
    """What is wrong with the rule at a place, by its keys; and the rest."""
    own, rest = [], []
    prefix = f"rules[{place}]"
    for one in problems:
        key = one.key.removeprefix(prefix).lstrip(".")
        name = key.partition("[")[0].partition(".")[0]
        if one.key.startswith(prefix) and name in Rule.model_fields:
            at = f" {key.removeprefix(name)}" if key != name else ""
            own.append((name, f"{_line_of(at)}{one.message}{f'; {one.hint}' if one.hint else ''}"))
        else:
            rest.append(one)
    return own, rest


def _line_of(at: str) -> str:
    place = at.strip().removeprefix("[").partition("]")[0]
    return f"line {int(place) + 1}: " if place.isdecimal() else f"{at.strip()}: " if at else ""


def in_short(table: Mapping[str, Any], language: str) -> list[str]:
    """What a rule waits for and says, a line each, for the list of rules."""
    waits = {"wait": "in the visit", "wait_page": "on the page"}
    found = [f"after {table[key]} {where}" for key, where in waits.items() if key in table]
    for key, before in (("on", "on"), ("cancel_on", "not after")):
        if isinstance(given := table.get(key), list) and given:
            found.append(f"{before} {' or '.join(map(str, given))}")
    texts = [table.get("text"), *_texts_of(table.get("variants"))]
    said = [
        text.get(language) or next(iter(text.values()), "") if isinstance(text, Mapping) else text
        for text in texts
    ]
    return [*found, *(f"“{text}”" for text in said if isinstance(text, str) and text)]


def _texts_of(variants: object) -> list[Any]:
    return (
        [one.get("text") for one in variants if isinstance(one, Mapping)]
        if isinstance(variants, list)
        else []
    )


# -- kinds


def _field(key: str, value: str, known: Known) -> Field:
    info = Rule.model_fields[key]
    kind, annotation = _kind(key)
    default = info.get_default(call_default_factory=True)
    usual = (
        "" if default is PydanticUndefined or default is None or default == [] else _shown("text", default)
    )
    choices: Sequence[str] = ()
    if kind == "choice":
        choices = [_shown("text", one) for one in _choices(annotation)]
    elif key in known:
        kind, choices = "choice", known[key]
    label = LABELS.get(key, key.replace("_", " ").capitalize())
    return Field(
        key, kind, label, HINTS.get(key) or info.description or "", value, choices, usual, info.is_required()
    )


def _kind(key: str) -> tuple[Kind, Any]:
    annotation = _plain(Rule.model_fields[key].annotation)
    if _choices(annotation):
        return "choice", annotation
    types = {_plain(one) for one in _members(annotation)}
    if types <= {int, float, str, date, datetime}:
        return "text", annotation
    if get_origin(annotation) is list and str in {_plain(one) for one in _members(get_args(annotation)[0])}:
        return "lines", annotation
    return "value", annotation


def _choices(annotation: Any) -> Sequence[Any]:
    if annotation is bool:
        return (True, False)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _plain(annotation: Any) -> Any:
    """Without its constraints, and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    rest = [one for one in get_args(annotation) if one is not NoneType]
    if get_origin(annotation) in (Union, UnionType) and len(rest) == 1:
        return _plain(rest[0])
    return annotation


def _members(annotation: Any) -> Iterator[Any]:
    annotation = _plain(annotation)
    if get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            if one is not NoneType:
                yield from _members(one)
    else:
        yield annotation


# -- values


def _shown(kind: Kind, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case date() | datetime():
            return value.isoformat()
        case str() if kind != "value" or not _is_toml(value):
            return value
        case list() if kind == "lines":
            return "\n".join(one if isinstance(one, str) else inline_text(one) for one in value)
    return value_text(value)


def _is_toml(text: str) -> bool:
    return text.lstrip().startswith(("{", "[", '"', "'"))


def _read(key: str, kind: Kind, annotation: Any, text: str) -> Any:
    if kind == "lines":
        lines = [line.strip() for line in text.split("\n")]
        return [_toml(key, line) if line.startswith("{") else line for line in lines if line]
    types = {_plain(one) for one in _members(annotation)}
    text = text.strip()
    if kind == "choice":
        return {"yes": True, "no": False}.get(text, text) if annotation is bool else text
    if kind == "value":
        return text if str in types and not _is_toml(text) else _toml(key, text)
    if types & {int, float}:
        return _number(text, types)
    if types & {date, datetime}:
        return _moment(text)
    return text


def _number(text: str, types: set[Any]) -> Any:
    for kind in (int, float):
        if kind in types:
            try:
                return kind(text)
            except ValueError:
                continue
    return text  # the checks say that it is no number


def _moment(text: str) -> Any:
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        return text


def _toml(key: str, text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FieldError(key, f"is not valid TOML: {text[:60]!r}: {error}") from None
    if list(found) != ["value"]:
        raise FieldError(key, "has more than one value")
    return found["value"]
