"""Checks of settings beyond their models, as far as they need the settings alone."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from .check_pages import page_problems
from .draft import Draft
from .hosts import is_among
from .model import EVENTS, PageType, Site
from .platforms import PlatformError, platform_of
from .positions import KeyPath
from .weak import weakness
from .wording import Wording, fresh_secret, nearest

SECRET_LENGTH = 32
TOKEN_LENGTH = 16
PAGE_FACTS = 20  # as `VALUES` of `referral/memory.py`
# A CDN's largest networks are smaller (Cloudflare: /12 and /29).
WIDEST: Mapping[int, int] = {4: 8, 6: 16}


def top_problems(data: Mapping[str, Any]) -> Iterator[Wording]:
    """Weak secrets of the main file."""
    secret = data.get("secret")
    # The model reports one that is too short.
    if isinstance(secret, str) and len(secret) >= SECRET_LENGTH:
        yield from secret_problems(("secret",), secret, SECRET_LENGTH)
    previous = data.get("previous_secrets")
    for number, old in enumerate(previous if isinstance(previous, list) else []):
        yield from secret_problems(("previous_secrets", number), old, SECRET_LENGTH)
    yield from secret_problems(("metrics_token",), data.get("metrics_token"), TOKEN_LENGTH)
    yield from _trusted_strangers(data.get("trusted_proxies"))


def _trusted_strangers(networks: object) -> Iterator[Wording]:
    """Warnings for networks of `trusted_proxies` that include strangers: a trusted peer can name any client
    address."""
    for number, text in enumerate(networks if isinstance(networks, list) else []):
        try:
            network = ip_network(text)
        except ValueError:
            continue  # the model reports it
        if not network.is_private and network.prefixlen < WIDEST[network.version]:
            yield Wording(
                ("trusted_proxies", number),
                f"{network} includes strangers, who could send any client address and so avoid the limits by "
                "client",
                "list only the addresses of your own proxies",
                "warning",
            )


def site_problems(draft: Draft, need_upstream: bool) -> Iterator[Wording]:
    """Problems of a site. `need_upstream`: whether `upstream` is required."""
    site, path = draft.site, draft.path
    if need_upstream and site.upstream is None:
        yield Wording((*path, "upstream"), "is missing", 'write upstream = "http://127.0.0.1:8000"')
    if site.upstream is not None and site.upstream_host is None and _own_host(site.upstream) in site.hosts:
        yield Wording(
            (*path, "upstream"),
            "is one of the site's own `hosts`: if that name points to clew, requests are forwarded in a loop",
            'write the address at which the shop itself listens, for example "http://127.0.0.1:8000"',
            "warning",
        )
    yield from secret_problems((*path, "api_token"), site.api_token, TOKEN_LENGTH)
    yield from _checkout_problems(site, path)
    yield from _token_problems(site, path)
    try:
        platform_of(site)
    except PlatformError as error:
        yield Wording((*path, "platform"), error.message, error.hint)
    yield from page_problems(site, path)
    yield from _score_problems(site, path)
    read = [
        name
        for name, fact in site.facts.items()
        if fact.selector is not None or (fact.json_path is not None and fact.url is None)
    ]
    if len(read) > PAGE_FACTS:
        message = f"{len(read)} facts are read from pages, at most {PAGE_FACTS} are kept of a visitor"
        yield Wording((*path, "facts", read[PAGE_FACTS]), message, "remove some")


def _score_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """Points for what never happens."""
    kinds = [f"page.{kind}" for kind in get_args(PageType)]
    known = [*EVENTS, *(signal.event for signal in site.signals), "returning", "cart", *kinds]
    for name in site.score.points:
        if name not in known:
            yield Wording(
                (*path, "score", "points", name), "is neither an event nor a page", nearest(name, known)
            )


def _checkout_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    yield from secret_problems((*path, "checkout_secret"), site.checkout_secret, SECRET_LENGTH)
    for number, host in enumerate(site.checkout_hosts):
        if site.checkout_secret is None and site.hosts and not is_among(host, site.hosts):
            yield Wording(
                (*path, "checkout_hosts", number),
                f"{host} is none of this site's `hosts`, so that its clew does not take the token",
                "add it to `hosts`, or give both sites the same `checkout_secret`",
                "warning",
            )
    if site.checkout_hosts and not site.inject:
        yield Wording(
            (*path, "checkout_hosts"),
            "has no effect with inject = false: clew's script writes the token into links",
            "remove one of them",
            "warning",
        )


def department_problems(draft: Draft) -> Iterator[Wording]:
    """Departments of rules that the site does not have."""
    for number, rule in draft.rules:
        if rule.department is not None and rule.department not in draft.site.chat.departments:
            yield Wording(
                (*draft.path, "rules", number, "department"),
                f"{rule.department!r} is none of the site's departments",
                f'write chat.departments = ["{rule.department}"], or correct the name',
            )


def _token_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    names: set[str] = set()
    values = {site.api_token.get_secret_value()} if site.api_token is not None else set[str]()
    for number, one in enumerate(site.api_tokens):
        here = (*path, "api_tokens", number)
        yield from secret_problems((*here, "token"), one.token, TOKEN_LENGTH)
        if one.name in names:
            yield Wording((*here, "name"), f"is {one.name!r} twice", "give each token a name of its own")
        if one.token.get_secret_value() in values:
            yield Wording((*here, "token"), "is another token's value too", fresh_secret("token"))
        names.add(one.name)
        values.add(one.token.get_secret_value())


def _own_host(upstream: str) -> str:
    return (urlsplit(upstream).hostname or "").rstrip(".")


def secret_problems(path: KeyPath, value: object, least: int) -> Iterator[Wording]:
    """Problems of a secret with fewer than `least` characters, or one that can be guessed."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and (why := weakness(text, least)) is not None:
        yield Wording(
            path, why, fresh_secret(str(path[-1])) if path[0] != "previous_secrets" else "remove it"
        )
