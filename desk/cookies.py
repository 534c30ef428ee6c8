"""The desk's own cookies: they are secret, and no shop ever gets them."""

from ..injector.heads import Headers

SESSION, LOGIN = "clew_desk", "clew_desk_login"
STEP, JOIN, RESET = "clew_desk_step", "clew_desk_join", "clew_desk_reset"
PARTNER, PARTNER_LOGIN = "clew_desk_partner", "clew_desk_partner_login"

_MARK = SESSION.encode()
_PREFIXES = (b"__host-", b"__secure-")


def without_desk_cookies(headers: Headers) -> Headers:
    """A request's headers as the shop may have them: the very same list where no cookie is the desk's.

    The desk and the shop may share a host, and a browser sends a cookie for each path that it is asked to
    open there. Other cookies keep their bytes and their order.
    """
    for name, value in headers:
        if name == b"cookie" and _MARK in value.lower():
            return [pair for header in headers if (pair := _cleaned(*header)) is not None]
    return headers


def _cleaned(name: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    if name != b"cookie" or _MARK not in value.lower():
        return name, value
    kept = b";".join(pair for pair in value.split(b";") if not _is_the_desks(pair)).lstrip(b" \t")
    return (name, kept) if kept else None


def _is_the_desks(pair: bytes) -> bool:
    # What has the mark in its name in any spelling is taken for ours: shops trim and fold names in many ways.
    name = pair.partition(b"=")[0].strip().lower()
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.startswith(_MARK)
