"""The head of an edited page."""

import pytest
from clew.injector.heads import Headers, ResponseHead, value, values
from clew.injector.rewrite import edited_head

MARK = b"1f2e3d"


def edited(headers: Headers, coding_out: str = "identity", added: int | None = 101) -> Headers:
    head = ResponseHead(200, headers)
    before = list(headers)
    result = edited_head(head, mark=MARK, coding_out=coding_out, added=added)
    assert head.headers == before, "the shop's own head was changed"
    assert result.status == 200
    return result.headers


def test_length_is_exact_if_it_is_known() -> None:
    """injection 5.1, 2.10."""
    assert edited([(b"content-length", b"1000")]) == [(b"content-length", b"1101")]
    assert edited([(b"content-length", b" 1000 ")]) == [(b"content-length", b"1101")]


@pytest.mark.parametrize(
    ("headers", "coding_out", "added"),
    [
        ([], "identity", None),
        ([], "gzip", 101),
        ([(b"content-encoding", b"gzip")], "identity", 101),
        ([(b"content-encoding", b"gzip")], "gzip", 101),
        ([(b"trailer", b"server-timing")], "identity", 101),
    ],
)
def test_length_is_removed_if_it_is_unknown(headers: Headers, coding_out: str, added: int | None) -> None:
    """injection 5.1, 5.13."""
    assert (
        value(edited([*headers, (b"content-length", b"1000")], coding_out, added), b"content-length") is None
    )


@pytest.mark.parametrize("length", [b"1000, 1000", b"", b"-1", b"1e3", b"9" * 5000])
def test_an_invalid_length_is_removed(length: bytes) -> None:
    assert edited([(b"content-length", length)]) == []


def test_everything_else_keeps_its_place_and_its_duplicates() -> None:
    """injection 5.10."""
    headers = [
        (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"set-cookie", b"a=1; Path=/"),
        (b"content-type", b"Text/HTML ; charset=x"),
        (b"set-cookie", b"b=2"),
        (b"link", b"</a.js>; rel=preload"),
        (b"content-security-policy", b"script-src 'self'"),
        (b"x-accel-buffering", b"no"),
        (b"set-cookie", b"a=1; Path=/"),
        (b"cache-control", b"private, max-age=0"),
        (b"x-content-type-options", b"nosniff"),
    ]
    assert edited(headers) == headers


def test_headers_about_the_shops_own_bytes_are_removed() -> None:
    """injection 5.4, 5.12, 3.11, 3.16."""
    dropped = [
        (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"accept-ranges", b"bytes"),
        (b"content-md5", b"Q2hlY2sgSW50ZWdyaXR5IQ=="),
        (b"digest", b"SHA-256=x"),
        (b"content-digest", b"sha-256=:x:"),
        (b"repr-digest", b"sha-256=:x:"),
    ]
    assert edited([*dropped, (b"a", b"b"), *dropped]) == [(b"a", b"b")]


def test_entity_tag_is_marked_in_its_place() -> None:
    assert edited([(b"a", b"b"), (b"etag", b'"x"'), (b"c", b"d")]) == [
        (b"a", b"b"),
        (b"etag", b'W/"x-clew-1f2e3d"'),
        (b"c", b"d"),
    ]


@pytest.mark.parametrize(
    ("coding_in", "coding_out", "expected"),
    [
        ([], "identity", []),
        ([], "gzip", [b"gzip"]),
        ([b"gzip"], "identity", []),
        ([b"gzip"], "br", [b"br"]),
        ([b"x-gzip"], "gzip", [b"gzip"]),
        ([b"identity"], "identity", []),
        ([b""], "zstd", [b"zstd"]),
    ],
)
def test_coding_named_is_the_coding_sent(
    coding_in: list[bytes], coding_out: str, expected: list[bytes]
) -> None:
    headers = edited([(b"content-encoding", coding) for coding in coding_in], coding_out)
    assert values(headers, b"content-encoding") == expected


@pytest.mark.parametrize(
    ("headers", "coding_out", "vary"),
    [
        ([], "identity", []),
        ([], "gzip", [b"Accept-Encoding"]),
        ([(b"content-encoding", b"gzip")], "identity", [b"Accept-Encoding"]),
        ([(b"vary", b"Cookie")], "gzip", [b"Cookie, Accept-Encoding"]),
        (
            [(b"vary", b"Cookie"), (b"a", b"b"), (b"vary", b"Accept")],
            "br",
            [b"Cookie", b"Accept, Accept-Encoding"],
        ),
        ([(b"vary", b"accept-encoding")], "gzip", [b"accept-encoding"]),
        ([(b"vary", b"*")], "gzip", [b"*"]),
        ([(b"vary", b" ")], "gzip", [b" ", b"Accept-Encoding"]),
        ([(b"cache-control", b"public, max-age=60")], "identity", [b"Sec-Fetch-Dest"]),
        ([(b"cache-control", b"S-MaxAge=60")], "gzip", [b"Accept-Encoding, Sec-Fetch-Dest"]),
        ([(b"cache-control", b"s-maxage=0")], "identity", []),
        ([(b"cache-control", b"max-age=60")], "identity", []),
        ([(b"cache-control", b"public, private")], "identity", []),
        ([(b"cache-control", b"no-store"), (b"cdn-cache-control", b"max-age=1")], "identity", []),
        ([(b"surrogate-control", b"max-age=60")], "identity", [b"Sec-Fetch-Dest"]),
    ],
)
def test_vary_names_what_the_edit_depended_on(headers: Headers, coding_out: str, vary: list[bytes]) -> None:
    """injection 4.7, 5.6."""
    assert values(edited(headers, coding_out), b"vary") == vary


def test_head_and_get_answer_with_the_same_head() -> None:
    """injection 3.12: except for the length, which HEAD need not have (RFC 9110 §9.3.2)."""
    headers = [(b"etag", b'"x"'), (b"content-length", b"5"), (b"content-type", b"text/html")]
    get = edited(headers, "gzip", 101)
    assert edited(headers, "gzip", None) == get
