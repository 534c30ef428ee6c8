"""The receiver that answers as the networks of the catalogue do, and its books."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.postbacks.call import split_address
from clew.postbacks.examples import rendered, reports_of
from clew.postbacks.verdict import Answered, judge_each, kept_value
from clew.referral.calls import CallEntry, Example
from clew.referral.catalogue import Network
from clew.referral.networks_file import load
from receiver.networks import TOKEN, NetworkServer
from receiver.serving import NetworksReceiver

Case = tuple[Network, CallEntry, Example]
EXAMPLES = Path(__file__).parents[2] / "examples"


def _cases() -> Iterator[Any]:
    for network in load().networks.values():
        for entry in network.calls:
            for number, example in enumerate(entry.examples):
                yield pytest.param((network, entry, example), id=f"{network.id}-{entry.id}-{number}")


CASES = list(_cases())
# Questions about calls before have no answer without those.
CALLS = [case for case in CASES if "result" not in case.values[0][1].purposes]


def tell(server: NetworkServer, case: Case) -> Answered:
    """Send an example's call; the response."""
    call = rendered(*case)
    headers = {name.lower(): value for name, value in call.headers.items()}
    if case[1].oauth is not None:
        headers["authorization"] = f"Bearer {TOKEN}"
    response = server.take(call.method, split_address(call.url)[1], headers, call.body)
    return Answered(response.status, response.body)


@pytest.mark.parametrize("case", CALLS)
def test_the_receiver_understands_every_call_and_answers_as_the_network_does(case: Case) -> None:
    network, entry, example = case
    server = NetworkServer(network)
    found = judge_each(rendered(*case), tell(server, case), 0.0, repeats=False)
    assert {verdict.outcome for verdict in found} == {"delivered"}, (found, server.books.refused)
    reports = reports_of(example)
    if reports[0].event == "order":
        # Microsoft Advertising's offline conversions have no order number, only the click and its time.
        numbered = any("order_id" in (p.source, *p.path) or "{order_id" in p.template for p in entry.params)
        named = {report.order_id if numbered else report.click_id for report in reports}
        assert set(server.books.orders) == named
        assert sum(order.amount for order in server.books.orders.values()) == sum(
            Decimal(report.amount) for report in reports
        )


@pytest.mark.parametrize("case", [c for c in CALLS if c.values[0][2].reports[0]["event"] == "order"])
def test_a_repeat_is_counted_as_the_catalogue_says(case: Case) -> None:
    _, entry, example = case
    server = NetworkServer(case[0])
    tell(server, case)
    once = server.books.sums()
    again = judge_each(rendered(*case), tell(server, case), 0.0, repeats=False)
    assert {verdict.outcome for verdict in again} == {"delivered"}
    twice = {currency: 2 * amount for currency, amount in once.items()}
    assert server.books.sums() == (once if entry.repeatable else twice)
    if not entry.repeatable:
        order = reports_of(example)[0].order_id
        assert f"counted more than once: {order}" in "\n".join(server.books.lines())


def _asked(server: NetworkServer, case: Case, job: str) -> tuple[str, ...]:
    """What the network says became of an example's call."""
    network, entry, example = case
    assert entry.result is not None
    about = replace(example, kept=job)
    call = rendered(network, entry.result, about)
    response = tell(server, (network, entry.result, about))
    return tuple(one.outcome for one in judge_each(call, response, 0.0, repeats=False))


@pytest.mark.parametrize("case", [c for c in CASES if c.values[0][1].result is not None])
def test_what_became_of_an_accepted_call_is_said_when_it_is_asked_for_again(case: Case) -> None:
    server, count = NetworkServer(case[0], "partial"), len(reports_of(case[2]))
    rounds = [tell(server, case) for _ in range(3)]
    jobs = [kept_value(response.body, case[1].job) for response in rounds]
    assert len(set(jobs)) == 3
    assert all(jobs)
    for response in rounds:
        found = judge_each(rendered(*case), response, 0.0, repeats=False)
        assert {verdict.outcome for verdict in found} == {"delivered"}
    assert all(_asked(server, case, job) == ("retry",) * count for job in jobs)
    said = [outcome for job in jobs for outcome in _asked(server, case, job)]
    # Every third report is refused; where the network does not say which, so is the whole call.
    assert said[1] == "dead"
    assert set(said) == {"delivered", "dead"}
    assert _asked(server, case, jobs[0] + "99") == ("dead",) * count


def test_a_call_without_its_key_or_that_no_network_knows_is_refused() -> None:
    server = NetworkServer(load().networks["awin"])
    assert (
        server.take("POST", "/s2s/advertiser/1/orders", {"content-type": "application/json"}, b"{}").status
        == 401
    )
    headers = {"content-type": "application/json", "x-api-key": "k"}
    assert server.take("POST", "/s2s/advertiser/1/orders", headers, b'{"orders":[]}').status == 400
    assert server.take("GET", "/nowhere", {}, b"").status == 400
    assert server.take("POST", "/s2s/advertiser/1/orders", headers, b"[").status == 400
    assert len(server.books.refused) == 3


def test_it_can_fail_limit_or_say_yes_to_everything() -> None:
    network = load().networks["awin"]
    case = next(c.values[0] for c in CASES if c.id == "awin-conversion_api-0")
    failing = NetworkServer(network, "errors")
    assert [tell(failing, case).status for _ in range(4)] == [503, 200, 200, 503]
    limited = NetworkServer(network, "limits", lambda: 0.0)
    assert [tell(limited, case).status for _ in range(21)] == [200] * 20 + [429]
    assert NetworkServer(network, "anything").take("GET", "/nowhere", {}, b"").status == 200


def test_a_correction_and_a_cancellation_change_the_books() -> None:
    server = NetworkServer(load().networks["impact"])
    case = {c.id: c.values[0] for c in CASES}
    tell(server, case["impact-conversions_api-0"])
    assert server.books.sums() == {"USD": Decimal("36.28")}
    tell(server, case["impact-actions_update-0"])
    assert server.books.sums() == {"USD": Decimal("19.99")}
    tell(server, case["impact-actions_reverse-0"])
    assert server.books.sums() == {}
    assert server.books.lines() == ["orders: 1 cancelled; sum: nothing"]


def test_each_network_is_under_its_id_and_own_partners_beside_them() -> None:
    with NetworksReceiver() as receiver:
        case = next(c.values[0] for c in CASES if c.id == "awin-s2s_get-0")
        target = split_address(rendered(*case).url)[1]
        assert httpx2.get(f"{receiver.address}/awin{target}").status_code == 200
        assert httpx2.get(f"{receiver.address}/sale?click=1").json() == {}
        assert httpx2.post(f"{receiver.address}/cj/graphql", json={}).status_code == 400
        assert "awin\n  orders: 1 open; sum: 123.00 GBP" in receiver.books()
        assert "  refused: CJ" in receiver.books()
        assert [call.status for call in receiver.calls] == [200, 200, 400]


def test_it_is_a_program_of_its_own() -> None:
    found = subprocess.run(
        [sys.executable, str(EXAMPLES / "receiver"), "--help"], capture_output=True, text=True
    )
    assert "--mood {ok,errors,partial,limits,anything}" in found.stdout, found.stderr


def test_a_token_is_given_where_a_network_wants_one() -> None:
    for network in load().networks.values():
        for entry in network.calls:
            if entry.oauth is not None and "{" not in entry.oauth.url:
                target = split_address(entry.oauth.url)[1]
                answered = NetworkServer(network).take("POST", target, {}, b"grant_type=client_credentials")
                assert json.loads(answered.body)["access_token"] == TOKEN


def test_a_network_refuses_single_reports_of_a_call_in_its_own_form() -> None:
    by_id = {c.id: c.values[0] for c in CASES}
    for name in ("google_ads-retract-1", "microsoft_ads-offline_conversions-1"):
        case = by_id[name]
        server = NetworkServer(case[0], "partial")
        found = judge_each(rendered(*case), tell(server, case), 0.0, repeats=False)
        assert [v.outcome for v in found] == ["delivered", "dead", "delivered", "delivered"][: len(found)]
        assert found[1].answer == "refused by the receiver"
        assert len(server.books.refused) == 1


def test_a_lookup_finds_what_is_in_the_books_and_a_correction_by_that_id_changes_them() -> None:
    case = {c.id: c.values[0] for c in CASES}
    server = NetworkServer(load().networks["dub"])
    lookup = case["dub-find_commission-0"]
    assert json.loads(tell(server, lookup).body) == []
    tell(server, case["dub-track_sale-0"])
    assert json.loads(tell(server, lookup).body) == [
        {"invoiceId": "in_1MtHbELkdIwH", "id": "dub-in_1MtHbELkdIwH"}
    ]
    network, entry, example = case["dub-refund_commission-0"]
    tell(server, (network, entry, replace(example, kept="dub-in_1MtHbELkdIwH")))
    assert server.books.lines() == ["orders: 1 cancelled; sum: nothing"]
