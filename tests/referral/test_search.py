import pytest
from clew.referral.search import search_word, word_query
from clew.referral.touches import Touch
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("term", "referrer", "word"),
    [
        ("red shoes", "https://www.bing.com/?q=boots", "red shoes"),
        ("", "https://www.bing.com/search?q=red+shoes", "red shoes"),
        ("", "https://search.yahoo.com/?p=red%20shoes", "red shoes"),
        ("", "https://yandex.ru/search/?text=%D1%87%D0%B0%D0%B9", "чай"),
        ("", "https://www.baidu.com/s?wd=%E8%8C%B6", "茶"),
        ("{keyword}", "https://www.bing.com/?q=boots", "boots"),
        ("{{term}}", "", None),
        ("", "https://www.google.com/", None),
        ("", "https://blog.example/?p=123", None),
        ("", "https://[broken/?q=x", None),
        ("", "", None),
    ],
)
def test_the_search_word_comes_from_the_campaign_or_else_from_the_referrer(
    term: str, referrer: str, word: str | None
) -> None:
    campaign = {"utm_term": term} if term else {}
    assert search_word(Touch(0, campaign=campaign, referrer=referrer)) == word


def test_a_search_word_has_a_bounded_length() -> None:
    assert search_word(Touch(0, campaign={"utm_term": "x" * 999})) == "x" * 100


@given(st.text(min_size=1, max_size=30).filter(lambda t: any(c.isalpha() for c in t)))
def test_a_stored_search_word_can_be_parsed_again(text: str) -> None:
    kept = word_query(
        word_query("q=" + text.replace("&", "").replace("%", "").replace("+", "").replace("#", ""))
    )
    assert kept == word_query(kept)


def test_everything_else_of_a_referrer_s_query_is_left_out() -> None:
    assert word_query("sid=secret&q=red+shoes&user=me") == "q=red%20shoes"
    assert word_query("sid=secret") == ""
    assert word_query("&".join(f"x{n}=1" for n in range(200))) == ""
