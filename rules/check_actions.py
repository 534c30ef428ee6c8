"""Checks what rules do: their texts, and what an action needs of the site."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..settings.model import Rule, Site, Texts
from ..settings.positions import KeyPath
from ..settings.wording import Wording, nearest
from .placeholders import names_in, needed_in, problems
from .site_facts import vocabulary_of

_OF_INVITES: Final = ("text", "text_plain", "text_from", "persona", "offer", "offer_out", "keywords")
_OF_NUMBERS: Final = ("number", "closed")


def action_problems(path: KeyPath, rule: Rule, site: Site) -> Iterator[Wording]:
    """What is wrong with a rule's action and its texts."""
    given = rule.model_fields_set
    if not rule.invites:
        for key in (*_OF_INVITES, "question"):
            # Texts and fields of rules that show or hide were always ignored.
            if key in given and key not in ("text", "question"):
                yield Wording((*path, key), f"`{key}` is for invites", 'write action = "invite"')
    if rule.action != "number":
        for key in _OF_NUMBERS:
            if key in given:
                yield Wording((*path, key), f"`{key}` is for numbers", 'write action = "number"')
    elif rule.number is None and site.phone.number is None:
        yield Wording((*path, "number"), "there is no number to show", 'write number = "+49 30 1234567"')
    if rule.action == "number" and rule.text is None and not rule.variants:
        yield Wording((*path, "text"), "is missing", "write what stands beside the number")
    if (rule.action == "callback" or rule.closed == "callback") and site.callback is None:
        key = "action" if rule.action == "callback" else "closed"
        yield Wording((*path, key), "this site calls nobody back", "add [sites.callback]")
    if rule.persona is not None and rule.persona not in site.personas:
        yield Wording((*path, "persona"), "the site has no such persona", _known(rule.persona, site.personas))
    coupons = [coupon.name for coupon in site.offers.coupons]
    if rule.offer is not None and rule.offer not in coupons:
        yield Wording((*path, "offer"), "the site has no such coupon", _known(rule.offer, coupons))
    if rule.offer is not None and rule.action in ("callback", "number"):
        yield Wording((*path, "offer"), "an offer is for invites to talk", 'write action = "invite"')
    if rule.text_from is not None:
        if rule.variants:
            message = "a text of a service is one text: it is not compared with variants"
            yield Wording((*path, "text_from"), message, "leave out `text_from` or `variants`")
        known = vocabulary_of(site).by_name
        for n, name in enumerate(rule.text_from.facts):
            if name not in known:
                yield Wording((*path, "text_from", "facts", n), "unknown fact", nearest(name, known))
    yield from _texts((*path, "text"), rule, site, rule.text)
    for n, variant in enumerate(rule.variants):
        yield from _texts((*path, "variants", n, "text"), rule, site, variant.text)
    for place, text in _each((*path, "text_plain"), rule.text_plain):
        yield from _one(place, text)
        for name in needed_in(text):
            fallback = name.replace("}", "|…}")
            yield Wording(place, f"{name} may have no value, and this text is for then", f"write {fallback}")


def _texts(path: KeyPath, rule: Rule, site: Site, texts: Texts | None) -> Iterator[Wording]:
    for place, text in _each(path, texts):
        yield from _one(place, text)
        if names_in(text) & {"keyword", "search"} and not (rule.keywords or site.invites.keywords):
            yield Wording(place, "without `keywords` no search word is ever said", "write keywords = […]")
        if "visitor" in names_in(text) and "customer.first_name" not in site.facts:
            hint = "add [sites.facts] with customer.first_name"
            yield Wording(place, "{visitor} never has a value at this site", hint, "warning")


def _one(place: KeyPath, text: str) -> Iterator[Wording]:
    for problem in problems(text):
        message, _, hint = problem.partition("; ")
        yield Wording(place, message, hint)


def _each(path: KeyPath, texts: Texts | None) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(texts, str):
        yield path, texts
    elif texts is not None:
        for language, text in texts.items():
            yield (*path, language), text


def _known(name: str, known: Iterable[Any]) -> str:
    names = list(known)
    return nearest(name, names) if names else "it has none"


def invites_problems(path: KeyPath, site: Site) -> Iterator[Wording]:
    """What is wrong with the site's own persona."""
    persona = site.invites.persona
    if persona is not None and persona not in site.personas:
        place = (*path, "invites", "persona")
        yield Wording(place, "the site has no such persona", _known(persona, site.personas))
