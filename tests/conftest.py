"""What tests of several rooms start: a browser, a real shop, a partner's server."""

import gc
import os
import shutil
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import browsers
import oscar_shops
import patience
import pytest
import pytest_asyncio
from clew.middleware.asgi import startup
from clew.stores.ledger import sqlite
from clew.stores.ledger.upgrade import upgrade
from database_servers import Postgres, Redis
from hypothesis import HealthCheck, settings
from oscar_shops import OscarShop
from playwright.async_api import Browser, BrowserContext, expect
from quick_certificates import quick_certificates
from quick_databases import Ledgers
from quick_tables import quick_tables
from receiver import Receiver

# The tests start some hundred programs: without files of compiled code each of them, and each of pytest's own
# processes, would compile all of its modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How fast the machine is says nothing about what a property holds for.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Nor whether a shop that is asked before clew has started gets its page edited: see test_unusable.py.
startup.LATE_SECONDS = 30.0

# Nor how long a transaction, a page's touch or a decision takes.
patience.widen()

# Nor how long a browser takes; Playwright gives it five seconds.
BROWSER_MS = 60_000
expect.set_options(timeout=BROWSER_MS)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """All that is collected stays until the end: no garbage is looked for in it, now or later. To look takes
    half of the CPU time of the collection, and 0.3 s each time afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def nothing_is_looked_at_twice() -> None:
    """The same for what the files before this one left: their modules, their caches."""
    gc.collect()
    gc.freeze()


# What takes a browser, a shop of its own, mitmproxy, or programs that start for each test: `-m "not slow"`
# leaves it out.
SLOW_FIXTURES = frozenset({"chromium", "context", "prepared_oscar"})
SLOW_FOLDERS = (
    "tests/journeys/",
    "tests/examples/",
    "tests/deploy/",
    "tests/docs/test_getting_started",
    "tests/cli/test_connect",
    "tests/cli/test_forks",
    "tests/cli/test_mitm",
    "tests/cli/test_reachable",
    "tests/cli/test_unusable_stores",
    "tests/middleware/asgi/test_granian",
    "tests/middleware/asgi/test_unusable",
    "tests/middleware/http/test_handshake",
    "tests/middleware/mitm/",
    "tests/middleware/serve/test_reload",
    "tests/stores/test_collations",
    "tests/stores/test_postgres_setups",
    "tests/stores/test_visits_failing",
)


# Where the engines of the ledger are told apart. A quick run tries what is above them on SQLite, a whole one
# on both.
ENGINES = ("tests/stores/", "tests/cli/test_migrate")


def _on_postgresql_too(item: pytest.Item) -> bool:
    values = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return values.get("ledger_address") == "postgresql" and not item.nodeid.startswith(ENGINES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests."""
    for item in items:
        folder = item.nodeid.startswith(SLOW_FOLDERS) or _on_postgresql_too(item)
        if folder or not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def quick_starts() -> Iterator[None]:
    """What thousands of tests begin with. A test of the migration itself begins with `new_ledger`."""
    with quick_tables(), quick_certificates():
        yield


@pytest.fixture
def strict() -> Iterator[None]:
    """The product's own limits for what it waits for: see patience.py."""
    with patience.own_limits():
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One Chromium for all tests. A test that uses it runs in the session's loop:
    `pytestmark = pytest.mark.asyncio(loop_scope="session")`."""
    async with browsers.chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A fresh profile: no cookies, no cache."""
    context = await chromium.new_context(locale="en-GB")
    context.set_default_timeout(BROWSER_MS)
    yield context
    await context.close()


@pytest.fixture(scope="session")
def prepared_oscar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A django-oscar shop's database and pictures as they are before the first visitor."""
    folder = tmp_path_factory.mktemp("oscar")
    oscar_shops.prepare(folder)
    return folder


@pytest.fixture
def oscar_folder(prepared_oscar: Path, tmp_path: Path) -> Path:
    """A copy of them, for one test."""
    return shutil.copytree(prepared_oscar, tmp_path / "oscar")


@pytest.fixture
def oscar_shop(oscar_folder: Path) -> Iterator[OscarShop]:
    """A django-oscar shop that knows nothing of clew."""
    with OscarShop(oscar_folder) as shop:
        yield shop


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests; each makes databases of its own in it."""
    with Postgres() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A PostgreSQL server that a test may stop."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def ledgers(postgres: Postgres) -> Ledgers:
    """Databases of that server with the ledger's tables."""
    return Ledgers(postgres)


@pytest.fixture
def postgres_ledger(ledgers: Ledgers) -> Iterator[str]:
    """The address of an empty ledger in PostgreSQL."""
    name = ledgers.lend()
    yield ledgers.server.url(name)
    ledgers.take_back(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger, on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'ledger.db'}"
    address: str = request.getfixturevalue("postgres_ledger")
    return address


@pytest.fixture(params=["sqlite", "postgresql"])
def new_ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a ledger without tables, on each engine in turn. The migration makes them."""
    monkeypatch.setattr(sqlite, "upgrade", upgrade)
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'ledger.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.database())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server for all tests. A test that needs it empty deletes its data."""
    with Redis() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A partner's server that says 200 to everything until its `answer` is changed."""
    with Receiver() as receiver:
        yield receiver
