"""field C1: one matcher for the addresses of pages, wherever the settings name one."""

import pytest
from clew.settings.addresses import PARAMETERS, Pattern, PatternError, Patterns, split
from costs import assert_linear


def fits(pattern: str, address: str) -> bool:
    return Patterns([pattern])(*split(address))


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("/thanks", "/thanks"),
        ("/thanks", "/thanks?order=1"),
        ("/thanks*", "/thanks/1"),
        ("*", "/anything?x=1"),
        ("*/thanks/*", "/en/thanks/1"),
        ("/index.php?route=checkout/success", "/index.php?route=checkout/success"),
        ("/index.php?route=checkout/success", "/index.php?route=checkout/success&language=en-gb"),
        ("/index.php?route=checkout/success", "/index.php?language=en-gb&route=checkout/success"),
        ("/index.php?route=checkout/success", "/index.php?route=checkout%2Fsuccess"),
        ("/index.php?route=checkout/success", "/index.php?route=checkout%2fsuccess&x"),
        ("/index.php?route=checkout%2Fsuccess", "/index.php?route=checkout/success"),
        ("/index.php?route=checkout/success", "/index%2Ephp?%72oute=checkout/success"),
        ("/index.php?route=checkout/*", "/index.php?a=b&route=checkout/cart"),
        ("*?route=account/*", "/en-gb?route=account/login"),
        ("/index.php?language=de&route=a", "/index.php?route=a&language=de"),
        ("/search?q=red+mill", "/search?q=red%20mill"),
        ("/search?q", "/search?q=mill"),
        ("/search?q", "/search?q"),
        ("/list?filter[size]=m", "/list?filter%5Bsize%5D=m"),
        ("/café", "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%c3%a9"),
        ("/[0-9]*-*.html", "/42-mill.html"),
        ("/cart", "https://shop.example/cart?x#y"),
        ("/", "https://shop.example"),
        ("/go/http://x", "/go/http://x"),
    ],
)
def test_fits(pattern: str, address: str) -> None:
    """field C1"""
    assert fits(pattern, address)


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("/thanks", "/thanks/"),
        ("/thanks", "/Thanks"),
        ("/thanks", "/en/thanks"),
        ("/index.php?route=checkout/success", "/index.php"),
        ("/index.php?route=checkout/success", "/index.php?route=checkout/success_not"),
        ("/index.php?route=checkout/success", "/index.php?xroute=checkout/success"),
        ("/index.php?route=checkout/success", "/index.php?route=x&y=route=checkout/success"),
        ("/index.php?route=checkout/success", "/index.php?route=checkout%252Fsuccess"),
        ("/index.php?language=de&route=a", "/index.php?route=a"),
        ("/index.php?route=a", "/index.php%3Froute=a"),
        ("/index.php?route=a", "/index.php?q#route=a"),
        ("/a.b", "/aXb"),
        ("/[0-9]*", "/x1"),
    ],
)
def test_does_not_fit(pattern: str, address: str) -> None:
    """field C1"""
    assert not fits(pattern, address)


def test_the_first_match_counts() -> None:
    patterns = Patterns(["/a?x=1", "/a*", "/ab"])
    assert [patterns.first(*split(address)) for address in ("/a?x=1", "/a", "/ab", "/b")] == [0, 1, 1, None]
    assert patterns.all("/ab") == [1, 2]
    assert Patterns([]).first("/a") is None


def test_raw_bytes_that_are_no_text_are_matched_too() -> None:
    assert Patterns(["/caf*"])(b"/caf\xe9\x00", b"\xff=%ff&x=1")
    assert Patterns(["/c?x=1"])(b"/c", b"\xff=%ff&x=1")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("thanks", "a path begins with / or *"),
        ("https://shop.example/thanks", "a path begins with / or *"),
        ("/thanks?", "there is no parameter after the ?"),
        ("/thanks?&", "there is no parameter after the ?"),
        ("/thanks#done", "browsers do not send the part after a #"),
        ("/a\nb", "cannot be printed"),
        ("/" + "a" * 500, "at most 500 characters"),
        ("/[z-a]", "no valid set of characters"),
    ],
)
def test_patterns_that_match_no_address_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(PatternError, match=message.replace("*", r"\*").replace("?", r"\?")):
        Pattern(pattern)


@pytest.mark.parametrize(
    ("one", "other", "covered"),
    [
        ("/index.php", "/index.php?route=checkout/success", True),
        ("/index.php?route=checkout/*", "/index.php?route=checkout/success&language=*", True),
        ("/index.php?route", "/index.php?route=*", True),
        ("/index.php?route=a", "/index.php", False),
        ("/shop/*", "/shop/mills/*", True),
        ("/shop/mills/*", "/shop/*", False),
        ("*", "/a*b?c=d", True),
        ("/a", "/a*", False),
    ],
)
def test_a_pattern_that_covers_another_is_known(one: str, other: str, covered: bool) -> None:
    assert Pattern(one).covers(Pattern(other)) is covered


def test_the_time_grows_with_the_length_and_no_faster() -> None:
    """field C1, E4: the worst for a matcher that goes back."""
    patterns = Patterns(["/" + "*a" * 200 + "b", "/x?" + "*a" * 100 + "b=" + "*a" * 100 + "b"])

    def match(length: int) -> None:
        path, query = "/" + "a" * length, "a" * length + "=" + "a" * length
        assert not patterns(path, query)
        assert not patterns("/x", query)

    assert_linear(match, 4_000, 16)


def test_no_more_than_so_many_parameters_are_looked_at() -> None:
    ask = "&".join(f"x{n}=1" for n in range(PARAMETERS))
    assert not fits("/?y=1", f"/?{ask}&y=1")
