"""Checks the terms of a site: what can never apply, and names that it does not have."""

from collections.abc import Collection, Iterator

from ..settings.draft import Draft
from ..settings.letters import not_ascii
from ..settings.model import Lookback
from ..settings.positions import KeyPath
from ..settings.wording import Wording, nearest


def credit_problems(draft: Draft) -> Iterator[Wording]:
    """What is wrong with `credit` of a site and with the terms of its partners."""
    credit, path = draft.site.credit, (*draft.path, "credit")
    raw = draft.raw.get("partners")
    tables = [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    partners = [str(table.get("id")) for table in tables]
    networks = [str(table["network"]) for table in tables if table.get("network")]
    for number, model in enumerate(credit.compare):
        if model == credit.model or model in credit.compare[:number]:
            why = "is the model that pays" if model == credit.model else "is in the list already"
            yield Wording((*path, "compare", number), f"{model!r} {why}", "remove it", "warning")
    for number, window in enumerate(credit.lookback):
        place = (*path, "lookback", number)
        if window.partner is not None:
            yield from unknown((*place, "partner"), window.partner, partners, "partner")
        if window.network is not None:
            yield from unknown((*place, "network"), window.network, networks, "partner in the network")
        before = next((n for n, w in enumerate(credit.lookback[:number]) if _covers(w, window)), None)
        if before is not None:
            message = f"never applies: entry {before + 1} applies to all that it applies to, and comes first"
            yield Wording(place, message, "move it before that entry, or remove it")


def unknown(path: KeyPath, name: str, known: Collection[str], what: str) -> Iterator[Wording]:
    """An error if a name is not one of those that the site has."""
    if name not in known:
        hint = nearest(name, known) if known else "add it first"
        yield Wording(path, f"the site has no {what} {name!r}{not_ascii(name)}", hint)


def _covers(before: Lookback, after: Lookback) -> bool:
    pairs = (
        (before.network, after.network),
        (before.partner, after.partner),
        (before.channel, after.channel),
    )
    return all(wide is None or wide == narrow for wide, narrow in pairs)
