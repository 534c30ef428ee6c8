"""The valid parts of a site in a file, so that all errors are found in one run."""

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
    """The valid parts of a site: what its model rejects is left out, so that the rest is checked too.

    `path` is its position in the file, `raw` the table there. `whole` is the site itself, None if the model
    rejected something; `refused` says what.
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
    """A problem for each value that occurred before; `message` may name it as {}."""
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
    """The valid tables of a list. A table with invalid keys is read without them, with `stand_in` for keys
    that are missing; a table that is invalid as a whole is left out."""
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
