"""Forms that choose what a list shows; their fields stand in the page's address."""

from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import urlencode

from starlette.requests import Request

LENGTH = 200
"""Characters of a field that are read."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it was sent; a subclass has its fields, all of them text. Empty: all."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """That of a request."""
        given = request.query_params
        return cls(**{field.name: given.get(field.name, "").strip()[:LENGTH] for field in fields(cls)})

    def query(self, **more: str) -> str:
        """The same as the query of an address."""
        given = {field.name: getattr(self, field.name) for field in fields(self)} | more
        return urlencode({name: value for name, value in given.items() if value}, errors="surrogatepass")
