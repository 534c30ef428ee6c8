"""A conversation and its messages, as the ledger keeps them and the widget and the desk show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Author = Literal["visitor", "agent", "system"]
State = Literal["open", "closed"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One talk with one visitor. Times in unix seconds.

    `rule` is the rule whose invite started it, `agent` the agent who has it: the one who took it or answered
    last, None while nobody has.
    """

    id: str
    site: str
    visitor: str
    language: str
    rule: str | None
    state: State
    agent: str | None
    started_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Ids grow over all conversations and are never used again; `at` in unix seconds."""

    id: int
    author: Author
    agent: str | None
    text: str
    at: float

    def to_json(self, shown: Mapping[str, str]) -> dict[str, Any]:
        """The form in which the widget reads it. `shown` has the names under which visitors know the agents:
        a login is half of what opens the desk."""
        agent = shown.get(self.agent) if self.agent else None
        return {"id": self.id, "author": self.author, "agent": agent, "text": self.text, "at": self.at}


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a message that was sent.

    `created` is False when the same `client_id` had been sent before: `message` is the first one then.
    `opened` is True when this message began the conversation or opened it again.
    """

    conversation: Conversation
    message: Message
    created: bool
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """What is kept of who sent a message, for the inbox: the partner who sent the visitor, the title of the
    page, and a text that is the same for all of one client network."""

    partner: str | None = None
    page: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation as a line of the inbox.

    `last` is the newest message, its text cut to 200 characters; `count` the number of messages of people;
    `waiting_since` the time of the first visitor message that nobody has answered, None if all are; `partner`
    and `page` are of the visitor's last message.
    """

    conversation: Conversation
    last: Message | None
    count: int
    waiting_since: float | None
    partner: str | None
    page: str | None


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many conversations from one client network that nobody has taken: how many, and since
    when the last of them waits."""

    client: str
    count: int
    waiting_since: float
