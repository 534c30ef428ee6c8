"""The types of the ledger's columns, where the databases differ."""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Integer, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

_MARK = "\ufdd0"  # no character, now or ever (Unicode, 23.7), and PostgreSQL keeps it
_UNSTORABLE = re.compile(f"[\0\ud800-\udfff{_MARK}]")
_ESCAPED = re.compile(f"{_MARK}([0-9a-f]{{4}})")


class _Escaped(TypeDecorator[str]):
    """Text in which PostgreSQL's UTF-8 has no place for some characters: U+0000, and what stands for a byte
    that was no UTF-8 (PEP 383)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """What is stored."""
        return None if value is None else _UNSTORABLE.sub(lambda c: f"{_MARK}{ord(c[0]):04x}", value)

    def bind_processor(self, dialect: Any) -> Callable[[str | None], str | None]:
        """The same, without SQLAlchemy's way to it: it is called for each text of each row."""
        search = _UNSTORABLE.search

        def process(value: str | None) -> str | None:
            return (
                value if value is None or search(value) is None else self.process_bind_param(value, dialect)
            )

        return process

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        """What it was."""
        if value is None or _MARK not in value:
            return value
        return _ESCAPED.sub(lambda c: chr(int(c[1], 16)), value)


def text_of(length: int | None = None) -> TypeEngine[str]:
    """Text of usually at most so many characters. PostgreSQL would refuse a longer one."""
    return (Text() if length is None else String(length)).with_variant(_Escaped(), "postgresql")


def row_number() -> TypeEngine[int]:
    """The ledger's own number of a row. SQLite numbers rows by INTEGER alone."""
    return BigInteger().with_variant(Integer(), "sqlite")
