import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tc_strings
from clew.referral.consent.bits import UnreadableError
from clew.referral.consent.gpp import LONGEST, StateOptOut, decode, usp
from costs import cpu_seconds
from hypothesis import example, given
from hypothesis import strategies as st

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))
TCF = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"


@pytest.mark.parametrize("vector", VECTORS["states"], ids=lambda v: f"{v['name']}-{v['choices']}-{v['gpc']}")
def test_the_opt_outs_of_every_section_of_the_iabs_own_encoder_are_read(vector: dict[str, Any]) -> None:
    found = decode(vector["text"])
    choices = vector["choices"]
    opted_out = True if 1 in choices else False if 2 in choices else None
    assert found.ids == (vector["id"],)
    assert found.states == (StateOptOut(vector["name"], opted_out, vector["gpc"]),)


def test_every_section_of_the_united_states_has_vectors() -> None:
    assert {vector["id"] for vector in VECTORS["states"]} == {*range(7, 28)}


def test_several_sections_are_read_side_by_side() -> None:
    found = decode(VECTORS["several"]["text"])
    assert list(found.ids) == VECTORS["several"]["ids"]
    assert found.tcf is not None
    assert found.tcf.consents == {1, 7}
    assert 907 in found.tcf.vendor_consents
    assert [(s.name, s.opted_out) for s in found.states] == [
        ("uspv1", True),
        ("usnat", False),
        ("usca", True),
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [(f"DBABMA~{TCF}", (2,)), (f"DBACNYA~{TCF}~1YNN", (2, 6)), (f"DBABjw~{TCF}~1YNN", (5, 6))],
)
def test_the_examples_of_the_formats_document_are_read(text: str, ids: tuple[int, ...]) -> None:
    found = decode(text)
    assert found.ids == ids
    assert (found.tcf is not None) == (2 in ids)
    assert [s.name for s in found.states] == ["uspv1"] * (6 in ids)


@given(st.frozensets(st.integers(1, 60), min_size=1, max_size=12))
def test_headers_are_read_unchanged(ids: frozenset[int]) -> None:
    others = ids - set(range(2, 28))
    text = "~".join([tc_strings.gpp_header(others), *("AA" for _ in others)])
    assert decode(text).ids == tuple(sorted(others))


@pytest.mark.parametrize("text", ["1YN", "2YNN", "1YNNN", "1XNN", "", "1---~"])
def test_an_invalid_us_privacy_string_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        usp(text)


def test_an_us_privacy_string_says_whether_the_sale_was_opted_out_of() -> None:
    assert [usp(text).opted_out for text in ("1YYN", "1YNN", "1---", "1yyn")] == [True, False, None, True]


@given(st.text(max_size=300) | st.from_regex(r"DBA[A-D][A-Za-z]{1,4}(~[A-Za-z0-9_.-]{0,30}){0,4}"))
@example("")
@example("~" * 100)
@example("DBAB" + "_" * 40)
@example("DBB_" + "_" * 4000)
@example("DBABL" + "~" + "B" * LONGEST)
def test_foreign_text_is_read_or_refused(text: str) -> None:
    with suppress(UnreadableError):
        decode(text)


def test_a_header_that_claims_many_sections_is_refused_at_once() -> None:
    # A range whose end takes as many digits as fit.
    far = tc_strings._packed("000011" + "000001" + tc_strings.number(1, 12) + "1" + "11" + "0" * 20 + "11")

    def refused() -> None:
        with pytest.raises(UnreadableError, match="more than 32 sections"):
            decode(far + "~" * 9000)

    assert cpu_seconds(refused) < 0.05
