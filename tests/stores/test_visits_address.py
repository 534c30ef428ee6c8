"""The addresses of `store`: what each form means, and that no error shows a password."""

import re
from pathlib import Path

import pytest
from clew.stores.check import visits_problems
from clew.stores.postgres_address import PostgresAddress
from clew.stores.visits_address import RedisAddress, StoreAddressError, parse

PASSWORD = "s3cr3t"
REDIS = {
    "redis://db": RedisAddress("server", (("db", 6379),)),
    "redis://db:7000/3": RedisAddress("server", (("db", 7000),), database=3),
    "redis://:p%40s@[::1]:7000": RedisAddress("server", (("::1", 7000),), password="p@s"),
    "rediss://u:p@db/0?ssl_ca_certs=/ca.pem": RedisAddress(
        "server", (("db", 6379),), tls=True, username="u", password="p", options={"ssl_ca_certs": "/ca.pem"}
    ),
    "redis+sentinel://a,b:26380/main": RedisAddress("sentinel", (("a", 26379), ("b", 26380)), name="main"),
    "rediss+sentinel://:p@a/main/2?sentinel_password=q": RedisAddress(
        "sentinel",
        (("a", 26379),),
        tls=True,
        name="main",
        database=2,
        password="p",
        options={"sentinel_password": "q"},
    ),
    "redis+cluster://a:7001,b:7002": RedisAddress("cluster", (("a", 7001), ("b", 7002))),
}


@pytest.mark.parametrize(("address", "meant"), REDIS.items())
def test_forms_of_redis(address: str, meant: RedisAddress) -> None:
    assert parse(address) == meant


def test_sqlite_and_postgresql() -> None:
    assert parse("sqlite:visits.db") == Path("visits.db")
    found = parse(f"postgresql://clew:{PASSWORD}@a:5432,b/clew?sslmode=require")
    assert isinstance(found, PostgresAddress)
    assert found.shown == "a:5432,b"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("clew.db", "no address of a store"),
        ("redis:db", "no address of a store"),
        ("memcached://db", "memcached:// is none of the stores"),
        ("redis+sentry://db", "redis+sentry:// is none of the stores"),
        ("redis://", "no address of a store"),
        ("redis:///0", "names no host"),
        ("redis://db:port", "names no host and port"),
        ("redis://db:99999", "names no host and port"),
        ("redis://a,b", "is one server"),
        ("redis://db/one", "no database number"),
        ("redis://db/0/1", "no database number"),
        ("redis://db?timeout=3", "'timeout' is no option"),
        ("redis://db?ssl_ca_certs=/ca.pem", "'ssl_ca_certs' is no option of redis://"),
        ("redis://db?sentinel_password=x", "no option"),
        ("redis+sentinel://a:26379", "lacks the master's name"),
        ("redis+sentinel://a/main/x", "no database number"),
        ("redis+cluster://a/0", "no numbered databases"),
        ("postgresql://db", "names no database"),
        ("postgresql://db:port/clew", "names no host"),
    ],
)
def test_errors_are_reported(address: str, message: str) -> None:
    ((told, hint, warns),) = visits_problems(address)
    assert message in told
    assert hint
    assert not warns


WITH_PASSWORDS = [
    "{scheme}://user:{password}@",
    "{scheme}://user:{password}@db:port/0",
    "{scheme}://user:{password}",
    "{scheme}://:{password}/x@db/0",
    "{scheme}://:{password}#x@db/0",
    "{scheme}://:{password}?x@db/0",
    "{scheme}://:{password}?{password}=1@db/0",
    "{scheme}://:{password}@db/{password}/{password}/{password}",
    "{scheme}://:{password}@[db/0",
    "{scheme}:{password}@db",
    "{password}://db",
]


@pytest.mark.parametrize("form", WITH_PASSWORDS)
@pytest.mark.parametrize("scheme", ["redis", "rediss+sentinel", "redis+cluster", "postgresql", "Redis"])
def test_no_error_shows_a_password(form: str, scheme: str) -> None:
    address = form.format(scheme=scheme, password="S3cr3t!pass")
    try:
        found = parse(address)
    except StoreAddressError as error:
        shown = f"{error} {error.message} {error.hint}"
    else:
        assert not isinstance(found, Path)
        shown = f"{found!r} {found.shown}"
    assert not re.search("S3cr3t", shown, re.IGNORECASE)
