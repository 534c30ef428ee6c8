"""What visitors and agents may show each other in the chat: files, pictures, the page that is open."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..addresses import Pattern
from .base import Model, OneHost

FileKind = Literal["picture", "pdf", "text"]


class Files(Model):
    """Files and pictures in clew's own chat, in both directions: see docs/chat.md."""

    types: tuple[FileKind, ...] = ("picture", "pdf", "text")
    from_visitors: bool = True
    megabytes: int = Field(10, ge=1, le=50)
    megapixels: int = Field(40, ge=1, le=200)
    per_conversation: int = Field(30, ge=1, le=1000)
    total_megabytes: int = Field(1024, ge=1, le=1_000_000)
    keep: int = Field(180, ge=1, le=3650)
    scan: list[str] = Field([], max_length=20)
    scan_seconds: int = Field(20, ge=1, le=300)


def _pattern(value: str) -> str:
    Pattern(value)  # raises PatternError, a ValueError
    return value


class CoBrowsing(Model):
    """Agents see the page that the visitor has open, once it has agreed: see docs/chat.md."""

    enabled: bool = False
    mask: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field([], max_length=50)
    private: list[Annotated[str, AfterValidator(_pattern)]] = Field([], max_length=100)
    hosts: list[OneHost] = Field([], max_length=20)
    kilobytes: int = Field(1024, ge=64, le=4096)
    minutes: int = Field(30, ge=1, le=240)
