"""What an invite says to one visitor, where that is not the same for everybody."""

import asyncio

from ..referral.invites import offer_of
from ..referral.visitor import Visitor
from ..rules.facts import Facts, LazyFacts
from ..rules.placeholders import names_in
from ..settings.model import Rule, spoken
from ..templates import text
from .answers import Said, invite_text, persona_of, shown_persona
from .facts import PageNow
from .invite_offers import InviteOffers
from .site import SiteRuntime
from .text_calls import TextCalls
from .text_values import values_for


class InviteTexts:
    """Makes these invites."""

    def __init__(self, calls: TextCalls, offers: InviteOffers) -> None:
        self._calls = calls
        self._offers = offers

    def late(
        self, site: SiteRuntime, rule: Rule, language: str, facts: Facts, client: str | None
    ) -> asyncio.Future[None] | None:
        """What has to be waited for before `said`, if anything. `client` is the address of who asks."""
        if rule.text_from is None:
            return None
        return self._calls.known(site, rule, language, facts, client)[1]

    async def wait(self, site: SiteRuntime, rule: Rule, running: asyncio.Future[None]) -> None:
        """Wait for it, as long as the owner allows."""
        await self._calls.wait(site, rule, running)

    def said(
        self,
        site: SiteRuntime,
        visitor: Visitor,
        rule: Rule,
        variant: str | None,
        language: str,
        facts: Facts,
        page: PageNow,
        now: float,
        *,
        recognised: bool,
        client: str | None = None,
    ) -> Said:
        """What the invite of a rule says and does now."""
        written = None
        if rule.text_from is not None:
            written = self._calls.known(site, rule, language, facts, client)[0]
        return Said(
            written or invite_for(site, visitor, rule, variant, language, facts),
            own=written is not None or bool(_placeholders(rule)),
            opens=rule.action == "open" and recognised and _opens(site, visitor, rule, page),
            answered=site.hours.open_at(now),
            offered=rule.offer is None or (recognised and self._offers.left(site, rule.offer)),
        )


def invite_for(
    site: SiteRuntime,
    visitor: Visitor | None,
    rule: Rule,
    variant: str | None,
    language: str,
    facts: Facts | None = None,
) -> str:
    """The text of an invite for a visitor, with what is known of it."""
    values: dict[str, str] = {}
    if wanted := _placeholders(rule):
        persona = persona_of(site.settings, rule)
        known: Facts = LazyFacts.of({}) if facts is None else facts
        values = values_for(
            site,
            visitor,
            language,
            wanted=wanted,
            agent="" if persona is None else shown_persona(persona, language)["name"] or "",
            product=known["product"],
            keywords=rule.keywords or site.settings.invites.keywords,
            name=known["customer"].get("first_name"),
        )
    return invite_text(rule, variant, language, values) or text(language, "invite")


def _placeholders(rule: Rule) -> set[str]:
    texts = [*rule.all_texts(), *(one.text for one in rule.variants)]
    return {name for one in texts for written in spoken(one) for name in names_in(written)}


def _opens(site: SiteRuntime, visitor: Visitor, rule: Rule, page: PageNow) -> bool:
    """Whether this page view is the one on which the chat opens by itself in this visit."""
    opening = {one.name for one in site.settings.rules if one.action == "open"}
    before = next(
        (one for one in visitor.offers if one.visit == visitor.visits and one.rule in opening), None
    )
    if before is None:
        return True
    return before.rule == rule.name and before.pages <= 1 and before.on(page.view)


def said_to(
    site: SiteRuntime, visitor: Visitor | None, rule: Rule, variant: str | None, language: str
) -> str:
    """The text of the invite that a visitor got in this visit, as it read it; where its record does not have
    it, as it would be now."""
    if visitor is not None and rule.name in site.spoken:
        offer = offer_of(visitor.offers, rule.name, visitor.visits)
        if offer is not None and offer.text:
            return offer.text
    return invite_for(site, visitor, rule, variant, language)
