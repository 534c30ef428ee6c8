"""Models of conversations and messages, for the ledger, the widget and the desk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Author = Literal["visitor", "agent", "system"]
State = Literal["open", "closed"]
Kind = Literal["file", "cobrowsing", "open"]
"""What a message is beside a text."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation with one visitor. Times in unix seconds.

    `rule` is the rule whose invite started it, `agent` the agent who took it or answered last, or None.
    `agent_saw` and `visitor_saw` are the newest messages that an agent and the visitor have read. `invite` is
    the text of that rule's invite, as the visitor read it; `rating` the visitor's, 1 to 5, or None.
    `department` is whose it is, by the rule or a transfer.
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
    agent_saw: int | None = None
    visitor_saw: int | None = None
    department: str | None = None
    invite: str | None = None
    rating: int | None = None


@dataclass(frozen=True, slots=True)
class Extra:
    """What a message is beside its text, as plain data of its kind."""

    kind: Kind
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Ids increase over all conversations and are never reused; `at` in unix seconds.

    With a `kind` it is more than its text, which says in a few words what; `extra` is that as JSON.
    """

    id: int
    author: Author
    agent: str | None
    text: str
    at: float
    kind: Kind | None = None
    extra: str | None = None

    @property
    def more(self) -> dict[str, Any]:
        """What the message is beside its text: its kind, and that as plain data; empty for a text alone."""
        return {} if self.kind is None or self.extra is None else {self.kind: json.loads(self.extra)}

    def to_json(self, shown: Mapping[str, str]) -> dict[str, Any]:
        """The JSON for the widget. `shown` maps logins to the names that visitors see, because a login must
        not be public."""
        agent = shown.get(self.agent) if self.agent else None
        fields = {"id": self.id, "author": self.author, "agent": agent, "text": self.text, "at": self.at}
        return {**fields, **self.more}


@dataclass(frozen=True, slots=True)
class News:
    """A message that was written, for streams. `previous` is the id of the one before it in its conversation,
    0 for the first: who has told that one goes on with this one. None: not known."""

    site: str
    visitor: str
    conversation: str
    message: Message
    previous: int | None


@dataclass(frozen=True, slots=True)
class Added:
    """The result of sending a message.

    `previous` is the id of the one before it, None if that is not known. `created` is False if the same
    `client_id` was sent before; `message` is then the first one. `opened` is True if this message started or
    reopened the conversation.
    """

    conversation: Conversation
    message: Message
    created: bool
    opened: bool = False
    previous: int | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Data about the sender of a message, for the inbox: the visitor's partner, the title of the page, and a
    text that is the same for all clients of one network."""

    partner: str | None = None
    page: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation as a line of the inbox.

    `last` is the newest message, its text truncated to 200 characters; `count` the number of messages of
    people; `waiting_since` the time of the first unanswered message of the visitor, or None; `partner` and
    `page` belong to the visitor's last message.
    """

    conversation: Conversation
    last: Message | None
    count: int
    waiting_since: float | None
    partner: str | None
    page: str | None


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many conversations from one client network without an agent: their number, and since when the newest
    one waits."""

    client: str
    count: int
    waiting_since: float
