"""The chats of other companies, from `providers.toml`: how a page loads and steers each of them."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

import re2  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .presence import ProviderPresence
from .webhooks import ProviderWebhook

Join = Literal["attr", "convid", "token", "code"]
Event = Literal[
    "loaded",
    "opened",
    "closed",
    "started",
    "sent",
    "received",
    "ended",
    "rated",
    "online",
    "offline",
    "failed",
]
"""What a page reports of a provider's chat; `loaded` by the widget itself, all others by the provider."""

EVENTS: Final = frozenset(Event.__args__) - {"loaded"}  # type: ignore[attr-defined]

# How many values follow the path of each verb: at least, at most.
_VERBS: Final = {
    "set": (1, 1),
    "default": (1, 1),
    "chain": (1, 1),
    "call": (0, 9),
    "new": (1, 9),
    "stub": (1, 1),
    "methods": (1, 2),
    "with": (1, 1),
    "listen": (2, 2),
}
_WHOLE: Final = frozenset(("ready", "attributes", "now"))
_PATH: Final = re.compile(r"[$\w]+(\.[$\w]+)*\Z")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_STEPS: Final = ("before", "after", "attributes", "events", "open", "hide", "show", "ask", "say")

Steps = tuple[Any, ...]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Id(_Table):
    """A part of what identifies the shop's account. `default` is None if it must be given."""

    pattern: str
    about: str
    default: str | None = None
    number: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        re2.compile(value)
        return value

    def fits(self, value: str) -> bool:
        """Whether a value can be this id."""
        return value == self.default or re2.fullmatch(self.pattern, value) is not None


class ProviderError(ValueError):
    """`providers.toml` is invalid, or an id is missing; the text says where."""


class Provider(_Table):
    """One provider; see the head of `providers.toml`."""

    title: str
    confidence: Literal["verified", "likely"]
    likely: tuple[str, ...] = ()
    sources: tuple[str, ...] = Field(min_length=1)
    notes: str = ""
    join: tuple[Join, ...] = Field(min_length=1)
    ids: Mapping[str, Id] = Field(min_length=1)
    script: str = Field(pattern=r"^(https://|\{base_url\}/)")
    script_id: str | None = None
    script_attributes: Mapping[str, str] = {}
    element: str | None = None
    element_attributes: Mapping[str, str] = {}
    policy: Mapping[str, tuple[str, ...]]
    before: Steps = ()
    after: Steps = ()
    attributes: Steps = ()
    events: Steps = ()
    open: Steps = ()
    hide: Steps = ()
    show: Steps = ()
    ask: Steps = ()
    say: Steps = ()
    webhook: ProviderWebhook | None = None
    presence: ProviderPresence | None = None

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        known = set(self.ids) | {"host"} if "base_url" in self.ids else set(self.ids)
        for name in _STEPS:
            for n, step in enumerate(getattr(self, name)):
                _check_step(step, f"{name}[{n}]", known, {"text"} if name in ("ask", "say") else set())
        fixed = [self.script, *self.script_attributes.values(), *self.element_attributes.values()]
        for text in (*fixed, *(host for hosts in self.policy.values() for host in hosts)):
            _check_text(text, text, known, {"day", "five_minutes"} if text == self.script else set())
        if self.presence is not None and not set(self.presence.ids) <= known:
            raise ValueError(f"presence: {self.presence.url} has an id that the provider does not have")
        for directive in self.policy:
            if not re.fullmatch(r"(script|connect|frame|img|style|font|media)-src", directive):
                raise ValueError(f"policy: {directive} is no directive of a content policy")
        return self

    @property
    def has_attributes(self) -> bool:
        """Whether the provider gets clew's token."""
        steps = json.dumps([self.before, self.after, self.attributes])
        return "{ref}" in steps or "{attributes}" in steps or bool(self.attributes)

    def filled(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """What the page's script needs, with the shop's ids. Raises ProviderError if one is missing or
        wrong."""
        values = self._values(ids)
        names = ("script", "script_id", "script_attributes", "element", "element_attributes", *_STEPS)
        data = {name: getattr(self, name) for name in names if getattr(self, name)}
        return {name: _fill(value, values) for name, value in data.items()}

    def hosts(self, ids: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """What a content policy must allow, by directive. Raises ProviderError."""
        values = self._values(ids)
        return {
            name: tuple(str(_fill(host, values)) for host in hosts) for name, hosts in self.policy.items()
        }

    def _values(self, ids: Mapping[str, str]) -> dict[str, str | int]:
        values: dict[str, str | int] = {}
        for name, one in self.ids.items():
            value = ids.get(name, one.default)
            if value is None or not one.fits(value):
                raise ProviderError(f"{name}: {one.about}")
            values[name] = int(value) if one.number else value
        if "base_url" in values:
            values["host"] = urlsplit(str(values["base_url"])).netloc
        return values


def _fill(value: Any, values: Mapping[str, str | int]) -> Any:
    """The value with the ids in it; what only the page knows stays."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole is not None and whole[1] in values:
            return values[whole[1]]
        return _PLACEHOLDER.sub(lambda m: str(values.get(m[1], m[0])), value)
    if isinstance(value, Mapping):
        return {name: _fill(one, values) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_fill(one, values) for one in value]
    return value


def _check_step(step: Any, where: str, known: set[str], more: set[str]) -> None:
    if not isinstance(step, Sequence) or isinstance(step, str) or not step:
        raise ValueError(f"{where}: a step is a list that begins with a verb")
    verb, *rest = step
    if verb == "each":
        for n, one in enumerate(rest[0] if len(rest) == 1 else ()):
            _check_step(one, f"{where}[{n}]", known, {*more, "key", "value"})
        return
    if verb not in _VERBS:
        raise ValueError(f"{where}: {verb!r} is no verb")
    low, high = _VERBS[verb]
    path, *values = rest or [None]
    if not isinstance(path, str) or not _PATH.match(path):
        raise ValueError(f"{where}: {path!r} is no path")
    if not low <= len(values) <= high:
        raise ValueError(f"{where}: {verb} takes {low} to {high} values after the path")
    if verb == "with":
        for n, one in enumerate(values[0]):
            _check_step(one, f"{where}[{n}]", known, more)
        return
    _check_value(values, where, known, more)


def _check_value(value: Any, where: str, known: set[str], more: set[str]) -> None:
    if isinstance(value, str):
        _check_text(value, where, known, {"ref", "day", *more}, {*_WHOLE})
    elif isinstance(value, Mapping) and "event" in value:
        if value["event"] not in EVENTS or value.keys() - {"event", "id", "in", "value", "when"}:
            raise ValueError(f"{where}: no event as this one is known")
        for name in ("id", "value"):
            if isinstance(value.get(name), Sequence) and not isinstance(value[name], str):
                _check_step(value[name], where, known, set())
    elif isinstance(value, Mapping):
        inner = {*more, "key", "value"} if value.keys() == {"list"} else more
        for name, one in value.items():
            _check_text(name, where, known, inner)
            _check_value(one, where, known, inner)
    elif isinstance(value, Sequence):
        for one in value:
            _check_value(one, where, known, more)


def _check_text(
    text: str, where: str, known: set[str], runtime: set[str], whole: set[str] | None = None
) -> None:
    for name in _PLACEHOLDER.findall(text):
        if name in known or name in runtime or (whole and name in whole and text == f"{{{name}}}"):
            continue
        raise ValueError(f"{where}: {{{name}}} is not filled here")


def read_providers(text: str) -> Mapping[str, Provider]:
    """The providers in a TOML text, by name. Raises ProviderError."""
    found: dict[str, Provider] = {}
    try:
        entries = tomllib.loads(text)
    except ValueError as error:
        raise ProviderError(f"providers.toml: {error}") from error
    own = entries.pop("own", [])
    for name, entry in entries.items():
        if entry.get("webhook", {}).get("own"):
            entry["webhook"]["reads"] = own
        try:
            found[name] = Provider.model_validate(entry)
        except ValueError as error:
            raise ProviderError(f"providers.toml: [{name}]: {error}") from error
    return found


@cache
def providers() -> Mapping[str, Provider]:
    """The providers that are part of clew, by name. Raises ProviderError."""
    return read_providers(files(__package__).joinpath("providers.toml").read_text("utf-8"))
