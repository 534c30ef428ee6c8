"""The base of the tables of `networks.toml`."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """The base of all tables: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Noted(Table):
    """Keys with notes for people."""

    source: list[str] = []
    notes: list[str] = []
    other_cookies: list[str] = []
    not_verified: list[str] = []
    flags: list[str] = []
