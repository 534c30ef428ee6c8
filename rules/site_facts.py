"""The facts of one site: those that all sites have, and its own."""

from collections.abc import Mapping

from ..settings.model import EVENTS, CustomFact, Site
from .fact_table import FACTS, Cost, Fact, Source, Vocabulary, event_facts
from .facts import RULE_FACTS

CUSTOM = "custom"
"""The group of a site's own facts."""


def own_facts(site: Site) -> Mapping[str, CustomFact]:
    """The facts that the settings define, by their full names."""
    found: dict[str, CustomFact] = {}
    for name, custom in site.facts.items():
        known = RULE_FACTS.by_name.get(name)
        if known is not None and known.type in ("bool", "string"):
            found[name] = custom.model_copy(update={"type": known.type})
        else:
            found[f"{CUSTOM}.{name}"] = custom
    return found


def vocabulary_of(site: Site, former: tuple[Fact, ...] = ()) -> Vocabulary:
    """What the lines of the site's rules can use. `former` are facts that it had, in place of those with the
    same names."""
    own = tuple(_fact(name, one) for name, one in own_facts(site).items() if name not in RULE_FACTS.by_name)
    others = dict.fromkeys(signal.event for signal in site.signals if signal.event not in EVENTS)
    events = tuple(fact for event in others for fact in event_facts(event, f"How many times {event} was."))
    if not own and not events and not former:
        return RULE_FACTS
    replaced = {fact.name for fact in former}
    rest = (fact for fact in (*FACTS, *events, *own) if fact.name not in replaced)
    return Vocabulary((*rest, *former))


def reads_page(custom: CustomFact) -> bool:
    """Whether a fact is read from pages."""
    return custom.selector is not None or (custom.json_path is not None and custom.url is None)


def _fact(name: str, custom: CustomFact) -> Fact:
    source: Source = "request"
    cost: Cost = "low"
    if custom.url is not None:
        source, cost = "outside", "call"
    elif reads_page(custom):
        source, cost = "page", "page"
    elif custom.pages:
        source = "visit"
    return Fact(name, custom.type, "A fact of the site's own.", source=source, cost=cost)
