"""The summary of a visitor, a pure function."""

import msgspec
import pytest
from clew.desk.pages.trail import summary
from clew.referral.invites import Invited, Offered
from clew.referral.masking import Masking
from clew.referral.touches import Click, Touch
from clew.referral.visitor import TITLE_LENGTH, CartSeen, Page, Touched, Viewed, Visitor, changed
from clew.service.conversations import partner_of
from clew.settings.hosts import is_among
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_700_000_000.0
HOSTS = frozenset({"shop.test", "127.0.0.1:8000"})


def own(host: str) -> bool:
    return is_among(host, HOSTS)


def view(visitor: Visitor, at: float, url: str, title: str = "") -> Visitor:
    return changed(visitor, "v", [Viewed(Page(f"view-{at}", at, url, title))], at)


def one(url: str, title: str = "") -> Visitor:
    return view(Visitor("v"), NOW, url, title)


def test_time_on_each_page_is_the_time_to_the_next_and_the_last_runs() -> None:
    visitor = view(Visitor("v"), NOW - 300, "http://shop.test/a", "A")
    visitor = view(visitor, NOW - 200, "http://shop.test/b", "B")
    visitor = msgspec.structs.replace(visitor, seen_at=NOW - 10)
    (visit,) = summary(visitor, own, NOW).trail
    assert [(s.name, s.seconds, s.now) for s in visit.steps] == [("B", 190, True), ("A", 100, False)]
    assert (visit.at, visit.seconds) == (NOW - 300, 290)


def test_visits_are_apart_by_half_an_hour_and_the_last_page_of_an_old_one_has_no_time() -> None:
    visitor = view(Visitor("v"), NOW - 9000, "http://shop.test/a")
    visitor = view(visitor, NOW - 8000, "http://shop.test/b")
    visitor = view(visitor, NOW - 60, "http://shop.test/c")
    found = summary(visitor, own, NOW)
    assert [[s.seconds for s in visit.steps] for visit in found.trail] == [[0], [None, 1000]]
    assert (found.visits, found.pages, found.visit_at) == (2, 1, NOW - 60)


def test_a_visitor_without_a_sign_for_a_minute_and_a_half_is_offline() -> None:
    visitor = one("http://shop.test/")
    assert summary(visitor, own, NOW + 89).live
    gone = summary(visitor, own, NOW + 90)
    assert not gone.live
    assert gone.page is not None
    assert not gone.page.now


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt://shop.test/%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "https://evil.test/",
        "https://shop.test@evil.test/",
        "https://shop.test.evil.test/",
        "https://shop.test:8443/",
        "//shop.test/",
        "/relative",
        "http://[::1",
        "https:/\\evil.test",
        "",
        "\x00",
    ],
)
def test_an_address_that_does_not_lead_to_the_shop_is_text(url: str) -> None:
    page = summary(one(url), own, NOW).page
    assert page is not None
    assert page.path.isprintable()


@pytest.mark.parametrize("url", ["http://shop.test/a?b=c", "https://SHOP.test/", "http://127.0.0.1:8000/x"])
def test_a_page_of_the_shop_is_text_without_its_query(url: str) -> None:
    """field E2: no address of a visitor is a link, and no query is shown"""
    page = summary(one(url), own, NOW).page
    assert page is not None
    assert page.path in ("/a", "/", "/x")


def test_a_secret_in_a_pages_path_is_not_shown() -> None:
    """field C6, E10"""
    page = summary(one(Masking().stored("http://shop.test/reset/SECRET?x=SECRET#SECRET")), own, NOW).page
    assert page is not None
    assert page.path == "/reset/…"


def test_a_suspicious_arrival_says_why_and_names_no_partner() -> None:
    """field E11"""
    click = Click("", "ref", "7", "blog")
    visitor = changed(None, "v", [Touched(Touch(int(NOW), (click,), doubt="inside"))], NOW)
    (arrival,) = summary(visitor, own, NOW).arrivals
    assert arrival.doubt == "it was made on one of the shop's own pages"
    assert partner_of(visitor) is None


def test_a_visitor_with_only_a_landing_has_no_visit_since_1970() -> None:
    """field G3"""
    visitor = changed(None, "v", [Touched(Touch(int(NOW), landing="/"))], NOW)
    assert summary(visitor, own, NOW).visit_at == NOW


def test_a_path_is_shown_as_people_read_it() -> None:
    page = summary(one("http://shop.test/b%C3%BCcher/?q=gr%C3%BCn"), own, NOW).page
    assert page is not None
    assert page.path == "/bücher/"


def test_titles_are_one_bounded_line_that_cannot_turn_its_direction() -> None:
    page = summary(one("http://shop.test/", "a\n\x00b\u202ec " + "x" * 1000), own, NOW).page
    assert page is not None
    assert page.name.startswith("a \ufffdb\ufffdc x")
    assert len(page.name) == TITLE_LENGTH


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("q=limit", "limit"),
        ("search=der+schwarm", "der schwarm"),
        ("query=%D0%BA%D0%BD%D0%B8%D0%B3%D0%B0", "книга"),
        ("s=abc", "abc"),
        ("s=2", None),
        ("q=", None),
        ("q=%20", None),
        ("sort=price", None),
        ("&".join(f"a{n}=1" for n in range(500)), None),
    ],
)
def test_the_shops_own_search_is_named(query: str, word: str | None) -> None:
    found = summary(one(f"http://shop.test/search?{query}"), own, NOW)
    assert found.words == ((word,) if word else ())


def arrived(**touch: object) -> Visitor:
    return changed(None, "v", [Touched(Touch(at=int(NOW), **touch))], NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("referrer", "word", "silent"),
    [
        ("https://duckduckgo.com/?q=blue+shoes", "blue shoes", None),
        ("https://search.yahoo.com/search?p=blue+shoes", "blue shoes", None),
        ("https://yandex.ru/search/?text=%D1%82%D1%83%D1%84%D0%BB%D0%B8", "туфли", None),
        ("https://www.baidu.com/s?wd=shoes", "shoes", None),
        ("https://www.google.com/", None, "google.com"),
        ("https://www.google.co.uk/url?sa=t", None, "google.co.uk"),
        ("https://blog.example/?p=123", None, None),
        ("http://[broken", None, None),
        ("", None, None),
    ],
)
def test_the_search_word_is_read_from_the_referrer_or_said_to_be_withheld(
    referrer: str, word: str | None, silent: str | None
) -> None:
    (arrival,) = summary(arrived(referrer=referrer), own, NOW).arrivals
    assert (arrival.word, arrival.silent) == (word, silent)


def test_the_campaigns_keyword_has_precedence_over_the_referrers() -> None:
    visitor = arrived(campaign={"utm_term": "krimi", "utm_source": "g"}, referrer="https://google.com/?q=x")
    (arrival,) = summary(visitor, own, NOW).arrivals
    assert arrival.word == "krimi"
    assert arrival.campaign == (("Source", "g"),)


def test_a_referrer_is_shown_as_its_host_without_user_names() -> None:
    (arrival,) = summary(arrived(referrer="https://google.com@evil.test/x"), own, NOW).arrivals
    assert arrival.referrer == "evil.test"


def test_clicks_name_network_partner_and_the_id_as_text() -> None:
    click = Click("awin", "awc", "1_2_\udcff", "blog-anna")
    visitor = arrived(clicks=(click,))
    (line,) = summary(visitor, own, NOW).arrivals[0].clicks
    assert (line.network, line.partner, line.param, line.value) == ("awin", "blog-anna", "awc", "1_2_\ufffd")
    assert partner_of(visitor) == "blog-anna"


def test_the_partner_in_the_inbox_is_the_last_one_that_a_touch_names() -> None:
    visitor = arrived(clicks=(Click("awin", "awc", "1", None),))
    assert partner_of(visitor) == "awin"
    visitor = changed(visitor, "v", [Touched(Touch(int(NOW) + 5, campaign={"utm_source": "mail"}))], NOW)
    assert partner_of(visitor) == "mail"
    assert partner_of(Visitor("v")) is None


def test_cart_and_invites_are_listed() -> None:
    visitor = changed(None, "v", [CartSeen({"value": "129.90", "currency": "EUR", "items": "3"})], NOW)
    visitor = changed(visitor, "v", [Offered((), "after-wait", "view")], NOW)
    for what in ("seen", "accepted"):
        visitor = changed(visitor, "v", [Invited("after-wait", what)], NOW)
    given = [Offered(visitor.offers, "other", "view"), Invited("other", "seen")]
    visitor = changed(visitor, "v", given, NOW)
    found = summary(visitor, own, NOW)
    assert found.cart == (("Value", "129.90 EUR"), ("Items", "3"))
    assert found.invites == (("after-wait", "accepted"), ("other", "seen"))


@given(
    st.lists(st.tuples(st.floats(0, 2e9), st.text(max_size=80), st.text(max_size=80)), max_size=8),
    st.text(max_size=80),
    st.dictionaries(st.sampled_from(["utm_term", "utm_source", "x"]), st.text(max_size=20)),
)
def test_no_browser_input_causes_a_fault(
    pages: list[tuple[float, str, str]], referrer: str, campaign: dict[str, str]
) -> None:
    visitor = arrived(referrer=referrer, campaign=campaign)
    for number, (at, url, title) in enumerate(sorted(pages)):
        visitor = changed(visitor, "v", [Viewed(Page(str(number), at, url, title))], at)
    found = summary(visitor, own, NOW)
    for visit in found.trail:
        for step in visit.steps:
            step.name.encode()
            step.path.encode()
