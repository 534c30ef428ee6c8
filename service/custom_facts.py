"""A site's own facts (`[sites.facts]`): from headers, cookies and pages, as values of their types."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError

from ..injector.page import Document
from ..settings.model import CustomFact

TEXT: Final = 100
"""Characters of a value that are kept."""
HEADER: Final = 4096
"""Bytes of a header that are read."""
RESPONSE: Final = 65536
"""Bytes of a response in JSON that are read for an event."""
# As Python's http.cookies and Werkzeug write what is no token. Those readers take quadratic time.
_QUOTED: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")
_FALSE: Final = frozenset({"", "0", "false", "no", "off", "null", "none"})

Value = str | int | float | bool


def typed(custom: CustomFact, value: object) -> Value | None:
    """A value of the fact's type; None if it cannot be one."""
    if not isinstance(value, str | int | float | Decimal):
        return None
    if custom.type == "bool":
        return value if isinstance(value, bool) else str(value).strip().lower() not in _FALSE
    # JSON may have half of a surrogate pair, which no store takes.
    text = str(value).encode("utf-8", "replace").decode().strip()
    if custom.type == "string":
        return text[:TEXT]
    try:
        number = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
    if not abs(number) < 2**53:
        return None
    if custom.type == "int":
        return int(number) if number == int(number) else None
    return number


def of_request(custom: CustomFact, fields: Mapping[bytes, bytes]) -> Value | None:
    """The value of a fact from a header or a cookie of the request."""
    if custom.header is not None:
        raw = fields.get(custom.header.lower().encode("ascii"))
        return None if raw is None else typed(custom, raw[:HEADER].decode("utf-8", "replace"))
    assert custom.cookie is not None
    value = cookie(fields, custom.cookie)
    if value is None:
        # A cookie that is not there says no.
        return False if custom.type == "bool" and fields else None
    return typed(custom, value)


def cookie(fields: Mapping[bytes, bytes], name: str) -> str | None:
    """A cookie of the request; a name that ends in `*` is the beginning of one."""
    text = fields.get(b"cookie", b"")[: 4 * HEADER].decode("latin-1")
    for part in text.split(";"):
        found, equals, value = part.strip().partition("=")
        if equals and (found == name or (name.endswith("*") and found.startswith(name[:-1]))):
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            return _QUOTED.sub(_unquoted, value[1:-1]) if quoted else value
    return None


def _unquoted(found: re.Match[str]) -> str:
    return chr(int(found[1], 8)) if found[1] else str(found[2])


def of_page(custom: CustomFact, document: Document) -> Value | None:
    """The value of a fact from a page; None if it does not show it."""
    if custom.selector is not None:
        if custom.type == "bool":
            return document.has(custom.selector)
        shown = document.text(custom.selector)
        if custom.attribute is not None:
            shown = document.attribute(custom.selector, custom.attribute)
        return None if shown is None else typed(custom, shown)
    assert custom.json_path is not None
    data: Any = document.jsonld().objects if custom.script is None else _script(document, custom.script)
    return found_in(custom, data)


def found_in(custom: CustomFact, data: Any) -> Value | None:
    """The value at the fact's path in JSON."""
    if custom.json_path is not None:
        try:
            data = jmespath.search(custom.json_path, data)
        except (JMESPathError, RecursionError, TypeError, ValueError):
            return None
    return typed(custom, data)


def said(look_in: Iterable[tuple[str, str]], body: bytes) -> tuple[str, ...]:
    """The events that a response says to have happened: whose path in the JSON leads to something that is not
    empty, false or null."""
    try:
        data = json.loads(body) if len(body) <= RESPONSE else None
    except (ValueError, RecursionError):
        return ()
    found = []
    for event, path in look_in:
        try:
            there = jmespath.search(path, data)
        except (JMESPathError, RecursionError, TypeError, ValueError):
            continue
        if there not in (None, False, "", [], {}):
            found.append(event)
    return tuple(found)


def _script(document: Document, name: str) -> Any:
    text = document.data(name)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
