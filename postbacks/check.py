"""Checks the partners of a site: whether their calls can be built, and where they go."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from ..referral.catalogue import Network
from ..settings.check import TOKEN_LENGTH, secret_problems
from ..settings.draft import Draft, twice
from ..settings.letters import not_ascii
from ..settings.model import Partner, Site
from ..settings.positions import KeyPath
from ..settings.wording import Wording, nearest
from .call import RenderError, SecretError
from .model import Report
from .network_call import chosen
from .outgoing import TYPES
from .reach import kind_of, refusal, written
from .render import missing_settings, render, signing

SAMPLE = Report("order", "partner", "click", "1", "1.00", "EUR", "chat", 1_700_000_000, 1_690_000_000)
_ALLOW = "if that is meant, set allow_private = true for this partner"
# Top-level domains that are not in the public DNS (RFC 6761, RFC 6762, RFC 8375, ICANN's .internal).
_OWN_NAMES = (".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp")


def partner_problems(draft: Draft, networks: Mapping[str, Network]) -> Iterator[Wording]:
    """What is wrong with a site's partners; `networks` is the catalogue by id."""
    path = (*draft.path, "partners")
    ids = [((*path, n, "id"), p.id) for n, p in draft.partners]
    yield from twice(ids, "another partner has the id {!r}")
    params = [((*path, n, "param"), p.param) for n, p in draft.partners if p.param is not None]
    yield from twice(params, "another partner has the parameter {!r}: each partner needs its own")
    named = {partner.network for _, partner in draft.partners}
    enabled = [network for name, network in networks.items() if name in named]
    for number, partner in draft.partners:
        place = (*path, number)
        if partner.network is None:
            yield from _plain_partner(place, partner, enabled)
        elif partner.network not in networks:
            hint = nearest(partner.network, networks)
            message = f"unknown network {partner.network!r}{not_ascii(partner.network)}"
            yield Wording((*place, "network"), message, _shortened(hint))
        else:
            yield from _network_partner(place, partner, networks[partner.network])


def endpoint_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """What is wrong with a site's endpoints for events."""
    names: set[str] = set()
    for number, endpoint in enumerate(site.endpoints):
        place = (*path, "endpoints", number)
        if endpoint.name in names:
            yield Wording((*place, "name"), f"is {endpoint.name!r} twice", "give each endpoint its own name")
        names.add(endpoint.name)
        for n, one in enumerate((endpoint.secret, *endpoint.previous_secrets)):
            key = (*place, "secret") if n == 0 else (*place, "previous_secrets", n - 1)
            text = one.get_secret_value()
            try:
                signing(text, "secret")
            except SecretError as error:
                yield Wording(key, str(error).removeprefix("secret: "))
            else:
                yield from secret_problems(key, text.removeprefix("whsec_"), TOKEN_LENGTH)
        for n, event in enumerate(endpoint.events):
            if event not in TYPES and not any(one.startswith(event.removesuffix("*")) for one in TYPES):
                yield Wording((*place, "events", n), f"there is no event {event!r}", nearest(event, TYPES))
        yield from _address_problems(
            (*place, "url"),
            endpoint.url,
            plain=True,
            allowed=endpoint.allow_private,
            hint="if that is meant, set allow_private = true for this endpoint",
        )


def fact_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """Where facts that the shop's API tells are asked for."""
    for name, custom in site.facts.items():
        if custom.url is not None:
            address = custom.url.replace("{visitor}", "v").replace("{cookie}", "c")
            hint = "if that is meant, set allow_private = true for this fact"
            key = (*path, "facts", name, "url")
            yield from _address_problems(key, address, plain=False, allowed=custom.allow_private, hint=hint)


def text_source_problems(draft: Draft) -> Iterator[Wording]:
    """What is wrong with the services that write texts of a site's rules."""
    for number, rule in draft.rules:
        if (source := rule.text_from) is None:
            continue
        place = (*draft.path, "rules", number, "text_from")
        if source.secret is not None:
            text = source.secret.get_secret_value()
            try:
                signing(text, "secret")
            except SecretError as error:
                yield Wording((*place, "secret"), str(error).removeprefix("secret: "))
            else:
                yield from secret_problems((*place, "secret"), text.removeprefix("whsec_"), TOKEN_LENGTH)
        hint = "if that is meant, set allow_private = true for this service"
        yield from _address_problems(
            (*place, "url"), source.url, plain=True, allowed=source.allow_private, hint=hint
        )


def _plain_partner(place: KeyPath, partner: Partner, enabled: Sequence[Network]) -> Iterator[Wording]:
    owner = next(
        (n for n in enabled for p in n.landing_params if p.name.lower() == str(partner.param).lower()),
        None,
    )
    if owner is not None:
        yield Wording((*place, "param"), f"is the parameter of {owner.name}, which is a partner too")
    try:
        render(partner, SAMPLE, None, 0.0, postback_id="check")
    except SecretError as error:
        yield Wording((*place, "secret"), str(error).removeprefix(f"partner {partner.id}: secret: "))
    except RenderError as error:
        yield Wording((*place, "postback"), str(error).removeprefix(f"partner {partner.id}: "))
    else:
        secret = partner.secret.get_secret_value() if partner.secret else None
        yield from secret_problems((*place, "secret"), secret and secret.removeprefix("whsec_"), TOKEN_LENGTH)
    if partner.secret is None and partner.postback is not None and "{click_id}" not in partner.postback:
        message = "does not hold {click_id}: the partner cannot tell which click an order came from"
        yield Wording((*place, "postback"), message, "write it where the partner wants it", "warning")
    yield from _call_problems(place, partner, None)


def _network_partner(place: KeyPath, partner: Partner, network: Network) -> Iterator[Wording]:
    if network.own_param and partner.param is None:
        hint = 'write param = "…": the parameter of the landing URL that holds the click id'
        yield Wording((*place, "param"), f"is missing: {network.name} lets each advertiser choose it", hint)
    elif partner.param is not None and not network.own_param:
        yield Wording(
            (*place, "param"), f"is not used by {network.name}, whose parameters are known", "leave it out"
        )
    entry = chosen(partner, network)
    if entry is None:
        yield from _no_call(place, partner, network)
        return
    if entry.needs:
        needs = ", ".join(sorted(entry.needs))
        yield Wording(
            (*place, "network"),
            f"{network.name} needs {needs} with each order, which clew does not have",
        )
    yield from _call_problems(place, partner, network)
    for key in missing_settings(partner, network):
        hint = f'write {key} = "…" in `settings` of the partner {partner.id}'
        yield Wording((*place, "settings", key), f"is missing: {network.name} needs it", hint)
    known = {"conversion", *(key for c in network.calls for key in c.settings)}
    for key in partner.settings:
        if key not in known:
            message = f"{network.name} has no such setting{not_ascii(key)}"
            yield Wording((*place, "settings", key), message, nearest(key, known))


def _no_call(place: KeyPath, partner: Partner, network: Network) -> Iterator[Wording]:
    names = [call.id for call in network.calls_for("conversion", {})]
    if names and "conversion" in partner.settings:
        name = str(partner.plain_settings["conversion"])
        message = f"{network.name} has no such call{not_ascii(name)}"
        yield Wording((*place, "settings", "conversion"), message, nearest(name, names))
    else:
        message = f"{network.name} accepts no reports from servers"
        if why := network.by_hand.get("conversion") or network.nothing.get("conversion"):
            message = f"{message}: {why}"
        yield Wording((*place, "network"), message, "remove the partner: its clicks are still recorded")


def _shortened(hint: str) -> str:
    """The hint, or a link to the docs instead of a long list of names."""
    return hint if len(hint) < 200 else "see docs/settings.md#partners"


def _call_problems(place: KeyPath, partner: Partner, network: Network | None) -> Iterator[Wording]:
    """Problems with the destination of the calls; `network` is None for a plain partner."""
    key, address = _called(partner, network)
    if address is None:
        return
    yield from _address_problems(
        (*place, key), address, plain=key != "settings", allowed=partner.allow_private
    )


def _address_problems(
    path: KeyPath, address: str, *, plain: bool, allowed: bool, hint: str = _ALLOW
) -> Iterator[Wording]:
    """Problems of an address that is called. `plain`: it is written in the settings as it is; `allowed`: it
    may be in a private network."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return
    number = written(host)
    kind = kind_of(number) if number is not None else "public"
    if not allowed:
        yield from _refused(path, host, kind, hint, named=number is None)
    if parts.scheme == "http" and plain and kind == "public":
        message = "is called without encryption: others on the network path can read and change orders"
        yield Wording(path, message, f'write "https://{host}…"', "warning")


def _refused(path: KeyPath, host: str, kind: str, hint: str, *, named: bool) -> Iterator[Wording]:
    if (why := refusal(host)) is not None:
        yield Wording(path, f"is never called: {why}", hint)
    elif kind == "private":
        yield Wording(path, f"{host} is an address of a private network", hint, "warning")
    elif named and ("." not in host.rstrip(".") or host.rstrip(".").endswith(_OWN_NAMES)):
        message = f"{host} is a name in your own network; names are called only at public addresses"
        yield Wording(path, message, hint, "warning")


def _called(partner: Partner, network: Network | None) -> tuple[str, str | None]:
    """The setting that names the host, and a URL as it would be called."""
    key = "postback" if network is None else "endpoint" if partner.endpoint else "settings"
    try:
        return key, render(partner, SAMPLE, network, 0.0, postback_id="check").url
    except RenderError:
        return key, partner.postback or partner.endpoint
