"""The rules of a site."""

from typing import Literal

from pydantic import Field

from .base import Language
from .chat import DEPARTMENT
from .invites import RulePolicy

Condition = str | dict[Literal["all", "any", "not"], object]
"""A CEL line; or a table `{ any = […] }`, `{ all = […] }` or `{ not = … }` of lines and such tables."""


class Rule(RulePolicy):
    """When to show, invite or hide: all of `when` must be true; the first match by priority acts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    when: list[Condition] = []
    action: Literal["show", "invite", "hide"]
    priority: int = 0
    text: str | dict[Language, str] | None = None
    question: bool = True
    department: str | None = Field(None, pattern=DEPARTMENT)
    enabled: bool = True
