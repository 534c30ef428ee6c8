import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from clew.postbacks.call import Call, RenderError
from clew.postbacks.model import Report
from clew.postbacks.render import ANY_2XX, missing_settings, render
from clew.referral.calls import ELEMENT, CallEntry, Param, SettingSpec
from clew.referral.catalogue import Network
from clew.settings.model import Partner

MakeReport = Callable[..., Report]


def conversion(name: str = "call", **changes: Any) -> CallEntry:
    values: dict[str, Any] = {
        "purposes": frozenset({"conversion"}),
        "method": "GET",
        "url": "https://{host}/track/{account}?v=1",
        "encoding": "query",
        "success": ANY_2XX,
        "preferred": True,
        "params": (
            Param("tid", "click_id", required=True),
            Param("amount", "amount"),
            Param("code", "voucher"),
            Param("token", "setting", argument="token"),
        ),
        "settings": {
            "host": SettingSpec("host", required=True),
            "account": SettingSpec("account", required=True),
            "token": SettingSpec("token", required=False, secret=True),
        },
    }
    return CallEntry(id=name, **values | changes)


def network(*calls: CallEntry) -> Network:
    return Network("net", "Net", "affiliate_network", "verified", calls=calls)


def partner(endpoint: str | None = None, **settings: Any) -> Partner:
    values = {"host": "track.example", "account": "a/1", "token": "hush-hush"}
    kept = {k: v for k, v in (values | settings).items() if v is not None}
    return Partner(id="p", network="net", settings=kept, endpoint=endpoint)


def call(who: Partner, net: Network, report: Report) -> Call:
    return render(who, report, net, 1763860001.0, postback_id="pb_1")


def test_a_query_is_built_from_the_catalogue(report: MakeReport) -> None:
    made = call(partner(), network(conversion()), report(click_id="a b&c"))
    assert (made.method, made.body) == ("GET", b"")
    assert made.url == "https://track.example/track/a%2F1?v=1&tid=a%20b%26c&amount=59.90&token=hush-hush"


def test_a_form_has_its_pairs_in_the_body(report: MakeReport) -> None:
    made = call(partner(), network(conversion(method="POST", encoding="form")), report())
    assert made.url == "https://track.example/track/a%2F1?v=1"
    assert made.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert made.body == b"tid=1001_1763859600_0123456789abcdef&amount=59.90&token=hush-hush"


def test_a_json_body_is_nested_by_the_paths_and_keeps_the_digits_of_amounts(report: MakeReport) -> None:
    params = (
        Param("reference", "order_id", path=("orders", 0, "reference")),
        Param("amount", "amount", format="number", path=("orders", 0, "amount")),
        Param("group", "part.group", each="part", path=("orders", 0, "groups", ELEMENT, "code")),
        Param(
            "sum",
            "part.amount",
            each="part",
            format="number",
            path=("orders", 0, "groups", ELEMENT, "amount"),
        ),
        Param("test", "setting", argument="test", format="boolean", path=("test",)),
    )
    net = network(conversion(method="POST", encoding="json", params=params))
    made = call(partner(test=1, commission_group="A"), net, report())
    assert made.headers["Content-Type"] == "application/json"
    assert made.body == (
        b'{"orders":[{"reference":"100001","amount":59.90,"groups":[{"code":"A","amount":59.90}]}],"test":true}'
    )


def test_a_graphql_call_has_document_and_variables(report: MakeReport) -> None:
    net = network(
        conversion(
            method="POST",
            encoding="graphql",
            document="mutation($in: In!) { create(in: $in) { id } }",
            params=(Param("amount", "amount", format="number", path=("in", "amount")),),
        )
    )
    body = json.loads(call(partner(), net, report()).body, parse_float=Decimal)
    assert body["query"].startswith("mutation")
    assert body["variables"] == {"in": {"amount": Decimal("59.90")}}


def test_headers_and_basic_credentials_are_filled_from_the_settings_and_not_shown(report: MakeReport) -> None:
    net = network(conversion(headers={"x-api-key": "{token}"}, basic=("{account}", "{token}")))
    made = call(partner(), net, report())
    assert made.headers["x-api-key"] == "hush-hush"
    assert made.headers["Authorization"] == "Basic YS8xOmh1c2gtaHVzaA=="
    assert "hush" not in made.masked


def test_the_log_of_a_networks_call_hides_secrets_and_click_id(report: MakeReport) -> None:
    made = call(partner(), network(conversion()), report())
    assert made.masked == ("GET https://track.example/track/a%2F1?v=1&tid=1001...&amount=59.90&token=...")
    assert {"hush-hush", "1001_1763859600_0123456789abcdef"} <= set(made.hidden)
    assert "hush" not in repr(made)


def test_an_endpoint_stands_in_for_scheme_host_and_port(report: MakeReport) -> None:
    made = call(partner("http://127.0.0.1:8099", host=None), network(conversion()), report())
    assert made.url.startswith("http://127.0.0.1:8099/track/a%2F1?v=1&tid=")


def test_a_setting_that_is_no_host_cannot_move_the_call_elsewhere(report: MakeReport) -> None:
    for host in ("evil.example/x?", "user@evil.example", "a b", "a\r\nb"):
        with pytest.raises(RenderError, match=r"settings\.host is not a host name"):
            call(partner(host=host), network(conversion()), report())


def test_missing_settings_are_named(report: MakeReport) -> None:
    net = network(conversion())
    assert missing_settings(partner(host=None, account=None), net) == ["host", "account"]
    assert missing_settings(partner("https://relay.example", host=None), net) == []
    assert missing_settings(partner(), net) == []
    with pytest.raises(RenderError, match=r"partner p: Net \(call\) needs settings\.host, settings\.account"):
        call(partner(host=None, account=None), net, report())


def test_the_preferred_call_is_taken_when_the_settings_are_enough_and_else_another(
    report: MakeReport,
) -> None:
    api = conversion("api", settings={"key": SettingSpec("key", required=True)}, url="https://api.example/")
    get = conversion("get", settings={}, url="https://get.example/", preferred=False)
    net = network(api, get)
    assert call(partner(key="k"), net, report()).url.startswith("https://api.example/")
    assert call(partner(), net, report()).url.startswith("https://get.example/")
    assert call(partner(key="k", conversion="get"), net, report()).url.startswith("https://get.example/")
    assert missing_settings(partner(conversion="api"), net) == ["key"]


def test_an_unsupported_call_is_not_chosen_and_the_reason_is_given(report: MakeReport) -> None:
    basket = conversion("basket", needs=frozenset({"items"}))
    plain = conversion("plain", preferred=False, url="https://plain.example/")
    assert call(partner(), network(basket, plain), report()).url.startswith("https://plain.example/")
    with pytest.raises(RenderError, match="it needs items"):
        call(partner(), network(basket), report())
    with pytest.raises(RenderError, match="Net has no call for orders from servers"):
        call(partner(), network(), report())


def test_a_required_value_that_the_order_lacks_is_an_error(report: MakeReport) -> None:
    with pytest.raises(RenderError, match="tid is required, but there is no click_id"):
        call(partner(), network(conversion()), report(click_id=""))


def test_a_setting_of_the_wrong_kind_is_an_error_that_names_the_key(report: MakeReport) -> None:
    params = (Param("action", "setting", argument="action_id", format="integer"),)
    net = network(conversion(method="POST", encoding="json", params=params))
    assert call(partner(action_id="71"), net, report()).body == b'{"action":71}'
    with pytest.raises(RenderError, match=r"partner p: settings\.action_id must be a whole number"):
        call(partner(action_id="x"), net, report())


def test_defaults_of_the_network_replace_missing_settings(report: MakeReport) -> None:
    spec = {"group": SettingSpec("group", required=True, default="DEFAULT")}
    net = network(
        conversion(url="https://x.example/{group}", settings=spec, params=(Param("o", "order_id"),))
    )
    assert call(partner(), net, report()).url == "https://x.example/DEFAULT?o=100001"
    assert call(partner(group="B"), net, report()).url == "https://x.example/B?o=100001"
