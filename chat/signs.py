"""Signs: what one side of a conversation does besides writing a message. They are passed on at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["typing", "seen", "page", "callbacks"]


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign for the listeners of a topic. Of one `kind` and `about`, a conversation, an agent in it or a
    callback, only the newest counts; `data` is what a stream sends."""

    topic: str
    kind: Kind
    about: str
    data: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, str]:
        """What a newer sign takes the place of."""
        return self.kind, self.about
