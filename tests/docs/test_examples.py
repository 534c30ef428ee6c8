"""The examples of `POST orders` in docs/api.md, run unchanged against a running clew."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from clews import ClewFolder, ClewServe

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
TOKEN = "wh8hzoxq8zNDovlnLXInjjhT"
SETTINGS = """
secret = "env:CLEW_SECRET"
[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:9"
api_token = "env:CLEW_API_TOKEN"
"""
RUNNERS = {"sh": ["sh"], "php": ["php"], "python": [sys.executable]}
NEEDS = {"sh": "curl", "php": "php", "python": sys.executable}


def example(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture(scope="module")
def clew(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = ClewFolder(tmp_path_factory.mktemp("clew"), SETTINGS, {"CLEW_API_TOKEN": TOKEN})
    with ClewServe(folder) as running:
        yield running


@pytest.mark.parametrize(
    "language",
    [pytest.param(language, id=f"field G21: {language}") for language in RUNNERS],
)
def test_an_example_records_an_order(clew: ClewServe, tmp_path: Path, language: str) -> None:
    if shutil.which(NEEDS[language]) is None:
        pytest.skip(f"{NEEDS[language]} is not installed; `make test` installs it")
    text = example(language)
    assert len(text.splitlines()) <= 12
    file = tmp_path / "example"
    file.write_text(text.replace("http://127.0.0.1:8080", clew.address), encoding="utf-8")
    done = subprocess.run(
        [*RUNNERS[language], str(file)],
        env={**os.environ, "CLEW_API_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    assert (answer["total"], answer["currency"], answer["created"]) == ("59.90", "EUR", True)


def test_another_host_is_refused_as_documented(clew: ClewServe) -> None:
    """field G21"""
    answer = httpx2.post(
        f"{clew.address}/-/clew/orders",
        headers={"Authorization": f"Bearer {TOKEN}"},
        json={"id": "1", "total": "1.00", "currency": "EUR"},
    )
    assert answer.status_code == 421
    assert "421" in PAGE.read_text("utf-8")
