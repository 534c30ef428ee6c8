"""Renders the examples that the catalogue has of each call."""

from typing import Any

from ..referral.calls import PURPOSES, CallEntry, Example
from ..referral.catalogue import Network
from ..settings.model import Partner
from .call import Call
from .model import Report
from .network_call import network_call


def reports_of(example: Example) -> list[Report]:
    """The reports that go in. Raises TypeError for a field that a report does not have."""
    return [Report.from_json(report) for report in example.reports]


def partner_of(network: Network, entry: CallEntry, example: Example) -> Partner:
    """A partner with the example's settings, which has the entry's call."""
    values: dict[str, Any] = dict(example.settings)
    if "conversion" in entry.purposes:
        values["conversion"] = entry.id
    groups = dict(example.groups)
    return Partner(id="partner", network=network.id, settings=values, commission_groups=groups)


def rendered(network: Network, entry: CallEntry, example: Example) -> Call:
    """The call that comes out."""
    reports = reports_of(example)
    return network_call(
        partner_of(network, entry, example),
        reports,
        network,
        example.now,
        token=example.token,
        kept=[example.kept] * len(reports),
        test=example.test,
        entry=None if entry.purposes <= set(PURPOSES) else entry,
    )
