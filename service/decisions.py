"""What to show to a visitor on this page: writes the page view down, gathers the facts, asks the rules."""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from ..events.events import Events
from ..referral.arrival import arrive_unrecognised
from ..referral.consent.decision import ASSUMED, ConsentState, recognised
from ..referral.consent.signals import Consent
from ..referral.cookie import NAME, Known, new_visitor_id
from ..referral.handover import PARAM, HandoverError
from ..referral.visitor import Change, Page, Talk, Viewed, Visitor, changed
from ..rules.evaluation import DEAR_SECONDS
from ..rules.policy import Asked
from ..rules.ruleset import Decision, Explanation
from ..settings.addresses import split
from ..settings.model import Rule
from ..stores.talks import Talks
from ..stores.visits import Visits
from . import telling
from .agents import AgentLoads
from .attribution import Attribution
from .clock import Clock
from .consent_watch import ConsentWatch
from .effects import JoinVisitor
from .facts import PageNow, gather
from .forgetting import Forgetter
from .handing import Handing, joined, may_join
from .invite_texts import InviteTexts
from .inviting import Inviting, given, steps_of
from .limits import LimitedError
from .outside import Outside
from .page_view import Ask, PageView
from .provider_chat import provider_chat
from .site import SiteRuntime
from .traffic import TrafficWriter
from .visitors import Visitors

HANDED = PARAM.decode("ascii")
# Seconds: the least `retry_after` of an answer over the limit.
RETRY_AFTER_LEAST = 15
# How long a decision may wait for the visit store.
VISIT_SECONDS = 0.2
# How often a decision is made once more because another tab got an invite meanwhile.
CLAIMS = 3


class Answer(Struct, frozen=True):
    """What the loader gets, as JSON, and the Set-Cookie values that go with it."""

    action: str
    body: bytes
    set_cookies: list[bytes]


class Decisions:
    """Decides what is shown to visitors. `later` runs what is to be done in the background."""

    def __init__(
        self,
        visits: Visits,
        visitors: Visitors,
        attribution: Attribution,
        talks: Talks,
        agents: AgentLoads,
        forgetter: Forgetter,
        events: Events,
        clock: Clock,
        later: Callable[[Coroutine[Any, Any, None]], None],
        handing: Handing,
        inviting: Inviting,
        outside: Outside,
        texts: InviteTexts,
        traffic: TrafficWriter,
    ) -> None:
        self._traffic = traffic
        self._texts = texts
        self._outside = outside
        self._visits = visits
        self._visitors = visitors
        self._attribution = attribution
        self._talks = talks
        self._agents = agents
        self._forgetter = forgetter
        self._later = later
        self._handing = handing
        self._inviting = inviting
        self._events = events
        self._clock = clock
        self._consents = ConsentWatch(events)

    def decide(self, site: SiteRuntime, known: Known | None, ask: Ask) -> Answer | Awaitable[Answer]:
        """Decide for one page view: the answer where nothing has to be waited for, as is usual, else what
        leads to it. A store that fails, or does not answer soon, costs the facts it holds, not the answer."""
        if HANDED in ask.page.url:
            return self._decide_handed(site, known, ask)
        return self._decide(site, known, ask)

    async def _decide_handed(self, site: SiteRuntime, known: Known | None, ask: Ask) -> Answer:
        """For a page that was reached from another host of the shop, with a token in its address. Where the
        page came from a cache, the server did not see it."""
        join = self._join(site, known, ask)
        if join is not None:
            await self._handing.join(site, join, by_script=True)
        if join is None or not join.joined:
            found = self._decide(site, known, ask)
            return found if isinstance(found, Answer) else await found
        # Without consent here, that of the page before counts from the next page on.
        granted = ask.consent.consent is Consent.GRANTED
        found = self._decide(site, join.known if granted else known, ask)
        answer = found if isinstance(found, Answer) else await found
        if granted and any(one.startswith(NAME + b"=") for one in answer.set_cookies):
            return answer
        cookie = site.cookie.set_cookie(join.known, ask.origin.scheme == "https", ask.origin.host)
        return replace(answer, set_cookies=[*answer.set_cookies, cookie])

    def _join(self, site: SiteRuntime, known: Known | None, ask: Ask) -> JoinVisitor | None:
        query = urlsplit(ask.page.url).query.encode("utf-8", "surrogatepass")
        referrer = ask.referrer.encode("utf-8", "surrogatepass")
        try:
            handover = site.handovers.read(query, ask.origin.host, referrer, self._clock.now())
        except HandoverError as error:
            self._handing.refused(site, error.why)
            return None
        if handover is None or (known is not None and known.visitor == handover.known.visitor):
            return None
        if not may_join(handover, ask.consent.consent):
            return None
        known = recognised(site.consent, ask.consent, known) if site.asks_consent else known
        return JoinVisitor(handover, joined(handover, known), ask.origin.client)

    def _decide(self, site: SiteRuntime, known: Known | None, ask: Ask) -> Answer | Awaitable[Answer]:
        if ask.consent is not ASSUMED:
            if site.asks_consent:
                self._consents.saw(site.name, ask.consent)
            if ask.consent.consent is not Consent.GRANTED:
                return self._decide_unrecognised(site, known, ask)
        view = PageView(site, known, ask, self._clock.now())
        if view.dropped:
            self._attribution.notify_dropped(site, view.dropped)
        if known is None:
            # Who comes for the first time has not written.
            return self._answer(view, replace(view.unstored(None), talk=Talk()))
        try:
            visitor = self._visitors.update_at_once(site, known, view.happened, ask.origin.client, view.now)
        except Exception as error:
            self._note_failure(site, error)
            return self._decide_unstored(view)
        if visitor is None:
            return self._decide_later(view)
        if visitor.forgotten:
            return self._decide_anew(view)
        # Where a record does not say whether there is a talk, the ledger knows.
        return self._answer(view, visitor) if visitor.talk is not None else self._recall(view, visitor)

    async def _decide_unrecognised(self, site: SiteRuntime, known: Known | None, ask: Ask) -> Answer:
        """For a visitor who may not be recognised: nothing of it is stored. `known` is there for its
        conversation, and to be deleted."""
        view = PageView(site, None, ask, self._clock.now())
        self._attribution.notify_dropped(site, view.dropped)
        talk = Talk() if known is None else await self._talks.recall(site.name, known.visitor)
        answer = await _answered(self._answer(view, replace(view.unstored(None), talk=talk)))
        if known is None or not ask.settled or not _withdraws(site, known, ask.consent):
            kept = await self._arrive_unrecognised(view, known)
            return replace(answer, set_cookies=kept) if kept else answer
        cookies = await self._withdraw(site, known, ask, talks=talk is not None and talk.open)
        return replace(answer, set_cookies=cookies)

    async def _arrive_unrecognised(self, view: PageView, known: Known | None) -> list[bytes]:
        """Keep a click that needs no consent, where the server did not see its landing: the page came from a
        cache, or a script led there. The cookies for that."""
        site, ask = view.site, view.ask
        if view.necessary is None:
            return []
        seen = recognised(site.consent, ask.consent, known)
        if seen is None and known is not None and not known.agreed and not known.touches:
            seen = known
        arrival = arrive_unrecognised(seen, view.necessary, view.now)
        if arrival.touch is None or not arrival.new:
            return []
        if seen is not None:
            try:
                await self._visitors.remember(site, seen, arrival.changes, ask.origin.client)
            except Exception as error:
                self._note_failure(site, error)
        self._attribution.notify_touch(site, arrival.known.visitor, arrival.touch)
        return site.arrival_cookies(arrival, ask.origin.scheme == "https", ask.origin.host)

    async def _decide_later(self, view: PageView) -> Answer:
        """Another process, or the ledger, writes to the store."""
        assert view.known is not None
        try:
            async with asyncio.timeout(VISIT_SECONDS):
                client = view.ask.origin.client
                visitor = await self._visitors.update(view.site, view.known, view.happened, client)
        except TimeoutError as error:
            # It would take as long to ask it once more.
            self._note_failure(view.site, error)
            view.unread = True
            return await self._recall(view, view.unstored(None))
        except Exception as error:
            self._note_failure(view.site, error)
            return await self._decide_unstored(view)
        return await (
            _answered(self._decide_anew(view)) if visitor.forgotten else self._recall(view, visitor)
        )

    def _decide_anew(self, view: PageView) -> Answer | Awaitable[Answer]:
        """For a browser whose visitor asked to be forgotten: it is a new visitor, by a new cookie."""
        anew = PageView(view.site, None, view.ask, view.now)
        return self._answer(anew, replace(anew.unstored(None), talk=Talk()))

    async def _decide_unstored(self, view: PageView) -> Answer:
        """Over a limit, or the store does not take it."""
        assert view.known is not None
        try:
            stored = await self._visits.get(view.site.name, view.known.visitor)
        except Exception as error:
            self._note_failure(view.site, error)
            stored = None
        if stored is not None and stored.forgotten:
            return await _answered(self._decide_anew(view))
        view.unread = stored is None
        return await self._recall(view, view.unstored(stored))

    async def _recall(self, view: PageView, visitor: Visitor) -> Answer:
        if visitor.talk is None:
            talk = await self._talks.recall(view.site.name, visitor.id)
            visitor = replace(visitor, talk=talk)
        return await _answered(self._answer(view, visitor))

    def _note_failure(self, site: SiteRuntime, error: Exception) -> None:
        if not isinstance(error, LimitedError):
            self._visitors.failed(site.name, "decide", error)

    def _answer(self, view: PageView, visitor: Visitor) -> Answer | Awaitable[Answer]:
        """Ask the rules, once what they have to wait for is there."""
        if any(view.site.waits_for):
            found = self._outside.at_once(view.site, visitor, view.ask.page.url, view.ask.client)
            if found is None:
                return self._answer_after(view, visitor)
            view.found = found
        return self._answer_now(view, visitor)

    async def _answer_after(self, view: PageView, visitor: Visitor) -> Answer:
        page = view.ask.page
        client = view.ask.client
        view.found = await self._outside.find(view.site, visitor, page.url, page.seconds, client)
        return await _answered(self._answer_now(view, visitor))

    def _answer_now(self, view: PageView, visitor: Visitor) -> Answer | Awaitable[Answer]:
        """Ask the rules; tell of the decision and of a new touch."""
        site = view.site
        if view.arrival.new and view.arrival.touch is not None:
            self._attribution.notify_touch(site, visitor.id, view.arrival.touch)
        if view.known is not None and view.arrival.renew:
            self._attribution.click_watch.seen(site, view.known.touches, view.arrival.known.touches)
        for rule in view.ended:
            self._events.emit("invite", site=site.name, visitor=visitor.id, rule=rule, what="withdrawn")
        if view.recognised and not view.unread:
            self._traffic.saw(site, visitor, view.ask.page, view.now, view.ask.client, view.found)
        return self._ask_rules(view, visitor, CLAIMS)

    def _ask_rules(self, view: PageView, visitor: Visitor, claims: int) -> Answer | Awaitable[Answer]:
        """The answer, once the visitor's record has the invite that it brings. The record may change before
        that by another tab; then the rules are asked again, at most so often."""
        site, ask, now, client = view.site, view.ask, view.now, view.ask.origin.client
        load = self._agents.of(site.name, now)
        facts = gather(site, visitor, ask.page, load, now, site.facts, ask.client, view.found)
        asked = self._inviting.ask(
            site,
            visitor,
            ask.page,
            load,
            now,
            recognised=view.recognised,
            unread=view.unread,
            known=view.known is not None,
            client=client,
        )
        decision = site.rules.decide(facts, asked, ask.page.told)
        if decision.late:
            self._events.notice("rules_slow", site=site.name, key="rules", most=DEAR_SECONDS)
        rule = decision.rule
        view.said = None
        if rule is not None and rule.name in site.spoken:
            language = site.answers.language(ask.page.language, ask.page.accepted)
            late = None if view.waited else self._texts.late(site, rule, language, facts, client)
            if late is not None:
                return self._ask_after_text(view, visitor, claims, rule, late)
            variant = asked.arms.get(rule.name)
            view.said = self._texts.said(
                *(site, visitor, rule, variant, language, facts, ask.page, now),
                recognised=view.recognised,
                client=client,
            )
        changes: Sequence[Change] = ()
        if view.known is not None:
            said = view.said.text if view.said is not None and view.said.own else ""
            changes = self._inviting.changes(visitor, ask.page, rule, steps_of(asked, rule), said)
        if not changes:
            if view.known is None:
                self._inviting.note_new(site, visitor, asked, decision.rule, now, ask.origin.client)
            return self._tell(view, visitor, decision, asked)
        if not claims:
            return self._tell(view, visitor, Decision(None, decision.retry_after), asked)
        try:
            found = self._visitors.update_at_once(site, _known(view), lambda stored: changes, client, now)
        except Exception as error:
            return self._ask_without_invites(view, visitor, error)
        if found is None:
            return self._claim_later(view, visitor, decision, asked, changes, claims)
        return self._claimed(view, visitor, found, decision, asked, claims)

    async def _ask_after_text(
        self, view: PageView, visitor: Visitor, claims: int, rule: Rule, late: asyncio.Future[None]
    ) -> Answer:
        """Ask the rules again, once the text of an invite has come or has taken too long."""
        await self._texts.wait(view.site, rule, late)
        view.waited = True
        return await _answered(self._ask_rules(view, visitor, claims))

    async def _claim_later(
        self,
        view: PageView,
        visitor: Visitor,
        decision: Decision,
        asked: Asked,
        changes: Sequence[Change],
        claims: int,
    ) -> Answer:
        """Write the invite down where the store has to be waited for."""
        try:
            async with asyncio.timeout(VISIT_SECONDS):
                client = view.ask.origin.client
                found = await self._visitors.remember(view.site, _known(view), changes, client)
        except Exception as error:
            return await _answered(self._ask_without_invites(view, visitor, error))
        return await _answered(self._claimed(view, visitor, found, decision, asked, claims))

    def _ask_without_invites(
        self, view: PageView, visitor: Visitor, error: Exception
    ) -> Answer | Awaitable[Answer]:
        """An invite that cannot be written down is not shown: it would come again on each page and in each
        tab, also to who has dismissed it."""
        self._note_failure(view.site, error)
        view.unread = True
        return self._ask_rules(view, visitor, 0)

    def _claimed(
        self, view: PageView, visitor: Visitor, found: Visitor, decision: Decision, asked: Asked, claims: int
    ) -> Answer | Awaitable[Answer]:
        """`visitor` is who was asked for, `found` the record after the claim."""
        if found.forgotten:
            return self._decide_anew(view)
        found = found if found.talk is not None else replace(found, talk=visitor.talk)
        rule = decision.rule
        if rule is not None and rule.invites and not given(found, view.ask.page, rule):
            return self._ask_rules(view, found, claims - 1)
        self._inviting.note(view.site, visitor, asked, rule, view.now, view.ask.origin.client)
        return self._tell(view, found, decision, asked)

    def _tell(self, view: PageView, visitor: Visitor, decision: Decision, asked: Asked) -> Answer:
        """The answer for a decision that holds."""
        site, ask, now = view.site, view.ask, view.now
        action = site.answers.action(decision.rule)
        talks = visitor.talk is not None and visitor.talk.open
        here = self._agents.is_here(site.name, now, visitor=visitor.id)
        rule = decision.rule
        if rule is not None and action == "invite":
            self._inviting.gave(site, asked, rule, ask.origin.client)
        if rule is not None and rule.invites:
            view.invited(rule.name)
        self._events.emit(
            "decision",
            site=site.name,
            visitor=visitor.id,
            page=site.masking.logged(_local(ask.page.url)),
            action=action if rule is None else rule.action,
            rule=rule.name if rule else None,
            retry_after=decision.retry_after,
        )
        body = site.answers.body(
            rule,
            site.answers.language(ask.page.language, ask.page.accepted),
            telling.page_type(site, ask.page),
            variant=asked.arms.get(rule.name) if rule else None,
            said=view.said if rule else None,
            retry_after=telling.again(site, telling.soon(view.found, decision.retry_after), now, talks),
            watch=telling.watched(site, decision.signals),
            withdrawn=visitor.withdrawn if ask.page.told else (),
            conversation=talks,
            unread=visitor.unread,
            online=here,
            back=None if here else site.hours.opens_at(now),
            order=telling.wanted(site, visitor, ask.page.url),
            consent=telling.told(view.known, ask.consent, now) if site.asks_consent else None,
            carry=telling.carry(site, view.known),
            checkout=telling.checkout(site, ask),
            chat=provider_chat(site, view.known, visitor, ask.page.url),
        )
        return Answer(action, body, view.set_cookies())

    async def _withdraw(self, site: SiteRuntime, known: Known, ask: Ask, *, talks: bool) -> list[bytes]:
        """Forget a visitor who refuses; the cookies for that. Who talks keeps a cookie for its conversation
        alone, until the browser is closed."""
        try:
            await self._visits.forget(site.name, known.visitor)
        except Exception as error:
            self._visitors.failed(site.name, "consent", error)
        self._traffic.forget(site.name, known.visitor)
        self._inviting.forget(site, known.visitor)
        self._later(self._forgetter.withdraw(site.name, known.visitor, talks=talks))
        self._events.emit("consent_withdrawn", site=site.name, why=ask.consent.why)
        secure, host = ask.origin.scheme == "https", ask.origin.host
        if not talks:
            return site.unset_cookies(secure, host)
        kept = Known(known.visitor, (), known.issued)
        cookie = site.cookie.set_cookie(kept, secure, host, session=True)
        return [*site.landing.unset_cookies(secure, host), cookie]

    def plain_answer(self, site: SiteRuntime, page: PageNow, wait: float) -> Answer:
        """The answer to a client over the limit: the widget without rules, and `retry_after` of at least
        `wait` seconds. Reads and stores nothing."""
        now = self._clock.now()
        here = self._agents.is_here(site.name, now)
        body = site.answers.body(
            None,
            site.answers.language(page.language, page.accepted),
            telling.page_type(site, page),
            retry_after=max(RETRY_AFTER_LEAST, math.ceil(wait)),
            conversation=False,
            unread=0,
            online=here,
            back=None if here else site.hours.opens_at(now),
        )
        return Answer(site.answers.action(None), body, [])

    async def explain(
        self, site: SiteRuntime, visitor_id: str | None, page: PageNow, *, newcomer: str | None = None
    ) -> Explanation | None:
        """Why the rules say what they say to a visitor now; None for one who is not known. Without an id it
        is a new one, on its first page, with the id `newcomer` if that is given."""
        now = self._clock.now()
        if visitor_id is None:
            newcomer = newcomer or new_visitor_id()
            # The visit is as old as its first page.
            came = now - page.seconds
            view = Viewed(Page(page.view, came, site.masking.stored(page.url)), page.language, site.keeps)
            visitor: Visitor | None = replace(changed(None, newcomer, [view], came), talk=Talk())
        else:
            visitor = await self._visits.get(site.name, visitor_id)
        if visitor is None or visitor.forgotten:
            return None
        if visitor_id is not None:
            visitor = replace(visitor, talk=await self._talks.bring_up(site.name, visitor.id))
        await self._agents.refresh()
        now = self._clock.now()
        load = self._agents.of(site.name, now)
        asked = self._inviting.ask(site, visitor, page, load, now, recognised=True)
        found = await self._outside.find(site, visitor, page.url, page.seconds)
        facts = gather(site, visitor, page, load, now, site.facts, found=found)
        return dataclasses.replace(site.rules.explain(facts, asked), standing=asked.standing())


def _known(view: PageView) -> Known:
    assert view.known is not None
    return view.known


async def _answered(found: Answer | Awaitable[Answer]) -> Answer:
    return found if isinstance(found, Answer) else await found


def _withdraws(site: SiteRuntime, known: Known, consent: ConsentState) -> bool:
    """Whether a visitor who was recognised has refused that now."""
    recognised = known.agreed or bool(known.touches) or not site.asks_consent
    return recognised and not known.necessary and consent.consent is Consent.DENIED


def _local(url: str) -> str:
    """An address without scheme and host."""
    path, query = split(url)
    return f"{path}?{query}" if query else path
