"""Renders the call to any network from its entry in the catalogue."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..referral.catalogue import Conversion, Network, Setting
from ..settings.model import Partner
from .call import Call, RenderError, json_text, percent
from .masking import MASK, masked_click
from .model import Report
from .values import Given, Json, text, value

_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_TYPES = {
    "json": "application/json",
    "graphql": "application/json",
    "form": "application/x-www-form-urlencoded",
}


def chosen(partner: Partner, network: Network) -> Conversion | None:
    """The call for which the partner's settings suffice, the preferred one if there are several.

    If they suffice for none, the call with the fewest missing settings. None if the network has no
    server-side call, or not the one that the setting `conversion` names.
    """
    named = network.conversion(partner.plain_settings)
    if named is None or "conversion" in partner.settings:
        return named
    others = [c for c in network.conversions if c is not named]
    return min((named, *others), key=lambda c: (bool(c.needs), len(missing(partner, c))))


def missing(partner: Partner, conversion: Conversion) -> list[str]:
    """The required settings that are missing. A host is not required if `endpoint` replaces it."""
    lacking = conversion.missing(partner.plain_settings)
    if partner.endpoint is None:
        return lacking
    host = set(_PLACEHOLDER.findall(_host_and_rest(conversion.url)[0]))
    return [key for key in lacking if key not in host]


def network_call(partner: Partner, report: Report, network: Network) -> Call:
    """The call that reports an order to a network. Raises RenderError if it cannot be built."""
    conversion = chosen(partner, network)
    if conversion is None:
        raise RenderError(f"network {network.id}: it has no call that clew could make")
    if conversion.needs:
        raise RenderError(
            f"network {network.id}, call {conversion.id}: it needs {', '.join(sorted(conversion.needs))}, "
            "which clew does not support yet"
        )
    if lacking := missing(partner, conversion):
        keys = ", ".join(f"settings.{key}" for key in lacking)
        raise RenderError(f"partner {partner.id}: {network.name} ({conversion.id}) needs {keys}")
    defaults = {s.name: s.default for s in conversion.settings.values() if s.default is not None}
    settings: dict[str, Setting] = {**defaults, **partner.plain_settings}
    secrets = {s.name for s in conversion.settings.values() if s.secret and s.name in settings}
    url, headers, body = _built(partner, conversion, Given(report, settings))
    shown_settings: dict[str, Setting] = {**settings, **dict.fromkeys(secrets, MASK)}
    shown_report = replace(report, click_id=masked_click(report.click_id))
    shown_url, _, shown_body = _built(partner, conversion, Given(shown_report, shown_settings))
    return Call(
        method=conversion.method,
        url=url,
        headers=headers,
        body=body.encode("utf-8"),
        masked=f"{conversion.method} {shown_url} {shown_body}".rstrip(),
        success=conversion.success,
        hidden=(report.click_id, percent(report.click_id), *(str(settings[name]) for name in secrets)),
    )


def _built(partner: Partner, conversion: Conversion, given: Given) -> tuple[str, dict[str, str], str]:
    url = _address(partner, conversion, given.settings)
    headers = {name: _filled(t, given.settings) for name, t in conversion.headers.items()}
    if conversion.basic is not None:
        user, password = (_filled(part, given.settings) for part in conversion.basic)
        headers["Authorization"] = "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
    if conversion.encoding in _TYPES:
        headers["Content-Type"] = _TYPES[conversion.encoding]
    params = list(_params(partner, conversion, given))
    match conversion.encoding:
        case "query":
            return f"{url}{'&' if '?' in url else '?'}{_pairs(params)}", headers, ""
        case "path":
            return url + "/".join(f"{name}:{percent(text(v))}" for name, _, v in params), headers, ""
        case "form":
            return url, headers, _pairs(params)
        case "json":
            return url, headers, json_text(_body(params))
        case "graphql":
            document: Json = {"query": conversion.document, "variables": _body(params)}
            return url, headers, json_text(document)


def _params(
    partner: Partner, conversion: Conversion, given: Given
) -> Iterator[tuple[str, tuple[str | int, ...], Json]]:
    for param in conversion.params:
        try:
            found = value(param, given)
        except ValueError as error:
            raise RenderError(f"partner {partner.id}: {error}") from error
        if found is not None:
            yield param.name, param.path or (param.name,), found
        elif param.required:
            raise RenderError(
                f"partner {partner.id}: {param.name} is required, but there is no {param.source}"
            )


def _pairs(params: list[tuple[str, tuple[str | int, ...], Json]]) -> str:
    return "&".join(f"{percent(name)}={percent(text(found))}" for name, _, found in params)


def _body(params: list[tuple[str, tuple[str | int, ...], Json]]) -> Json:
    root: dict[str | int, object] = {}
    for _, path, found in params:
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})  # type: ignore[assignment]
        node[path[-1]] = found
    return _listed(root)


def _listed(node: object) -> Json:
    """Converts objects whose keys are numbers into lists."""
    if not isinstance(node, dict):
        return node  # type: ignore[return-value]
    if node and all(isinstance(key, int) for key in node):
        return [_listed(node[key]) for key in sorted(node)]
    return {str(key): _listed(inner) for key, inner in node.items()}


def _address(partner: Partner, conversion: Conversion, settings: Mapping[str, Setting]) -> str:
    host, rest = _host_and_rest(conversion.url)
    target = _PLACEHOLDER.sub(lambda m: percent(str(settings[m[1]])), rest)
    if partner.endpoint is not None:
        return partner.endpoint + target
    scheme, _, name = host.partition("://")
    name = _filled(name, settings)
    if not _HOST.fullmatch(name):
        keys = ", ".join(f"settings.{key}" for key in _PLACEHOLDER.findall(host))
        raise RenderError(f'partner {partner.id}: {keys} is not a host name such as "track.example.com"')
    return f"{scheme}://{name}{target}"


def _host_and_rest(url: str) -> tuple[str, str]:
    end = re.search(r"(?<=[^:/])[/?]|$", url)
    cut = end.start() if end else len(url)
    return url[:cut], url[cut:]


def _filled(template: str, settings: Mapping[str, Setting]) -> str:
    return _PLACEHOLDER.sub(lambda m: str(settings.get(m[1], "")), template)
