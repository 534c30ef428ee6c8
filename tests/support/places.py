"""A database of places in MaxMind's format, of one place: for all IPv4 addresses from 128.0.0.0 on.

https://maxmind.github.io/MaxMind-DB/
"""

from pathlib import Path
from typing import Any


def write_places(path: Path, record: dict[str, Any]) -> None:
    """Write the database; `record` is what it knows of these addresses."""
    nodes = 1
    tree = nodes.to_bytes(3, "big") + (nodes + 16).to_bytes(3, "big")
    about = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_800_000_000,
        "database_type": "Test-City",
        "description": {"en": "for tests"},
        "ip_version": 4,
        "languages": ["en"],
        "node_count": nodes,
        "record_size": 24,
    }
    path.write_bytes(tree + bytes(16) + _field(record) + b"\xab\xcd\xefMaxMind.com" + _field(about))


# What is not an unsigned integer of 16 bits in the description of a database.
_KINDS = {"build_epoch": 9, "node_count": 6}


def _field(value: Any, kind: int = 5) -> bytes:
    if isinstance(value, dict):
        pairs = (_field(k) + _field(v, _KINDS.get(k, 5)) for k, v in value.items())
        return _control(7, len(value)) + b"".join(pairs)
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_field, value))
    if isinstance(value, int):
        data = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(kind, len(data)) + data
    data = str(value).encode()
    return _control(2, len(data)) + data


def _control(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
