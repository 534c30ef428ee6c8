"""setuptools, told to build in a copy: pip builds where the source is, and setuptools would leave `build/`
and `clew.egg-info/` there. An editable install stays as setuptools makes it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401
    build_editable,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
)

_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".demo", "__pycache__", ".*_cache", ".hypothesis", "build", "dist", "*.egg-info", "*.db*"
)


@contextlib.contextmanager
def _copy() -> Iterator[None]:
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="clew-build-") as folder:
        copy = Path(folder) / "clew"
        shutil.copytree(here, copy, ignore=_LEFT_OUT, symlinks=True)
        os.chdir(copy)
        try:
            yield
        finally:
            os.chdir(here)


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What PEP 517 asks for; asking setuptools would make `clew.egg-info/`."""
    return []


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    """What PEP 517 asks for."""
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    """What PEP 517 asks for."""
    target = os.path.abspath(metadata_directory)
    with _copy():
        return build_meta.prepare_metadata_for_build_wheel(target, config_settings)


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """What PEP 517 asks for."""
    target = os.path.abspath(wheel_directory)
    metadata = os.path.abspath(metadata_directory) if metadata_directory else None
    with _copy():
        return build_meta.build_wheel(target, config_settings, metadata)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """What PEP 517 asks for."""
    target = os.path.abspath(sdist_directory)
    with _copy():
        return build_meta.build_sdist(target, config_settings)
