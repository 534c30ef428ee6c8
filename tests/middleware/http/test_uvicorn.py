"""What clew uses of uvicorn beyond its documented interface is as it was when that was written and tried.

`middleware/http/protocol.py` builds on uvicorn's HTTP protocol and its pipeline of cycles, `handshake.py` on
its WebSocket protocol, `middleware/serve/` on its server and supervisor.
"""

import hashlib
import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# The module, the first digits of the SHA-256 of its file. All versions within the range have the same.
READ = {
    "uvicorn.protocols.http.flow_control": "d39d16560df512f3",
    "uvicorn.protocols.http.httptools_impl": "1d4e1c579df41684",
    "uvicorn.protocols.websockets.websockets_sansio_impl": "8b32a97a1608788b",
    "uvicorn.server": "c1be9d133467a42a",
    "uvicorn.supervisors.multiprocess": "53541976227fec0b",
}


@pytest.mark.parametrize("name", READ)
def test_a_module_of_uvicorn_that_changed_is_read_again(name: str) -> None:
    """If this fails: read what changed between the versions, compare it with the classes named above, run all
    tests, then write the new number here and the new range into pyproject.toml."""
    source = Path(str(importlib.import_module(name).__file__)).read_bytes()
    assert hashlib.sha256(source).hexdigest()[:16] == READ[name]


def test_only_versions_that_were_read_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "uvicorn[standard]>=0.53,<0.55" in project["dependencies"]
