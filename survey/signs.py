"""Detects the shop system, other chats and networks by the signs in `signs.toml`."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal
from urllib.parse import urlsplit

from ..injector.heads import Headers
from ..referral.catalogue import Network
from ..settings.model import Model
from .look import Look
from .words import shown

Certainty = Literal["certain", "likely", "a guess"]


class PlatformSigns(Model):
    """The signs of one shop system, by kind."""

    source: str
    generator: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    markup: tuple[str, ...] = ()


class Guard(Model):
    """A service that blocks programs, by a header or text of its response."""

    name: str
    headers: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


class Signs(Model):
    """All signs."""

    platforms: dict[str, PlatformSigns]
    chats: dict[str, tuple[str, ...]]
    consents: dict[str, tuple[str, ...]]
    networks: dict[str, tuple[str, ...]]
    guards: tuple[Guard, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A detected shop system, with the evidence."""

    platform: str
    certainty: Certainty
    evidence: tuple[str, ...]


@cache
def signs() -> Signs:
    """The signs in `signs.toml`."""
    return Signs.model_validate(
        tomllib.loads(files(__package__).joinpath("signs.toml").read_text("utf-8")), strict=False
    )


def name_platform(looks: Sequence[Look], cookies: Iterable[str]) -> Named | None:
    """The shop system with the most kinds of signs: three make it certain, two likely, one a guess. None if
    there is no sign, or two systems have equally many."""
    names = (*cookies, *(name for look in looks for name in look.cookies))
    found = {name: _evidence(expected, looks, names) for name, expected in signs().platforms.items()}
    ranked = sorted(found.items(), key=lambda pair: len(pair[1]), reverse=True)
    (name, evidence), (_, second) = ranked[0], ranked[1]
    if not evidence or len(second) == len(evidence):
        return None
    kinds: tuple[Certainty, ...] = ("a guess", "likely", "certain")
    return Named(name, kinds[min(len(evidence), 3) - 1], tuple(evidence))


def _evidence(expected: PlatformSigns, looks: Sequence[Look], cookies: Iterable[str]) -> list[str]:
    """The first sign of each kind that was found."""
    kinds: tuple[tuple[str, tuple[str, ...], Iterable[str]], ...] = (
        ("generator", expected.generator, [g for look in looks for g in look.generators]),
        ("cookie", expected.cookies, cookies),
        ("header", expected.headers, [line for look in looks for line in header_lines(look.answer.headers)]),
        ("file", expected.assets, [url for look in looks for url in look.assets]),
    )
    found = [f"{kind} {shown(text, 60)}" for kind, wanted, texts in kinds if (text := _first(wanted, texts))]
    if snippet := _found(expected.scripts, "\n".join(look.scripts for look in looks)):
        found.append(f"script {shown(snippet, 60)}")
    if tags := [m for m in expected.markup if any(look.document.has(m) for look in looks)]:
        found.append(f"markup {tags[0]}")
    return found


def _first(wanted: tuple[str, ...], texts: Iterable[str]) -> str | None:
    return next((text for text in texts if _found(wanted, text) is not None), None)


def _found(wanted: tuple[str, ...], text: str) -> str | None:
    matches = (re.search(sign, text, re.IGNORECASE) for sign in wanted)
    return next((match[0] for match in matches if match), None)


def header_lines(headers: Headers) -> Iterator[str]:
    """The headers as `name: value`."""
    return (f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in headers)


def chats_on(looks: Sequence[Look]) -> tuple[str, ...]:
    """Other chats whose loaders are on the pages."""
    return _by_scripts(signs().chats, looks)


def consents_on(looks: Sequence[Look]) -> tuple[str, ...]:
    """Consent tools whose scripts are on the pages."""
    return _by_scripts(signs().consents, looks)


def _by_scripts(wanted: Mapping[str, tuple[str, ...]], looks: Sequence[Look]) -> tuple[str, ...]:
    return tuple(
        name
        for name, texts in wanted.items()
        if any(_first(texts, (*look.assets, look.scripts)) for look in looks)
    )


def networks_on(
    looks: Sequence[Look], cookies: Iterable[str], catalogue: Mapping[str, Network]
) -> tuple[str, ...]:
    """Ids of the affiliate networks and partner platforms whose tags or cookies are on the pages."""
    hosts = {urlsplit(url).hostname or "" for look in looks for url in look.assets}
    named = set(cookies)
    kinds = ("affiliate_network", "partner_platform")
    return tuple(
        network.id
        for network in catalogue.values()
        if network.kind in kinds
        and (
            any(_below(host, own) for host in hosts for own in _hosts(network))
            or not named.isdisjoint(cookie.name for cookie in network.cookies)
        )
    )


def _hosts(network: Network) -> Iterator[str]:
    yield from signs().networks.get(network.id, ())
    for call in network.calls:
        host = urlsplit(call.url).hostname or ""
        if "{" not in host and host.count("."):
            yield ".".join(host.split(".")[-2:])


def _below(host: str, own: str) -> bool:
    return host == own or host.endswith(f".{own}")


def guard_of(headers: Headers, body: str) -> str | None:
    """The name of the service that blocked this request; None if it is not a known one."""
    lines = list(header_lines(headers))
    return next(
        (
            guard.name
            for guard in signs().guards
            if _first(guard.headers, lines) or _first(guard.text, [body])
        ),
        None,
    )
