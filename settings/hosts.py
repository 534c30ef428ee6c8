"""Normalizes host names of the settings and of the Host header."""


def host_key(host: str) -> str:
    """A Host header in normal form: lower case, without a final dot or a default port."""
    return host.lower().removesuffix(":80").removesuffix(":443").rstrip(".")
