import pytest
from clew.referral.calls import ELEMENT, REPORT, Answer, CallEntry, Param
from clew.referral.networks_file import load

NETWORKS = load().networks


def call(network: str, name: str) -> CallEntry:
    return next(c for c in NETWORKS[network].calls if c.id == name)


def params(network: str, conversion: str) -> dict[str, Param]:
    return {p.name: p for p in call(network, conversion).params}


def test_the_catalogue_holds_all_networks_and_is_read_once() -> None:
    assert len(NETWORKS) == 50
    assert load() is load()
    assert all(key == network.id for key, network in NETWORKS.items())


def test_networks_known_only_from_third_parties_are_marked() -> None:
    likely = {n.id for n in NETWORKS.values() if n.confidence == "likely"}
    assert {"adcell", "financeads", "affilae", "timeone", "retailads", "linkconnector"} <= likely
    assert "awin" not in likely


def test_an_unanswered_order_is_repeated_only_if_repeats_are_safe() -> None:
    safe = {n.id for n in NETWORKS.values() for c in n.calls_for("conversion", {}) if c.repeatable}
    assert {"cj", "tapfiliate", "adtraction", "dub", "tune"} <= safe
    assert {"awin", "impact", "everflow"}.isdisjoint(safe)


def test_awin_s_channel_is_the_marketing_channel_and_the_closing_one_goes_into_a_custom_parameter() -> None:
    # feature A9: the partner can see which of its orders were closed in the chat.
    api, get = params("awin", "conversion_api"), params("awin", "s2s_get")
    assert (api["channel"].source, api["channel"].argument) == ("const", "aw")
    assert (get["ch"].source, get["ch"].argument) == ("const", "aw")
    assert (api["custom.1"].source, api["custom.1"].path) == ("channel", ("orders", REPORT, "custom", "1"))
    assert get["p1"].source == "channel"


def test_awin_s_commission_group_is_default_unless_the_settings_name_another() -> None:
    spec = call("awin", "conversion_api").settings["commission_group"]
    assert (spec.required, spec.default) == (True, "DEFAULT")
    assert params("awin", "conversion_api")["commissionGroups[].code"].path[-2:] == (ELEMENT, "code")
    assert params("awin", "s2s_get")["parts"].template == "{part.group}:{part.amount}"


def test_awin_s_json_body_is_a_list_of_orders() -> None:
    paths = {p.path[:2] for p in call("awin", "conversion_api").params}
    assert paths == {("orders", REPORT)}


def test_keys_and_tokens_are_marked_to_be_masked() -> None:
    words = ("token", "key", "secret", "password", "secure", "signature")
    found = set()
    for network in NETWORKS.values():
        for conversion in network.calls:
            for spec in conversion.settings.values():
                if spec.name.split("_")[-1] in words and spec.name not in ("public_key", "provider_key"):
                    assert spec.secret, (network.id, conversion.id, spec.name)
                    found.add((network.id, spec.name))
    assert ("awin", "api_key") in found


@pytest.mark.parametrize(
    ("network", "conversion"),
    [
        ("awin", "conversion_api"),
        ("awin", "s2s_get"),
        ("tune", "postback"),
        ("everflow", "postback"),
        ("cj", "tracking_api"),
    ],
)
def test_calls_that_need_only_an_order_and_a_click_can_be_made(network: str, conversion: str) -> None:
    assert call(network, conversion).needs == frozenset()


@pytest.mark.parametrize(
    ("network", "conversion", "needs"),
    [
        ("partnerstack", "conversion_xid", {"authentication", "customer_id"}),
        ("tolt", "transactions", {"customer_id"}),
        ("adcell", "pixel", {"browser"}),
    ],
)
def test_calls_that_cannot_be_made_yet_say_what_they_need(
    network: str, conversion: str, needs: set[str]
) -> None:
    assert call(network, conversion).needs == needs


def test_networks_that_answer_200_to_everything_have_a_rule_for_the_body() -> None:
    tune = call("tune", "postback").success
    assert tune.ok == Answer((200, 299), contains="success=true")
    assert tune.already == Answer((200, 299), contains="Duplicate conversion")
    assert call("cake", "postback").success.ok.contains == "SUCCESS"
    assert call("cj", "tracking_api").success.ok.pointer == "/data/createOrders/errors"
    assert (
        call("tiktok", "events_api").success.ok.pointer,
        call("tiktok", "events_api").success.ok.equals,
    ) == ("/code", (0,))
    assert {n.id for n in NETWORKS.values() for c in n.calls if c.success.silent} == {
        "admitad",
        "effinity",
        "taboola",
    }


@pytest.mark.parametrize(
    ("network", "name", "pointer", "equals"),
    [
        ("meta", "conversions_api", "/events_received", (1,)),
    ],
)
def test_ad_platforms_that_accept_a_request_and_refuse_its_event_are_read(
    network: str, name: str, pointer: str, equals: tuple[int, ...]
) -> None:
    success = next(c for c in NETWORKS[network].calls if c.id == name).success
    assert (success.ok.pointer, success.ok.equals) == (pointer, equals)


@pytest.mark.parametrize(
    ("network", "name", "listed", "index"),
    [
        (
            "google_ads",
            "retract",
            "/partialFailureError/details/0/errors",
            "/location/fieldPathElements/0/index",
        ),
        ("microsoft_ads", "offline_conversions", "/PartialErrors", "/Index"),
        ("microsoft_ads", "retract", "/PartialErrors", "/Index"),
    ],
)
def test_ad_platforms_that_name_the_refused_events_of_a_batch_are_read(
    network: str, name: str, listed: str, index: str
) -> None:
    each = next(c for c in NETWORKS[network].calls if c.id == name).success.each
    assert each is not None
    assert (each.list, each.index) == (listed, index)
    assert each.failed


def test_redirects_are_success_only_where_the_network_answers_so() -> None:
    assert {n.id for n in NETWORKS.values() for c in n.calls if c.success.ok.status[1] > 299} == {
        "tradedoubler",
        "shareasale",
    }


def test_the_settings_choose_among_a_network_s_calls() -> None:
    awin = NETWORKS["awin"]
    assert [c.id for c in awin.calls_for("conversion", {})] == ["conversion_api", "s2s_get"]
    assert [c.id for c in awin.calls_for("conversion", {"conversion": "s2s_get"})] == ["s2s_get"]
    assert awin.calls_for("conversion", {"conversion": "fax"}) == ()
    assert [c.id for c in awin.calls_for("adjust", {"conversion": "s2s_get"})] == ["validate_amend"]
    assert NETWORKS["skimlinks"].calls_for("conversion", {}) == ()


def test_missing_settings_are_named() -> None:
    assert call("awin", "conversion_api").missing({"advertiser_id": 1001}) == ["api_key"]
    assert call("tune", "postback").missing({}) == ["network_domain"]
    assert call("everflow", "postback").missing({"tracking_domain": "t.example", "network_id": "1"}) == []


def test_a_range_of_names_is_written_out() -> None:
    everflow = params("everflow", "postback")
    assert everflow["adv1"].source == "channel"
    assert [everflow[f"adv{n}"].argument for n in range(2, 11)] == [f"adv{n}" for n in range(2, 11)]
    assert not any("{n}" in name for name in everflow)


def test_each_kind_of_google_s_click_ids_has_its_own_place() -> None:
    google = params("google_ads", "data_manager")
    assert {p.of for p in google.values() if p.source == "click_id"} == {("gclid",), ("gbraid",), ("wbraid",)}


def test_where_the_advertiser_chooses_the_landing_parameter_the_entry_says_so() -> None:
    chosen = {n.id for n in NETWORKS.values() if n.own_param}
    assert {"tune", "voluum", "affise", "scaleo", "cake"} <= chosen
    assert not any(NETWORKS[id_].landing_params for id_ in chosen)
