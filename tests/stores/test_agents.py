"""Agents in the ledger, on a real SQLite file and with real argon2id hashes."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from clew.settings.hosts import host_key
from clew.stores.ledger import postgresql
from clew.stores.ledger.agents import (
    HASHES_WAITING,
    ONLINE_SECONDS,
    SESSION_SECONDS,
    AgentError,
    Agents,
    BusyError,
    Place,
)
from clew.stores.ledger.connection import Connection, executing
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.schema import agent_sessions, agents
from clew.stores.ledger.sqlite_threads import DirectConnection
from desks import until
from sqlalchemy import select

NOW = 1_700_000_000.0
PASSWORD = "correct horse battery"
SHOP = Place("shop", "shop.test")

# Real argon2id, but with little work: what is tested here does not depend on how long it takes.
LIGHT = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest_asyncio.fixture
async def db(ledger_address: str) -> AsyncIterator[Database]:
    db = database_at(ledger_address)
    await db.open()
    yield db
    await db.close()


@pytest.fixture
def books(db: Database) -> Agents:
    return Agents(db, LIGHT)


async def logged_in(books: Agents, place: Place, now: float, password: str = PASSWORD) -> str:
    verified = await books.verify("bo", password, None)
    assert verified is not None
    token = await books.start_session("bo", place, now, verified)
    assert token is not None
    return token


async def stored(db: Database, name: str) -> str:
    async with db.read() as connection:
        found = await connection.scalar(select(agents.c.password).where(agents.c.name == name))
    assert isinstance(found, str)
    return found


async def test_a_password_is_kept_as_argon2id_with_the_librarys_own_parameters(db: Database) -> None:
    books = Agents(db)
    await books.add("bo", PASSWORD, site=None, now=NOW)
    assert (await stored(db, "bo")).startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await books.verify("bo", PASSWORD, "shop")
    assert not await books.verify("bo", PASSWORD + "x", "shop")


async def test_an_unknown_name_is_hashed_too_so_that_time_tells_nothing(db: Database) -> None:
    calls: list[str] = []

    class Counting(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            calls.append("hash")
            return super().hash(password, salt=salt)

        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
            calls.append("verify")
            return super().verify(hash, password)

    books = Agents(db, Counting(time_cost=1, memory_cost=64, parallelism=1))
    await books.add("bo", PASSWORD, site="shop", now=NOW)
    await books.add("gone", PASSWORD, site="shop", now=NOW)
    await books.deactivate("gone")
    for name, site in (("bo", "shop"), ("nobody", "shop"), ("gone", "shop"), ("bo", "other")):
        calls.clear()
        assert not await books.verify(name, "wrong password", site)
        assert len(calls) == 1, (name, site)


async def test_a_hash_with_old_parameters_is_renewed_at_the_next_login(db: Database) -> None:
    await Agents(db, LIGHT).add("bo", PASSWORD, site=None, now=NOW)
    before = await stored(db, "bo")
    stronger = Agents(db, PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    assert not await stronger.verify("bo", "wrong password", "shop")
    assert await stored(db, "bo") == before
    assert await stronger.verify("bo", PASSWORD, "shop")
    assert ",t=2," in await stored(db, "bo")
    assert await stronger.verify("bo", PASSWORD, "shop")


async def test_a_damaged_password_hash_counts_as_a_wrong_password(db: Database, books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    await db.transact(executing(agents.update().values(password="not a hash")))
    assert not await books.verify("bo", PASSWORD, "shop")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ann\x00a", "<b>", "anna\n", "änna"])
async def test_a_name_that_could_harm_a_page_or_a_log_is_refused(books: Agents, name: str) -> None:
    with pytest.raises(AgentError, match="a name is"):
        await books.add(name, PASSWORD, site=None, now=NOW)


@pytest.mark.parametrize("password", ["", "ninechars", "x" * 201])
async def test_a_password_too_short_or_too_long_is_refused(books: Agents, password: str) -> None:
    with pytest.raises(AgentError, match="10 to 200 characters"):
        await books.add("bo", password, site=None, now=NOW)


async def test_a_name_is_given_once_and_may_come_back_after_removal(books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    with pytest.raises(AgentError, match="already"):
        await books.add("bo", PASSWORD, site=None, now=NOW)
    await books.deactivate("bo")
    await books.add("bo", "another password", site="shop", now=NOW + 1)
    assert await books.verify("bo", "another password", "shop")
    assert not await books.verify("bo", PASSWORD, "shop")
    assert [(a.name, a.site, a.active) for a in await books.everyone()] == [("bo", "shop", True)]


async def test_an_agent_of_one_site_cannot_log_in_at_another(books: Agents) -> None:
    await books.add("bo", PASSWORD, site="shop", now=NOW)
    assert await books.verify("bo", PASSWORD, "shop")
    assert not await books.verify("bo", PASSWORD, "other")
    token = await logged_in(books, SHOP, NOW)
    assert await books.session(token, SHOP, NOW) is not None
    assert await books.session(token, Place("other", "shop.test"), NOW) is None


@pytest.mark.parametrize(
    "place",
    [
        Place("other", "shop.test"),
        Place("shop", "other.test"),
        Place(None, "shop.test"),
        Place(None, "desk.test"),
    ],
)
async def test_a_session_is_valid_only_where_it_was_opened(books: Agents, place: Place) -> None:
    """field E1: at another site, at another host, at the desk's own host, and the other way round"""
    await books.add("bo", PASSWORD, site=None, now=NOW)
    token = await logged_in(books, SHOP, NOW)
    assert await books.session(token, place, NOW) is None
    token = await logged_in(books, place, NOW)
    assert await books.session(token, place, NOW) is not None
    assert await books.session(token, SHOP, NOW) is None


@pytest.mark.parametrize(("site", "seen"), [(None, ["shop", "other"]), ("shop", ["shop"])])
async def test_a_session_of_the_desks_own_host_is_for_the_agents_sites(
    books: Agents, site: str | None, seen: list[str]
) -> None:
    """field E1"""
    await books.add("bo", PASSWORD, site=site, now=NOW)
    place = Place(None, "desk.test")
    token = await logged_in(books, place, NOW)
    found = [name for name in ("shop", "other") if await books.session(token, place, NOW, name)]
    assert found == seen


def test_a_host_has_one_spelling() -> None:
    same = ("Shop.test", "shop.test.", "shop.test:80", "SHOP.TEST:443")
    assert {host_key(host) for host in same} == {"shop.test"}
    assert host_key("shop.test:8080") == "shop.test:8080"


async def test_the_ledger_holds_the_tokens_digest_and_never_the_token(db: Database, books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    token = await logged_in(books, SHOP, NOW)
    async with db.read() as connection:
        kept = (await connection.execute(select(agent_sessions.c.token))).scalars().all()
    assert kept == [hashlib.sha256(token.encode()).hexdigest()]
    assert await books.session(kept[0], SHOP, NOW) is None


async def test_a_session_ends_after_twelve_hours(books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    token = await logged_in(books, SHOP, NOW)
    session = await books.session(token, SHOP, NOW + SESSION_SECONDS - 1)
    assert session is not None
    assert session.agent == "bo"
    assert len(session.csrf) >= 32
    assert await books.session(token, SHOP, NOW + SESSION_SECONDS) is None


async def test_expired_sessions_are_swept_away_by_the_next_login(db: Database, books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    for _ in range(3):
        await logged_in(books, SHOP, NOW)
    await logged_in(books, SHOP, NOW + SESSION_SECONDS)
    async with db.read() as connection:
        assert len((await connection.execute(select(agent_sessions))).all()) == 1


async def test_logging_out_ends_this_session_only(books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    first, second = await logged_in(books, SHOP, NOW), await logged_in(books, SHOP, NOW)
    await books.end_session(first)
    assert await books.session(first, SHOP, NOW) is None
    assert await books.session(second, SHOP, NOW) is not None


async def test_a_new_password_and_a_removal_end_all_sessions_at_once(books: Agents) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    token = await logged_in(books, SHOP, NOW)
    await books.change_password("bo", "a new password")
    assert await books.session(token, SHOP, NOW) is None
    token = await logged_in(books, SHOP, NOW, "a new password")
    await books.deactivate("bo")
    assert await books.session(token, SHOP, NOW) is None
    assert not await books.verify("bo", "a new password", "shop")


@pytest.mark.parametrize("change", ["password", "removal"])
async def test_no_session_begins_after_the_agent_was_changed_in_another_process(
    db: Database, books: Agents, change: str
) -> None:
    """The change comes between the check of the password and the session."""
    await books.add("bo", PASSWORD, site=None, now=NOW)
    verified = await books.verify("bo", PASSWORD, "shop")
    assert verified is not None
    if change == "password":
        await Agents(db, LIGHT).change_password("bo", "a new password")
    else:
        await Agents(db, LIGHT).deactivate("bo")
    assert await books.start_session("bo", SHOP, NOW, verified) is None
    async with db.read() as connection:
        assert (await connection.execute(select(agent_sessions))).first() is None


async def test_changing_an_unknown_agent_is_an_error(books: Agents) -> None:
    with pytest.raises(AgentError, match="no agent 'bo'"):
        await books.change_password("bo", "a new password")
    with pytest.raises(AgentError, match="no agent 'bo'"):
        await books.deactivate("bo")


@pytest.mark.parametrize("token", ["", "x", "ü" * 50, "\udcff", "a" * 100_000])
async def test_a_forged_token_finds_nothing(books: Agents, token: str) -> None:
    await books.add("bo", PASSWORD, site=None, now=NOW)
    await logged_in(books, SHOP, NOW)
    assert await books.session(token, SHOP, NOW) is None


async def test_an_agent_is_online_for_thirty_seconds_after_each_sign(books: Agents) -> None:
    await books.add("bo", PASSWORD, site="shop", now=NOW)
    await books.add("cy", PASSWORD, site=None, now=NOW)
    await books.add("di", PASSWORD, site="other", now=NOW)
    assert await books.online("shop", NOW) == 0
    for name in ("bo", "cy", "di"):
        await books.seen(name, NOW)
    assert await books.online("shop", NOW) == 2
    assert await books.online("other", NOW + ONLINE_SECONDS - 1) == 2
    there = sorted((one.name, one.site, one.seen_at, one.presence) for one in await books.present(NOW))
    assert there == [
        ("bo", "shop", NOW, "available"),
        ("cy", None, NOW, "available"),
        ("di", "other", NOW, "available"),
    ]
    assert await books.present(NOW + ONLINE_SECONDS) == []
    assert await books.online("shop", NOW + ONLINE_SECONDS) == 0
    await books.seen("bo", NOW + ONLINE_SECONDS)
    assert await books.online("shop", NOW + ONLINE_SECONDS + 1) == 1
    await books.deactivate("bo")
    assert await books.online("shop", NOW + ONLINE_SECONDS + 1) == 0


async def test_a_flood_of_logins_is_refused_instead_of_filling_memory(db: Database) -> None:
    release = threading.Event()

    class Held(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            release.wait(60)
            return super().hash(password, salt=salt)

    books = Agents(db, Held(time_cost=1, memory_cost=64, parallelism=1))
    waiting = [asyncio.create_task(books.verify("nobody", "wrong", "shop")) for _ in range(HASHES_WAITING)]
    await until(lambda: books._waiting == HASHES_WAITING)
    with pytest.raises(BusyError, match="try again"):
        await books.verify("nobody", "wrong", "shop")
    release.set()
    assert not any(await asyncio.gather(*waiting))
    assert not await books.verify("nobody", "wrong", "shop")


async def test_who_uses_a_link_waits_first_for_who_may_end_it(
    books: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each has what the other one waits for: the link of somebody who is removed at that moment."""
    order: list[str] = []
    for kind in (DirectConnection, postgresql._Transaction):

        async def lock(self: Any, *names: str, shared: bool = False, before: Any = kind.lock) -> None:
            order.extend(names)
            await before(self, *names, shared=shared)

        monkeypatch.setattr(kind, "lock", lock)

    async def first(_: Connection) -> None:
        order.append("first")

    await books.add("bo", PASSWORD, site=None, now=NOW, first=first)
    await books.change_password("bo", PASSWORD + "!", first=first)
    await books.deactivate("bo")
    assert order == ["agents", "first", "agents", "first", "agents"]
