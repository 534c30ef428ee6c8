"""Who really asked: the client's address, and scheme and host as the visitor sees them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Origin:
    """`client` is None for a peer without an address (a unix socket); `host` is the Host header."""

    client: str | None
    scheme: Literal["http", "https"]
    host: str
