"""Everything that can be wrong with a settings file, found before anything is started, all of it at once."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from babel.numbers import is_currency
from pydantic import SecretStr, ValidationError

from ..injector.selectors import selector_error
from ..postbacks.call import RenderError
from ..postbacks.network_call import chosen
from ..postbacks.render import missing_settings, render
from ..referral.catalogue import Catalogue, Network
from ..referral.catalogue import load as load_catalogue
from ..rules.ruleset import RuleErrors, RuleSet
from ..rules.values import Known
from ..settings.load import Problem, SettingsErrors, Source, beside, read, validate
from ..settings.model import Model, Partner, Rule, Settings, Site
from ..settings.platforms import PlatformError, platform_of
from ..settings.positions import KeyPath
from ..settings.weak import weakness
from ..settings.wording import Wording, fresh_secret, nearest
from ..stores.files import readable_by_others
from ..stores.ledger.agents import host_key
from ..stores.ledger.database import sqlite_path
from .check_calls import SAMPLE, call_problems
from .check_cookies import cookie_problems
from .check_pages import page_problems

SECRET_LENGTH = 32
TOKEN_LENGTH = 16

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A site as far as it can be read: what pydantic refuses is left out, so that the rest is checked too."""

    path: KeyPath
    raw: Mapping[str, Any]
    site: Site
    partners: Sequence[tuple[int, Partner]]
    rules: Sequence[tuple[int, Rule]]


def check(
    path: Path, environ: Mapping[str, str], need_upstream: bool = False
) -> tuple[Settings | None, list[Problem]]:
    """The settings if they can be used, else None; and every problem, by line. Warnings alone hinder nothing.

    `need_upstream`: each site has to name its shop's address; `clew serve` needs it, the middleware does not.
    """
    try:
        source = read(path, environ)
    except SettingsErrors as error:
        return None, list(error.problems)
    settings, problems = validate(source)
    unset = {problem.key for problem in source.problems}
    for wording in _deeper(source, need_upstream):
        problem = source.problem(wording.path, wording.message, wording.hint, wording.severity)
        if problem.key not in unset and problem not in problems:
            problems.append(problem)
    problems.sort(key=lambda problem: problem.line or 0)
    wrong = any(problem.severity == "error" for problem in problems)
    return (None if wrong else settings), problems


def checked(path: Path, environ: Mapping[str, str], need_upstream: bool = False) -> Settings:
    """The settings of a file that can be used. Raises SettingsErrors with all that is wrong in it."""
    settings, problems = check(path, environ, need_upstream)
    if settings is None:
        raise SettingsErrors(problems)
    return settings


def _deeper(source: Source, need_upstream: bool) -> Iterator[Wording]:
    yield from _stores(source)
    yield from _top_secrets(source.data)
    drafts = list(_drafts(source.data))
    yield from _sites(drafts)
    yield from _desk_host(source.data, drafts)
    catalogue = load_catalogue()
    for draft in drafts:
        yield from _site(draft, need_upstream)
        yield from _partners(draft, catalogue)
        yield from _rules(draft, catalogue)


def _drafts(data: Mapping[str, Any]) -> Iterator[_Draft]:
    sites = data.get("sites")
    for number, raw in enumerate(sites if isinstance(sites, list) else []):
        if not isinstance(raw, dict):
            continue
        rest = {key: value for key, value in raw.items() if key not in ("partners", "rules")}
        try:
            site = Site.model_validate(rest)
        except ValidationError as error:
            refused = {details["loc"][0] for details in error.errors()}
            kept = {key: value for key, value in rest.items() if key not in refused}
            site = Site.model_validate({"name": "unnamed", **kept})
        yield _Draft(
            ("sites", number),
            raw,
            site,
            _readable(Partner, raw.get("partners"), {}),
            _readable(Rule, raw.get("rules"), {"action": "show"}),
        )


def _readable(model: type[M], raw: Any, stand_in: Mapping[str, Any]) -> list[tuple[int, M]]:
    """What can be read of a list of tables. Where keys are refused (see `validate`), the rest is read
    with `stand_in` for what is missing; a table that is wrong as a whole is left out."""
    found = []
    for number, item in enumerate(raw if isinstance(raw, list) else []):
        try:
            found.append((number, model.model_validate(item)))
        except ValidationError as error:
            refused = {details["loc"][0] for details in error.errors() if details["loc"]}
            if not isinstance(item, dict) or not refused or not stand_in:
                continue
            kept = {key: value for key, value in item.items() if key not in refused}
            names = {"name": f"unnamed-{number}"}
            found.append((number, model.model_validate({**names, **stand_in, **kept})))
    return found


def _twice(items: Iterable[tuple[KeyPath, str]], message: str) -> Iterator[Wording]:
    """A problem for each value that stood before; `message` may name it as {}."""
    seen: set[str] = set()
    for path, value in items:
        if value in seen:
            yield Wording(path, message.format(value))
        seen.add(value)


def _stores(source: Source) -> Iterator[Wording]:
    for key in ("store", "ledger"):
        address = source.data.get(key, Settings.model_fields[key].default)
        if not isinstance(address, str):
            continue
        file = sqlite_path(beside(address, source.file.absolute().parent))
        if file is None:
            yield Wording((key,), "only SQLite is served so far", 'write "sqlite:clew.db"')
        elif not file.name:
            yield Wording((key,), "names no file", 'write "sqlite:clew.db"')
        elif not file.parent.is_dir():
            yield Wording((key,), f"the folder {file.parent} does not exist", "make it, or name another one")
        else:
            for found in readable_by_others(file):
                message = f"{found} can be read by others on this machine"
                yield Wording((key,), message, f"chmod 600 {found}", "warning")


def _top_secrets(data: Mapping[str, Any]) -> Iterator[Wording]:
    secret = data.get("secret")
    # One that is too short was told of by the model.
    if isinstance(secret, str) and len(secret) >= SECRET_LENGTH:
        yield from _secret(("secret",), secret, SECRET_LENGTH)
    previous = data.get("previous_secrets")
    for number, old in enumerate(previous if isinstance(previous, list) else []):
        yield from _secret(("previous_secrets", number), old, SECRET_LENGTH)
    yield from _secret(("metrics_token",), data.get("metrics_token"), TOKEN_LENGTH)


def _secret(path: KeyPath, value: object, least: int) -> Iterator[Wording]:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and (why := weakness(text, least)) is not None:
        yield Wording(
            path, why, fresh_secret(str(path[-1])) if path[0] != "previous_secrets" else "leave it out"
        )


def _sites(drafts: Sequence[_Draft]) -> Iterator[Wording]:
    names = (((*d.path, "name"), d.site.name) for d in drafts if d.site.name == d.raw.get("name"))
    yield from _twice(names, "another site has the name {!r}")
    hosts = (((*d.path, "hosts", n), host) for d in drafts for n, host in enumerate(d.site.hosts))
    yield from _twice(hosts, "the host {!r} belongs to a site already")
    anywhere = [d.path for d in drafts if not d.raw.get("hosts")]
    for path in anywhere[1:]:
        yield Wording(path, "another site has no `hosts` either", "only one site may serve all other hosts")


def _desk_host(data: Mapping[str, Any], drafts: Sequence[_Draft]) -> Iterator[Wording]:
    """Several shops must not share an origin's trust in one desk: each could read the others' talks."""
    host = data.get("desk_host")
    if host is None and len(drafts) > 1:
        hint = 'write desk_host = "desk.example": a host of its own that leads to clew'
        yield Wording(
            ("desk_host",), "is missing: with more than one site the desk needs a host of its own", hint
        )
    elif isinstance(host, str):
        taken = {host_key(found) for draft in drafts for found in draft.site.hosts}
        if host_key(host) in taken:
            yield Wording(
                ("desk_host",), "is a shop's host: the desk needs one of its own", "name another host"
            )


def _site(draft: _Draft, need_upstream: bool) -> Iterator[Wording]:
    site, path = draft.site, draft.path
    if need_upstream and site.upstream is None:
        yield Wording((*path, "upstream"), "is missing", 'write upstream = "http://127.0.0.1:8000"')
    yield from _secret((*path, "api_token"), site.api_token, TOKEN_LENGTH)
    try:
        platform_of(site)
    except PlatformError as error:
        yield Wording((*path, "platform"), error.message, error.hint)
    yield from page_problems(site, path)
    yield from cookie_problems(site, path)
    yield from _selectors(draft)


def _selectors(draft: _Draft) -> Iterator[Wording]:
    site = draft.site
    order = site.order.model_dump(include={"id", "total", "currency"}) if site.order else {}
    named = [(("order", key), value) for key, value in order.items() if value != "jsonld"]
    named += [(("cart", key), value) for key, value in site.cart.model_dump(exclude_none=True).items()]
    for keys, selector in named:
        error = _currency_error(selector) if keys[1] == "currency" else selector_error(selector)
        if error is not None:
            yield Wording((*draft.path, *keys), error)


def _currency_error(setting: str) -> str | None:
    """A currency is named by its code, or by a selector."""
    error = None if is_currency(setting) else selector_error(setting)
    if error is None or not re.fullmatch(r"\w+|[^\w\s.#*:\[{(]+", setting):
        return error
    begins = setting[:3].upper()
    example = begins if is_currency(begins) else "EUR"
    return f'{setting!r} is neither an ISO 4217 code nor a selector; write for example "{example}"'


def _partners(draft: _Draft, catalogue: Catalogue) -> Iterator[Wording]:
    path = (*draft.path, "partners")
    yield from _twice(
        (((*path, n, "id"), p.id) for n, p in draft.partners), "another partner has the id {!r}"
    )
    params = (((*path, n, "param"), p.param) for n, p in draft.partners if p.param is not None)
    yield from _twice(params, "another partner has the parameter {!r}: nobody could tell whose click it is")
    networks = {partner.network for _, partner in draft.partners}
    enabled = [network for name, network in catalogue.networks.items() if name in networks]
    for number, partner in draft.partners:
        place = (*path, number)
        if partner.network is None:
            yield from _plain_partner(place, partner, enabled)
        elif partner.network not in catalogue.networks:
            hint = nearest(partner.network, catalogue.networks)
            yield Wording((*place, "network"), f"unknown network {partner.network!r}", _shortened(hint))
        else:
            yield from _network_partner(place, partner, catalogue.networks[partner.network])


def _plain_partner(place: KeyPath, partner: Partner, enabled: Sequence[Network]) -> Iterator[Wording]:
    owner = next(
        (n for n in enabled for p in n.landing_params if p.name.lower() == str(partner.param).lower()),
        None,
    )
    if owner is not None:
        yield Wording((*place, "param"), f"is the parameter of {owner.name}, which is a partner too")
    try:
        render(partner, SAMPLE, None, 0.0, postback_id="check")
    except RenderError as error:
        told = str(error).removeprefix(f"partner {partner.id}: ")
        key = "secret" if told.startswith("secret: ") else "postback"
        yield Wording((*place, key), told.removeprefix("secret: "))
    else:
        secret = partner.secret.get_secret_value() if partner.secret else None
        yield from _secret((*place, "secret"), secret and secret.removeprefix("whsec_"), TOKEN_LENGTH)
    yield from call_problems(place, partner, None)


def _network_partner(place: KeyPath, partner: Partner, network: Network) -> Iterator[Wording]:
    if network.own_param and partner.param is None:
        hint = 'write param = "…": the parameter of the landing address that holds the click id'
        yield Wording((*place, "param"), f"is missing: {network.name} lets each advertiser choose it", hint)
    elif partner.param is not None and not network.own_param:
        yield Wording(
            (*place, "param"), f"is not for {network.name}, whose parameters are known", "leave it out"
        )
    conversion = chosen(partner, network)
    if conversion is None:
        yield from _no_call(place, partner, network)
        return
    if conversion.needs:
        needs = ", ".join(sorted(conversion.needs))
        yield Wording(
            (*place, "network"), f"{network.name} needs {needs} with each order, which clew cannot give yet"
        )
    yield from call_problems(place, partner, network)
    for key in missing_settings(partner, network):
        hint = f'write {key} = "…" in `settings` of the partner {partner.id}'
        yield Wording((*place, "settings", key), f"is missing: {network.name} needs it", hint)
    known = {"conversion", *(key for c in network.conversions for key in c.settings)}
    for key in partner.settings:
        if key not in known:
            yield Wording(
                (*place, "settings", key), f"{network.name} has no such setting", nearest(key, known)
            )


def _no_call(place: KeyPath, partner: Partner, network: Network) -> Iterator[Wording]:
    names = [conversion.id for conversion in network.conversions]
    if names and "conversion" in partner.settings:
        hint = nearest(str(partner.settings["conversion"]), names)
        yield Wording((*place, "settings", "conversion"), f"{network.name} has no such call", hint)
    else:
        message = f"{network.name} takes no reports from servers"
        yield Wording((*place, "network"), message, "leave the partner out: its clicks are read all the same")


def _rules(draft: _Draft, catalogue: Catalogue) -> Iterator[Wording]:
    path = (*draft.path, "rules")
    yield from _twice(
        (((*path, n, "name"), r.name) for n, r in draft.rules), "another rule has the name {!r}"
    )
    try:
        RuleSet([rule for _, rule in draft.rules], _known(draft, catalogue))
    except RuleErrors as error:
        for problem in error.problems:
            place = (*path, draft.rules[problem.rule][0])
            line = () if problem.line is None else ("when", problem.line)
            yield Wording((*place, *line), problem.message, problem.hint)


def _known(draft: _Draft, catalogue: Catalogue) -> Known:
    """What a site's own facts can be. Of a partner that cannot be read, the id may be right all the same."""
    raw = draft.raw.get("partners")
    partners = [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    return {
        "partner.id": [str(partner.get("id")) for partner in partners],
        "partner.network": [str(partner.get("network") or "") for partner in partners],
        "touch.network": ["", *catalogue.networks],
    }


def _shortened(hint: str) -> str:
    """Half a hundred names help nobody."""
    return hint if len(hint) < 200 else "see docs/settings.md#partners"
