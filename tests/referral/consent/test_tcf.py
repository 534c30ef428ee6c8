import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tc_strings
from clew.referral.consent.bits import LONGEST, UnreadableError
from clew.referral.consent.tcf import (
    DISCLOSED_SINCE,
    POLICY_4_SINCE,
    Restriction,
    TCString,
    Vendor,
    decode,
)
from costs import cpu_seconds
from hypothesis import example, given
from hypothesis import strategies as st

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))
AWIN = Vendor(907, frozenset({1}), frozenset({7}), frozenset({7}))
NOW = 1_795_750_000.0  # 2026-11-27

# Of the format's own document, and of the readme of the IAB's library.
PUBLISHED = "CLcVDxRMWfGmWAVAHCENAXCkAKDAADnAABRgA5mdfCKZuYJez-NQm0TBMYA4oCAAGQYIAAAAAAEAIAEgAA"
README = (
    "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAA"
    "AAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
)


def whole(found: TCString, name: str) -> set[int]:
    vendors = getattr(found, name)
    return {v for first, last in vendors.ranges for v in range(first, last + 1)}


@pytest.mark.parametrize("vector", VECTORS["tcf"], ids=lambda v: v["text"][:24])
def test_strings_of_the_iabs_own_encoder_are_read_in_every_field(vector: dict[str, Any]) -> None:
    found, fields = decode(vector["text"]), vector["fields"]
    plain = ("cmp", "cmp_version", "screen", "language", "list_version", "policy", "country", "updated")
    flags = ("service_specific", "nonstandard_texts", "purpose_one_treatment")
    assert {n: getattr(found, n) for n in (*plain, *flags)} == {n: fields[n] for n in (*plain, *flags)}
    for name in ("features", "consents", "interests"):
        assert sorted(getattr(found, name)) == fields[name]
    assert whole(found, "vendor_consents") == set(fields["vendor_consents"])
    assert whole(found, "vendor_interests") == set(fields["vendor_interests"])
    if fields["disclosed"] is None:
        assert found.disclosed is None
    else:
        assert whole(found, "disclosed") == set(fields["disclosed"])
    restricted = {
        (r.purpose, r.kind.value, v)
        for r in found.restrictions
        for first, last in r.vendors.ranges
        for v in range(first, last + 1)
    }
    assert restricted == {tuple(one) for one in fields["restrictions"]}
    assert found.publisher is not None
    assert sorted(found.publisher.consents) == fields["publisher_consents"]
    assert sorted(found.publisher.interests) == fields["publisher_interests"]
    assert sorted(found.publisher.custom_consents) == fields["custom_consents"]


def test_the_example_of_the_formats_document_is_read() -> None:
    found = decode(PUBLISHED)
    assert (found.cmp, found.cmp_version, found.screen, found.language) == (21, 7, 2, "EN")
    assert (int(found.created), int(found.updated), found.list_version) == (1228644257, 1326215413, 23)
    assert {1, 3, 9, 10} <= found.consents
    assert {2, 27, 115} <= whole(found, "vendor_consents")
    assert {284, 116, 4}.isdisjoint(whole(found, "vendor_consents"))


def test_the_example_of_the_libraries_readme_is_read_with_its_disclosed_vendors() -> None:
    found = decode(README)
    assert (found.cmp, found.language, found.list_version) == (27, "EN", 15)
    assert found.consents == {1, 2, 3}
    assert whole(found, "vendor_consents") == {2, 6, 8}
    assert found.disclosed is not None
    assert {2, 6, 8} <= whole(found, "disclosed")


def test_a_string_after_2026_february_without_disclosed_vendors_is_invalid() -> None:
    string = tc_strings.tc_string(at=DISCLOSED_SINCE, disclosed=None)
    assert decode(string).invalid.startswith("no disclosed vendors")
    assert decode(tc_strings.tc_string(at=DISCLOSED_SINCE - 1, disclosed=None)).invalid == ""
    assert decode(tc_strings.tc_string(at=DISCLOSED_SINCE)).invalid == ""


def test_a_string_after_2023_september_with_an_old_policy_is_invalid() -> None:
    old = tc_strings.tc_string(at=POLICY_4_SINCE, policy=3, disclosed=None)
    assert decode(old).invalid.startswith("policy version 3")
    assert decode(tc_strings.tc_string(at=POLICY_4_SINCE - 1, policy=2, disclosed=None)).invalid == ""


def permitted(vendor: Vendor = AWIN, **fields: Any) -> str:
    usual: dict[str, Any] = {
        "consents": {1, 7},
        "interests": {7},
        "vendor_consents": [(907, 907)],
        "vendor_interests": [(907, 907)],
    }
    return decode(tc_strings.tc_string(at=NOW, **{**usual, **fields})).permits(vendor)


def test_a_vendor_is_permitted_by_the_bases_that_it_declares() -> None:
    assert permitted() == ""
    assert permitted(consents={7}) == "no consent to vendor 907 for purpose 1"
    assert permitted(vendor_consents=[(900, 906), (908, 999)]) == "no consent to vendor 907 for purpose 1"
    # Purpose 7 by legitimate interest: consent to it is not asked for, an objection counts.
    assert permitted(consents={1}) == ""
    assert "legitimate interest" in permitted(interests=())
    assert "legitimate interest" in permitted(vendor_interests=())
    by_consent = Vendor(946, frozenset({1, 7}))
    assert permitted(by_consent, vendor_consents=[(946, 946)]) == ""
    assert permitted(by_consent, vendor_consents=[(946, 946)], consents={1}).endswith("for purpose 7")
    assert permitted(Vendor(870, frozenset({1})), vendor_consents=[(870, 870)], consents={1}) == ""


def test_a_vendor_that_the_visitor_was_not_shown_is_not_permitted() -> None:
    assert permitted(disclosed=[(1, 906)]) == "vendor 907 was not disclosed to the visitor"


def test_a_publishers_restriction_counts_before_the_vendors_basis() -> None:
    here = [(900, 910)]
    assert permitted(restrictions=[(7, 0, here)]) == "the publisher does not allow vendor 907 purpose 7"
    assert permitted(restrictions=[(7, 0, [(1, 906)])]) == ""
    assert permitted(restrictions=[(7, 1, here)]) == ""
    assert permitted(restrictions=[(7, 1, here)], consents={1}) == "no consent to vendor 907 for purpose 7"
    # Purpose 1 is no flexible one of any vendor.
    assert "lacks" in permitted(restrictions=[(1, 2, here)])
    stiff = replace(AWIN, flexible=frozenset())
    assert "lacks" in permitted(stiff, restrictions=[(7, 1, here)])


vendor_ranges = st.lists(
    st.tuples(st.integers(1, 1500), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])), max_size=12
)
purposes = st.frozensets(st.integers(1, 24))


@given(
    st.integers(0, 4_000_000_000),
    purposes,
    purposes,
    vendor_ranges,
    vendor_ranges,
    st.lists(st.tuples(st.integers(0, 63), st.integers(0, 2), vendor_ranges), max_size=3),
    st.none() | vendor_ranges,
    st.none() | st.tuples(purposes, purposes),
    st.booleans(),
)
def test_an_encoded_tc_string_is_decoded(
    at: int,
    consents: frozenset[int],
    interests: frozenset[int],
    agreed: list[tuple[int, int]],
    shown: list[tuple[int, int]],
    restrictions: list[tuple[int, int, list[tuple[int, int]]]],
    disclosed: list[tuple[int, int]] | None,
    publisher: tuple[frozenset[int], frozenset[int]] | None,
    as_ranges: bool,
) -> None:
    text = tc_strings.tc_string(
        at=at,
        consents=consents,
        interests=interests,
        vendor_consents=agreed,
        vendor_interests=shown,
        restrictions=restrictions,
        disclosed=disclosed,
        publisher=publisher,
        as_ranges=as_ranges,
    )
    found = decode(text)
    assert (found.created, found.updated) == (at, at)
    assert (found.consents, found.interests) == (consents, interests)
    for name, expected in (("vendor_consents", agreed), ("vendor_interests", shown)):
        assert whole(found, name) == {v for first, last in expected for v in range(first, last + 1)}
    assert [(r.purpose, r.kind, list(r.vendors.ranges)) for r in found.restrictions] == [
        (purpose, Restriction(kind), who) for purpose, kind, who in restrictions
    ]
    assert (found.disclosed is None) == (disclosed is None)
    if publisher is None:
        assert found.publisher is None
    else:
        assert found.publisher is not None
        assert (found.publisher.consents, found.publisher.interests) == publisher


@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda b: urlsafe_b64encode(b).decode()))
@example("")
@example(".")
@example("C.")
@example("CP" + "A" * 40)
@example("BPuKNGaPuKNGaAfEHBFIABAAAAA_mABAfyA")  # version 1, as a consent tool's cookie still holds it
@example("C" * (LONGEST + 1))
@example(PUBLISHED[:40])
@example(PUBLISHED + "." + PUBLISHED)
def test_foreign_text_is_read_or_refused(text: str) -> None:
    with suppress(UnreadableError):
        decode(text).permits(AWIN)


@pytest.mark.parametrize("bits", ["1" + "1" * 60_000, "10" * 30_000])
def test_reading_takes_linear_time_whatever_the_string_claims(bits: str) -> None:
    """The widest ranges that fit: a set of the vendors would have millions of members."""
    every = tc_strings.tc_string(
        at=NOW, vendor_consents=[(1, 65535)] * 1400, as_ranges=True, restrictions=[(7, 0, [(1, 65535)] * 300)]
    )
    assert len(every) > LONGEST
    longest = tc_strings.tc_string(at=NOW, vendor_consents=[(1, 65535)] * 1400, as_ranges=True)
    assert cpu_seconds(lambda: decode(longest).permits(AWIN)) < 0.2
    garbage = "C" + tc_strings._packed(bits)[: LONGEST - 1]

    def refused() -> None:
        with pytest.raises(UnreadableError):
            decode(garbage)

    assert cpu_seconds(refused) < 0.2
