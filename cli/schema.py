"""`clew schema`: the settings as a JSON schema, by which editors complete and check a settings file."""

import json
from typing import Any

import typer

from ..settings.model import Settings

_SCALARS = frozenset({"integer", "number", "boolean"})
_VARIABLE = {"type": "string", "pattern": "^env:[A-Za-z_][A-Za-z0-9_]*$"}


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a settings file."""
    found = Settings.model_json_schema()
    for table in (found, *found.get("$defs", {}).values()):
        for name, entry in table.get("properties", {}).items():
            # `env:NAME` may stand wherever a value does; a text takes it as it is.
            if entry.get("type") in _SCALARS:
                kept = {k: entry.pop(k) for k in list(entry) if k not in ("title", "default", "description")}
                entry["anyOf"] = [kept, _VARIABLE]
            entry["title"] = name
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "clew settings",
    }


def schema_command() -> None:
    """Print the JSON schema of the settings file, for editors (Taplo, Even Better TOML)."""
    typer.echo(json.dumps(schema(), indent=2))
