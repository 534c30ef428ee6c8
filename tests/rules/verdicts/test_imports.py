"""A start of clew, and what counts, need neither numpy nor scipy: they cost 50 MB and half a second."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "modules",
    [
        ("clew.rules.verdicts.counts", "clew.rules.verdicts.looks", "clew.rules.verdicts.words"),
        ("clew.cli", "clew.middleware.serve.server", "clew.desk.app", "clew.service.service"),
    ],
    ids=["counting", "clew serve"],
)
def test_numpy_and_scipy_are_not_loaded_by(modules: tuple[str, ...]) -> None:
    code = f"import sys, {', '.join(modules)}; print([m for m in ('numpy', 'scipy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.strip() == "[]"


def test_judging_does_not_load_the_large_half_of_scipy() -> None:
    """`scipy.stats` takes two seconds and 100 MB."""
    names = "rule_verdicts, text_verdicts, lift, money, sharing, ratio"
    code = f"import sys; from clew.rules.verdicts import {names}; print('scipy.stats' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.strip() == "False"
