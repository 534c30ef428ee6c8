"""Normalizes host names of the settings and of the Host header, and compares them."""

from collections.abc import Container, Iterator


def host_key(host: str) -> str:
    """A Host header in normal form: lower case, without a final dot or a default port."""
    return host.lower().removesuffix(":80").removesuffix(":443").rstrip(".")


def spellings(host: str) -> Iterator[str]:
    """How the settings may write a host of a Host header or an address, the closest first: with its port,
    without it, and as `*.` for each name above it."""
    host = host.lower()
    name, _, port = host.rpartition(":")
    if not port.isdigit():
        name = host
    name = name.rstrip(".")
    yield host
    yield name
    parent = name.partition(".")[2]
    while parent:
        yield f"*.{parent}"
        parent = parent.partition(".")[2]


def is_among(host: str, hosts: Container[str]) -> bool:
    """Whether a host is one of a site's `hosts`. A port is compared only if the settings have one."""
    return any(one in hosts for one in spellings(host))
