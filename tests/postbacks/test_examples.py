"""Every call of every network as it is sent, held against the example beside its entry, byte for byte."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from clew.postbacks.examples import partner_of, rendered, reports_of
from clew.postbacks.network_call import PURPOSE, unable
from clew.postbacks.verdict import Answered, found_value, judge_each
from clew.referral.calls import PURPOSES, CallEntry, Example
from clew.referral.catalogue import Network
from clew.referral.networks_file import load

Case = tuple[Network, CallEntry, Example]


def _cases() -> Iterator[Any]:
    for network in load().networks.values():
        for entry in network.calls:
            for number, example in enumerate(entry.examples):
                yield pytest.param((network, entry, example), id=f"{network.id}-{entry.id}-{number}")


CASES = list(_cases())


@pytest.mark.parametrize("case", CASES)
def test_a_call_is_sent_as_its_example_says(case: Case) -> None:
    network, entry, example = case
    made = rendered(network, entry, example)
    assert (made.method, made.url) == (entry.method, example.url)
    assert made.body.decode("utf-8") == example.body
    assert made.headers == example.headers
    if entry.encoding in ("json", "graphql"):
        json.loads(made.body)


@pytest.mark.parametrize("case", CASES)
def test_the_responses_of_an_example_mean_what_it_says(case: Case) -> None:
    network, entry, example = case
    made = rendered(network, entry, example)
    for response in example.responses:
        answered = Answered(response.status, response.body.encode("utf-8"))
        found = judge_each(made, answered, 0.0, repeats=entry.repeatable)
        assert tuple(verdict.outcome for verdict in found) == response.outcomes, response


@pytest.mark.parametrize("case", [c for c in CASES if c.values[0][1].find is not None])
def test_a_lookup_finds_the_order_in_its_examples_and_no_other_one(case: Case) -> None:
    _, entry, example = case
    (report,) = reports_of(example)
    for response in example.responses:
        body = response.body.encode()
        assert found_value(body, entry.find, entry.keep, report.order_id) == response.kept
        assert found_value(body, entry.find, entry.keep, report.order_id + "0") == ""
    assert any(response.kept for response in example.responses)


@pytest.mark.parametrize("case", CASES)
def test_an_example_is_of_an_event_of_its_call_and_can_be_sent(case: Case) -> None:
    network, entry, example = case
    partner = partner_of(network, entry, example)
    for report in reports_of(example):
        if not entry.purposes <= set(PURPOSES):
            continue  # it is made before or after a call about an event
        assert PURPOSE[report.event] in entry.purposes
        assert unable(partner, network, report, report.order_time) is None


@pytest.mark.parametrize("case", CASES)
def test_no_secret_of_an_example_is_in_what_is_logged(case: Case) -> None:
    network, entry, example = case
    secrets = {s.name for s in entry.settings.values() if s.secret and s.name in example.settings}
    values = {f"s3cret-{name}" for name in secrets}
    changed = {**example.settings, **{name: f"s3cret-{name}" for name in secrets}}
    clicks = [{**report, "click_id": "1234567.click-id-of-a-visitor"} for report in example.reports]
    made = rendered(
        network, entry, replace(example, settings=changed, reports=tuple(clicks), token="t0ken-1")
    )
    for hidden in (*values, "click-id-of-a-visitor", "t0ken-1"):
        assert hidden not in made.masked
        if hidden in f"{made.url}{made.headers}{made.body!r}":
            assert any(hidden in one for one in made.hidden)


@pytest.mark.parametrize("network", load().networks.values(), ids=lambda network: network.id)
def test_every_call_that_can_be_made_has_an_example(network: Network) -> None:
    assert [entry.id for entry in network.calls if not entry.needs and not entry.examples] == []


def test_the_networks_of_the_issue_have_examples_for_their_events() -> None:
    networks = load().networks
    names = (
        "awin",
        "cj",
        "impact",
        "rakuten",
        "shareasale",
        "tune",
        "everflow",
        "google_ads",
        "microsoft_ads",
    )
    for name in names:
        for purpose in ("conversion", "adjust", "cancel"):
            calls = [c for c in networks[name].calls if purpose in c.purposes and not c.needs]
            assert calls, (name, purpose)
            assert all(call.examples for call in calls), (name, purpose)
