"""How a provider's API says which agents are there: the part `presence` of an entry of `providers.toml`."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, ConfigDict, Field

from ..orders.sources_schema import Expression

AGENTS = 200
"""Agents that are read of one answer."""

NAME_LENGTH = 48
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class PresenceError(ValueError):
    """An answer is not what the provider documents; the text says what is wrong."""


class ProviderPresence(BaseModel):
    """A call that asks for the agents' presence. `agents` finds objects with `agent` and `state` in the
    answer; the states in `online` mean that the agent is there. `token` is what the owner enters."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    confidence: Literal["verified", "likely"]
    sources: tuple[str, ...] = Field(min_length=1)
    method: Literal["GET", "POST"] = "GET"
    url: str = Field(pattern=r"^(https?://|\{base_url\}/)")
    headers: Mapping[str, str]
    body: str = ""
    token: str
    agents: Expression
    online: tuple[str, ...] = Field(min_length=1)

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the shop's account in the address."""
        return _PLACEHOLDER.findall(self.url)

    def headers_with(self, token: str) -> dict[str, str]:
        """The headers of the call. `{basic}` in them is the token as HTTP's Basic scheme has it, `{user}` and
        `{key}` what stands in it before and behind the first colon."""
        basic = base64.b64encode(token.encode()).decode("ascii")
        user, _, key = token.partition(":")
        filled = {"token": token, "basic": basic, "user": user, "key": key}
        return {name: value.format(**filled) for name, value in self.headers.items()}

    def read(self, body: bytes) -> Mapping[str, bool]:
        """Whether each agent in the answer is there. Raises PresenceError."""
        try:
            found: Any = self.agents.search(json.loads(body))
        except (ValueError, RecursionError, JMESPathError) as error:
            raise PresenceError(f"the answer cannot be read: {type(error).__name__}") from None
        if not isinstance(found, list):
            raise PresenceError("the answer has no list of agents")
        present: dict[str, bool] = {}
        for one in found[:AGENTS]:
            if not isinstance(one, dict) or not isinstance(one.get("state"), str):
                raise PresenceError("an agent in the answer has no state")
            name = str(one.get("agent"))[:NAME_LENGTH]
            present[name] = present.get(name, False) or one["state"] in self.online
        return present
