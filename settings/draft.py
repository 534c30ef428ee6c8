"""A site of a file as far as it can be read, so that all that is wrong with it is found at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from .model import Model, Partner, Rule, Site
from .positions import KeyPath
from .wording import Wording, worded

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Draft:
    """A site as far as it can be read: what its model refuses is left out, so that the rest is checked too.

    `path` is its place in its file, `raw` what stands there. `whole` is the site itself, None if the model
    refused something; `refused` says what.
    """

    path: KeyPath
    raw: Mapping[str, Any]
    site: Site
    partners: Sequence[tuple[int, Partner]]
    rules: Sequence[tuple[int, Rule]]
    whole: Site | None
    refused: tuple[Wording, ...] = ()


def drafted(path: KeyPath, raw: Mapping[str, Any]) -> Draft:
    """The draft of one `[[sites]]` table."""
    try:
        whole = Site.model_validate(raw)
    except ValidationError as error:
        refused = tuple(worded(error.errors(include_url=False), raw, path))
    else:
        return Draft(path, raw, whole, [*enumerate(whole.partners)], [*enumerate(whole.rules)], whole)
    rest = {key: value for key, value in raw.items() if key not in ("partners", "rules")}
    return Draft(
        path,
        raw,
        _site(rest),
        _readable(Partner, raw.get("partners"), {}),
        _readable(Rule, raw.get("rules"), {"action": "show"}),
        None,
        refused,
    )


def twice(items: Sequence[tuple[KeyPath, str]], message: str) -> Iterator[Wording]:
    """A problem for each value that stood before; `message` may name it as {}."""
    seen: set[str] = set()
    for path, value in items:
        if value in seen:
            yield Wording(path, message.format(value))
        seen.add(value)


def _site(rest: Mapping[str, Any]) -> Site:
    try:
        return Site.model_validate(rest)
    except ValidationError as error:
        refused = {details["loc"][0] for details in error.errors() if details["loc"]}
        kept = {key: value for key, value in rest.items() if key not in refused}
        return Site.model_validate({"name": "unnamed", **kept})


def _readable(model: type[M], raw: Any, stand_in: Mapping[str, Any]) -> list[tuple[int, M]]:
    """What can be read of a list of tables. Where keys are refused, the rest is read with `stand_in` for what
    is missing; a table that is wrong as a whole is left out."""
    found = []
    for number, item in enumerate(raw if isinstance(raw, list) else []):
        try:
            found.append((number, model.model_validate(item)))
        except ValidationError as error:
            refused = {details["loc"][0] for details in error.errors() if details["loc"]}
            if not isinstance(item, dict) or not refused or not stand_in:
                continue
            kept = {key: value for key, value in item.items() if key not in refused}
            names = {"name": f"unnamed-{number}"}
            found.append((number, model.model_validate({**names, **stand_in, **kept})))
    return found
