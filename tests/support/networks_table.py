"""The table of docs/networks.md, and the numbers in the README, from the catalogue.

`make networks` writes them; a test fails when they are stale.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from clew.postbacks.network_call import chosen
from clew.postbacks.render import missing_settings
from clew.referral.calls import Purpose
from clew.referral.catalogue import Network
from clew.referral.networks_file import load
from clew.settings.model import Partner

ROOT = Path(__file__).parents[2]
NETWORKS = load().networks
PAGE = ROOT / "docs" / "networks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- table: make networks -->\n", "<!-- end -->"
HEAD = (
    "| `network` | name | new order | change | cancellation | settings it needs | click id from | sources |",
    "|---|---|---|---|---|---|---|---|",
)


def called(network: Network) -> bool:
    """Whether clew can call it, once its settings are there."""
    entry = chosen(Partner(id="p", network=network.id), network)
    return entry is not None and not entry.needs


def told(network: Network, purpose: Purpose) -> str:
    """What tells the network of this event."""
    calls = network.calls_for(purpose, {})
    usable = [entry for entry in calls if not entry.needs]
    if calls and not usable:
        return f"not yet: needs {', '.join(sorted(calls[0].needs))}"
    if usable:
        named = (f"`{e.id}`" + (f" (up to {e.batch})" if e.batch > 1 else "") for e in usable)
        return ", or ".join(named)
    if purpose in network.nothing:
        return f"nothing to report: {network.nothing[purpose]}"
    return f"by hand: {network.by_hand[purpose]}" if purpose in network.by_hand else "–"


def rows() -> Iterator[str]:
    """The table's rows."""
    for network in NETWORKS.values():
        partner = Partner(id="p", network=network.id)
        needed = ", ".join(f"`{key}`" for key in missing_settings(partner, network))
        params = [f"`{param.name}`" for param in network.landing_params]
        own = ["your own `param`"] if network.own_param else []
        events = [told(network, purpose) for purpose in ("conversion", "adjust", "cancel")]
        clicks = ", ".join([*params, *own])
        cells = f"`{network.id}`", network.name, *events, needed or "–", clicks or "–", network.confidence
        yield f"| {' | '.join(cells)} |"


def page(text: str) -> str:
    """docs/networks.md with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    table = "\n".join((*HEAD, *rows()))
    counted = re.sub(r"\d+ of \d+", f"{sum(map(called, NETWORKS.values()))} of {len(NETWORKS)}", before)
    return f"{counted}{BEGIN}\n{table}\n\n{END}{rest.partition(END)[2]}"


def readme(text: str) -> str:
    """The README with the numbers as they should be."""
    number = sum(map(called, NETWORKS.values()))
    text = re.sub(r"\d+ networks and ad platforms", f"{len(NETWORKS)} networks and ad platforms", text)
    return re.sub(r"\d+ of the catalogue's networks", f"{number} of the catalogue's networks", text)


if __name__ == "__main__":
    for file, made in ((PAGE, page), (README, readme)):
        file.write_text(made(file.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE} and the numbers in {README}\n")
