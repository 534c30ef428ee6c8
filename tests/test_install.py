"""Installing from a checkout: what pip needs is built elsewhere, and nothing stays behind."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = shutil.ignore_patterns(".*_cache", "__pycache__", ".git", ".venv", "build", "*.egg-info", "*.db*")


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_install_does_not_change_the_checkout(tmp_path: Path) -> None:
    """field G22"""
    checkout, target = tmp_path / "checkout", tmp_path / "target"
    shutil.copytree(ROOT, checkout, ignore=SKIPPED, symlinks=True)
    before = {path.relative_to(checkout) for path in checkout.rglob("*")}
    uv = Path(sys.executable).with_name("uv")
    # The packages that clew needs are in this environment; only clew is built and installed.
    options = ["--no-deps", "--no-build-isolation", "--offline", "--python", sys.executable]
    run(uv, "pip", "install", "-q", *options, "--target", target, ".", folder=checkout)
    after = {p.relative_to(checkout) for p in checkout.rglob("*") if "__pycache__" not in p.parts}
    assert after == before
    code = """
import clew
from clew import templates
from clew.chat.providers import providers
from clew.settings.platforms import platforms
platforms(), providers(), templates.widget("ar")
print(clew.__file__)
"""
    environ = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(target / "clew" / "__init__.py"), done.stderr


@pytest.mark.slow
def test_the_source_archive_has_every_file_of_data(tmp_path: Path) -> None:
    checkout, target = tmp_path / "checkout", tmp_path / "target"
    shutil.copytree(ROOT, checkout, ignore=SKIPPED, symlinks=True)
    code = "import build_backend, sys; print(build_backend.build_sdist(sys.argv[1]))"
    target.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(checkout / ".ci")}
    done = subprocess.run(
        [sys.executable, "-c", code, target], cwd=checkout, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(target.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    rooms = [path for path in checkout.iterdir() if (path / "__init__.py").exists()]
    wanted = {
        str(path.relative_to(checkout))
        for room in rooms
        for path in room.rglob("*")
        if path.suffix in {".css", ".html", ".js", ".toml", ".txt"}
    }
    assert "templates/texts/ar.toml" in wanted
    assert wanted <= names


def test_the_readme_starts_with_the_installation() -> None:
    """field G22"""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## Install"
    assert "pip install ." in text.partition("## Install")[2].partition("\n## ")[0]
