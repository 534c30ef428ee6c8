import html5lib
import pytest
from clew.injector.tag import LIMIT, NONCE_LIMIT, tag

LONGEST_PREFIX = "/" + "x" * 30 + "/"


def test_tag_is_the_one_that_the_loader_and_its_guards_know() -> None:
    """injection 6.18, 7.6: Cloudflare's optimiser and Turbo leave it alone."""
    assert tag("/-/clew/") == (
        b'<script async src="/-/clew/l.js" data-clew="1"'
        b' data-cfasync="false" data-turbo-eval="false"></script>'
    )


def test_tag_is_small_whatever_prefix_and_nonce() -> None:
    """injection 4.14: a meta charset must not be pushed out of the first 1,024 bytes."""
    for prefix in ("/", "/-/clew/", LONGEST_PREFIX):
        for length in range(1, NONCE_LIMIT + 1):
            made = tag(prefix, b"x" * length)
            assert len(made) <= LIMIT
            assert b' nonce="%s"' % (b"x" * length) in made
            assert b'data-clew="1"' in made


def test_hints_to_other_programs_stay_as_long_as_they_fit() -> None:
    assert b"data-turbo-eval" in tag("/-/clew/", b"x" * 22)
    middle = tag("/-/clew/", b"x" * 44)
    assert b"data-turbo-eval" not in middle
    assert b"data-cfasync" in middle
    assert b"data-cfasync" not in tag(LONGEST_PREFIX, b"x" * 44)


def test_nonce_that_does_not_fit_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match=r"152 bytes, at most 150 are allowed; use a shorter prefix"):
        tag(LONGEST_PREFIX, b"x" * (NONCE_LIMIT + 5))


@pytest.mark.parametrize("nonce", [b"", b'"', b"a b", b"a>b", b"===", b"a=b", "é".encode(), b"a\n"])
def test_nothing_but_a_nonce_is_copied_into_the_page(nonce: bytes) -> None:
    with pytest.raises(ValueError, match="not a nonce"):
        tag("/-/clew/", nonce)


def test_prefix_outside_ascii_is_refused() -> None:
    """injection 4.16: the page's encoding is not known yet at the tag."""
    with pytest.raises(UnicodeEncodeError):
        tag("/-/clëw/")


def test_browser_reads_one_async_script_element() -> None:
    """injection 1.16, 1.17: nothing that closes the head, nothing that holds the page up."""
    (script,) = html5lib.parse(tag("/-/clew/", b"abc=="), namespaceHTMLElements=False).iter("script")
    assert script.attrib == {
        "async": "",
        "src": "/-/clew/l.js",
        "data-clew": "1",
        "data-cfasync": "false",
        "data-turbo-eval": "false",
        "nonce": "abc==",
    }
