"""One site, compiled from its settings: everything a request needs, ready to use and without I/O."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from ..chat.hours import OfficeHours
from ..chat.providers import providers
from ..credit.compiled import asked_by, terms_for
from ..credit.fraud import Suspects
from ..credit.terms import Policy
from ..injector.csp_hosts import Needed
from ..injector.tag import tag
from ..orders.net import NetRule
from ..referral.arrival import Arrival
from ..referral.carrier import Carrier
from ..referral.catalogue import Catalogue, Network
from ..referral.consent.decision import terms_of
from ..referral.cookie import VisitorCookie
from ..referral.domains import CookieDomains
from ..referral.handover import Handovers
from ..referral.landing import LandingReader
from ..referral.memory import Keeps
from ..rules.fact_table import NO_EVENTS, window_of
from ..rules.placeholders import names_in
from ..rules.policy import Policy as InvitePolicy
from ..rules.site_facts import own_facts, reads_page
from ..settings.addresses import patterns_of, split
from ..settings.model import Hours, PageType, Partner, Rule, Score, Settings, Site, spoken
from ..settings.platforms import PageTypes, admin_areas, platform_of, with_platform
from ..stores.ledger.rule_revisions import Stored
from ..templates import Script, provider_script
from . import devices
from .answers import Answers
from .calendars import Holidays
from .chat_code import code_of
from .click_signs import Clicks
from .clock import Clock
from .places import Places
from .rules_in_force import rule_set_of, with_rules
from .signals import Signals

CLOSING = frozenset({"checkout", "confirmation"})
KINDS = 4096  # addresses of a site whose kinds are remembered


class SiteRuntime:
    """A compiled site. The constructor raises the errors of its parts if the settings are invalid, and
    UnfitError if the rules of a revision are. `revision` is the number of the one that is in force, 0 where
    there is none. `ready` is false for one that stands in without its rules until they are compiled."""

    def __init__(
        self, settings: Settings, site: Site, catalogue: Catalogue, stored: Stored | None = None
    ) -> None:
        site = with_platform(with_rules(site, stored))
        self.revision = 0 if stored is None else stored.number
        self.ready = True
        self.settings = site
        self.name = site.name
        self.prefix = site.prefix
        self.prefix_bytes = site.prefix.encode("ascii")
        self.decide_path = self.prefix_bytes + b"decide"
        self.partners: dict[str, Partner] = {p.id: p for p in site.partners}
        self.networks: dict[str, Network] = {
            p.id: catalogue.networks[p.network] for p in site.partners if p.network is not None
        }
        self.net_rule = NetRule.of(site.net)
        self.landing = LandingReader(site, catalogue, self._closes)
        # The terms for credit; `set_back` adds to them.
        self.terms = terms_for(site, self.networks, self.landing.partners())
        self.asked = asked_by(self.terms.further, self.networks.values())
        self.policy = Policy(self.terms)
        self.clicks = Clicks(site)
        self.suspects = Suspects.of(site)
        self.consent = terms_of(site, catalogue)
        self.asks_consent = self.consent.asks
        self.masking = self.landing.masking
        self.cookie = VisitorCookie(
            settings.secret.get_secret_value(),
            [s.get_secret_value() for s in settings.previous_secrets],
            site.name,
            CookieDomains(site.hosts, site.cookie_domain),
        )
        self.carrier = Carrier(
            settings.secret.get_secret_value(),
            [s.get_secret_value() for s in settings.previous_secrets],
            site.name,
        )
        self._code_key = settings.secret.get_secret_value().encode()
        self.handovers = Handovers(
            site,
            settings.secret.get_secret_value(),
            [s.get_secret_value() for s in settings.previous_secrets],
        )
        self.answers = Answers(site, settings.smtp is not None)
        self.rules = rule_set_of(site, stored)
        self.zone = ZoneInfo(site.time_zone)
        self.invites = InvitePolicy(
            site, self.zone, lambda week: OfficeHours(Hours.model_validate(week), site.time_zone)
        )
        self.holidays = Holidays(site.calendar)
        self.locate(settings)
        self.hours = OfficeHours(site.hours, site.time_zone)
        self.never = patterns_of(tuple(site.never))
        self.admin = patterns_of(admin_areas() if site.admin is None else tuple(site.admin))
        self.private = patterns_of(tuple(site.cobrowsing.private))
        self.order_page = patterns_of((site.order.page,) if site.order else ())
        self.wants_cart = any((site.cart.value, site.cart.items, site.cart.currency))
        platform = platform_of(site)
        # The site's own patterns have precedence over the platform's.
        page_types = (*site.page_types.items(), *(platform.page_types if platform else ()))
        self.page_type = PageTypes(page_types)
        steps = site.checkout_steps or (platform.checkout_steps if platform else ())
        self._steps = patterns_of(tuple(steps)) if steps else None
        # Whether the settings say which pages are the cart or the checkout.
        self.knows_checkout = any(kind in ("cart", "checkout") for _, kind in page_types)
        # Those that lines, texts and services for texts ask for: no others are gathered.
        self.facts = facts_of(site, self.rules.facts)
        # Of these rules an invite is made for each visitor.
        self.spoken = frozenset(rule.name for rule in site.rules if rule.invites and _is_spoken(rule))
        self.keeps = keeps_for(self.facts, site.score)
        self.signals = Signals(site.signals, platform.signals if platform else (), self.keeps.events)
        self.own_facts = {
            name: custom
            for name, custom in own_facts(site).items()
            if name.partition(".")[2] in self.facts.get(name.partition(".")[0], ())
        }
        self.page_facts = {name: custom for name, custom in self.own_facts.items() if reads_page(custom)}
        self.called = {name: custom for name, custom in self.own_facts.items() if custom.url is not None}
        self.waits_for = waits_for(self.facts)._replace(
            values=bool(self.page_facts),
            called=bool(self.called),
            hostname="hostname" in self.facts.get("place", ()),
        )
        self._knows_products = any(kind == "product" for _, kind in page_types)
        self._kinds: dict[str, tuple[PageType | None]] = {}
        self._warm()

    def locate(self, settings: Settings) -> None:
        """Find places by these settings, of which the other ones are a site's own."""
        self.places = Places(settings.geo, settings.trusted_proxies)
        self.asks_dns = settings.geo.hostnames

    def _warm(self) -> None:
        """Load now what is slow to load and a rule asks for, so that no decision waits for it."""
        wanted = self.facts
        if not {"browser", "browser_version", "os"}.isdisjoint(wanted.get("device", ())):
            devices.warm()
        if "holiday" in wanted.get("clock", ()):
            self.holidays.warm(datetime.fromtimestamp(Clock().now(), self.zone).year)

    def kind_of(self, address: str) -> PageType | None:
        """The kind of the page at a stored address; remembered, since rules ask for the same ones often."""
        known = self._kinds.get(address)
        if known is None:
            path, query = (text.encode("utf-8", "surrogatepass") for text in split(address))
            if len(self._kinds) >= KINDS:
                self._kinds.clear()
            known = self._kinds[address] = (self.kind_at(path, query),)
        return known[0]

    def may_show_product(self, address: str) -> bool:
        """Whether a page may show a product: any page, where no page type names those that do."""
        return not self._knows_products or self.kind_of(address) == "product"

    def step_of(self, address: str) -> int:
        """The step of the checkout that an address shows, from 1; 0 if none. Without patterns it has one."""
        if self._steps is None:
            return 1 if self.kind_of(address) == "checkout" else 0
        found = self._steps.first(*split(address))
        return 0 if found is None else found + 1

    def has_tag(self, landing: str) -> bool:
        """Whether the page of a stored address gets the tag, as far as the settings say."""
        path, query = (text.encode("utf-8", "surrogatepass") for text in split(landing))
        return self.settings.inject and not self.never(path, query) and not self.admin(path, query)

    def arrival_cookies(self, arrival: Arrival, secure: bool, host: str) -> list[bytes]:
        """Values for Set-Cookie: the visitor's, and those of the networks that sent it."""
        found = [] if arrival.touch is None else self.landing.set_cookies(arrival.touch, secure, host)
        return [*found, self.cookie.set_cookie(arrival.known, secure, host)]

    def unset_cookies(self, secure: bool, host: str) -> list[bytes]:
        """Values for Set-Cookie that delete all cookies of `arrival_cookies`."""
        return [*self.landing.unset_cookies(secure, host), self.cookie.unset_cookie(secure, host)]

    def owns(self, path: bytes) -> bool:
        """Whether a raw path is under the site's prefix, for any kind of request."""
        return path.startswith(self.prefix_bytes) or path == self.prefix_bytes[:-1]

    def _closes(self, path: bytes, query: bytes) -> bool:
        """Whether a page belongs to the checkout or shows an order."""
        return self.order_page(path, query) or self.page_type(path, query) in CLOSING

    def chat_code(self, visitor: str) -> str:
        """The visitor's short code for conversations."""
        return code_of(self._code_key, self.name, visitor)

    def set_back(self, jumps: tuple[tuple[float, float], ...]) -> None:
        """Apply steps of the clock; see `Terms.set_back`."""
        self.terms = replace(self.terms, set_back=jumps)
        self.policy = Policy(self.terms)

    def kind_at(self, path: bytes, query: bytes) -> PageType | None:
        """The kind of the page at a raw path and query. An order page is a confirmation."""
        if self.order_page(path, query):
            return "confirmation"
        return self.page_type(path, query)

    @cached_property
    def provider_script(self) -> Script | None:
        """The script that loads the provider's chat; None at a site that uses clew's own."""
        chat = self.settings.chat
        if chat.provider is None:
            return None
        provider = providers()[chat.provider]
        return provider_script({"title": provider.title, **provider.filled(chat.ids)})

    @cached_property
    def provider_hosts(self) -> Needed:
        """What the provider's chat needs of a page's policy, by directive; nothing without a provider."""
        chat = self.settings.chat
        return {} if chat.provider is None else providers()[chat.provider].hosts(chat.ids)

    @cached_property
    def tag(self) -> bytes:
        """The tag for a page whose policy requires no nonce."""
        return tag(self.prefix)

    @cached_property
    def mark(self) -> bytes:
        """The mark for an edited page's ETag. It changes with every byte that is written into pages."""
        written = self.tag
        if self.settings.chat.csp == "extend":
            written += repr(sorted(self.provider_hosts.items())).encode()
        return b"cw" + hashlib.blake2b(written, digest_size=4).hexdigest().encode()


_OF_TEXTS: Mapping[str, tuple[str, ...]] = {
    "product": ("product.name",),
    "price": ("product.price", "product.currency"),
}
"""The facts that placeholders need; the other ones are in the visitor's record."""


def _texts_of(rule: Rule) -> list[str]:
    """All texts of an invite, in all languages."""
    texts = [*rule.all_texts(), *(variant.text for variant in rule.variants)]
    return [one for text in texts for one in spoken(text)]


def _is_spoken(rule: Rule) -> bool:
    """Whether the invite of a rule depends on the visitor or the time."""
    if rule.text_from is not None or rule.offer is not None or rule.action in ("open", "number"):
        return True
    return any(map(names_in, _texts_of(rule)))


def facts_of(site: Site, by_lines: Mapping[str, Collection[str]]) -> Mapping[str, Collection[str]]:
    """The facts that decisions need, by group: `by_lines`, and those of texts."""
    names = {name for rule in site.rules if rule.text_from is not None for name in rule.text_from.facts}
    said = {
        name for rule in site.rules if rule.invites for text in _texts_of(rule) for name in names_in(text)
    }
    names |= {fact for name in said for fact in _OF_TEXTS.get(name, ())}
    if "customer.first_name" in site.facts:
        names.add("customer.first_name")  # canned answers say it too
    if not names:
        return by_lines
    found = {group: set(known) for group, known in by_lines.items()}
    for name in names:
        group, _, fact = name.partition(".")
        found.setdefault(group, set()).add(fact)
    return found


class WaitsFor(NamedTuple):
    """What decisions of a site may have to wait for: the page's product, numbers of the ledger, the site's
    own facts on the page, the shop's API, the host name of the visitor's address."""

    product: bool
    orders: bool
    chats: bool
    values: bool = False
    called: bool = False
    hostname: bool = False


def waits_for(wanted: Mapping[str, Collection[str]]) -> WaitsFor:
    """What has to be waited for by rules that use these facts."""
    return WaitsFor(bool(wanted.get("product")), bool(wanted.get("order")), "count" in wanted.get("chat", ()))


def keeps_for(wanted: Mapping[str, Collection[str]], score: Score) -> Keeps:
    """What is kept of a visitor for rules that use these facts."""
    visit = wanted.get("visit", ())
    landed = {"landing", "landing_query", "landing_type"}
    events = {window_of(name)[0] for name in wanted.get("events", ())}
    if "points" in wanted.get("score", ()):
        events |= {name for name in score.points if "." not in name and name not in NO_EVENTS}
    return Keeps(
        landing=not landed.isdisjoint(visit),
        left_at="days_since_last" in visit,
        cart=not {"largest", "changes", "emptied", "seconds"}.isdisjoint(wanted.get("cart", ())),
        events=frozenset(events),
    )


def raw_path_text(path: bytes) -> str:
    """A raw path as text for patterns: bytes outside ASCII are escaped, nothing is decoded."""
    return _path_text(path) if len(path) <= 256 else _path_text.__wrapped__(path)


@lru_cache(maxsize=4096)
def _path_text(path: bytes) -> str:
    return quote(path, safe="/%:@!$&'()*+,;=~-._")
