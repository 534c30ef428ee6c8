# ruff: noqa: E501 (cookies as they come)
import json
from base64 import b64encode
from urllib.parse import quote, unquote

import pytest
import tc_strings
from clew.referral.consent import cookies
from clew.referral.consent.cookies import COOKIES, read, tools
from clew.referral.consent.signals import Rank, Signal
from costs import assert_linear, cpu_seconds
from hypothesis import given
from hypothesis import strategies as st

AT = 1_795_000_000.0
TC = tc_strings.tc_string(at=AT, consents={1, 7})


def one(cookie: str, *, beside: str = "", service: str = "clew") -> Signal:
    found = read([f"_ga=GA1.1.1; {cookie}; {beside}".encode()], service)
    assert len(found) == 1, found
    return found[0]


def obj(data: object) -> str:
    return quote(json.dumps(data, separators=(",", ":")))


def b64(data: object) -> str:
    return b64encode(json.dumps(data, separators=(",", ":")).encode()).decode()


ONETRUST = (
    "isGpcEnabled=0&datestamp=Fri+Nov+27+2026+05%3A21%3A50+GMT%2B0000&version=202409.2.0&browserGpcFlag=0"
    "&isIABGlobal=false&hosts=&consentId=3bb1&interactionCount=1&isAnonUser=1&landingPath=NotLandingPage"
    "&groups=C0001%3A1%2CC0002%3A{0}%2CC0003%3A{0}%2CC0004%3A{1}&AwaitingReconsent=false"
)
COOKIEBOT = (
    "{{stamp:%27abc/9==%27%2Cnecessary:true%2Cpreferences:{0}%2Cstatistics:{0}%2Cmarketing:{1}"
    "%2Cmethod:%27explicit%27%2Cver:1%2Cutc:1795000000000%2Cregion:%27de%27}}"
)
CLOSED = "OptanonAlertBoxClosed=2026-11-18T11:06:40.000Z"
DIDOMI = {"user_id": "1", "created": "2026-11-18T11:06:39Z", "updated": "2026-11-18T11:06:40Z", "version": 2}
BORLABS = {
    "domainPath": "shop.example/",
    "expires": "Mon, 18 Jan 2027 15:02:31 GMT",
    "uid": "anonymous",
    "v3": True,
}

ACCEPTED = {
    "tcf": f"euconsent-v2={TC}",
    "onetrust-tcf": f"eupubconsent-v2={TC}",
    "onetrust": f"OptanonConsent={ONETRUST.format(1, 1)}; {CLOSED}",
    "cookiebot": f"CookieConsent={COOKIEBOT.format('true', 'true')}",
    "didomi": "didomi_token="
    + b64({**DIDOMI, "purposes": {"enabled": ["cookies", "measure_ad_performance"]}, "vendors": {}}),
    "cookieyes": "cookieyes-consent=consentid:T0NOck,consent:yes,action:yes,necessary:yes,functional:yes,"
    "analytics:yes,performance:yes,advertisement:yes,lastRenewedDate:1795000000000",
    "cookieyes-plugin-marketing": "cookielawinfo-checkbox-advertisement=yes; viewed_cookie_policy=yes",
    "complianz-marketing": "cmplz_marketing=allow",
    "borlabs": "borlabs-cookie="
    + obj({"consents": {"essential": ["borlabs-cookie"], "marketing": ["awin"]}, **BORLABS}),
    "klaro": "klaro=" + obj({"matomo": True, "clew": True}),
    "consentmanager": "__cmpcpcx17155=__1_51_52_54__",
    "consentmanager-tcf": f"__cmpconsentx17155={TC}",
    "cookiefirst": "cookiefirst-consent="
    + obj({"necessary": True, "performance": True, "functional": True, "advertising": True, "timestamp": int(AT)}),
    "iubenda": "_iub_cs-50053366="
    + obj({"timestamp": "2026-11-18T11:06:40.000Z", "purposes": {"1": True, "4": True, "5": True}, "id": 5}),
    "cookie-information": "CookieInformationConsent="
    + obj({"timestamp": "2026-11-18T11:06:40Z", "consents_approved": ["cookie_cat_marketing"], "consents_denied": []}),
    "cookie-script": 'CookieScriptConsent={"action":"accept","consenttime":1795000000,'
    '"categories":"[\\"targeting\\",\\"performance\\"]"}',
    "civic": "CookieControl="
    + obj({"optionalCookies": {"marketing": "accepted"}, "consentDate": AT * 1000, "interactedWith": True}),
    "trustarc": "cmapi_cookie_privacy=permit 1,2,3",
    "tarteaucitron": "tarteaucitron=!clew=true!gajs=false",
    "axeptio": "axeptio_cookies="
    + obj({"$$token": "t", "$$date": "2026-11-18T11:06:40Z", "clew": True, "hotjar": False, "$$completed": True}),
    "shopify": "_tracking_consent="
    + obj({"con": {"CMP": {"a": "1", "m": "1", "p": "1", "s": ""}}, "v": "2.1", "region": "DEBE", "reg": "GDPR"}),
    "wp-consent-marketing": "wp_consent_marketing=allow",
    "magento": "user_allowed_save_cookie=" + obj({"1": 1}),
}  # fmt: skip
REFUSED = {
    "tcf": f"euconsent-v2={tc_strings.tc_string(at=AT)}",
    "onetrust": f"OptanonConsent={ONETRUST.format(1, 0)}; {CLOSED}",
    "cookiebot": f"CookieConsent={COOKIEBOT.format('true', 'false')}",
    "didomi": "didomi_token="
    + b64({**DIDOMI, "purposes": {"disabled": ["cookies", "measure_ad_performance"]}, "vendors": {}}),
    "cookieyes": "cookieyes-consent=consentid:T0NOck,consent:no,action:yes,necessary:yes,functional:no,"
    "analytics:no,performance:no,advertisement:no",
    "cookieyes-plugin-marketing": "cookielawinfo-checkbox-advertisement=no; viewed_cookie_policy=yes",
    "complianz-marketing": "cmplz_marketing=deny",
    "borlabs": "borlabs-cookie=" + obj({"consents": {"essential": ["borlabs-cookie"]}, **BORLABS}),
    "klaro": "klaro=" + obj({"matomo": True, "clew": False}),
    "consentmanager": "__cmpcpcx17155=____",
    "cookiefirst": "cookiefirst-consent=" + obj({"necessary": True, "advertising": False}),
    "iubenda": "_iub_cs-50053366=" + obj({"purposes": {"1": True, "4": True, "5": False}, "id": 5}),
    "cookie-information": "CookieInformationConsent=" + obj({"consents_approved": ["cookie_cat_necessary"]}),
    "cookie-script": 'CookieScriptConsent={"action":"reject","categories":"[]"}',
    "civic": "CookieControl=" + obj({"optionalCookies": {"marketing": "revoked"}, "interactedWith": True}),
    "trustarc": "cmapi_cookie_privacy=permit 1 required",
    "tarteaucitron": "tarteaucitron=!clew=false!gajs=true",
    "axeptio": "axeptio_cookies=" + obj({"clew": False, "hotjar": True, "$$completed": True}),
    "shopify": "_tracking_consent=" + obj({"con": {"CMP": {"a": "1", "m": "0", "p": "1", "s": ""}}, "region": "DE"}),
    "wp-consent-marketing": "wp_consent_marketing=deny",
}  # fmt: skip
UNDECIDED = {
    # The tool writes its defaults before anybody chose.
    "onetrust": f"OptanonConsent={ONETRUST.format(1, 1)}",
    "cookiebot": "CookieConsent=0",
    "didomi": "didomi_token=" + b64({**DIDOMI, "version": None}),
    "didomi, its own purposes alone": "didomi_token=" + b64({**DIDOMI, "purposes": {"enabled": ["geolocation_data"]}}),
    "cookieyes": "cookieyes-consent=consentid:T0NOck,consent:no,action:,necessary:yes,advertisement:yes",
    "cookieyes plugin": "cookielawinfo-checkbox-advertisement=yes",
    "borlabs": "borlabs-cookie=" + obj({"uid": "anonymous"}),
    "klaro": "klaro=" + obj({"matomo": True, "meta": False}),
    "iubenda": "_iub_cs-90483436=" + obj({"id": 90483436}),
    "cookie-information": "CookieInformationConsent=" + obj({"timestamp": "2026-11-18T11:06:40Z"}),
    "cookie-script": 'CookieScriptConsent={"bannershown":1}',
    "civic": "CookieControl=" + obj({"optionalCookies": {"marketing": "revoked"}, "interactedWith": False}),
    "tarteaucitron": "tarteaucitron=!clew=wait!gajs=true",
    "axeptio": "axeptio_cookies=" + obj({"$$token": "t", "$$date": "2026-11-18T11:06:40Z", "$$completed": False}),
    "shopify": "_tracking_consent=" + obj({"con": {"CMP": {"a": "", "m": "", "p": "", "s": ""}}, "region": "UA18"}),
    "shopify 2.0": '_tracking_consent={"lim":["GDPR"],"v":"2.0","con":{"GDPR":""},"reg":"CCPA"}',
}  # fmt: skip


@pytest.mark.parametrize("tool", ACCEPTED)
def test_a_visitor_who_accepts_is_granted(tool: str) -> None:
    found = one(ACCEPTED[tool])
    assert found.says.get("marketing") is True, found
    assert found.rank is Rank.CHOSEN
    assert found.at in (None, AT), "the time of the choice, where the cookie has it"


@pytest.mark.parametrize("tool", REFUSED)
def test_a_visitor_who_refuses_marketing_is_denied_it(tool: str) -> None:
    found = one(REFUSED[tool])
    assert found.says.get("marketing") is False, found


@pytest.mark.parametrize("tool", UNDECIDED)
def test_a_visitor_who_has_not_chosen_says_nothing(tool: str) -> None:
    found = one(UNDECIDED[tool])
    assert "marketing" not in found.says, found
    assert found.why


def test_every_tool_of_the_table_has_an_accepted_cookie() -> None:
    beside = {"cookieyes-plugin-statistics", "complianz-statistics", "complianz-preferences"}
    assert set(ACCEPTED) == {tool.id for tool in tools()} - beside - {"wp-consent-statistics"}
    names = [tool.cookie for tool in tools()]
    assert len(set(names)) == len(names)


def test_purposes_are_distinguished() -> None:
    found = one(REFUSED["cookiebot"])
    assert found.says == {"preferences": True, "statistics": True, "marketing": False}
    assert (found.region, found.at) == ("de", AT)
    assert one("cmplz_statistics=allow").says == {"statistics": True}
    assert one("cookielawinfo-checkbox-analytics=no; viewed_cookie_policy=yes").says == {"statistics": False}


def test_where_no_consent_is_needed_it_is_granted_but_not_by_the_visitor() -> None:
    found = one("CookieConsent=-1")
    assert found.says["marketing"] is True
    assert found.rank is Rank.NOT_REQUIRED
    implied = COOKIEBOT.format("true", "true").replace("explicit", "implied")
    assert one(f"CookieConsent={implied}").rank is Rank.NOT_REQUIRED


def test_the_settings_name_clews_service_in_a_consent_tool() -> None:
    cookie = "klaro=" + obj({"awin": True, "matomo": False})
    assert one(cookie).says == {}
    assert one(cookie, service="awin").says["marketing"] is True
    # Who accepts or refuses all services does so whatever their names.
    assert one("klaro=" + obj({"awin": True, "matomo": True})).says["marketing"] is True
    assert one("tarteaucitron=!awin=false!matomo=false").says["marketing"] is False


def test_an_unreadable_cookie_says_nothing_and_why() -> None:
    assert one("euconsent-v2=BPuKNGaPuKNGaAfEHBFIABAAAAA_mABAfyA").why == "unreadable: version 1, not 2"
    assert one("borlabs-cookie=all").why == "unreadable: not JSON"
    assert one("_tracking_consent=3.AMPS_USVA_f_f_-DlBBsijT9252dNjR-wT4w").says == {}
    assert one("didomi_token=%00%ff").why.startswith("unreadable")
    assert one("CookieConsent=").why == "empty, or too long"
    old = tc_strings.tc_string(at=AT, consents={1, 7}, disclosed=None)
    assert one(f"euconsent-v2={old}").says == {}


def test_values_are_kept_short_and_harmless() -> None:
    found = one("CookieConsent=%1b[31m" + "x" * 500)
    assert len(found.raw) == 80
    assert "\x1b" not in found.raw


def test_only_so_many_cookies_are_read() -> None:
    many = b"; ".join(b"_iub_cs-%d={}" % n for n in range(1000))
    assert len(read([many], "clew")) == COOKIES


@given(st.sampled_from([tool.cookie.replace("*", "1") for tool in tools()]), st.binary(max_size=300))
def test_any_value_of_a_consent_cookie_is_read_or_refused(name: str, value: bytes) -> None:
    for found in read([name.encode() + b"=" + value], "clew"):
        assert found.why


@pytest.mark.parametrize(
    "value",
    [
        "[" * 8000,
        '{"a":' * 1500,
        "{" + "a:'" * 2500 + "}",
        "{" + "a:b," * 2000 + "}",
        "{" + "," * 8000,
        "a:b," * 2000,
        "a=b:c,&" * 1100,
        "!a=b" * 2000,
        "_1" * 4000,
        '{"a":' + "9" * 8000 + "}",
        '{"a":"' + "[" * 8000 + '"}',
        "%" * 8000,
        "%25" * 2700,
    ],
    ids=lambda value: value[:12],
)
def test_reading_a_long_value_takes_time_in_proportion(value: str) -> None:
    def work(size: int) -> None:
        read([f"{tool.cookie.replace('*', '1')}={value[:size]}".encode() for tool in tools()], "clew")

    assert_linear(work, len(value) // 10)
    assert cpu_seconds(lambda: work(len(value))) < 0.4


@given(st.text(alphabet="%4aF2cé ;=", max_size=60))
def test_values_are_percent_decoded_as_everywhere(text: str) -> None:
    value = text.encode()
    found = cookies._text(value)
    wanted = unquote(text)
    assert found == (wanted[1:-1] if len(wanted) > 1 and wanted[0] == wanted[-1] == '"' else wanted)


@pytest.mark.parametrize("fill", ["%", "%41", "%25", "%7B%22a%22:", "[", "a=1&", "{a:1,"])
def test_many_large_cookies_cost_a_request_a_few_milliseconds(fill: str) -> None:
    """What is over 32 KB in total is not read: no browser sends that much."""
    names = [tool.cookie.rstrip("*") for tool in tools()]
    value = (fill * 8192)[:8192]
    headers = ["; ".join(f"{name}={value}" for name in (names * 2)[:27]).encode()]
    assert cpu_seconds(lambda: read(headers, "clew"), rounds=10) < 0.006
    assert any(signal.why == "empty, or too long" for signal in read(headers, "clew"))
