"""Reasons are reported by their short forms, on which dashboards and logs rely."""

import pickle
import re
from pathlib import Path

import pytest
from clew.injector.reasons import Reason

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_its_short_form_and_has_a_sentence(reason: Reason) -> None:
    assert (str(reason), f"{reason}", {reason: 1}[reason.value]) == (reason.value, reason.value, 1)
    assert pickle.loads(pickle.dumps(reason)) is reason
    assert len(reason.text) > 5


def test_every_policy_reason_is_in_the_operations_guide() -> None:
    table = OPERATIONS.partition("### Pages without the tag")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    reasons = [reason for reason in Reason if reason.by_policy]
    assert Reason.CSP_SCRIPT_SRC in reasons
    for reason in reasons:
        assert any(reason == name or reason.value.startswith(name.removesuffix("…")) for name in names), (
            reason
        )
