"""What an error in a field of a JSON body is called: where it is, what is wrong, and what to write."""

from collections.abc import Mapping
from typing import Any, Final

from .model import OrderError

# Validators that serve several fields cannot name the one that they are for.
_NAMELESS: Final = ("a time: ", "an amount: ")
_WRITTEN: Final[Mapping[str, str]] = {
    "email_hash": "write the SHA-256 of the address in lower case, as 64 hexadecimal digits"
}


def field_problem(error: Mapping[str, Any]) -> str:
    """One of pydantic's `errors()` as `field: what is wrong`."""
    place = ".".join(str(part)[:60] for part in error["loc"]) or "the body"
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, OrderError):
        said = str(cause)
        return next((f"{place}: {said.removeprefix(one)}" for one in _NAMELESS if said.startswith(one)), said)
    match error["type"]:
        case "extra_forbidden":
            return f"{place}: there is no such field; docs/api.md names all"
        case "missing":
            return f"{place}: it is missing"
        case "string_pattern_mismatch" if error["loc"] and error["loc"][-1] in _WRITTEN:
            return f"{place}: {_WRITTEN[str(error['loc'][-1])]}"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"
