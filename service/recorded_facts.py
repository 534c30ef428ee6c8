"""The facts of a page view as they are recorded for trying rules out: what leads to a person is left out."""

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from ..referral.masking import Masking, masked_text
from ..referral.visitor import Visitor
from ..rules.facts import ALL, Facts
from .facts import AgentLoad, Client, Found, PageNow, gather
from .site import SiteRuntime

LEFT_OUT: Final = frozenset(
    {
        *("page.fragment", "touch.click_id", "touch.click_ids", "partner.sub_id"),
        *("place.ip", "place.city", "place.hostname"),
    }
)
"""Facts that lead to a person, and are never recorded. So are texts among the site's own facts."""

_ADDRESSES: Final = frozenset({"page.url", "page.referrer", "touch.landing", "touch.referrer"})
_QUERIES: Final = frozenset({"page.query", "visit.landing_query"})
MASKED: Final = _ADDRESSES | _QUERIES | {"page.title"}
"""Facts that are recorded without the values of click ids and of unknown parameters, and without mail
addresses."""

TEXT_LENGTH: Final = 300
MAP_ENTRIES: Final = 30
_OWN: Final = ("customer", "custom")
# A page that a script has drawn may ask with anything.
_MOST_BYTES: Final = 8000
_json = msgspec.json.Encoder(decimal_format="number").encode


def to_record(
    site: SiteRuntime,
    visitor: Visitor,
    page: PageNow,
    load: AgentLoad | None,
    now: float,
    client: Client,
    found: Found,
) -> str | None:
    """All facts that are known without asking anybody, as JSON by group; None if they are too long."""
    wanted = {
        group: frozenset({*ALL.get(group, ()), *site.facts.get(group, ())}) for group in {*ALL, *site.facts}
    }
    masking = site.masking.without_clicks
    masked = replace(page, url=masking.stored(page.url), title=masked_text(page.title))
    client = replace(client, referrer=masking.stored(client.referrer) if client.referrer else "")
    facts = gather(site, visitor, masked, load, now, wanted, client, found)
    record: dict[str, dict[str, Any]] = {}
    for group, names in wanted.items():
        known = facts[group]
        if group == "clock":
            # With these the clock goes on exactly.
            names = names | {"second", "at"}
        values = {name: _kept(f"{group}.{name}", known.get(name), masking) for name in names}
        kept = {name: value for name, value in values.items() if value is not None}
        if kept:
            record[group] = kept
    body = _json(record)
    return body.decode() if len(body) <= _MOST_BYTES else None


def _kept(name: str, value: Any, masking: Masking) -> Any:
    if value is None or name in LEFT_OUT:
        return None
    if isinstance(value, str):
        if name in _ADDRESSES:
            value = masking.stored(value)
        return None if name.partition(".")[0] in _OWN else _text(value)
    if isinstance(value, Mapping):
        pairs = [(str(key), held) for key, held in value.items() if isinstance(held, str)]
        if name in _QUERIES:
            pairs = [(key, held) for key, held in pairs if masking.keeps(key.encode("utf-8", "replace"))]
        return {_text(key): _text(held) for key, held in pairs[:MAP_ENTRIES]}
    return value


def _text(value: str) -> str:
    """Without what no database takes, and without mail addresses."""
    return masked_text(value[:TEXT_LENGTH]).encode("utf-8", "replace").decode()


def of_record(record: str, zone: ZoneInfo) -> Facts:
    """The facts of a recorded page view."""
    facts: dict[str, dict[str, Any]] = msgspec.json.decode(record)
    if "clock" in facts:
        facts["clock"]["zone"] = zone
    return facts
