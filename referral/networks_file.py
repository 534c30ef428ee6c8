"""Reads `networks.toml`: checks the whole file and converts it into the catalogue's values.

All errors are reported at once, each with network and key.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from .catalogue import (
    SOURCES,
    Answer,
    Catalogue,
    Conversion,
    Cookie,
    LandingParam,
    Network,
    Param,
    Setting,
    SettingSpec,
    Success,
)
from .consent.tcf import Vendor
from .networks_schema import (
    KEY,
    ConversionTable,
    FileTable,
    LandingTable,
    NetworkTable,
    ParamTable,
    SettingTable,
    SuccessTable,
    VendorTable,
    formats_of,
)

Path = tuple[str | int, ...]


class CatalogueError(ValueError):
    """`networks.toml` is invalid; `problems` lists each error with network and key."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("networks.toml:\n" + "\n".join(f"  {p}" for p in self.problems))


@cache
def load() -> Catalogue:
    """The catalogue that is part of clew, read and checked once. Raises CatalogueError."""
    return read(files(__package__).joinpath("networks.toml").read_text("utf-8"))


def read(text: str) -> Catalogue:
    """The catalogue in a TOML text. Raises CatalogueError with every error."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError([str(error)]) from error
    try:
        file = FileTable.model_validate(data)
    except ValidationError as error:
        raise CatalogueError(_shape_faults(error, data)) from error
    problems = [*_common_faults(file.network), *(f for n in file.network for f in _network_faults(n))]
    if problems:
        raise CatalogueError(problems)
    return Catalogue(
        networks={n.id: _network(n) for n in file.network},
        utm=tuple(file.utm.params),
        payment_hosts=frozenset(file.referrers.payment_hosts),
    )


# -- faults


def _shape_faults(error: ValidationError, data: Any) -> Iterator[str]:
    for fault in error.errors():
        where: list[str] = []
        node = data
        for step in fault["loc"]:
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                node = None
            name = node.get("id", node.get("name")) if isinstance(node, dict) else None
            where.append(str(step if name is None or isinstance(step, str) else name))
        yield f"{'.'.join(where)}: {fault['msg'].removeprefix('Value error, ')}"


def _common_faults(networks: list[NetworkTable]) -> Iterator[str]:
    uses: dict[str, list[tuple[str, LandingTable]]] = defaultdict(list)
    ids: set[str] = set()
    for network in networks:
        if network.id in ids:
            yield f"network.{network.id}: the id is used twice"
        ids.add(network.id)
        for param in network.landing_params:
            uses[param.name.lower()].append((network.id, param))
    for found in uses.values():
        owners = {owner for owner, _ in found}
        for owner, param in found:
            if len(owners) > 1 and not param.shared:
                others = ", ".join(sorted(owners - {owner}))
                yield f"network.{owner}.landing_params.{param.name}: not `shared`, but {others} also has it"


def _network_faults(network: NetworkTable) -> Iterator[str]:
    at = f"network.{network.id}"
    names = [p.name for p in network.landing_params]
    if len(set(names)) < len(names):
        yield f"{at}.landing_params: a name is used twice"
    if names and all(p.fallback for p in network.landing_params):
        yield f"{at}.landing_params: all are `fallback`; one must not be"
    for cookie in network.cookies:
        yield from _unknown_params(f"{at}.cookies.{cookie.name}", cookie.of, names)
    used = {key for c in network.conversion for key in _settings(network, c)}
    for key in network.settings:
        if key not in used:
            yield f"{at}.settings.{key}: no call uses it"
    if "conversion" in used:
        yield f"{at}: the settings key `conversion` is reserved: it selects the call"
    if network.conversion and sum(c.preferred for c in network.conversion) != 1:
        yield f"{at}.conversion: exactly one must be `preferred`"
    for conversion in network.conversion:
        yield from _conversion_faults(f"{at}.conversion.{conversion.id}", conversion, names)


def _conversion_faults(at: str, conversion: ConversionTable, names: list[str]) -> Iterator[str]:
    for key in conversion.placeholders():
        if not KEY.fullmatch(key):
            yield f"{at}: {{{key}}} is not a settings key"
    taken: set[Path] = set()
    for param in conversion.all_params():
        path = _path(conversion, param)
        if any(path[: len(t)] == t or t[: len(path)] == path for t in taken):
            yield f"{at}.params.{param.name}: another parameter has the same path"
        taken.add(path)
        yield from _unknown_params(f"{at}.params.{param.name}", param.of, names)


def _unknown_params(at: str, of: tuple[str, ...], names: list[str]) -> Iterator[str]:
    for name in of:
        if name not in names:
            yield f"{at}.of: {name!r} is not one of the network's landing parameters"


# -- values


def _network(table: NetworkTable) -> Network:
    return Network(
        id=table.id,
        name=table.name,
        kind=table.kind,
        confidence=table.confidence,
        landing_params=tuple(LandingParam(**p.model_dump()) for p in table.landing_params),
        own_param=table.own_param,
        lookback_days=table.lookback_days,
        retry_unknown=table.retry_unknown,
        vendor=_vendor(table.tcf) if table.tcf is not None else None,
        necessary=table.necessary,
        cookies=tuple(Cookie(**c.model_dump()) for c in table.cookies),
        conversions=tuple(_conversion(table, c) for c in table.conversion),
    )


def _vendor(table: VendorTable) -> Vendor:
    return Vendor(table.vendor, table.consent, table.interest, table.flexible)


def _conversion(network: NetworkTable, table: ConversionTable) -> Conversion:
    # Data that not every order has, and that the call requires, is added to `needs`.
    lacking = {p.word for p in table.all_params() if p.req and not SOURCES[p.word]}
    return Conversion(
        id=table.id,
        method=table.method,
        url=table.url,
        encoding=table.encoding,
        success=_success(table.success),
        params=tuple(_param(table, p) for p in table.all_params()),
        settings=_settings(network, table),
        preferred=table.preferred,
        headers=table.headers,
        basic=(table.basic.user, table.basic.password) if table.basic else None,
        document=table.document,
        needs=table.needs | {"items" if word.startswith("item.") else word for word in lacking},
    )


def _success(table: SuccessTable) -> Success:
    ok = Answer(**table.model_dump(exclude={"already", "silent"}))
    return Success(ok, Answer(**table.already.model_dump()) if table.already else None, table.silent)


def _param(conversion: ConversionTable, table: ParamTable) -> Param:
    return Param(
        name=table.name.removeprefix("/"),
        source=table.word,
        argument=table.argument,
        required=table.req,
        format=table.format or formats_of(table.word)[0],
        path=_path(conversion, table),
        join=table.join,
        of=table.of,
        values=table.values,
        max_length=table.max_length,
        default=table.default,
    )


def _path(conversion: ConversionTable, param: ParamTable) -> Path:
    if conversion.encoding not in ("json", "graphql"):
        return (param.name,)
    name = param.name
    if conversion.envelope and not name.startswith("/"):
        name = f"{conversion.envelope}.{name}"
    path: list[str | int] = []
    for part in name.removeprefix("/").split("."):
        path.append(part.removesuffix("[]"))
        if part.endswith("[]"):
            path.append(0)
    return tuple(path)


def _settings(network: NetworkTable, conversion: ConversionTable) -> dict[str, SettingSpec]:
    """All settings keys that the call uses, and whether each is required."""
    required = dict.fromkeys(conversion.placeholders(), True)
    defaults: dict[str, Setting] = {}
    for param in conversion.all_params():
        key = param.argument if param.word == "setting" else "commission_group"
        if param.word in ("setting", "commission_group", "parts"):
            required[key] = required.get(key, False) or param.req
            if param.default is not None:
                defaults[key] = param.default
    specs: dict[str, SettingSpec] = {}
    for key, needed in required.items():
        special = network.settings.get(key, SettingTable())
        default = defaults.get(key) if special.default is None else special.default
        specs[key] = SettingSpec(key, needed, special.secret, default)
    return specs
