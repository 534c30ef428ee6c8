"""Reads `networks.toml`: checks the whole file and converts it into the catalogue's values.

All errors are reported at once, each with network and key.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from .calls_file import call_faults, entry, linked, settings_of
from .catalogue import Catalogue, Cookie, LandingParam, Network
from .consent.tcf import Vendor
from .networks_schema import FileTable, LandingTable, NetworkTable, VendorTable


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
        networks={n.id: _network(n, file.example) for n in file.network},
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
    used = {key for call in network.call for key in settings_of(network, call)}
    for key in network.settings:
        if key not in used:
            yield f"{at}.settings.{key}: no call uses it"
    if "conversion" in used:
        yield f"{at}: the settings key `conversion` is reserved: it selects the call"
    conversions = [call for call in network.call if "conversion" in call.purposes]
    if conversions and sum(call.preferred for call in conversions) != 1:
        yield f"{at}.call: exactly one for conversions must be `preferred`"
    if len({call.id for call in network.call}) < len(network.call):
        yield f"{at}.call: an id is used twice"
    for call in network.call:
        for aid, name in (("lookup", call.lookup), ("result", call.result)):
            if name and not any(c.id == name and aid in c.purposes for c in network.call):
                yield f"{at}.call.{call.id}.{aid}: there is no {aid} {name!r}"
    for key, purposes in (("by_hand", network.by_hand), ("nothing", network.nothing)):
        for purpose in purposes:
            if any(purpose in call.purposes and not call.needs for call in network.call):
                yield f"{at}.{key}.{purpose}: there is a call for it"
    for purpose in network.by_hand.keys() & network.nothing.keys():
        yield f"{at}.nothing.{purpose}: a person reports it by hand"
    for call in network.call:
        yield from call_faults(f"{at}.call.{call.id}", call, names)


def _unknown_params(at: str, of: tuple[str, ...], names: list[str]) -> Iterator[str]:
    for name in of:
        if name not in names:
            yield f"{at}.of: {name!r} is not one of the network's landing parameters"


# -- values


def _network(table: NetworkTable, base: Mapping[str, object]) -> Network:
    entries = {call.id: entry(table, call, base) for call in table.call}
    return Network(
        id=table.id,
        name=table.name,
        kind=table.kind,
        confidence=table.confidence,
        landing_params=tuple(LandingParam(**p.model_dump()) for p in table.landing_params),
        own_param=table.own_param,
        lookback_days=table.lookback_days,
        vendor=_vendor(table.tcf) if table.tcf is not None else None,
        necessary=table.necessary,
        cookies=tuple(Cookie(**c.model_dump()) for c in table.cookies),
        calls=tuple(linked(entries, call) for call in table.call),
        by_hand=table.by_hand,
        nothing=table.nothing,
    )


def _vendor(table: VendorTable) -> Vendor:
    return Vendor(table.vendor, table.consent, table.interest, table.flexible)
