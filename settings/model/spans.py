"""Spans of hours, as settings write them."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)


def _span(value: str) -> str:
    if not _HOURS.fullmatch(value):
        raise ValueError('write from and to, for example "09:00-17:30"')
    return value


Spans = Annotated[list[Annotated[str, AfterValidator(_span)]], Field(max_length=6)]
