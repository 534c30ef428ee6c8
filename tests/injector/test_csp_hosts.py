"""Policies of a page beside what another company's chat needs."""

import pytest
from clew.injector.csp import evaluate
from clew.injector.csp_hosts import extended, extended_policies, forbidden
from hypothesis import given
from hypothesis import strategies as st

CHAT = {
    "script-src": ("https://client.chat.example",),
    "connect-src": ("https://*.chat.example", "wss://live.chat.example"),
    "frame-src": ("https://game.chat.example",),
}


def missing(policy: str) -> dict[str, tuple[str, ...]]:
    return forbidden([(b"content-security-policy", policy.encode())], CHAT)


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ("", {}),
        ("upgrade-insecure-requests", {}),
        ("default-src *", {}),
        ("img-src 'self'", {}),
        ("script-src 'self'", {"script-src": ("https://client.chat.example",)}),
        ("script-src 'self'; script-src *", {"script-src": ("https://client.chat.example",)}),
        ("SCRIPT-SRC 'self' CLIENT.chat.example", {}),
        ("script-src https:", {}),
        ("script-src http:", {}),
        ("script-src wss:", {"script-src": ("https://client.chat.example",)}),
        ("script-src *.example", {}),
        ("script-src *.chat.example", {}),
        ("script-src chat.example", {"script-src": ("https://client.chat.example",)}),
        ("script-src https://client.chat.example/l.js", {"script-src": ("https://client.chat.example",)}),
        ("script-src https://client.chat.example:443", {}),
        ("script-src https://client.chat.example:8443", {"script-src": ("https://client.chat.example",)}),
        ("script-src client.chat.example:*", {}),
        ("script-src 'strict-dynamic' 'nonce-a'", {}),
        ("script-src-elem 'self'; script-src *", {"script-src-elem": ("https://client.chat.example",)}),
        ("connect-src https://*.chat.example", {"connect-src": ("wss://live.chat.example",)}),
        ("connect-src https: wss:", {}),
        ("connect-src https://a.chat.example wss:", {"connect-src": ("https://*.chat.example",)}),
        ("child-src 'none'", {"frame-src": ("https://game.chat.example",)}),
        (
            "default-src 'self', connect-src 'none'",
            {directive: CHAT[directive] for directive in ("script-src", "connect-src", "frame-src")},
        ),
    ],
)
def test_what_a_policy_forbids_is_named(policy: str, found: dict[str, tuple[str, ...]]) -> None:
    assert missing(policy) == found


@pytest.mark.parametrize(
    ("policy", "longer"),
    [
        ("script-src 'self'", "script-src 'self' https://client.chat.example"),
        ("img-src *; frame-src 'none' ;", "img-src *; frame-src https://game.chat.example;"),
        (
            "default-src 'self';",
            "default-src 'self'; script-src 'self' https://client.chat.example;"
            " connect-src 'self' https://*.chat.example wss://live.chat.example;"
            " frame-src 'self' https://game.chat.example",
        ),
        ("object-src 'none'", "object-src 'none'"),
        ("script-src 'self',frame-src *", "script-src 'self' https://client.chat.example,frame-src *"),
    ],
)
def test_only_what_is_missing_is_added(policy: str, longer: str) -> None:
    assert extended_policies(policy, CHAT) == longer


NAMES = ["default-src", "script-src", "script-src-elem", "connect-src", "frame-src", "child-src", "img-src"]
SOURCES = [
    *(
        "'self'",
        "'none'",
        "'unsafe-inline'",
        "'nonce-abc'",
        "'strict-dynamic'",
        "*",
        "https:",
        "wss:",
        "blob:",
    ),
    *("*.chat.example", "https://game.chat.example", "HTTPS://CLIENT.CHAT.EXAMPLE", "a.example", "x:y:z"),
]
DIRECTIVE = st.builds(
    lambda name, sources, space: f"{space}{name} {' '.join(sources)}{space}",
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(SOURCES), max_size=4),
    st.sampled_from(["", " ", "\t"]),
)
POLICIES = st.lists(st.lists(DIRECTIVE, max_size=4).map(";".join), max_size=3).map(",".join)


@given(POLICIES)
def test_extended_policies_allow_all_and_are_not_extended_twice(text: str) -> None:
    longer = extended_policies(text, CHAT)
    assert missing(longer) == {}
    assert extended_policies(longer, CHAT) == longer
    if not missing(text):
        assert longer == text
    # What counts for clew's own tag stays as it was.
    own = "https://shop.example/-/clew/l.js"
    before, after = (evaluate([(b"content-security-policy", one.encode())], own) for one in (text, longer))
    assert (before.allowed, before.nonce) == (after.allowed, after.nonce)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_text_is_a_policy(text: str) -> None:
    assert missing(extended_policies(text, CHAT)) == {}


def test_headers_without_a_policy_and_endless_ones_are_left_alone() -> None:
    plain = [(b"content-type", b"text/html")]
    assert extended(plain, CHAT) is plain
    endless = [(b"content-security-policy", b"script-src 'self';" * 1000)]
    assert extended(endless, CHAT) == endless
    assert forbidden(endless, CHAT) == {}
    both = [(b"content-security-policy-report-only", b"script-src 'self'"), (b"x", b"y")]
    assert extended(both, CHAT) == [(both[0][0], b"script-src 'self' https://client.chat.example"), both[1]]
