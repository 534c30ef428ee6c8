"""Hosts as the settings and the Host header name them."""


def host_key(host: str) -> str:
    """A Host header in its one spelling: lower case, without a final dot or a scheme's own port."""
    return host.lower().removesuffix(":80").removesuffix(":443").rstrip(".")
