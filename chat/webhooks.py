"""How a provider's webhooks are checked and read: the part `webhook` of an entry of `providers.toml`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..orders.sources_schema import Expression, Place, Signature

PLACEHOLDERS = ("url", "secret", "events")
"""What `clew connect` fills in the steps of `connect`."""

Author = Literal["visitor", "agent", ""]


def _step(value: str) -> str:
    try:
        value.format(**dict.fromkeys(PLACEHOLDERS, ""))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"has a placeholder that is not one of {PLACEHOLDERS}: {error}") from error
    return value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class TalkRead(_Table):
    """How the webhooks of some events are read; see the head of `providers.toml`."""

    events: tuple[str, ...] = ()
    only: Expression | None = None
    base: Expression | None = None
    conversation: Expression | None = None
    ref: Expression | None = None
    at: Expression | None = None
    says: Literal["started", "ended"] | None = None
    agent: Expression | None = None
    messages: Expression | None = None
    authors: Mapping[str, Author] = {}
    rating: Expression | None = None
    html: bool = False
    ratings: Mapping[str, Annotated[int, Field(ge=1, le=5)]] = {}
    order: Expression | None = None
    by_page: bool = False
    presence: Expression | None = None
    online: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.conversation is None) == (self.presence is None):
            raise ValueError("a reading is of a conversation, or of an agent's presence")
        if (self.messages is None) != (not self.authors):
            raise ValueError("`messages` and `authors` go together")
        if (self.presence is None) != (not self.online):
            raise ValueError("`presence` and `online` go together")
        return self


class ProviderWebhook(_Table):
    """The webhooks of one provider."""

    confidence: Literal["verified", "likely"]
    sources: tuple[str, ...] = Field(min_length=1)
    connect: tuple[Annotated[str, AfterValidator(_step)], ...] = Field(min_length=1)
    signature: Signature
    event: Place | None = None
    encoded: Literal["json", "form"] = "json"
    challenge: Expression | None = None
    answer: Mapping[str, Any] = {}
    link_in_answer: str = ""
    own: bool = False
    reads: tuple[TalkRead, ...] = ()

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if not self.reads:
            raise ValueError("there are no `reads`")
        if self.event is None and self.events:
            raise ValueError("`events` need `event`")
        return self

    @property
    def events(self) -> tuple[str, ...]:
        """All events that are read."""
        return tuple(dict.fromkeys(event for read in self.reads for event in read.events))
