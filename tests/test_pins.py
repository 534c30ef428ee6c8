"""The pinned development set: plain names and versions, and all that the project asks for."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*")


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="ascii").splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    return dict(line.split("==") for line in lines)


def test_every_declared_dependency_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = _pins("requirements-dev.txt")
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        declared = Requirement(text)
        assert declared.specifier.contains(pins[canonicalize_name(declared.name)]), text


def test_mitmproxy_has_pins_of_its_own() -> None:
    assert "mitmproxy" in _pins("requirements-mitmproxy.txt")
    assert "mitmproxy" not in _pins("requirements-dev.txt")


def test_with_mitmproxys_pins_clew_lacks_only_the_named_versions() -> None:
    overrides = (ROOT / ".ci/mitmproxy-overrides.txt").read_text(encoding="ascii").splitlines()
    named = {r.name: r for r in (Requirement(line) for line in overrides if not line.startswith("#"))}
    assert set(named) == {"brotli", "h11"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = _pins("requirements-mitmproxy.txt")
    for declared in map(Requirement, project["dependencies"]):
        name = canonicalize_name(declared.name)
        assert named.get(name, declared).specifier.contains(pins[name]), name
