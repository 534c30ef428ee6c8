"""What visitors and agents may show each other in the chat: files and pictures."""

from typing import Literal

from pydantic import Field

from .base import Model

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
