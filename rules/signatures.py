"""The operators and functions that a line may use, by type: what the engine has of CEL's standard library.

A type is CEL's name for it; lists and maps carry what they hold: `list:int`, `map:string`. `any` is a value
whose type only the evaluation shows.
"""

from collections.abc import Sequence

NUMBERS = ("int", "uint", "double")
ORDERED = ("string", "bool", "bytes", "timestamp", "duration")

# Operator → (left, right, result). Unlike comparison, arithmetic does not mix whole and broken numbers.
ARITHMETIC: dict[str, tuple[tuple[str, str, str], ...]] = {
    "+": (
        *((number, number, number) for number in NUMBERS),
        ("string", "string", "string"),
        ("bytes", "bytes", "bytes"),
        ("timestamp", "duration", "timestamp"),
        ("duration", "duration", "duration"),
    ),
    "-": (
        *((number, number, number) for number in NUMBERS),
        ("timestamp", "timestamp", "duration"),
        ("timestamp", "duration", "timestamp"),
        ("duration", "duration", "duration"),
    ),
    "*": tuple((number, number, number) for number in NUMBERS),
    "/": tuple((number, number, number) for number in NUMBERS),
    "%": (("int", "int", "int"), ("uint", "uint", "uint")),
}

# Method → (target, arguments, result). `fits` is ours: see `settings/addresses.py`.
METHODS: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    **dict.fromkeys(("contains", "startsWith", "endsWith", "matches"), (("string", ("string",), "bool"),)),
    "fits": (("string", ("string",), "bool"),),
    "size": tuple((kind, (), "int") for kind in ("string", "bytes", "list", "map")),
    **dict.fromkeys(("getFullYear", "getMonth", "getDate", "getDayOfMonth"), (("timestamp", (), "int"),)),
    **dict.fromkeys(("getDayOfYear", "getDayOfWeek"), (("timestamp", (), "int"),)),
    **dict.fromkeys(
        ("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
        (("timestamp", (), "int"), ("duration", (), "int")),
    ),
}

# Function → (arguments, result).
FUNCTIONS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "size": tuple(((kind,), "int") for kind in ("string", "bytes", "list", "map")),
    "int": tuple(((kind,), "int") for kind in ("int", "uint", "double", "string")),
    "uint": tuple(((kind,), "uint") for kind in ("int", "uint", "double", "string")),
    "double": tuple(((kind,), "double") for kind in ("int", "uint", "double", "string")),
    "string": tuple(
        ((kind,), "string") for kind in ("int", "uint", "double", "string", "timestamp", "duration")
    ),
    "timestamp": ((("string",), "timestamp"),),
    "duration": ((("string",), "duration"),),
}

# Written as methods of a list or map, with a name for the element: `x.exists(e, e > 3)`.
MACROS = ("all", "exists", "exists_one", "filter", "map")

WORDS = {
    "int": "a whole number",
    "uint": "a whole number",
    "double": "a number",
    "string": "a text",
    "bool": "true or false",
    "bytes": "bytes",
    "null": "null",
    "timestamp": "a point in time",
    "duration": "a length of time",
    "list": "a list",
    "map": "a map",
    "any": "a value",
}


def fits(given: str, wanted: str) -> bool:
    """Whether a value of one type can stand where another is wanted."""
    return "any" in (given, wanted) or given == wanted or given.partition(":")[0] == wanted


def comparable(left: str, right: str) -> bool:
    """Whether `==` between two types can ever be true."""
    if "any" in (left, right) or left == right or (left in NUMBERS and right in NUMBERS):
        return True
    kind, _, held = left.partition(":")
    other, _, holds = right.partition(":")
    return kind == other and kind in ("list", "map") and comparable(held, holds)


def result(signatures: Sequence[tuple[tuple[str, ...], str]], given: Sequence[str]) -> str | None:
    """The result of the first signature that takes these arguments, or None."""
    for wanted, gives in signatures:
        if len(wanted) == len(given) and all(map(fits, given, wanted)):
            return gives
    return None


def words(kind: str) -> str:
    """A type in plain words."""
    return WORDS[kind.partition(":")[0]]
