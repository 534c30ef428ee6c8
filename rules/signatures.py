"""The operators and functions of CEL's standard library that the engine has, by type.

A type has CEL's name; lists and maps include the type of their elements: `list:int`, `map:string`. `any` is a
value whose type is known only at evaluation.
"""

from collections.abc import Sequence

NUMBERS = ("int", "uint", "double")
ORDERED = ("string", "bool", "bytes", "timestamp", "duration")

# Operator → (left, right, result). Unlike comparison, arithmetic does not mix integers and doubles.
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

# Method → (target, arguments, result). `fits` is clew's own: see `settings/addresses.py`.
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

# Methods of a list or map with a loop variable: `x.exists(e, e > 3)`.
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
    """Whether a value of one type can be used where another is required."""
    return "any" in (given, wanted) or given == wanted or given.partition(":")[0] == wanted


def comparable(left: str, right: str) -> bool:
    """Whether `==` between two types can ever be true."""
    if "any" in (left, right) or left == right or (left in NUMBERS and right in NUMBERS):
        return True
    kind, _, held = left.partition(":")
    other, _, holds = right.partition(":")
    return kind == other and kind in ("list", "map") and comparable(held, holds)


def result(signatures: Sequence[tuple[tuple[str, ...], str]], given: Sequence[str]) -> str | None:
    """The result type of the first signature that accepts these arguments, or None."""
    for wanted, gives in signatures:
        if len(wanted) == len(given) and all(map(fits, given, wanted)):
            return gives
    return None


def words(kind: str) -> str:
    """A type in plain words."""
    return WORDS[kind.partition(":")[0]]
