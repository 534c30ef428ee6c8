from urllib.parse import quote, quote_from_bytes

import pytest
from clew.referral.landing import CAMPAIGN_LENGTH, CLICKS, ID_LENGTH, LANDING_LENGTH, LandingReader
from clew.referral.macros import unfilled
from clew.referral.networks_file import load
from clew.referral.touches import Click, Touch
from clew.settings.model import Partner, Site
from costs import assert_linear
from hypothesis import assume, given
from hypothesis import strategies as st

NOW = 1763860000.9
AWC = "1001_1763859600_0123456789abcdef"


def network(id_: str, network_: str, **more: object) -> Partner:
    return Partner.model_validate({"id": id_, "network": network_, **more})


def plain(id_: str, param: str) -> Partner:
    return Partner(id=id_, param=param, postback="https://partner.example/?c={click_id}")


def reader(*partners: Partner, hosts: tuple[str, ...] = ("shop.example", "*.shop.example")) -> LandingReader:
    return LandingReader(Site(name="shop", hosts=list(hosts), partners=list(partners)), load())


def read(query: bytes, *partners: Partner, referrer: bytes | None = None) -> Touch | None:
    return reader(*partners).read(query, b"/", referrer, NOW)


def clicks(query: bytes, *partners: Partner) -> tuple[Click, ...]:
    touch = read(query, *partners)
    return touch.clicks if touch else ()


def value(click: Click) -> bytes:
    return click.value.encode("utf-8", "surrogateescape")


# -- click ids


def test_a_click_id_becomes_a_touch_of_its_partner() -> None:
    touch = reader(network("awin-uk", "awin")).read(f"awc={AWC}".encode(), b"/red/shoes", None, NOW)
    assert touch == Touch(
        at=1763860000,
        clicks=(Click("awin", "awc", AWC, "awin-uk"),),
        landing=f"/red/shoes?awc={AWC}",
    )


def test_each_site_reads_the_same_address_by_its_own_partners() -> None:
    """Addresses are read once for each site."""
    for _ in range(2):
        assert clicks(b"ref=A1", plain("blog", "ref")) == (Click("", "ref", "A1", "blog"),)
        assert clicks(b"ref=A1", plain("mail", "ref")) == (Click("", "ref", "A1", "mail"),)
        assert clicks(b"ref=A1", plain("mail", "from")) == ()


@given(raw=st.binary(min_size=1, max_size=ID_LENGTH), kept=st.sets(st.integers(0x21, 0x7E)))
def test_any_click_id_comes_back_byte_for_byte_however_it_was_encoded(raw: bytes, kept: set[int]) -> None:
    assume(not unfilled(raw.decode("utf-8", "replace"), "awc"))
    # A question mark that stands in a query unescaped may be a link builder's; see below.
    safe = bytes(kept - set(b"%&=#+?"))
    query = b"x=1&awc=" + quote_from_bytes(raw, safe=safe).encode() + b"&y"
    (click,) = clicks(query, network("awin", "awin"))
    assert value(click) == raw


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"a+b", b"a+b"),  # a plus is a plus
        (b"a%20b", b"a b"),
        (b"50%", b"50%"),  # an escape that is none
        (b"%zz%4", b"%zz%4"),
        (b"%2541", b"%41"),  # decoded once
        (b"0::12345::ref::::1405418672", b"0::12345::ref::::1405418672"),
        (b"a=b|c", b"a=b|c"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"MiXed", b"MiXed"),
    ],
)
def test_a_click_id_is_percent_decoded_once_and_nothing_else(written: bytes, meant: bytes) -> None:
    (click,) = clicks(b"awc=" + written, network("awin", "awin"))
    assert value(click) == meant


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_no_query_and_no_referrer_breaks_the_reader(query: bytes, referrer: bytes) -> None:
    everyone = [network(n, n, param="sub") for n in load().networks]
    touch = reader(*everyone).read(query, query[:40], referrer, NOW)
    assert touch is None or Touch.from_json(touch.to_json()) == touch


def test_the_last_value_of_a_repeated_parameter_counts() -> None:
    # The network's redirect adds its id behind a link that still carried an old one.
    (click,) = clicks(b"awc=old&x=1&awc=new", network("awin", "awin"))
    assert click.value == "new"


@pytest.mark.parametrize("query", [b"awc=", b"awc", b"awc=&awc=", b"=1", b"&&&", b"awcs=1"])
def test_an_empty_or_foreign_parameter_is_no_click(query: bytes) -> None:
    assert read(query, network("awin", "awin")) is None


def test_an_empty_repeat_does_not_wipe_out_a_click() -> None:
    (click,) = clicks(b"awc=1&awc=", network("awin", "awin"))
    assert click.value == "1"


def test_an_id_longer_than_any_network_s_is_refused_and_not_cut_off() -> None:
    assert len(clicks(b"awc=" + b"a" * ID_LENGTH, network("awin", "awin"))) == 1
    assert read(b"awc=" + b"a" * (ID_LENGTH + 1), network("awin", "awin")) is None


def test_a_landing_has_a_bounded_number_of_clicks_and_keeps_those_of_partners() -> None:
    names = [
        p.name for n in load().networks.values() for p in n.landing_params if not p.shared and not p.fallback
    ]
    query = "&".join(f"{name}=1" for name in dict.fromkeys(["rfsn", *names])).encode()
    found = clicks(query, network("ref", "refersion"))
    assert len(found) == CLICKS
    assert "ref" in {c.partner for c in found}


def test_an_escaped_name_is_the_same_name() -> None:
    (click,) = clicks(b"%61wc=1", network("awin", "awin"))
    assert click.param == "awc"


# -- whose click it is


def test_every_landing_parameter_of_the_catalogue_is_a_click_of_its_enabled_network() -> None:
    for entry in load().networks.values():
        for param in entry.landing_params:
            query = "&".join(f"{name}=Id{n}" for n, name in enumerate(param.parts or (param.name,)))
            found = [c for c in clicks(query.encode(), network("p", entry.id)) if c.network == entry.id]
            assert [(c.param, c.partner) for c in found] == [(param.name, "p")], (entry.id, param.name)


def test_a_click_of_a_network_that_is_no_partner_is_kept_but_earns_nothing() -> None:
    assert clicks(b"awc=1") == (Click("awin", "awc", "1", None),)


SHARED = sorted(
    {p.name for n in load().networks.values() for p in n.landing_params if p.shared and not p.parts}
)


@pytest.mark.parametrize("name", SHARED)
def test_a_name_that_others_use_too_counts_only_where_its_network_is_enabled(name: str) -> None:
    query = f"{name}=abc".encode()
    assert read(query) is None
    assert read(query, network("awin", "awin")) is None
    owners = [n.id for n in load().networks.values() if name in {p.name for p in n.landing_params}]
    for owner in owners:
        assert clicks(query, network("p", owner)) == (Click(owner, name, "abc", "p"),)


def test_the_generic_names_are_among_the_shared_ones() -> None:
    assert {
        "ref",
        "via",
        "tt",
        "bid",
        "cli",
        "iclid",
        "clickid",
        "clickId",
        "refid",
        "chan",
        "siteID",
    } <= set(SHARED)


def test_two_networks_with_the_same_name_do_not_both_earn_a_click() -> None:
    tolt, dub = network("tolt", "tolt"), network("dub", "dub")
    assert clicks(b"via=a", tolt, dub) == (Click("tolt", "via", "a", "tolt"),)
    assert clicks(b"via=a", dub, tolt) == (Click("dub", "via", "a", "dub"),)


@pytest.mark.parametrize("name", [b"cjevent", b"CJEVENT", b"cjEvent", b"CjEvent"])
def test_cj_s_parameter_counts_in_any_case_and_its_value_keeps_its_own(name: bytes) -> None:
    assert clicks(name + b"=AbC", network("cj", "cj")) == (Click("cj", "cjevent", "AbC", "cj"),)


@pytest.mark.parametrize(
    ("query", "param"), [(b"AWC=1", "awc"), (b"GCLID=1", "gclid"), (b"REF=1", "ref"), (b"Ref=1", "ref")]
)
def test_a_name_counts_in_any_case(query: bytes, param: str) -> None:
    """field B4."""
    (click,) = clicks(query, network("awin", "awin"), plain("blog", "ref"))
    assert (click.param, click.value) == (param, "1")


def test_campaign_names_count_in_any_case() -> None:
    """field B4."""
    touch = read(b"UTM_Source=news&Utm_Medium=email")
    assert touch is not None
    assert touch.campaign == {"utm_source": "news", "utm_medium": "email"}


def test_where_two_spellings_are_in_use_only_these_count() -> None:
    """field B4: `clickId` is Ascend's and `clickid` Impact's: `CLICKID` could be either."""
    both = (network("ascend", "ascend"), network("impact", "impact"))
    assert clicks(b"clickId=7", *both) == (Click("ascend", "clickId", "7", "ascend"),)
    assert clicks(b"clickid=7", *both) == (Click("impact", "clickid", "7", "impact"),)
    assert clicks(b"CLICKID=7", *both) == ()
    assert clicks(b"CLICKID=7", network("ascend", "ascend")) == (Click("ascend", "clickId", "7", "ascend"),)
    owners = (plain("a", "Ref"), plain("b", "ref"))
    assert [c.partner for c in clicks(b"Ref=7", *owners)] == ["a"]
    assert clicks(b"REF=7", *owners) == ()


def test_a_plain_partner_s_own_parameter_counts() -> None:
    assert clicks(b"partner=bob%7C7", plain("blog", "partner")) == (Click("", "partner", "bob|7", "blog"),)


def test_a_plain_partner_s_parameter_goes_before_a_network_s_of_the_same_name() -> None:
    assert clicks(b"ref=x", network("tap", "tapfiliate"), plain("blog", "ref")) == (
        Click("", "ref", "x", "blog"),
    )


def test_where_the_advertiser_chooses_the_name_the_partner_s_param_is_it() -> None:
    tune = network("tune", "tune", param="tid")
    assert clicks(b"tid=1027c8", tune) == (Click("tune", "tid", "1027c8", "tune"),)


def test_a_chosen_name_replaces_the_generic_ones_and_leaves_the_network_s_own() -> None:
    impact = network("impact", "impact", param="impact_click")
    assert [c.value for c in clicks(b"impact_click=1", impact)] == ["1"]
    assert clicks(b"clickid=1", impact) == ()
    assert [c.value for c in clicks(b"irclickid=1", impact)] == ["1"]


def test_clicks_are_in_the_order_of_the_address() -> None:
    awin, blog = network("awin", "awin"), plain("blog", "partner")
    assert [c.partner for c in clicks(b"awc=1&partner=b", awin, blog)] == ["awin", "blog"]
    assert [c.partner for c in clicks(b"partner=b&awc=1", awin, blog)] == ["blog", "awin"]


def test_a_parameter_of_second_rank_counts_only_without_one_of_the_first() -> None:
    pap = network("pap", "postaffiliatepro")
    assert [c.param for c in clicks(b"a_aid=joe&a_bid=b1&chan=c", pap)] == ["a_aid"]
    assert [c.param for c in clicks(b"a_bid=b1", pap)] == ["a_bid"]


def test_awin_s_click_on_google_is_put_together_from_both_ids() -> None:
    found = clicks(b"clickId=9f8e.7d&advertiserId=1&channelId=123456", network("add", "addrevenue"))
    assert Click("addrevenue", "channelId", "123456.9f8e.7d", "add") in found
    assert clicks(b"channelId=123456", network("add", "addrevenue")) == ()
    assert "addrevenue" not in [c.network for c in clicks(b"clickId=9f8e&channelId=123456")]
    found = clicks(b"awaid=1001&gclid=Cj0K{0}", network("awin", "awin"))
    assert Click("awin", "awaid", "gclid_1001_Cj0K{0}", "awin") in found
    assert Click("google_ads", "gclid", "Cj0K{0}", None) in found
    assert [c.network for c in clicks(b"awaid=1001", network("awin", "awin"))] == []
    assert [c.param for c in clicks(b"awaid=1&gclid=2&awc=3", network("awin", "awin"))] == ["gclid", "awc"]


@pytest.mark.parametrize(
    "name", ["gclid", "gbraid", "wbraid", "dclid", "fbclid", "msclkid", "ttclid", "li_fat_id", "ob_click_id"]
)
def test_ad_platforms_ids_are_touches_without_being_enabled(name: str) -> None:
    (click,) = clicks(f"{name}=Ab-1_2".encode())
    assert (click.param, click.value, click.partner) == (name, "Ab-1_2", None)


# -- campaign


def test_all_nine_campaign_parameters_are_read() -> None:
    names = load().utm
    assert len(names) == 9
    touch = read("&".join(f"{n}=v{i}" for i, n in enumerate(names)).encode())
    assert touch is not None
    assert touch.campaign == {n: f"v{i}" for i, n in enumerate(names)}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"red+shoes", "red shoes"),
        (b"a%2Bb", "a+b"),
        (b"gr%C3%BCn", "grün"),
        (b"%FF", "\ufffd"),
        (b"a%00%0D%0Ab", "a b"),
        (b"a" * 500, "a" * CAMPAIGN_LENGTH),
    ],
)
def test_campaign_words_are_read_as_a_form_s_and_made_safe_to_show(written: bytes, meant: str) -> None:
    touch = read(b"utm_source=" + written)
    assert touch is not None
    assert touch.campaign == {"utm_source": meant}


def test_an_empty_campaign_is_no_touch() -> None:
    assert read(b"utm_source=&utm_medium=+&utm_other=1") is None


# -- referrer


@pytest.mark.parametrize(
    ("referrer", "kept"),
    [
        (b"https://blog.example/review?id=7#x", "https://blog.example/review"),
        (b"https://www.google.com/", "https://www.google.com/"),
        (b"https://www.google.com", "https://www.google.com/"),
        (b"https://search.example/?q=red+shoes&sid=1", "https://search.example/?q=red%20shoes"),
        (
            b"https://yandex.ru/search?text=%D1%87%D0%B0%D0%B9",
            "https://yandex.ru/search?text=%D1%87%D0%B0%D0%B9",
        ),
        (b"https://wp.example/?p=123", "https://wp.example/"),
        (b"HTTPS://Blog.Example:443/A", "https://blog.example/A"),
        (b"http://blog.example:8080/", "http://blog.example:8080/"),
        (b"https://me:secret@blog.example/", "https://blog.example/"),
        (b"android-app://com.google.android.gm/", "android-app://com.google.android.gm/"),
        (b"https://blog.example/\xc3\xbc\x00", "https://blog.example/%C3%BC%00"),
    ],
)
def test_a_foreign_referrer_is_stored_without_unknown_parameters(referrer: bytes, kept: str) -> None:
    touch = read(b"", referrer=referrer)
    assert touch is not None
    assert touch.referrer == kept
    assert len(touch.referrer) <= 300


@pytest.mark.parametrize(
    "referrer",
    [
        b"https://shop.example/cart",
        b"https://www.shop.example/",
        b"https://SHOP.example:443/",
        b"http://shop.example:8080/",
        b"about:blank",
        b"nonsense",
        b"",
        b"https://",
        b"javascript:alert(1)",
    ],
)
def test_the_shop_itself_and_invalid_addresses_are_not_referrers(referrer: bytes) -> None:
    assert read(b"", referrer=referrer) is None


def test_a_port_in_the_settings_tells_two_hosts_of_one_name_apart() -> None:
    local = reader(hosts=("localhost:8000",))
    assert local.read(b"", b"/", b"http://localhost:8000/", NOW) is None
    touch = local.read(b"", b"/", b"http://localhost:9000/", NOW)
    assert touch is not None
    assert touch.referrer == "http://localhost:9000/"


def test_without_hosts_any_requested_host_is_the_shops() -> None:
    anywhere = reader(hosts=())
    assert anywhere.read(b"", b"/", b"https://shop.example/a", NOW, "shop.example") is None
    assert anywhere.read(b"", b"/", b"https://shop.example/a", NOW, "shop.example:443") is None
    assert anywhere.read(b"", b"/", b"https://blog.example/a", NOW, "shop.example") is not None
    # Where nobody knows which host is the shop's, its own pages must not become touches.
    assert anywhere.read(b"", b"/", b"https://shop.example/a", NOW) is None


@pytest.mark.parametrize(
    "referrer",
    [
        b"https://www.paypal.com/checkoutnow",
        b"https://checkout.stripe.com/c/pay",
        b"https://pay.klarna.com/eu",
    ],
)
def test_the_return_from_a_payment_provider_is_not_a_touch(referrer: bytes) -> None:
    assert read(b"", referrer=referrer) is None
    touch = read(b"awc=1", network("awin", "awin"), referrer=referrer)
    assert touch is not None
    assert touch.referrer == ""


@pytest.mark.parametrize("referrer", [b"https://notpaypal.com/", b"https://paypal.com.blog.example/"])
def test_a_host_that_only_looks_like_a_payment_provider_is_a_referrer(referrer: bytes) -> None:
    assert read(b"", referrer=referrer) is not None


# -- the landing address


def test_an_ordinary_page_view_is_no_touch() -> None:
    assert read(b"page=2&sort=price") is None
    assert read(b"") is None


def test_the_landing_address_is_kept_printable_and_without_values_of_unknown_parameters() -> None:
    """field C6, E10."""
    touch = reader().read(b"gclid=a%20b\xff&x=\x01&reset_token=SECRET", b"/a%2Fb/\xc3\xbc", None, NOW)
    assert touch is not None
    assert touch.landing == "/a%2Fb/%C3%BC?gclid=a%20b%FF&x&reset_token"


def test_attribution_parameters_of_a_very_long_address_are_kept() -> None:
    rakuten = reader(network("r", "rakuten"))
    query = b"ranMID=77&junk=" + b"j" * 3000 + b"&ranSiteID=abc&utm_source=x"
    touch = rakuten.read(query, b"/" + b"p" * 2000, None, NOW)
    assert touch is not None
    assert len(touch.landing) <= LANDING_LENGTH
    assert touch.landing.endswith("?ranMID=77&ranSiteID=abc&utm_source=x")


@given(st.binary(max_size=5000), st.binary(max_size=3000))
def test_the_landing_address_is_limited_and_printable(query: bytes, path: bytes) -> None:
    touch = reader().read(b"gclid=1&" + query, path, None, NOW)
    assert touch is not None
    assert len(touch.landing) <= LANDING_LENGTH
    assert all(0x21 <= ord(c) <= 0x7E or c == "…" for c in touch.landing)


@pytest.mark.parametrize(
    "piece",
    [
        b"a",
        b"&",
        b"&a=1",
        b"?a=",
        b";ref=1",
        b";x=",
        b"&amp;",
        b"%",
        b"%41",
        b"amp;",
        b"&ref=%25",
        b"=",
        b"{a",
    ],
)
def test_reading_takes_little_time_whatever_stands_in_an_address(piece: bytes) -> None:
    everyone = reader(network("awin", "awin"), plain("blog", "ref"))

    def read(length: int) -> None:
        text = piece * (length // len(piece))
        everyone.read(
            b"ref=" + text + b"&awc=1", b"/" + text, b"https://a.example/?q=" + text, NOW, fragment=text
        )

    assert_linear(read, 6_000)


@pytest.mark.parametrize(
    "value", ["$clickid$", "!!CLICK!!", "[object+Object]", "(not+set)", "%E2%80%8B", "%EF%BB%BFnull"]
)
def test_macros_and_nothings_of_further_trackers_are_no_clicks(value: str) -> None:
    """field B3"""
    assert clicks(f"clickid={value}".encode(), plain("net", "clickid")) == ()


UNFILLED = [
    *(
        "~clickid~",
        ":clickid",
        ":clickid:",
        "{click_id",
        "click_id}",
        "${click_id",
        "[CLICK_ID",
        "<clickid",
        "(clickid",
    ),
    *(
        "%clickid",
        "clickid%",
        "$clickid",
        "##CLICKID##",
        "#clickid#",
        "#{clickid}",
        "!clickid!",
        "*clickid*",
        "|clickid|",
    ),
    *(
        "^clickid^",
        "?clickid?",
        "@{clickid}",
        "{!clickid}",
        "{%clickid%}",
        "{{ click.id }}",
        "<%= clickid %>",
        "<?=$id?>",
    ),
    *(
        "[[clickid]]",
        "((clickid))",
        "$$clickid$$",
        "%{clickid}",
        "{{aff_sub2",
        "{0}",
        "{}",
        "%s",
        "{:clickid}",
        "`id`",
    ),
    *(
        "xxx",
        "XXXX",
        "xxxxxxxx",
        "your_click_id_here",
        "YOURCLICKID",
        "click_id_here",
        "CLICKID_HERE",
        "insert_id",
    ),
    *(
        "enter-your-click-id",
        "placeholder",
        "changeme",
        "tbd",
        "gclid",
        "subid",
        "00000",
        "***",
        "???",
        "###",
        "---",
        "…",
    ),
]


@pytest.mark.parametrize("value", UNFILLED)
@pytest.mark.parametrize("times", [1, 2])
def test_unfilled_macros_are_not_clicks(value: str, times: int) -> None:
    """field B3: encoded once, and once more by a redirect on the way."""
    for _ in range(times):
        value = quote(value, safe="")
    assert clicks(f"aff={value}".encode(), plain("net", "aff")) == ()


@pytest.mark.parametrize(
    "value",
    [
        *(
            "test-1",
            "joe",
            "@joe",
            "#joe",
            "xx1",
            "abc",
            "abcdef",
            "YWJj==",
            "-abc-",
            "_abc_",
            "~abc",
            "a%b",
            "a~b~c",
        ),
        *(
            "CjwKCAjw_x{y",
            "id:1",
            "1{2",
            "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}",
            "axxx",
            "100",
            "0x0",
            "12%",
            "ab12}",
        ),
    ],
)
def test_possible_click_ids_are_accepted(value: str) -> None:
    """field B3"""
    assert len(clicks(f"aff={quote(quote(value, safe=''), safe='')}".encode(), plain("net", "aff"))) == 1


def test_a_name_longer_than_any_host_is_no_referrer() -> None:
    """Each name above it would be looked up."""
    longest = b"a." * 126 + b"com"
    found = read(b"", referrer=b"https://" + longest + b"/")
    assert found is not None
    assert found.referrer == f"https://{longest.decode()}/"[:500]
    assert read(b"", referrer=b"https://a." + longest + b"/") is None
