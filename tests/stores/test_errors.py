"""Only the stores know the drivers of their databases: others catch STORE_FAILURES."""

import ast
from pathlib import Path

import clew

ROOT = Path(clew.__file__).parent
DRIVERS = {"asyncpg", "redis", "sqlalchemy", "sqlite3"}
# The stores themselves, and what is no part of the product.
LEFT_OUT = {"stores", "tests", "bench", "examples"}


def test_no_other_package_imports_a_driver() -> None:
    files = [
        path
        for path in ROOT.rglob("*.py")
        if (first := path.relative_to(ROOT).parts[0]) not in LEFT_OUT and not first.startswith(".")
    ]
    assert len(files) > 100
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in _imported(path)
        if name.partition(".")[0] in DRIVERS
    }
    assert not found


def _imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
    return names
